/** Connects whoever comes to a unix socket with a TCP endpoint; runs inside a host (`door.ts`). */
import { connect, createServer, type Socket } from "node:net"

function main(path: string, target: string, from: string): void {
  const colon = target.lastIndexOf(":")
  const host = target.slice(0, colon).replace(/^\[|\]$/g, "")
  const endpoint = { host, port: Number(target.slice(colon + 1)) }
  const source = from === "" ? {} : { localAddress: from }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ ...endpoint, ...source, allowHalfOpen: true, noDelay: true })
    join(near, far)
    join(far, near)
  })
  server.listen(path, 1024, () => process.stdout.write("open\n"))
}

/** A FIN is passed on by `pipe`; an end without one takes the other side with it. */
function join(one: Socket, other: Socket): void {
  one.pipe(other)
  one.on("error", () => other.resetAndDestroy())
  one.on("close", (hadError) => {
    if (hadError || !one.readableEnded) other.resetAndDestroy()
  })
}

const [path = "", target = "", from = ""] = process.argv.slice(2)
if (import.meta.main) main(path, target, from)
