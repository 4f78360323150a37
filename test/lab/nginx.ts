/** nginx as a peer or as a backend, with all its files in the host's folder. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "./host.ts"
import type { ManagedProcess } from "./process.ts"

export interface NginxOptions {
  /** Inside of `http { … }`; absent: no such block. */
  readonly http?: string
  /** Inside of `stream { … }`; needs the dynamic module of libnginx-mod-stream. */
  readonly stream?: string
  readonly workers?: number
  readonly workerConnections?: number
}

/** Starts nginx in the foreground; resolves when its workers run. */
export async function startNginx(host: Host, options: NginxOptions): Promise<ManagedProcess> {
  const directory = join(host.directory, `nginx-${host.processes.length}`)
  mkdirSync(directory)
  const path = join(directory, "nginx.conf")
  writeFileSync(path, nginxConfig(directory, options))
  const child = host.spawn(["nginx", "-p", directory, "-c", path, "-e", "stderr"], {
    name: "nginx",
  })
  await child.waitFor("start worker process ")
  return child
}

function nginxConfig(directory: string, options: NginxOptions): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${directory}/${name};`)
    .join("\n  ")
  const http = `http {\n  access_log off;\n  ${temporary}\n  ${options.http}\n}\n`
  const stream = `stream {\n  ${options.stream}\n}\n`
  return `${options.stream === undefined ? "" : `load_module ${STREAM_MODULE};\n`}daemon off;
user root;
pid ${directory}/nginx.pid;
error_log stderr notice;
worker_processes ${options.workers ?? 1};
worker_rlimit_nofile 20000;
events { worker_connections ${options.workerConnections ?? 9000}; }
${options.http === undefined ? "" : http}${options.stream === undefined ? "" : stream}`
}

/** Where Debian puts it. */
const STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"
