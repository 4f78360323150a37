/** Servers for edges to balance: each answers with the name of its host, over TCP or HTTP. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "./host.ts"
import { startNginx } from "./nginx.ts"
import type { ManagedProcess } from "./process.ts"

export interface ServerOptions {
  /** A TCP server takes 0 for a free one, and says which: `listening on port N`. */
  readonly port: number
  /** Default: all. */
  readonly address?: string
  /** Default: the host's name. */
  readonly name?: string
}

/** Greets with its name and a line feed, then echoes (`identity-server.ts`). */
export async function startTcpServer(host: Host, options: ServerOptions): Promise<ManagedProcess> {
  const { name = host.name, address = "0.0.0.0", port } = options
  const child = host.spawn(
    [process.execPath, `${import.meta.dir}/identity-server.ts`, name, address, String(port)],
    { name: `tcp-server-${port}` },
  )
  await child.waitFor(/listening on port \d+\n/)
  return child
}

/**
 * An nginx that answers every path with its name, `/health` with "ok", `/mib/N` with N MiB (1 or
 * 16) of zeros, and whose headers say `x-server` and, as `x-client`, who it thinks asked.
 */
export async function startHttpServer(host: Host, options: ServerOptions): Promise<ManagedProcess> {
  const { name = host.name, address = "0.0.0.0", port } = options
  const root = makeBulkFiles(host)
  return startNginx(host, {
    http: `
      server {
        listen ${address}:${port} backlog=4096 reuseport;
        default_type text/plain;
        keepalive_requests 1000000;
        add_header x-server ${name} always;
        add_header x-client $remote_addr always;
        location / { return 200 "${name}\\n"; }
        location /mib/ { root ${root}; }
        location = /health { return 200 "ok\\n"; }
      }`,
  })
}

function makeBulkFiles(host: Host): string {
  const root = join(host.directory, "www")
  mkdirSync(join(root, "mib"), { recursive: true })
  for (const mib of [1, 16]) {
    const path = join(root, "mib", String(mib))
    writeFileSync(path, "")
    truncateSync(path, mib * 1024 * 1024)
  }
  return root
}
