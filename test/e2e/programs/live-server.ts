/**
 * A server of what stays open: WebSocket echo at `/socket`, server-sent events at `/events`, a long
 * poll at `/poll`, and `/echo`, which answers as it hears; on Bun's own HTTP server. Runs as a
 * program of its own inside a host.
 *
 * SIGUSR1 sends the next event to everyone who listens, and ends every poll.
 */
interface Listener {
  readonly controller: ReadableStreamDefaultController<Uint8Array>
  sent: number
}

function main(hostname: string, port: number): void {
  const listeners = new Set<Listener>()
  const polls = new Set<(answer: Response) => void>()
  Bun.serve({
    hostname,
    port,
    idleTimeout: 0,
    fetch(request, server) {
      const { pathname } = new URL(request.url)
      if (pathname === "/socket") {
        const headers = { "Sec-WebSocket-Protocol": "echo" }
        return server.upgrade(request, { headers }) ? undefined : new Response("", { status: 400 })
      }
      if (pathname === "/events") return events(listeners)
      if (pathname === "/echo") return new Response(request.body)
      if (pathname === "/poll") return new Promise<Response>((resolve) => polls.add(resolve))
      return new Response("live\n")
    },
    websocket: {
      idleTimeout: 0,
      sendPings: false,
      maxPayloadLength: 64 * 1024 * 1024,
      open: (socket) => void socket.send("welcome"),
      message(socket, message) {
        if (message === "bye") socket.close(4000, "as you wish")
        else socket.send(message)
      },
      close: (_, code) => print({ closed: code }),
    },
  })
  process.on("SIGUSR1", () => {
    for (const listener of listeners) {
      listener.sent += 1
      listener.controller.enqueue(encode(`data: ${listener.sent}\n\n`))
    }
    for (const resolve of polls) resolve(new Response("polled\n"))
    polls.clear()
    print({ told: listeners.size })
  })
  process.stdout.write("listening\n")
}

function events(listeners: Set<Listener>): Response {
  let mine: Listener | undefined
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      mine = { controller, sent: 0 }
      listeners.add(mine)
      controller.enqueue(encode(": hello\n\n"))
    },
    cancel() {
      if (mine !== undefined) listeners.delete(mine)
      print({ left: "events" })
    },
  })
  return new Response(stream, { headers: { "Content-Type": "text/event-stream" } })
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

const [hostname = "", port = ""] = process.argv.slice(2)
if (import.meta.main) main(hostname, Number(port))
