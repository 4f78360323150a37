/**
 * A TCP server that says who it is: sends its name and a line feed to whoever connects, then echoes
 * what it receives. Ends a connection when the client has ended its half and all is echoed. Runs as
 * a program of its own inside a host (see `servers.ts`).
 */
import { createServer } from "node:net"

function main(name: string, address: string, port: number): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.write(`${name}\n`)
    socket.pipe(socket)
    // A reset by the client is its right; the connection is gone and nothing else is concerned.
    socket.on("error", () => socket.destroy())
  })
  server.listen(port, address, 1024, () => {
    const bound = server.address()
    const boundPort = typeof bound === "object" ? bound?.port : undefined
    process.stdout.write(`listening on port ${boundPort}\n`)
  })
}

const [name = "", address = "", port = ""] = process.argv.slice(2)
if (import.meta.main) main(name, address, Number(port))
