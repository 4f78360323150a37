/**
 * A program that opens connections, has one small request answered on each, and keeps them open
 * without a word until SIGTERM: what a pool of database clients looks like from the proxy.
 * Argument: JSON `IdleOptions`. Writes "idle N" when all are quiet.
 */

export interface IdleOptions {
  /** ADDRESS:PORT */
  readonly target: string
  readonly connections: number
  readonly request: string
}

async function main({ target, connections, request }: IdleOptions): Promise<void> {
  for (let opened = 0; opened < connections; opened += OPENING_MAX) {
    const batch = Math.min(OPENING_MAX, connections - opened)
    await Promise.all(Array.from({ length: batch }, () => exchange(target, request)))
  }
  process.stdout.write(`idle ${connections}\n`)
}

/** Resolves at the first bytes of the answer; the connection stays open. */
async function exchange(target: string, request: string): Promise<void> {
  const [hostname = "", port] = target.split(":")
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const ended = () => {
    process.stderr.write("a connection ended\n")
    process.exit(1)
  }
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open: (socket) => void socket.write(request),
      data: () => resolve(),
      connectError: (_socket, error) => reject(error),
      close: ended,
    },
  })
  await promise
}

/** Opened at the same time: below the backlog of every listener. */
const OPENING_MAX = 100

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? ""))
