/**
 * Runs a virtual router's `notify` program at each change of state, as keepalived does:
 * `PROGRAM INSTANCE NAME MASTER|BACKUP|FAULT|STOP PRIORITY`.
 *
 * In order, one at a time per router: scripts that overlap or overtake each other are how
 * keepalived installations end up with the backup's settings on the active machine.
 */
import type { Logger } from "../log/logger.ts"
import type { VirtualRouterStateName } from "../vrrp/messages.ts"

const RUN_MS_MAX = 30_000
/** Changes waiting for a slow program; beyond it the oldest are dropped, the latest always runs. */
const WAITING_MAX = 16

const KEEPALIVED_STATE: Record<VirtualRouterStateName, string> = {
  initialize: "STOP",
  backup: "BACKUP",
  active: "MASTER",
  fault: "FAULT",
}

interface Change {
  readonly program: string
  readonly state: string
  readonly priority: number
}

export class Notifier {
  readonly #log: Logger
  readonly #waiting = new Map<string, Change[]>()
  readonly #running = new Map<string, Promise<void>>()

  constructor(log: Logger) {
    this.#log = log
  }

  notify(
    router: string,
    change: {
      readonly program: string
      readonly state: VirtualRouterStateName
      readonly priority: number
    },
  ): void {
    if (change.program === "") return
    const queue = this.#waiting.get(router) ?? []
    this.#waiting.set(router, queue)
    queue.push({ ...change, state: KEEPALIVED_STATE[change.state] })
    if (queue.length > WAITING_MAX) queue.shift()
    if (!this.#running.has(router)) this.#running.set(router, this.#work(router, queue))
  }

  /** Resolves when all programs have run. */
  async idle(): Promise<void> {
    await Promise.all(this.#running.values())
  }

  async #work(router: string, queue: Change[]): Promise<void> {
    for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
      await this.#run(router, change)
    }
    this.#running.delete(router)
  }

  async #run(router: string, { program, state, priority }: Change): Promise<void> {
    const fields = { router, program, state }
    try {
      const child = Bun.spawn([program, "INSTANCE", router, state, String(priority)], {
        stdio: ["ignore", "ignore", "ignore"],
        timeout: RUN_MS_MAX,
        killSignal: "SIGKILL",
      })
      const code = await child.exited
      if (code !== 0) this.#log.warn("vrrp", "Notify program failed", { ...fields, code })
    } catch (error) {
      this.#log.warn("vrrp", "Cannot run notify program", { ...fields, error: String(error) })
    }
  }
}
