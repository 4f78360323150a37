/**
 * A client that connects again and again and remembers, of each connection, when it was begun and
 * who greeted it: a server that says its name and a line feed. Runs as a program of its own inside
 * a host; at SIGTERM it prints what it remembers as one line of JSON.
 */
import { connect } from "node:net"
import { epochMs } from "../../lab/wait.ts"

export interface ConnectionLogOptions {
  readonly host: string
  readonly port: number
  readonly intervalMs: number
}

export interface LoggedConnection {
  /** Wall-clock milliseconds. */
  readonly atMs: number
  /** "": it failed. */
  readonly server: string
}

function main({ host, port, intervalMs }: ConnectionLogOptions): void {
  const connections: LoggedConnection[] = []
  const startedAtMs = performance.now()
  let started = 0
  const begin = () => {
    const atMs = epochMs()
    const socket = connect({ host, port })
    const settle = (server: string) => {
      socket.removeAllListeners()
      socket.on("error", () => {})
      socket.destroy()
      connections.push({ atMs, server })
    }
    socket.on("data", (chunk) => settle(chunk.toString("latin1").trimEnd()))
    socket.on("error", () => settle(""))
    socket.on("close", () => settle(""))
  }
  setInterval(() => {
    const due = Math.floor((performance.now() - startedAtMs) / intervalMs)
    // One at a time: a crowd after a pause would all be of the same moment.
    if (started < due) begin()
    started = due
  }, intervalMs)
  process.on("SIGTERM", () => {
    process.stdout.write(`${JSON.stringify({ connections })}\n`, () => process.exit(0))
  })
  process.stdout.write("started\n")
}

if (import.meta.main) main(JSON.parse(process.argv[2] ?? "{}"))
