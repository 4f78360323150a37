/** Starts `programs/socket-client.ts` inside a host and reads its books. */
import type { Host } from "../lab/host.ts"
import type { ManagedProcess } from "../lab/process.ts"
import type { SocketOptions, SocketReport } from "./programs/socket-client.ts"

/** Opens WebSockets to `url`; resolves when each is open or has failed. */
export async function openWebSockets(
  host: Host,
  url: string,
  options: Partial<SocketOptions> = {},
): Promise<WebSockets> {
  const settings: SocketOptions = { host: "k8s.com", sockets: 1, bytes: 1_000_000, ...options, url }
  const program = `${import.meta.dir}/programs/socket-client.ts`
  const child = host.spawn([process.execPath, program, JSON.stringify(settings)], {
    name: "socket-client",
  })
  await child.waitFor('{"open":')
  return new WebSockets(child)
}

export class WebSockets {
  readonly #child: ManagedProcess

  constructor(child: ManagedProcess) {
    this.#child = child
  }

  /** Every open socket sends three messages: how many there are, and how many had all echoes. */
  async echo(): Promise<{ open: number; answered: number }> {
    const from = this.#child.mark()
    this.#child.signal("SIGUSR1")
    const line = await this.#child.waitFor(/\{"echoed":.*\}\}/, { from, timeoutMs: 30_000 })
    return JSON.parse(line).echoed
  }

  /** Says good-bye on each, and returns the books. */
  async stop(): Promise<SocketReport> {
    await this.#child.stop()
    const line = this.#child.stdout.split("\n").find((each) => each.startsWith('{"report":'))
    if (line === undefined) throw new Error(`No report:\n${this.#child.tail()}`)
    return JSON.parse(line).report
  }
}
