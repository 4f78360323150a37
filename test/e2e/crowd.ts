/** Starts `programs/crowd.ts` inside a host and reads its books. */
import type { Host } from "../lab/host.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"
import type { CrowdEnd, CrowdOptions, CrowdReport } from "./programs/crowd.ts"

/** Opens connections to `target` ("address:port"); resolves when each is open or has failed. */
export async function startCrowd(
  host: Host,
  target: string,
  options: Partial<CrowdOptions> = {},
): Promise<ClientCrowd> {
  const colon = target.lastIndexOf(":")
  const settings: CrowdOptions = {
    connections: 1,
    behaviour: "talk",
    intervalMs: 20,
    sources: [],
    openingMax: 200,
    patienceMs: 10_000,
    ...options,
    host: target.slice(0, colon),
    port: Number(target.slice(colon + 1)),
  }
  const program = `${import.meta.dir}/programs/crowd.ts`
  const child = host.spawn([process.execPath, program, JSON.stringify(settings)], {
    name: "crowd",
  })
  const crowd = new ClientCrowd(child)
  await child.waitFor('{"assembled":', { timeoutMs: 30_000 })
  return crowd
}

export class ClientCrowd {
  readonly #child: ManagedProcess

  constructor(child: ManagedProcess) {
    this.#child = child
  }

  /** Open when all had been tried. */
  get assembled(): number {
    return this.#messages<number>("assembled").at(-1) ?? 0
  }

  /** Connections that have ended so far, oldest first. */
  get ends(): CrowdEnd[] {
    return this.#messages("end")
  }

  /** Waits until `count` connections in all have ended. */
  waitEnds(count: number, timeoutMs = 10_000): Promise<CrowdEnd[]> {
    return eventually(() => (this.ends.length >= count ? this.ends : undefined), {
      timeoutMs,
      what: `${count} ended connections, not ${this.ends.length}`,
    })
  }

  /** Every open connection says a line: how many there are, and how many got their echo. */
  async ask(): Promise<{ open: number; answered: number }> {
    const from = this.#child.mark()
    this.#child.signal("SIGUSR1")
    const line = await this.#child.waitFor(/\{"asked":.*\}\}/, { from, timeoutMs: 30_000 })
    return JSON.parse(line).asked
  }

  /** Every open connection sends RST. */
  async reset(): Promise<void> {
    const from = this.#child.mark()
    this.#child.signal("SIGUSR2")
    await this.#child.waitFor('{"reset":', { from })
  }

  async stop(): Promise<CrowdReport> {
    await this.#child.stop()
    const report = this.#messages<CrowdReport>("report").at(-1)
    if (report === undefined) throw new Error(`No report:\n${this.#child.tail()}`)
    return report
  }

  #messages<T>(key: string): T[] {
    const lines = this.#child.stdout.split("\n").slice(0, -1)
    return lines
      .filter((line) => line.startsWith(`{"${key}":`))
      .map((line) => JSON.parse(line)[key])
  }
}
