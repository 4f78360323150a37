/** The lab's API server inside a host, with its files in the host's folder. */
import { join } from "node:path"
import type { ApiServer, ApiServerOptions } from "./api-server/api-server.ts"
import { controlled, type Introduction } from "./api-server/control.ts"
import type { Host } from "./host.ts"
import type { ManagedProcess } from "./process.ts"

export interface HostedApiServer {
  readonly api: ApiServer
  /** To be stopped with a signal, frozen or killed. */
  readonly process: ManagedProcess
  /** Where another program reaches it (`control.ts`). */
  readonly controlPath: string
}

/**
 * Starts one on all addresses of the host, port 6443. `address` is the one it is known by. Ends
 * with the lab, or with `api.close()`.
 */
export async function startApiServerIn(
  host: Host,
  address: string,
  options: ApiServerOptions = {},
): Promise<HostedApiServer> {
  const number = host.processes.length
  const controlPath = join(host.directory, `api-server-${number}.sock`)
  const directory = join(host.directory, `api-server-${number}`)
  const complete: ApiServerOptions = {
    address: "0.0.0.0",
    port: 6443,
    directory,
    ...options,
    names: [address, ...(options.names ?? [])],
  }
  const program = `${import.meta.dir}/api-server-program.ts`
  const argv = [process.execPath, program, controlPath, JSON.stringify(complete)]
  const child = host.spawn(argv, { name: "api-server" })
  const introduction: Introduction = JSON.parse(await child.waitFor(/^\{.*\}$/m))
  const api = controlled(controlPath, introduction, () => child.stop())
  return { api, process: child, controlPath }
}
