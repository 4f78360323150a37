/**
 * Clients that keep their connections and ask again and again, and the books of every answer that
 * did not come or was not 200. Runs as a program of its own inside a host (see `http-load.ts`
 * above).
 *
 * A connection that the other side ends between two requests is opened again and counted: that is
 * its right. One that ends with a request under way is a failure, which is what a user would see.
 *
 * Prints one JSON object a line: `progress` every 100 ms, `failure` for the first ones, and at
 * SIGTERM, when what was asked is answered, `report`.
 */
import { connect, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { epochMs } from "../../lab/wait.ts"

export interface HttpLoadOptions {
  readonly host: string
  readonly port: number
  readonly connections: number
  /** Asked in turn by each connection. */
  readonly paths: readonly string[]
  /** Host field. */
  readonly authority: string
  /** Pause after an answer. */
  readonly intervalMs: number
  /** Longer than this without an answer is a failure. */
  readonly patienceMs: number
  /** A new connection for each request. */
  readonly closes: boolean
  /** The authority's name is asked for; who answers is believed. */
  readonly tls: boolean
  /** Further field lines, each with CRLF. */
  readonly fields: string
  /** With one that has a body, it is a byte. */
  readonly method: string
}

export interface HttpFailure {
  /** Wall-clock milliseconds. */
  readonly atMs: number
  readonly how: string
  readonly path: string
  /** Requests that the connection had had answered. */
  readonly answered: number
}

export interface HttpLoadReport {
  readonly requests: number
  /** By how: "status 502", "closed", "ECONNRESET", "connect ECONNREFUSED", "silent". */
  readonly failed: Readonly<Record<string, number>>
  readonly failures: readonly HttpFailure[]
  /** Answers by their `x-server`. */
  readonly servers: Readonly<Record<string, number>>
  /** Connections that the other side ended between two requests. */
  readonly reopened: number
  readonly medianMs: number
  readonly p99Ms: number
  readonly maxMs: number
}

class Client {
  readonly #load: Load
  #socket: Socket | undefined
  #received: Buffer = Buffer.alloc(0)
  #askedAtMs = 0
  #path = ""
  #turn: number
  #answered = 0
  #timer: Timer | undefined

  constructor(load: Load, turn: number) {
    this.#load = load
    this.#turn = turn
  }

  get isWaiting(): boolean {
    return this.#askedAtMs > 0
  }

  ask(): void {
    if (this.#load.isStopping) return this.#drop()
    const { paths, authority, closes, fields, method, patienceMs } = this.#load.options
    this.#path = paths[this.#turn++ % paths.length] ?? "/"
    this.#askedAtMs = performance.now()
    this.#timer = setTimeout(() => this.#fail("silent"), patienceMs)
    const close = closes ? "Connection: close\r\n" : ""
    const socket = this.#socket ?? this.#open()
    const hasBody = method === "POST" || method === "PUT"
    socket.write(
      `${method} ${this.#path} HTTP/1.1\r\nHost: ${authority}\r\n${close}${fields}` +
        (hasBody ? "Content-Length: 1\r\n\r\nx" : "\r\n"),
    )
  }

  #open(): Socket {
    const { host, port, tls, authority: servername } = this.#load.options
    const socket = tls
      ? connectTls({ host, port, servername, rejectUnauthorized: false })
      : connect({ host, port, noDelay: true })
    this.#socket = socket
    this.#received = Buffer.alloc(0)
    this.#answered = 0
    let prefix = "connect "
    socket.on(tls ? "secureConnect" : "connect", () => {
      prefix = ""
    })
    socket.on("data", (chunk) => {
      if (socket === this.#socket)
        this.#hear(typeof chunk === "string" ? Buffer.from(chunk) : chunk)
    })
    const end = (how: string) => {
      if (socket === this.#socket) this.#lost(`${prefix}${how}`)
    }
    socket.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? "error"))
    socket.on("close", () => end("closed"))
    socket.on("end", () => end("closed"))
    return socket
  }

  #hear(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    const headEnd = this.#received.indexOf("\r\n\r\n")
    if (headEnd < 0) return
    const head = this.#received.toString("latin1", 0, headEnd)
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? Number.NaN)
    if (Number.isNaN(length)) return this.#fail("no length")
    if (this.#received.length < headEnd + 4 + length) return
    if (this.#received.length > headEnd + 4 + length) return this.#fail("too much")
    this.#received = Buffer.alloc(0)
    this.#answered += 1
    const status = Number(head.slice(9, 12))
    if (status !== 200) this.#count(`status ${status}`)
    this.#load.answered(performance.now() - this.#askedAtMs, /\r\nx-server: (\S+)/i.exec(head)?.[1])
    this.#rest(/\r\nconnection: close/i.test(head) || this.#load.options.closes)
  }

  /** An answer is complete: the next one, a moment later. */
  #rest(isOver: boolean): void {
    this.#askedAtMs = 0
    clearTimeout(this.#timer)
    if (isOver) this.#drop()
    const { intervalMs } = this.#load.options
    if (intervalMs === 0) setImmediate(() => this.ask())
    else setTimeout(() => this.ask(), intervalMs)
  }

  #lost(how: string): void {
    if (this.#askedAtMs > 0) return this.#fail(how)
    this.#drop()
    this.#load.reopened += 1
  }

  #fail(how: string): void {
    this.#count(how)
    this.#drop()
    this.#rest(false)
  }

  #count(how: string): void {
    this.#load.failed({ atMs: epochMs(), how, path: this.#path, answered: this.#answered })
  }

  #drop(): void {
    const socket = this.#socket
    this.#socket = undefined
    socket?.destroy()
  }
}

