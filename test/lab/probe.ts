/** Starts `prober.ts` inside a host and collects its report. */
import type { Host } from "./host.ts"
import type { Gap, ProberOptions, ProberProgress, ProberReport } from "./prober.ts"
import type { ManagedProcess } from "./process.ts"
import { eventually } from "./wait.ts"

export type ProbeOptions = Partial<Omit<ProberOptions, "host" | "port">>

/** A fresh connection to `target` ("address:port") every 10 ms until `stop()`. */
export async function startProbe(
  host: Host,
  target: string,
  options: ProbeOptions = {},
): Promise<Probe> {
  const colon = target.lastIndexOf(":")
  const settings: ProberOptions = {
    intervalMs: 10,
    gapMsMin: 10 * (options.intervalMs ?? 10),
    timeoutMs: 250,
    send: "",
    until: "answered",
    identity: "^(.+?)\\r?\\n",
    ...options,
    host: target.slice(0, colon).replace(/^\[|\]$/g, ""),
    port: Number(target.slice(colon + 1)),
  }
  // A SYN in flight when its attempt is over must not come back.
  if (host.namespace !== "") await host.sysctl({ "net.ipv4.tcp_syn_retries": 1 })
  const child = host.spawn(
    [process.execPath, `${import.meta.dir}/prober.ts`, JSON.stringify(settings)],
    { name: "prober" },
  )
  await child.waitFor('"started"')
  return new Probe(child, settings.timeoutMs)
}

/** Options for a probe of an HTTP server whose body is one line with its name. */
export const httpProbe: ProbeOptions = {
  send: "GET / HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n",
  identity: "\\r\\n\\r\\n(?:[0-9a-f]+\\r\\n)?([^\\r\\n]+)",
}

export class Probe {
  readonly #child: ManagedProcess
  /** The longest that an attempt under way may take to end. */
  readonly #timeoutMs: number

  constructor(child: ManagedProcess, timeoutMs: number) {
    this.#child = child
    this.#timeoutMs = timeoutMs
  }

  /** How it stands, at most 250 ms old. */
  get progress(): ProberProgress {
    return (
      this.#messages<ProberProgress>("progress").at(-1) ?? {
        attempts: 0,
        successes: 0,
        servers: {},
      }
    )
  }

  /** Interruptions that are over, oldest first. */
  get gaps(): Gap[] {
    return this.#messages("gap")
  }

  /** Waits until `count` further attempts have succeeded. */
  async successes(count: number, timeoutMs = 10_000): Promise<void> {
    const goal = this.progress.successes + count
    await eventually(() => this.progress.successes >= goal, {
      timeoutMs,
      what: `${count} successful probes`,
    })
  }

  /** Ends the probing and returns the books. */
  async stop(): Promise<ProberReport> {
    await this.#child.stop({ timeoutMs: this.#timeoutMs + STOP_MARGIN_MS })
    const report = this.#messages<ProberReport>("report").at(-1)
    if (report === undefined) throw new Error(`No report:\n${this.#child.tail()}`)
    return report
  }

  /** What the prober wrote under this key, whole lines only. */
  #messages<T>(key: string): T[] {
    const lines = this.#child.stdout.split("\n").slice(0, -1)
    return lines
      .filter((line) => line.startsWith(`{"${key}":`))
      .map((line) => JSON.parse(line)[key])
  }
}

const STOP_MARGIN_MS = 5_000
