/**
 * Plays every case of `src/http/fixtures/smuggling-cases.ts` through several chains of proxies at
 * once, each with a server of its own behind that notes the very bytes it gets. Runs inside a host;
 * arguments: "front port=server port" of each chain. Prints `playing`, and at the end one line of
 * JSON (`Played[][]`, in the order of the arguments).
 */
import { connect, createServer, type Server, type Socket } from "node:net"
import { SMUGGLING_CASES, type SmugglingCase } from "../../../src/http/fixtures/smuggling-cases.ts"
import { readRequests, type SeenRequest } from "../../../src/http/fixtures/strict-server.ts"

export interface Played {
  readonly name: string
  /** Statuses that the client saw. */
  readonly answers: readonly number[]
  /** "POST /a hello": what the server made of what it got. */
  readonly reaches: readonly string[]
  readonly hosts: readonly string[]
  /** What it could have read in another way. */
  readonly problems: readonly string[]
}

/** After the last byte of either side, or the last answer that is expected. */
const QUIET_MS = 80
const SETTLE_MS = 15
const CASE_MS_MAX = 2_000
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"

/** A server that answers what it understands and remembers what it has read. */
class Recorder {
  readonly requests: SeenRequest[] = []
  readonly problems: string[] = []
  lastByteAt = 0
  readonly #server: Server

  constructor(port: number) {
    this.#server = createServer((socket) => this.#serve(socket))
    this.#server.listen(port, "127.0.0.1")
  }

  #serve(socket: Socket): void {
    let raw = ""
    socket.on("data", (chunk) => {
      this.lastByteAt = performance.now()
      raw += Buffer.from(chunk as Uint8Array).toString("latin1")
      const { requests, rest, problem } = readRequests(raw)
      raw = rest
      for (const request of requests) {
        this.requests.push(request)
        socket.write(request.line.startsWith("HEAD ") ? OK : `${OK}ok`)
      }
      if (problem === undefined) return
      this.problems.push(problem)
      socket.destroy()
    })
    socket.on("error", () => {})
  }

  close(): void {
    this.#server.close()
  }
}

async function play(each: SmugglingCase, port: number, recorder: Recorder): Promise<Played> {
  recorder.requests.length = 0
  recorder.problems.length = 0
  const client = connect(port, "127.0.0.1")
  let text = ""
  let isEnded = false
  let lastByteAt = performance.now()
  client.on("data", (chunk) => {
    lastByteAt = performance.now()
    text += Buffer.from(chunk as Uint8Array).toString("latin1")
  })
  client.on("end", () => (isEnded = true))
  client.on("close", () => (isEnded = true))
  client.on("error", () => (isEnded = true))
  client.write(Buffer.from(each.send, "latin1"))
  const startedAt = performance.now()
  const quietFor = () => performance.now() - Math.max(lastByteAt, recorder.lastByteAt)
  const isDone = () =>
    isEnded ? quietFor() > SETTLE_MS : quietFor() > QUIET_MS && statusesOf(text).length > 0
  while (!isDone() && performance.now() - startedAt < CASE_MS_MAX) await Bun.sleep(3)
  client.destroy()
  return {
    name: each.name,
    answers: statusesOf(text),
    reaches: recorder.requests.map(({ line, body }) => line + (body === "" ? "" : ` ${body}`)),
    hosts: [...new Set(recorder.requests.map(({ host }) => host))],
    problems: [...recorder.problems],
  }
}

function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.[01] (\d{3}) /g)].map((match) => Number(match[1]))
}

async function playAll(front: number, server: number): Promise<Played[]> {
  const recorder = new Recorder(server)
  const played: Played[] = []
  for (const each of SMUGGLING_CASES) played.push(await play(each, front, recorder))
  recorder.close()
  return played
}

if (import.meta.main) {
  const chains = process.argv.slice(2).map((chain) => chain.split("=").map(Number))
  process.stdout.write("playing\n")
  const played = await Promise.all(chains.map(([front = 0, server = 0]) => playAll(front, server)))
  process.stdout.write(`${JSON.stringify(played)}\n`)
  process.exit(0)
}
