/**
 * The origin of the HTTP part: two pools' worth of nginx, which tell who they are, what they were
 * told of the client, and have one file of 1 MiB.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { startNginx } from "../../test/lab/nginx.ts"
import type { ManagedProcess } from "../../test/lab/process.ts"
import { type Arena, LOAD_CORE, ORIGIN_ADDRESS, pinTree, ROOMY } from "./arena.ts"

export const HTTP_HOST = "k8s.com"
/** Pool, path prefix, server. */
export const HTTP_POOLS = [
  { name: "apiv1", prefix: "/api/v1", port: 8011, server: `${ORIGIN_ADDRESS}:8011` },
  { name: "apiv2", prefix: "/api/v2", port: 8012, server: `${ORIGIN_ADDRESS}:8012` },
] as const

export const HTTP_SMALL_PATH = "/api/v1/small"
export const HTTP_BODY_PATH = "/api/v1/body"
export const HTTP_BODY_BYTES = 1024 * 1024
/** Answers the forwarding fields it got. */
export const HTTP_ECHO_PATH = "/api/v1/echo"

export async function startHttpOrigin({ origin }: Arena): Promise<ManagedProcess> {
  const root = join(origin.directory, "http")
  mkdirSync(join(root, "api/v1"), { recursive: true })
  const body = new Uint8Array(HTTP_BODY_BYTES)
  for (let at = 0; at < body.length; at += 65_536) {
    crypto.getRandomValues(body.subarray(at, at + 65_536))
  }
  await Bun.write(join(root, HTTP_BODY_PATH), body)
  const nginx = await startNginx(origin, { http: configuration(root), ...ROOMY })
  await pinTree(nginx.pid, LOAD_CORE)
  return nginx
}

function configuration(root: string): string {
  const servers = HTTP_POOLS.map(({ name, prefix, port }) => {
    const small = `location = ${prefix}/small { return 200 "hello of ${name}\\n"; }`
    const echo = `location = ${prefix}/echo { return 200 "${ECHO}\\n"; }`
    return `server { listen ${port} backlog=4096; root ${root}; ${small} ${echo} }`
  })
  return `
  default_type text/plain;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_header_timeout 1h;
  open_file_cache max=16;
  ${servers.join("\n  ")}`
}

/** The request's id differs in form from program to program: only that there is one. */
const ECHO = [
  "$host $request_uri",
  "$http_x_forwarded_for $http_x_forwarded_proto $http_x_forwarded_host $http_x_forwarded_port",
  "$http_x_real_ip $http_forwarded",
].join(" ")
