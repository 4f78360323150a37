/**
 * A client that starts a fresh TCP connection every few milliseconds, whatever became of the ones
 * before, and keeps the books: which server answered, which attempts failed and how, and the
 * longest time without a success. Runs as a program of its own inside a host (see `probe.ts`), so
 * that the test's own work cannot delay it. Ends on SIGTERM with its report as JSON on standard
 * output.
 *
 * The time limit is shorter than the kernel's first SYN retransmission (1 s), so an attempt is one
 * SYN: what is measured is when the address answers, not when TCP tries again.
 */
import { connect, type Socket } from "node:net"
import { epochMs } from "./wait.ts"

export interface ProberOptions {
  readonly host: string
  readonly port: number
  readonly intervalMs: number
  /** Times without a success from here on are gaps. */
  readonly gapMsMin: number
  readonly timeoutMs: number
  /** Sent once connected. */
  readonly send: string
  /** What makes a success: the connection alone, or an answer too. */
  readonly until: "connected" | "answered"
  /** Its first group (or whole match) in the answer is the server's name. */
  readonly identity: string
}

/** Why an attempt failed: `timeout`, `closed` before an answer, or the error's code. */
export type FailureReason = string

export interface Failure {
  /** Wall-clock milliseconds of its start. */
  readonly atMs: number
  readonly afterMs: number
  readonly reason: FailureReason
}

export interface Gap {
  readonly ms: number
  /** Wall-clock milliseconds of the success before and after. */
  readonly fromMs: number
  readonly toMs: number
}

export interface ProberReport {
  readonly attempts: number
  readonly successes: number
  /** All failures by reason; `failures` lists the first of them. */
  readonly failed: Readonly<Record<FailureReason, number>>
  readonly failures: readonly Failure[]
  readonly servers: Readonly<Record<string, number>>
  /** Times without a success of at least `gapMsMin`, longest first. */
  readonly gaps: readonly Gap[]
  readonly longestGapMs: number
  readonly latencyMsMedian: number
  readonly latencyMsMax: number
}

/** What the prober prints four times a second while it runs. */
export interface ProberProgress {
  readonly attempts: number
  readonly successes: number
  readonly servers: Readonly<Record<string, number>>
}

class Ledger {
  attempts = 0
  successes = 0
  readonly failed: Record<string, number> = {}
  readonly failures: Failure[] = []
  readonly servers: Record<string, number> = {}
  readonly #gaps: Gap[] = []
  readonly #latenciesMs: number[] = []
  readonly #gapMsMin: number
  #lastSuccessMs: number | undefined
  #failures = 0
  #ended = false

  constructor(gapMsMin: number) {
    this.#gapMsMin = gapMsMin
  }

  /** Whether every attempt has come to its end. */
  get isSettled(): boolean {
    return this.attempts === this.successes + this.#failures
  }

  succeed(startedAtMs: number, server: string): void {
    const nowMs = epochMs()
    this.successes += 1
    this.servers[server] = (this.servers[server] ?? 0) + 1
    this.#latenciesMs.push(nowMs - startedAtMs)
    this.#closeGap(nowMs)
    this.#lastSuccessMs = nowMs
  }

  fail(startedAtMs: number, reason: FailureReason): void {
    this.#failures += 1
    this.failed[reason] = (this.failed[reason] ?? 0) + 1
    if (this.failures.length >= FAILURES_LISTED_MAX) return
    this.failures.push({ atMs: startedAtMs, afterMs: epochMs() - startedAtMs, reason })
  }

  progress(): ProberProgress {
    return { attempts: this.attempts, successes: this.successes, servers: this.servers }
  }

  /** No attempt starts any more. A gap still open counts up to here. */
  end(): void {
    this.#closeGap(epochMs())
    this.#ended = true
  }

  report(): ProberReport {
    const gaps = this.#gaps.toSorted((a, b) => b.ms - a.ms)
    const latencies = this.#latenciesMs.toSorted((a, b) => a - b)
    return {
      ...this.progress(),
      failed: this.failed,
      failures: this.failures,
      gaps,
      longestGapMs: gaps[0]?.ms ?? 0,
      latencyMsMedian: latencies[latencies.length >> 1] ?? 0,
      latencyMsMax: latencies.at(-1) ?? 0,
    }
  }

  #closeGap(nowMs: number): void {
    const fromMs = this.#lastSuccessMs
    if (this.#ended || fromMs === undefined || nowMs - fromMs < this.#gapMsMin) return
    const gap: Gap = { ms: nowMs - fromMs, fromMs, toMs: nowMs }
    this.#gaps.push(gap)
    print({ gap })
  }
}

/** One connection: settles once, as a success or a failure, and is closed at once. */
function attempt(options: ProberOptions, ledger: Ledger): void {
  const startedAtMs = epochMs()
  ledger.attempts += 1
  let answer = ""
  const socket: Socket = connect({ host: options.host, port: options.port })
  const settle = (record: () => void) => {
    if (timer === undefined) return
    clearTimeout(timer)
    timer = undefined
    record()
    socket.destroy()
  }
  const fail = (reason: FailureReason) => settle(() => ledger.fail(startedAtMs, reason))
  const succeed = (server: string) => settle(() => ledger.succeed(startedAtMs, server))
  let timer: Timer | undefined = setTimeout(() => fail("timeout"), options.timeoutMs)
  socket.on("connect", () => {
    if (options.until === "connected") succeed("")
    else if (options.send !== "") socket.write(options.send)
  })
  socket.on("data", (chunk) => {
    answer += chunk.toString("latin1")
    const match = new RegExp(options.identity).exec(answer)
    if (match !== null) succeed(match[1] ?? match[0])
  })
  socket.on("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
  socket.on("close", () => fail("closed"))
}

function main(options: ProberOptions): void {
  const ledger = new Ledger(options.gapMsMin)
  const startedAtMs = performance.now()
  let started = 0
  // Late timers are made up for: the number of attempts depends on the time alone.
  const ticker = setInterval(() => {
    const due = Math.floor((performance.now() - startedAtMs) / options.intervalMs)
    for (; started < due; started += 1) attempt(options, ledger)
  }, options.intervalMs)
  const reporter = setInterval(() => print({ progress: ledger.progress() }), 250)
  process.on("SIGTERM", () => {
    clearInterval(ticker)
    clearInterval(reporter)
    ledger.end()
    // What is under way may still succeed or fail, each within its own time.
    setInterval(() => {
      if (!ledger.isSettled) return
      print({ report: ledger.report() })
      process.exit(0)
    }, 10)
  })
  print({ started: true })
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const FAILURES_LISTED_MAX = 1_000

if (import.meta.main) main(JSON.parse(process.argv[2] ?? "{}"))
