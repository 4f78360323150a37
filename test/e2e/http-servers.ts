/**
 * Servers behind an edge: nginx that says what it received, in lines of "name: value" (`seenBy`),
 * so that a test compares with what a real server made of a request and not with what we meant to
 * send.
 */
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "../lab/host.ts"
import { startNginx } from "../lab/nginx.ts"
import type { ManagedProcess } from "../lab/process.ts"

/** Empty in the body: the field was not there. */
const SEEN_FIELDS = [
  "host",
  "connection",
  "keep-alive",
  "te",
  "upgrade",
  "proxy-connection",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-real-ip",
  "x-request-id",
  "forwarded",
  "x-ssl-client-s-dn",
  "authorization",
  "cookie",
  "content-length",
  "x-set",
  "x-add",
  "x-gone",
  "x-user",
  "x-nominated",
  "expect",
] as const

/** What a server says of a request: its own name, the request line, and fields. */
export type Seen = Readonly<Record<"server" | "request" | (typeof SEEN_FIELDS)[number], string>>

export interface WebServerOptions {
  readonly port: number
  /** Default: the host's name. */
  readonly name?: string
  /** What `location /` does; default: says what was received. */
  readonly answer?: string
  /** Further `location`s. */
  readonly locations?: string
  /** Beside the server itself: further `server`s, logs. */
  readonly more?: string
}

export interface WebServer {
  readonly process: ManagedProcess
  /** One line a request: "METHOD target status bytes-sent body-bytes-received". */
  readonly log: string
  /** What is served under `/files/`, and where PUT writes. */
  readonly root: string
}

/**
 * An nginx that answers with what it saw (`x-server` is its name); `/files/` holds files, which PUT
 * writes; `/status/NNN` answers with that status.
 */
export async function startWebServer(host: Host, options: WebServerOptions): Promise<WebServer> {
  const { name = host.name, port } = options
  const root = join(host.directory, `www-${port}`)
  mkdirSync(join(root, "files"), { recursive: true })
  const log = join(host.directory, `seen-${port}.log`)
  const child = await startNginx(host, {
    http: `
      log_format seen '$request_method $request_uri $status $body_bytes_sent $request_length';
      server {
        listen 0.0.0.0:${port} backlog=4096;
        access_log ${log} seen;
        default_type text/plain;
        keepalive_requests 1000000;
        client_max_body_size 0;
        add_header x-server ${name} always;
        location / { ${options.answer ?? `return 200 "${seenBody(name)}";`} }
        location /files/ {
          root ${root};
          dav_methods PUT DELETE;
          create_full_put_path on;
        }
        location ~ ^/status/204$ { return 204; }
        location ~ ^/status/304$ { return 304; }
        location ~ ^/status/404$ { return 404 "not here\\n"; }
        location ~ ^/status/500$ { return 500 "broken\\n"; }
        location ~ ^/status/502$ { return 502 "bad\\n"; }
        location ~ ^/status/503$ { return 503 "busy\\n"; }
        location = /healthz { access_log off; return 200 "ok\\n"; }
        ${options.locations ?? ""}
      }
      ${options.more ?? ""}`,
  })
  return { process: child, log, root: join(root, "files") }
}

function seenBody(name: string): string {
  const fields = SEEN_FIELDS.map((field) => `${field}: $http_${field.replaceAll("-", "_")}`)
  return [`server: ${name}`, "request: $request", ...fields, ""].join("\\n")
}

/** Starts `programs/odd-web-server.ts` on all addresses of a host. */
export async function startOddWebServer(host: Host, port: number): Promise<ManagedProcess> {
  const program = `${import.meta.dir}/programs/odd-web-server.ts`
  const argv = [process.execPath, program, "0.0.0.0", String(port)]
  const child = host.spawn(argv, { name: "odd-web-server" })
  await child.waitFor("listening")
  return child
}

/** What the server behind an answer of `startWebServer` saw. */
export function seenBy({ body }: { readonly body: Buffer }): Seen {
  const lines = body.toString("latin1").split("\n")
  const pairs = lines.slice(0, -1).map((line) => {
    const colon = line.indexOf(": ")
    return [line.slice(0, colon), line.slice(colon + 2)] as const
  })
  return Object.fromEntries(pairs) as Seen
}

/** Starts `programs/live-server.ts` on all addresses of a host. */
export async function startLiveServer(host: Host, port: number): Promise<ManagedProcess> {
  const program = `${import.meta.dir}/programs/live-server.ts`
  const argv = [process.execPath, program, "0.0.0.0", String(port)]
  const child = host.spawn(argv, { name: "live-server" })
  await child.waitFor("listening")
  return child
}