class Load {
  readonly options: HttpLoadOptions
  readonly #clients: Client[] = []
  readonly #failed: Record<string, number> = {}
  readonly #failures: HttpFailure[] = []
  readonly #servers: Record<string, number> = {}
  readonly #latenciesMs: number[] = []
  #requests = 0
  reopened = 0
  isStopping = false

  constructor(options: HttpLoadOptions) {
    this.options = options
    for (let at = 0; at < options.connections; at += 1) {
      const client = new Client(this, at)
      this.#clients.push(client)
      setTimeout(() => client.ask(), (at * Math.max(1, options.intervalMs)) / options.connections)
    }
  }

  answered(tookMs: number, server = ""): void {
    this.#requests += 1
    this.#latenciesMs.push(tookMs)
    this.#servers[server] = (this.#servers[server] ?? 0) + 1
  }

  failed(failure: HttpFailure): void {
    this.#failed[failure.how] = (this.#failed[failure.how] ?? 0) + 1
    if (this.#failures.length >= FAILURES_LISTED_MAX) return
    this.#failures.push(failure)
    print({ failure })
  }

  get isIdle(): boolean {
    return this.#clients.every((client) => !client.isWaiting)
  }

  get progress() {
    const failed = Object.values(this.#failed).reduce((sum, count) => sum + count, 0)
    return { requests: this.#requests, failed, servers: this.#servers }
  }

  report(): HttpLoadReport {
    const sorted = Float64Array.from(this.#latenciesMs).sort()
    const quantile = (share: number) =>
      sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN
    return {
      requests: this.#requests,
      failed: this.#failed,
      failures: this.#failures,
      servers: this.#servers,
      reopened: this.reopened,
      medianMs: quantile(0.5),
      p99Ms: quantile(0.99),
      maxMs: quantile(1),
    }
  }
}

function main(options: HttpLoadOptions): void {
  const load = new Load(options)
  setInterval(() => print({ progress: load.progress }), 100)
  process.on("SIGTERM", () => {
    load.isStopping = true
    setInterval(() => {
      if (!load.isIdle) return
      print({ report: load.report() })
      process.exit(0)
    }, 5)
  })
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const FAILURES_LISTED_MAX = 50

if (import.meta.main) main(JSON.parse(process.argv[2] ?? "{}"))
