/**
 * A program that makes TLS connections from the beginning: each a full handshake, one request, its
 * answer, and the end. (wrk resumes its sessions, and `openssl s_time` asks without a Host.)
 * Argument: JSON `HandshakeOptions`. Writes "done N".
 */

export interface HandshakeOptions {
  /** ADDRESS:PORT */
  readonly target: string
  readonly serverName: string
  readonly connections: number
  /** At the same time. */
  readonly concurrency: number
  /** The text of a request that ends its connection. */
  readonly request: string
}

async function main(options: HandshakeOptions): Promise<void> {
  let started = 0
  const worker = async () => {
    while (started < options.connections) {
      started += 1
      const answer = await exchange(options)
      if (!answer.startsWith("HTTP/1.1 200 ")) throw new Error(`Answered: ${answer.slice(0, 200)}`)
    }
  }
  await Promise.all(Array.from({ length: options.concurrency }, worker))
  process.stdout.write(`done ${started}\n`)
}

/** Resolves with the answer when the connection has ended. */
async function exchange({ target, serverName, request }: HandshakeOptions): Promise<string> {
  const [hostname = "", port] = target.split(":")
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let answer = ""
  await Bun.connect({
    hostname,
    port: Number(port),
    tls: { serverName, rejectUnauthorized: false },
    socket: {
      handshake: (socket) => void socket.write(request),
      data: (_socket, bytes) => {
        answer += bytes.toString("latin1")
      },
      end: (socket) => void socket.end(),
      close: () => resolve(answer),
      error: (_socket, error) => reject(error),
      connectError: (_socket, error) => reject(error),
    },
  })
  return promise
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? ""))
