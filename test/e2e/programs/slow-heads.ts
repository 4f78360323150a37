/**
 * Clients in no hurry (slowloris): each begins a request, adds a byte now and then, and never comes
 * to the end of its head. Runs as a program of its own inside a host.
 *
 * Prints one JSON object a line: `opened` when all connections are, `cut` when all have ended, with
 * how and when.
 */
import { connect } from "node:net"

export interface SlowHeadsOptions {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** Between two bytes of one client. */
  readonly intervalMs: number
}

export interface SlowHeadsReport {
  /** How many got which first line: "HTTP/1.1 408 Request Timeout", or "" for none. */
  readonly answers: Readonly<Record<string, number>>
  /** From the first byte of a request to its end. */
  readonly earliestMs: number
  readonly latestMs: number
}

function main(options: SlowHeadsOptions): void {
  const { host, port, connections, intervalMs } = options
  const answers: Record<string, number> = {}
  const tookMs: number[] = []
  let opening = 0
  let opened = 0
  let begun = 0

  const open = () => {
    begun += 1
    opening += 1
    let startedAt = 0
    let line: string | undefined
    let timer: Timer | undefined
    const socket = connect({ host, port, noDelay: true })
    socket.on("connect", () => {
      opening -= 1
      opened += 1
      if (opened === connections) print({ opened })
      startedAt = performance.now()
      socket.write("GET /slow HTTP/1.1\r\nHost: k8s.com\r\nX-Slow: ")
      timer = setInterval(() => socket.write("x"), intervalMs)
    })
    socket.on("data", (chunk) => {
      line ??= chunk.toString().split("\r\n")[0] ?? ""
    })
    socket.on("error", () => {})
    socket.on("end", () => socket.destroy())
    socket.on("close", () => {
      clearInterval(timer)
      answers[line ?? ""] = (answers[line ?? ""] ?? 0) + 1
      tookMs.push(performance.now() - startedAt)
      if (tookMs.length < connections) return
      const report = { answers, earliestMs: Math.min(...tookMs), latestMs: Math.max(...tookMs) }
      print({ cut: report })
    })
  }
  const more = setInterval(() => {
    while (opening < OPENING_MAX && begun < connections) open()
    if (begun === connections) clearInterval(more)
  }, 1)
  setInterval(() => {}, 60_000)
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const OPENING_MAX = 200

if (import.meta.main) main(JSON.parse(process.argv[2] ?? "{}"))
