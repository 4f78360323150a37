/** Starts `programs/http-load.ts` inside a host and reads its books. */
import type { Host } from "../lab/host.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"
import type { HttpFailure, HttpLoadOptions, HttpLoadReport } from "./programs/http-load.ts"

/** Keep-alive connections to `target` ("address:port") that ask until `stop()`. */
export async function startHttpLoad(
  host: Host,
  target: string,
  options: Partial<HttpLoadOptions> = {},
): Promise<HttpLoad> {
  const colon = target.lastIndexOf(":")
  const settings: HttpLoadOptions = {
    connections: 8,
    paths: ["/"],
    authority: "k8s.com",
    intervalMs: 5,
    patienceMs: 10_000,
    closes: false,
    tls: false,
    fields: "",
    method: "GET",
    ...options,
    host: target.slice(0, colon),
    port: Number(target.slice(colon + 1)),
  }
  const program = `${import.meta.dir}/programs/http-load.ts`
  const child = host.spawn([process.execPath, program, JSON.stringify(settings)], {
    name: "http-load",
  })
  await child.waitFor('{"progress":')
  return new HttpLoad(child)
}

export interface HttpLoadProgress {
  readonly requests: number
  readonly failed: number
  readonly servers: Readonly<Record<string, number>>
}

export class HttpLoad {
  readonly #child: ManagedProcess

  constructor(child: ManagedProcess) {
    this.#child = child
  }

  /** At most 100 ms old. */
  get progress(): HttpLoadProgress {
    return this.#messages<HttpLoadProgress>("progress").at(-1) ?? NONE_YET
  }

  get failures(): HttpFailure[] {
    return this.#messages("failure")
  }

  /** Waits until `count` further requests have been answered. */
  async requests(count: number, timeoutMs = 15_000): Promise<void> {
    const goal = this.progress.requests + count
    await eventually(() => this.progress.requests >= goal, {
      timeoutMs,
      what: `${count} requests to be answered`,
    })
  }

  /** Lets what is under way end, and returns the books. */
  async stop(): Promise<HttpLoadReport> {
    await this.#child.stop({ timeoutMs: 15_000 })
    const report = this.#messages<HttpLoadReport>("report").at(-1)
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

const NONE_YET: HttpLoadProgress = { requests: 0, failed: 0, servers: {} }
