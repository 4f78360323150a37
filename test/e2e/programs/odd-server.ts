/**
 * Servers with manners of their own, by the word they are started with. Runs as a program of its
 * own inside a host.
 *
 * - `watch` echoes, and prints when and how each connection ends
 * - `flood` sends without end to whoever connects
 * - `stall` accepts and never reads
 * - `silent` accepts, reads, and never says a word
 * - `reset` answers the first bytes it gets with RST
 */
import { createServer, type Socket } from "node:net"
import { epochMs } from "../../lab/wait.ts"

/** What `watch` prints. */
export interface WatchedEnd {
  /** Wall-clock milliseconds. */
  readonly atMs: number
  /** `closed` (FIN) or an error's code. */
  readonly how: string
}

const MANNERS: Readonly<Record<string, (socket: Socket) => void>> = {
  watch: (socket) => {
    let how = "closed"
    socket.on("error", (error: NodeJS.ErrnoException) => {
      how = error.code ?? "error"
    })
    socket.on("close", () => {
      const end: WatchedEnd = { atMs: epochMs(), how }
      process.stdout.write(`${JSON.stringify({ end })}\n`)
    })
    socket.write("watch\n")
    socket.pipe(socket)
  },
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
  const server = createServer({ allowHalfOpen: manners === "watch" }, (socket) => {
    socket.on("error", () => socket.destroy())
    behave(socket)
  })
  server.listen(port, address, 1024, () => process.stdout.write(`listening on port ${port}\n`))
}

const CHUNK = Buffer.alloc(64 * 1024)

const [manners = "", address = "", port = ""] = process.argv.slice(2)
if (import.meta.main) main(manners, address, Number(port))
