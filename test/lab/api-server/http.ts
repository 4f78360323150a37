/**
 * The server's HTTP/1.1 over TLS, on `node:tls`: `node:https` and `Bun.serve` of Bun 1.4.5 do not
 * show a request's client certificate, and faults (silence, resets, a stopped listener) want the
 * socket anyway. Only what API clients send is understood: one request at a time per connection,
 * bodies with a length or in chunks.
 */
import { createServer, type Server, type TLSSocket } from "node:tls"

export interface Request {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  /** undefined: none was shown. */
  readonly certificate: PeerCertificate | undefined
}

export interface PeerCertificate {
  readonly commonName: string
  readonly organizations: readonly string[]
  /** Signed by the clients' authority and in its time. */
  readonly isTrusted: boolean
}

export type Fields = Readonly<Record<string, string>>

export interface HttpServerOptions {
  readonly key: string
  readonly cert: string
  /** Authority of client certificates. */
  readonly ca: string
  readonly handle: (request: Request, answer: Answer) => void
}

export class HttpServer {
  readonly #options: HttpServerOptions
  readonly #connections = new Set<Connection>()
  #server: Server | undefined

  constructor(options: HttpServerOptions) {
    this.#options = options
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Resolves with the port once it listens. */
  async listen(address: string, port: number): Promise<number> {
    const { key, cert, ca, handle } = this.#options
    const server = createServer(
      { key, cert, ca, requestCert: true, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] },
      (socket) => {
        const connection = new Connection(socket, handle)
        this.#connections.add(connection)
        socket.on("close", () => this.#connections.delete(connection))
      },
    )
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.on("error", reject)
    // A client that gives up during the handshake is its own affair.
    server.on("tlsClientError", () => undefined)
    server.listen(port, address, resolve)
    await promise
    this.#server = server
    const bound = server.address()
    return typeof bound === "object" && bound !== null ? bound.port : port
  }

  /**
   * No new connections, and the open ones reset, as when the process is killed, or ended, as in an
   * orderly restart.
   */
  async stop(how: "end" | "reset" = "reset"): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    if (server === undefined) resolve()
    else server.close(() => resolve())
    for (const connection of this.#connections) {
      if (how === "end") connection.end()
      else connection.destroy()
    }
    await promise
  }
}

/** One answer to one request: whole (`send`) or in pieces (`start`, `write`, `end`). */
export class Answer {
  readonly #connection: Connection
  readonly #keepAlive: boolean
  readonly #onClose = new Set<() => void>()
  #state: "waiting" | "streaming" | "done" = "waiting"

  constructor(connection: Connection, keepAlive: boolean) {
    this.#connection = connection
    this.#keepAlive = keepAlive
  }

  get isOpen(): boolean {
    return this.#state !== "done" && !this.#connection.isClosed
  }

  /** Bytes that the client has not taken yet. */
  get pendingBytes(): number {
    return this.#connection.pendingBytes
  }

  /** Called once when the connection ends before the answer did. */
  onClose(listener: () => void): void {
    this.#onClose.add(listener)
  }

