/**
 * A program that replaces pods: at a fixed rate it writes the EndpointSlice of one Service after
 * another, each time with one endpoint exchanged. Argument: JSON `ChurnOptions`. Writes "changing"
 * when it has begun and one line of JSON, `ChurnResult`, at SIGTERM. Rests from SIGUSR2 to SIGUSR1.
 *
 * With a probe, one more Service changes every now and then, to a single pod; the time to the first
 * answer of that pod through the edge, asked for without pause over one connection, is what a
 * change takes to reach a data thread, and a request.
 */
import { controlled } from "../../test/lab/api-server/control.ts"
import { type ClusterSize, endpointSlice } from "../../test/lab/large-cluster.ts"
import { percentile } from "./statistics.ts"

export interface ChurnOptions {
  /** Of the API server (`test/lab/api-server-host.ts`). */
  readonly controlPath: string
  readonly size: ClusterSize
  /** The Services that change. */
  readonly first: number
  readonly count: number
  readonly perSecond: number
  /** How often each of them has changed before. */
  readonly turn: number
  readonly probe?: ChurnProbe
}

export interface ChurnProbe {
  /** ADDRESS:PORT of the edge. */
  readonly target: string
  readonly request: string
  readonly service: number
  readonly everyMs: number
}

export interface ChurnResult {
  readonly changes: number
  /** Without the rests. */
  readonly seconds: number
  /** Milliseconds from the write to the first answer, each. */
  readonly delaysMs: readonly number[]
}

class Churn {
  readonly #options: ChurnOptions
  readonly #api: ReturnType<typeof controlled>
  readonly #delaysMs: number[] = []
  #startedAt = performance.now()
  #restingSince: number | undefined
  #changes = 0
  #isStopping = false

  constructor(options: ChurnOptions) {
    this.#options = options
    const nothing = { url: "", caPem: "", directory: "" }
    this.#api = controlled(options.controlPath, nothing, () => Promise.resolve())
  }

  /** Until `stop`. A change that is late is made up for, so that the rate is what it should be. */
  async run(): Promise<void> {
    const { first, count, perSecond, size, turn } = this.#options
    while (!this.#isStopping) {
      if (this.#restingSince !== undefined) {
        await Bun.sleep(REST_POLL_MS)
        continue
      }
      const dueAt = this.#startedAt + (this.#changes * 1e3) / perSecond
      const waitMs = dueAt - performance.now()
      if (waitMs > 0) await Bun.sleep(waitMs)
      const index = first + (this.#changes % count)
      const changes = turn + 1 + Math.floor(this.#changes / count)
      await this.#api.apply([endpointSlice(index, size, changes)])
      this.#changes += 1
    }
  }

  async probe({ target, request, service, everyMs }: ChurnProbe): Promise<void> {
    const client = await ProbeClient.connect(target, request)
    for (let turn = 0; !this.#isStopping; turn += 1) {
      const slice = endpointSlice(service, { ...this.#options.size, endpoints: 1 }, turn)
      const [
        {
          addresses: [address],
        },
      ] = slice.endpoints as [{ addresses: [string] }]
      const startedAt = performance.now()
      await this.#api.apply([slice])
      while ((await client.ask()) !== address && !this.#isStopping) {}
      // The first one may find the Service as it is.
      if (turn > 0) this.#delaysMs.push(performance.now() - startedAt)
      await Bun.sleep(everyMs)
    }
  }

  rest(): void {
    this.#restingSince ??= performance.now()
  }

  goOn(): void {
    if (this.#restingSince === undefined) return
    this.#startedAt += performance.now() - this.#restingSince
    this.#restingSince = undefined
  }

  stop(): ChurnResult {
    this.goOn()
    this.#isStopping = true
    const seconds = (performance.now() - this.#startedAt) / 1e3
    return { changes: this.#changes, seconds, delaysMs: this.#delaysMs }
  }
}

/** One connection, one request at a time. */
class ProbeClient {
  readonly #request: string
  #socket: Bun.Socket | undefined
  #answered: (body: string) => void = () => undefined

  private constructor(request: string) {
    this.#request = request
  }

  static async connect(target: string, request: string): Promise<ProbeClient> {
    const client = new ProbeClient(request)
    const [hostname = "", port] = target.split(":")
    client.#socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_socket, data) => client.#answered(data.toString().split("\r\n\r\n")[1] ?? ""),
        close: () => {
          process.stderr.write("the probe's connection ended\n")
          process.exit(1)
        },
      },
    })
    return client
  }

  /** The body, without its newline. */
  async ask(): Promise<string> {
    const { promise, resolve } = Promise.withResolvers<string>()
    this.#answered = resolve
    this.#socket?.write(this.#request)
    return (await promise).trim()
  }
}

function main(options: ChurnOptions): void {
  const churn = new Churn(options)
  const failed = (error: unknown) => {
    process.stderr.write(`${error}\n`)
    process.exit(1)
  }
  process.on("SIGUSR1", () => churn.goOn())
  process.on("SIGUSR2", () => churn.rest())
  process.on("SIGTERM", () => {
    process.stdout.write(`${JSON.stringify(churn.stop())}\n`)
    process.exit(0)
  })
  churn.run().catch(failed)
  if (options.probe !== undefined) churn.probe(options.probe).catch(failed)
  process.stdout.write("changing\n")
}

const REST_POLL_MS = 5

/** Nearest rank, of delays in any order; NaN without any. */
export function delayAt(delaysMs: readonly number[], share: number): number {
  return delaysMs.length === 0
    ? Number.NaN
    : percentile(
        delaysMs.toSorted((a, b) => a - b),
        share,
      )
}

if (import.meta.main) main(JSON.parse(process.argv[2] ?? ""))
