/**
 * Servers with bad manners, by the word they are started with. Runs as a program of its own inside
 * a host.
 *
 * - `flood` sends without end to whoever connects
 * - `stall` accepts and never reads
 * - `silent` accepts, reads, and never says a word
 * - `reset` answers the first bytes it gets with RST
 */
import { createServer, type Socket } from "node:net"

const MANNERS: Readonly<Record<string, (socket: Socket) => void>> = {
  flood: (socket) => {
    const pour = () => {
      while (!socket.destroyed && socket.write(CHUNK));
    }
    socket.on("drain", pour)
    pour()
  },
  stall: (socket) => {
    socket.pause()
  },
  silent: (socket) => {
    socket.resume()
  },
  reset: (socket) => {
    socket.once("data", () => socket.resetAndDestroy())
  },
}

function main(manners: string, address: string, port: number): void {
  const behave = MANNERS[manners]
  if (behave === undefined) throw new Error(`no manners called ${manners}`)
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy())
    behave(socket)
  })
  server.listen(port, address, 1024, () => process.stdout.write(`listening on port ${port}\n`))
}

const CHUNK = Buffer.alloc(64 * 1024)

const [manners = "", address = "", port = ""] = process.argv.slice(2)
if (import.meta.main) main(manners, address, Number(port))