  send(status: number, fields: Fields, body: string | Uint8Array): void {
    if (this.#state !== "waiting") return
    const bytes = typeof body === "string" ? Buffer.from(body) : body
    const length = { "Content-Length": String(bytes.length) }
    const head = headText(status, { ...fields, ...length }, this.#keepAlive)
    this.#connection.write(Buffer.concat([Buffer.from(head), bytes]))
    this.#finish()
  }

  start(status: number, fields: Fields): void {
    this.#state = "streaming"
    const chunked = { ...fields, "Transfer-Encoding": "chunked" }
    this.#connection.write(headText(status, chunked, this.#keepAlive))
  }

  write(text: string): void {
    if (this.#state !== "streaming" || text === "") return
    this.#connection.write(`${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`)
  }

  end(): void {
    if (this.#state !== "streaming") return
    this.#connection.write("0\r\n\r\n")
    this.#finish()
  }

  /** Ends it with the connection, without a last chunk. */
  destroy(): void {
    this.#connection.destroy()
  }

  /** The connection is gone. */
  closed(): void {
    if (this.#state === "done") return
    this.#state = "done"
    for (const listener of this.#onClose) listener()
  }

  #finish(): void {
    this.#state = "done"
    this.#connection.answered(this.#keepAlive)
  }
}

class Connection {
  readonly #socket: TLSSocket
  readonly #handle: HttpServerOptions["handle"]
  readonly #certificate: PeerCertificate | undefined
  #received: Buffer = Buffer.alloc(0)
  #answer: Answer | undefined
  #isContinueSent = false

  constructor(socket: TLSSocket, handle: HttpServerOptions["handle"]) {
    this.#socket = socket
    this.#handle = handle
    this.#certificate = certificateOf(socket)
    socket.setNoDelay(true)
    socket.on("data", (bytes: Buffer) => {
      this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
      this.#next()
    })
    socket.on("error", () => undefined)
    socket.on("end", () => socket.end())
    socket.on("close", () => this.#answer?.closed())
  }

  get isClosed(): boolean {
    return this.#socket.destroyed
  }

  get pendingBytes(): number {
    return this.#socket.writableLength
  }

  write(data: string | Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(data)
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** Sends what is written and closes, with FIN. */
  end(): void {
    this.#socket.end(() => this.#socket.destroy())
  }

  answered(keepAlive: boolean): void {
    this.#answer = undefined
    if (!keepAlive) this.#socket.end()
    // Not from inside the handler of the request before.
    else if (this.#received.length > 0) queueMicrotask(() => this.#next())
  }

  #next(): void {
    if (this.#answer !== undefined) return
    const parsed = parseRequest(this.#received, this.#certificate)
    if (parsed === "malformed") {
      this.write(headText(400, { "Content-Length": "0" }, false))
      this.#socket.end()
    } else if (parsed === "incomplete" || parsed === "wants 100") {
      if (parsed === "wants 100" && !this.#isContinueSent)
        this.write("HTTP/1.1 100 Continue\r\n\r\n")
      this.#isContinueSent = parsed === "wants 100"
    } else {
      this.#received = this.#received.subarray(parsed.length)
      this.#isContinueSent = false
      const keepAlive = parsed.request.headers.get("connection")?.toLowerCase() !== "close"
      this.#answer = new Answer(this, keepAlive)
      this.#handle(parsed.request, this.#answer)
    }
  }
}

type Parsed =
  | "incomplete"
  | "wants 100"
  | "malformed"
  | { readonly request: Request; readonly length: number }

function parseRequest(bytes: Buffer, certificate: PeerCertificate | undefined): Parsed {
  const headEnd = bytes.indexOf("\r\n\r\n")
  if (headEnd < 0) return bytes.length > HEAD_BYTES_MAX ? "malformed" : "incomplete"
  const [line = "", ...lines] = bytes.toString("latin1", 0, headEnd).split("\r\n")
  const [method = "", target = "", version = ""] = line.split(" ")
  if (!version.startsWith("HTTP/1.")) return "malformed"
  const headers = new Map(lines.map(headerField))
  const isChunked = headers.get("transfer-encoding")?.toLowerCase() === "chunked"
  const body = isChunked
    ? chunkedBody(bytes, headEnd + 4)
    : sizedBody(bytes, headEnd + 4, Number(headers.get("content-length") ?? 0))
  if (body === undefined) return headers.has("expect") ? "wants 100" : "incomplete"
  const url = new URL(target, "https://api")
  const path = decodeURIComponent(url.pathname)
  const query = url.searchParams
  const request = { method, path, query, headers, body: body.text, certificate }
  return { request, length: body.end }
}

function headerField(line: string): readonly [string, string] {
  const colon = line.indexOf(":")
  return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
}

interface Body {
  readonly text: string
  readonly end: number
}

function sizedBody(bytes: Buffer, start: number, length: number): Body | undefined {
  const end = start + length
  return bytes.length < end ? undefined : { text: bytes.toString("utf8", start, end), end }
}

function chunkedBody(bytes: Buffer, start: number): Body | undefined {
  const chunks: Buffer[] = []
  for (let position = start; ; ) {
    const lineEnd = bytes.indexOf("\r\n", position)
    if (lineEnd < 0) return undefined
    const size = Number.parseInt(bytes.toString("latin1", position, lineEnd), 16)
    const end = lineEnd + 2 + size + 2
    if (bytes.length < end) return undefined
    if (size === 0) return { text: Buffer.concat(chunks).toString(), end }
    chunks.push(bytes.subarray(lineEnd + 2, end - 2))
    position = end
  }
}

function headText(status: number, fields: Fields, keepAlive: boolean): string {
  const all = { ...fields, ...(keepAlive ? {} : { Connection: "close" }) }
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${status} ${REASONS[status] ?? "Status"}\r\n${lines.join("")}\r\n`
}

function certificateOf(socket: TLSSocket): PeerCertificate | undefined {
  // Bun answers undefined where Node answers an empty object.
  const subject: unknown = socket.getPeerCertificate()?.subject
  if (typeof subject !== "object" || subject === null) return undefined
  const { CN = "", O = [] } = subject as { CN?: string; O?: string | string[] }
  const organizations = typeof O === "string" ? [O] : O
  return { commonName: CN, organizations, isTrusted: socket.authorized }
}

const HEAD_BYTES_MAX = 1024 * 1024

const REASONS: Readonly<Record<number, string>> = {
  200: "OK",
  201: "Created",
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  406: "Not Acceptable",
  409: "Conflict",
  410: "Gone",
  415: "Unsupported Media Type",
  422: "Unprocessable Entity",
  429: "Too Many Requests",
  500: "Internal Server Error",
  503: "Service Unavailable",
  504: "Gateway Timeout",
}
