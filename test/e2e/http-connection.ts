/**
 * An HTTP/1.1 client that hides nothing: it sends the bytes it is given and shows what came back,
 * interim responses, repeated fields and trailers included. Speaks through a door (`lab/door.ts`).
 */
import { connect, type Socket } from "node:net"

export interface Answer {
  readonly version: string
  readonly status: number
  readonly reason: string
  /** As received. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
  readonly trailers: readonly (readonly [name: string, value: string])[]
  /** 1xx responses that came before. */
  readonly interim: readonly number[]
}

export interface Question {
  readonly method?: string
  readonly host?: string
  readonly path?: string
  readonly headers?: readonly string[] | Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

/** One request on a connection of its own. */
export async function ask(door: string, question: Question = {}): Promise<Answer> {
  const connection = await HttpConnection.open(door)
  try {
    return await connection.ask(question)
  } finally {
    connection.close()
  }
}

/** The field's value; several are joined as RFC 9110 §5.3 allows. */
export function fieldOf(answer: Answer, name: string): string | undefined {
  const values = valuesOf(answer, name)
  return values.length === 0 ? undefined : values.join(", ")
}

export function valuesOf({ fields }: Pick<Answer, "fields">, name: string): string[] {
  return fields.flatMap(([each, value]) =>
    each.toLowerCase() === name.toLowerCase() ? [value] : [],
  )
}

export class HttpConnection implements Disposable {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #ending: "finished" | "reset" | undefined
  #wake: () => void = () => {}

  static open(door: string): Promise<HttpConnection> {
    const { promise, resolve, reject } = Promise.withResolvers<HttpConnection>()
    const socket = connect({ path: door, allowHalfOpen: true })
    socket.once("error", reject)
    socket.once("connect", () => resolve(new HttpConnection(socket)))
    return promise
  }

