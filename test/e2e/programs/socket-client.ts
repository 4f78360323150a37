/**
 * WebSocket clients, on Bun's own implementation, that check every echo byte for byte. Runs as a
 * program of its own inside a host.
 *
 * Prints one JSON object a line: `open` when all are, `echoed` after SIGUSR1 (each socket sends one
 * small, one middling and one large message and has had them back), and `report` at SIGTERM, when
 * each has said good-bye.
 */
export interface SocketOptions {
  readonly url: string
  readonly host: string
  readonly sockets: number
  /** Of the large message. */
  readonly bytes: number
}

export interface SocketReport {
  readonly open: number
  readonly echoed: number
  /** Codes of those that ended before they were told to. */
  readonly ended: readonly number[]
  /** Code and reason that answered the good-bye, for each. */
  readonly goodbyes: readonly string[]
}

class Client {
  readonly #socket: WebSocket
  readonly opened: Promise<unknown>
  readonly #closed = Promise.withResolvers<string>()
  #expected: (Uint8Array | string)[] = []
  #done = Promise.withResolvers<void>()
  isOpen = false
  echoed = 0
  endedWith: number | undefined
  mistakes = 0

  constructor({ url, host }: SocketOptions) {
    const { promise, resolve } = Promise.withResolvers<unknown>()
    this.opened = promise
    // Certificates are the subject of other tests.
    const tls = { rejectUnauthorized: false }
    this.#socket = new WebSocket(url, { protocols: ["echo"], headers: { Host: host }, tls })
    this.#socket.binaryType = "arraybuffer"
    this.#socket.onmessage = ({ data }) => {
      if (data !== "welcome") return this.#hear(data)
      this.isOpen = this.#socket.protocol === "echo"
      resolve(undefined)
    }
    this.#socket.onclose = ({ code, reason }) => {
      this.isOpen = false
      this.endedWith = code
      this.#closed.resolve(`${code} ${reason}`)
      this.#done.resolve()
      resolve(undefined)
    }
  }

  async echo(messages: readonly (Uint8Array<ArrayBuffer> | string)[]): Promise<void> {
    this.#done = Promise.withResolvers()
    this.#expected = [...messages]
    for (const message of messages) this.#socket.send(message)
    await this.#done.promise
  }

  async goodbye(): Promise<string> {
    this.#socket.send("bye")
    return this.#closed.promise
  }

  #hear(data: string | ArrayBuffer): void {
    const expected = this.#expected.shift()
    const isSame =
      typeof expected === "string"
        ? data === expected
        : expected !== undefined && Buffer.from(data as ArrayBuffer).equals(expected)
    if (isSame) this.echoed += 1
    else this.mistakes += 1
    if (this.#expected.length === 0) this.#done.resolve()
  }
}

async function main(options: SocketOptions): Promise<void> {
  const clients = Array.from({ length: options.sockets }, () => new Client(options))
  const large = crypto.getRandomValues(new Uint8Array(64 * 1024))
  const messages = [
    "small",
    large.slice(0, 1000),
    new Uint8Array(Buffer.alloc(options.bytes, large)),
  ]
  const open = () => clients.filter(({ isOpen }) => isOpen)
  process.on("SIGUSR1", async () => {
    const asked = open()
    const before = asked.map(({ echoed }) => echoed)
    await Promise.all(asked.map((client) => client.echo(messages)))
    const answered = asked.filter(({ echoed }, at) => echoed === (before[at] ?? 0) + 3).length
    print({ echoed: { open: asked.length, answered } })
  })
  process.on("SIGTERM", async () => {
    const ended = clients.flatMap(({ endedWith }) => endedWith ?? [])
    const goodbyes = await Promise.all(open().map((client) => client.goodbye()))
    const echoed = clients.reduce((sum, client) => sum + client.echoed, 0)
    print({ report: { open: goodbyes.length, echoed, ended, goodbyes } })
    process.exit(0)
  })
  await Promise.all(clients.map(({ opened }) => opened))
  print({ open: open().length })
  setInterval(() => {}, 60_000)
}

function print(message: unknown): void {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}

if (import.meta.main) await main(JSON.parse(process.argv[2] ?? "{}"))
