/**
 * A web server with manners that no decent one has, by the first segment of the path; written on
 * bare sockets, because what is asked of the edge is often one byte more or less. Runs as a program
 * of its own inside a host.
 *
 * Prints `{"request":…}` for each request and `{"gone":…}` when a client leaves before its answer.
 */
import { createServer, type Socket } from "node:net"

interface OddRequest {
  readonly head: string
  readonly method: string
  readonly path: string
  /** As received: with chunk sizes and trailers where there are. */
  readonly body: string
  /** Of its connection. */
  readonly isFirst: boolean
}

type Manner = (socket: Socket, request: OddRequest) => void

const MANNERS: Readonly<Record<string, Manner>> = {
  /** The request's head as the body. */
  headers: (socket, { head }) => {
    answer(socket, `${head}\r\n`, "X-Origin: server\r\nX-Powered-By: odd\r\n")
  },
  /** The request's body, framing and all. */
  body: (socket, { body }) => answer(socket, body),
  trailers: (socket) => {
    socket.write(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
        "5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n",
    )
  },
  /** No word, ever. */
  silent: () => {},
  /** A head and half a body. */
  half: (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
  /** One byte every 200 ms, ten in all. */
  drip: (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    let sent = 0
    const timer = setInterval(() => {
      socket.write(".")
      sent += 1
      if (sent === 10) clearInterval(timer)
    }, 200)
    socket.on("close", () => clearInterval(timer))
  },
  /** Half a body, then the end. */
  cut: (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"),
  reset: (socket) => socket.resetAndDestroy(),
  finish: (socket) => socket.end(),
  garbage: (socket) => socket.write("good morning\r\n\r\n"),
  largehead: (socket) => answer(socket, "large", `X-Large: ${"x".repeat(100_000)}\r\n`),
  hints: (socket) => {
    socket.write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
    setTimeout(() => answer(socket, "hinted"), 50)
  },
  /** Ended by the end of the connection. */
  old: (socket) => socket.end("HTTP/1.0 200 OK\r\n\r\nuntil the end"),
  /** The same, broken off with RST. */
  "old-reset": (socket) => {
    socket.write("HTTP/1.0 200 OK\r\n\r\nuntil ")
    setTimeout(() => socket.resetAndDestroy(), 50)
  },
  /** Chunked, for clients that know no chunks. */
  chunked: (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    setTimeout(() => socket.write("6\r\n world\r\n0\r\n\r\n"), 30)
  },
  /** Keeps its word and then, unannounced, the connection no more. */
  bye: (socket) => {
    answer(socket, "bye")
    socket.end()
  },
  /** Answers the first request of a connection, and the second with RST. */
  once: (socket, { isFirst }) => {
    if (isFirst) answer(socket, "once")
    else socket.resetAndDestroy()
  },
  /** The same with FIN. */
  "once-finish": (socket, { isFirst }) => {
    if (isFirst) answer(socket, "once")
    else socket.end()
  },
  /** Answers before the body has come, and takes no more of it. */
  early: (socket) => {
    socket.end(
      "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nmuch",
    )
  },
  /** RFC 9110 §7.8 with a protocol of its own: greets, then echoes. */
  upgrade: (socket) => {
    socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: odd\r\n\r\n")
    socket.write("welcome\n")
    socket.removeAllListeners("data")
    socket.on("data", (chunk) => socket.write(chunk))
  },
}

function serve(socket: Socket): void {
  let received = ""
  let pending = ""
  let isFirst = true
  socket.on("error", () => socket.destroy())
  socket.on("close", () => {
    if (pending !== "") print({ gone: pending })
  })
  socket.on("data", (chunk) => {
    received += typeof chunk === "string" ? chunk : chunk.toString("latin1")
    for (let request = parse(received); request !== undefined; request = parse(received)) {
      received = received.slice(request.head.length + 4 + request.body.length)
      print({ request: `${request.method} ${request.path}` })
      const whole = { ...request, isFirst }
      isFirst = false
      const manner = request.path.split(/[/?]/)[1] ?? ""
      pending = KEEPS_WAITING.has(manner) ? request.path : ""
      const behave = MANNERS[manner]
      if (behave === undefined) answer(socket, `no such manners: ${manner}`)
      else behave(socket, whole)
    }
  })
}

/** The first whole request; one for `early` is whole with its head. */
function parse(received: string): Omit<OddRequest, "isFirst"> | undefined {
  const end = received.indexOf("\r\n\r\n")
  if (end < 0) return undefined
  const head = received.slice(0, end)
  const [, method = "", path = ""] = /^(\S+) (\S+)/.exec(head) ?? []
  const rest = received.slice(end + 4)
  const length = bodyLength(head, path.startsWith("/early") ? "" : rest)
  return length === undefined ? undefined : { head, method, path, body: rest.slice(0, length) }
}

function bodyLength(head: string, rest: string): number | undefined {
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) {
    const match = /(?:^|\r\n)0\r\n(?:[^\r\n]+\r\n)*\r\n/.exec(rest)
    return match === null ? undefined : match.index + match[0].length
  }
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0)
  if (/^\S+ \/early/.test(head)) return 0
  return rest.length < length ? undefined : length
}

function answer(socket: Socket, body: string, fields = ""): void {
  const bytes = Buffer.from(body, "latin1")
  socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${bytes.length}\r\n${fields}\r\n`)
  socket.write(bytes)
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const KEEPS_WAITING = new Set(["silent", "half", "drip"])

if (import.meta.main) {
  const [address = "", port = ""] = process.argv.slice(2)
  const server = createServer({ allowHalfOpen: true, noDelay: true }, serve)
  server.listen(Number(port), address, 1024, () => process.stdout.write("listening\n"))
}