  constructor(socket: Socket) {
    this.#socket = socket
    socket.on("data", (chunk) => {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk, "latin1") : chunk
      this.#received = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes])
      this.#wake()
    })
    socket.on("end", () => this.#ended("finished"))
    socket.on("error", () => this.#ended("reset"))
    socket.on("close", () => this.#ended("reset"))
  }

  /** Bytes received and not taken yet. */
  get waiting(): Buffer {
    return this.#received
  }

  send(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes)
  }

  /** FIN: nothing more will be sent. */
  finish(): void {
    this.#socket.end()
  }

  close(): void {
    this.#socket.destroy()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  ask(question: Question = {}): Promise<Answer> {
    this.send(requestBytes(question))
    return this.answer(question.method)
  }

  /** The next response. Throws when the connection ends within it, or before. */
  async answer(method = "GET", timeoutMs = 15_000): Promise<Answer> {
    const giveUpAt = performance.now() + timeoutMs
    const interim: number[] = []
    for (;;) {
      const head = await this.head(giveUpAt)
      if (head.status >= 200 || head.status === 101) {
        const { body, trailers } = await this.#body(head, method, giveUpAt)
        return { ...head, body, trailers, interim }
      }
      interim.push(head.status)
    }
  }

  async head(
    giveUpAt = performance.now() + 15_000,
  ): Promise<Pick<Answer, "version" | "status" | "reason" | "fields">> {
    const [statusLine = "", ...lines] = (await this.#takeUntil("\r\n\r\n", giveUpAt)).split("\r\n")
    const match = /^(HTTP\/\d\.\d) (\d{3}) (.*)$/.exec(statusLine)
    if (match === null) throw new Error(`Not a status line: ${JSON.stringify(statusLine)}`)
    const [, version = "", status, reason = ""] = match
    return { version, status: Number(status), reason, fields: lines.map(fieldFrom) }
  }

  /** The next `length` bytes. */
  async take(length: number, giveUpAt = performance.now() + 15_000): Promise<Buffer> {
    await this.#until(() => this.#received.length >= length, giveUpAt, `${length} bytes`)
    const taken = this.#received.subarray(0, length)
    this.#received = this.#received.subarray(length)
    return taken
  }

  /** How the other side ended the connection. */
  async ended(timeoutMs = 15_000): Promise<"finished" | "reset"> {
    const giveUpAt = performance.now() + timeoutMs
    while (this.#ending === undefined) await this.#wait(giveUpAt, "the end of the connection")
    return this.#ending
  }

  async #body(
    { status, fields }: Pick<Answer, "status" | "fields">,
    method: string,
    giveUpAt: number,
  ): Promise<Pick<Answer, "body" | "trailers">> {
    const isBodiless = method === "HEAD" || status < 200 || status === 204 || status === 304
    if (isBodiless) return { body: Buffer.alloc(0), trailers: [] }
    const [coding] = valuesOf({ fields }, "transfer-encoding")
    if (coding !== undefined) return this.#chunkedBody(giveUpAt)
    const [length] = valuesOf({ fields }, "content-length")
    if (length !== undefined) {
      return { body: await this.take(Number(length), giveUpAt), trailers: [] }
    }
    while (this.#ending === undefined) await this.#wait(giveUpAt, "the end of the body")
    if (this.#ending === "reset") throw new Error("Reset within a body")
    return { body: await this.take(this.#received.length), trailers: [] }
  }

  async #chunkedBody(giveUpAt: number): Promise<Pick<Answer, "body" | "trailers">> {
    const parts: Buffer[] = []
    for (;;) {
      const size = Number.parseInt(await this.#takeUntil("\r\n", giveUpAt), 16)
      if (size === 0) break
      parts.push(await this.take(size, giveUpAt))
      await this.take(2, giveUpAt)
    }
    const trailers: (readonly [string, string])[] = []
    for (;;) {
      const line = await this.#takeUntil("\r\n", giveUpAt)
      if (line === "") return { body: Buffer.concat(parts), trailers }
      trailers.push(fieldFrom(line))
    }
  }

  async #takeUntil(mark: string, giveUpAt: number): Promise<string> {
    const isThere = () => this.#received.includes(mark)
    await this.#until(isThere, giveUpAt, `${JSON.stringify(mark)}`)
    const end = this.#received.indexOf(mark)
    const text = this.#received.toString("latin1", 0, end)
    this.#received = this.#received.subarray(end + mark.length)
    return text
  }

  async #until(isThere: () => boolean, giveUpAt: number, what: string): Promise<void> {
    while (!isThere()) {
      if (this.#ending !== undefined) {
        const rest = this.#received.toString("latin1", 0, 200)
        throw new Error(`${this.#ending} before ${what}; received ${JSON.stringify(rest)}`)
      }
      await this.#wait(giveUpAt, what)
    }
  }

  /** Until something has come. */
  async #wait(giveUpAt: number, what: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<"came">()
    this.#wake = () => resolve("came")
    const leftMs = giveUpAt - performance.now()
    const timer = setTimeout(this.#wake, Math.max(0, leftMs))
    await promise
    clearTimeout(timer)
    if (performance.now() >= giveUpAt) throw new Error(`Timed out waiting for ${what}`)
  }

  #ended(how: "finished" | "reset"): void {
    this.#ending ??= how
    this.#wake()
  }
}

/** The bytes of a request. */
export function requestBytes(question: Question): Buffer {
  const { method = "GET", host = "k8s.com", path = "/", headers = {}, body } = question
  const lines = Array.isArray(headers)
    ? headers
    : Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  const bytes = typeof body === "string" ? Buffer.from(body, "latin1") : body
  const length = bytes === undefined ? [] : [`Content-Length: ${bytes.length}`]
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines, ...length, "", ""]
  return Buffer.concat([Buffer.from(head.join("\r\n"), "latin1"), bytes ?? Buffer.alloc(0)])
}

function fieldFrom(line: string): readonly [string, string] {
  const colon = line.indexOf(":")
  return [line.slice(0, colon), line.slice(colon + 1).trim()]
}
