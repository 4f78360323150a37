/**
 * Reads one HTTP/1.x response to a check: the status, and the body where somebody asks for it.
 *
 * Bytes in by `push`, in any portions; `end` when the server closes. After each call `state` is
 * "head" or "body" while more is needed, then "done" or "failed". Interim responses are passed over
 * (RFC 9110 §15.2). Framing follows RFC 9112 §6.3: chunked, Content-Length, else until close. A
 * body beyond `bodyBytesMax` is cut there, not refused: a check looks for a word, not the whole.
 */
export interface HttpResponseOptions {
  /** Stop after the head. */
  readonly isBodyWanted: boolean
  readonly bodyBytesMax: number
}

export type HttpResponseState = "head" | "body" | "done" | "failed"

export class HttpResponseReader {
  state: HttpResponseState = "head"
  /** Status code; 0 until the head is read. */
  status = 0
  /** Why `state` is "failed". */
  reason = ""
  readonly #options: HttpResponseOptions
  #pending = Buffer.alloc(0)
  #body: Uint8Array[] = []
  #bodyBytes = 0
  #framing: "length" | "chunked" | "close" = "close"
  /** Of the body or of the chunk. */
  #remaining = 0
  #chunkPart: "size" | "data" | "data-end" = "size"

  constructor(options: HttpResponseOptions) {
    this.#options = options
  }

  push(bytes: Uint8Array): void {
    if (this.#isOver()) return
    this.#pending = Buffer.concat([this.#pending, bytes])
    while (this.#step());
  }

  /** The server has closed its side. */
  end(): void {
    if (this.#isOver()) return
    if (this.state === "body" && this.#framing === "close") this.state = "done"
    else this.#fail(this.state === "head" ? "closed without a response" : "closed within the body")
  }

  /** UTF-8, malformed bytes replaced. */
  body(): string {
    return new TextDecoder().decode(Buffer.concat(this.#body))
  }

  /** Consumes something of `#pending`; false when it needs more. */
  #step(): boolean {
    if (this.state === "head") return this.#readHead()
    if (this.state !== "body" || this.#pending.length === 0) return false
    switch (this.#framing) {
      case "close":
        return this.#takeBody(this.#pending.length)
      case "length":
        return this.#takeCounted("done")
      case "chunked":
        return this.#readChunk()
    }
  }

  #readHead(): boolean {
    const end = this.#pending.indexOf("\r\n\r\n")
    if (end < 0 || end > HEAD_BYTES_MAX) return this.#checkHead()
    const [statusLine = "", ...fields] = this.#pending.toString("latin1", 0, end).split("\r\n")
    const status = STATUS_LINE.exec(statusLine)?.[1]
    if (status === undefined) return this.#fail("not an HTTP response")
    this.#pending = this.#pending.subarray(end + 4)
    this.status = Number(status)
    if (this.status < 200 && this.status !== 101) return true
    return this.#startBody(fields)
  }

  /** Tells a wrong protocol by its first bytes instead of waiting for more of it. */
  #checkHead(): boolean {
    const start = this.#pending.toString("latin1", 0, PROTOCOL.length)
    if (!PROTOCOL.startsWith(start)) return this.#fail("not an HTTP response")
    // The end of a head of just the allowed size may be cut off by three bytes.
    if (this.#pending.length > HEAD_BYTES_MAX + 3)
      return this.#fail("the response head is too large")
    return false
  }

  #startBody(fields: readonly string[]): boolean {
    const hasNoBody = this.status === 101 || this.status === 204 || this.status === 304
    if (!this.#options.isBodyWanted || hasNoBody) return this.#finish()
    this.state = "body"
    const codings = fieldValue(fields, "transfer-encoding")
    const length = fieldValue(fields, "content-length")
    if (codings !== undefined) {
      this.#framing = /(^|[,\s])chunked$/i.test(codings) ? "chunked" : "close"
    } else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) return this.#fail("Content-Length is not a number")
      this.#framing = "length"
      this.#remaining = Number(length)
      if (this.#remaining === 0) return this.#finish()
    }
    return true
  }

  #readChunk(): boolean {
    if (this.#chunkPart === "data") return this.#takeCounted("data-end")
    const end = this.#pending.indexOf("\r\n")
    if (end < 0 || end > CHUNK_LINE_BYTES_MAX) {
      if (this.#pending.length > CHUNK_LINE_BYTES_MAX + 1) return this.#fail("malformed chunk")
      return false
    }
    const line = this.#pending.toString("latin1", 0, end)
    this.#pending = this.#pending.subarray(end + 2)
    if (this.#chunkPart === "data-end") {
      this.#chunkPart = "size"
      return line === "" || this.#fail("malformed chunk")
    }
    const size = CHUNK_SIZE.exec(line)?.[1]
    if (size === undefined) return this.#fail("malformed chunk")
    this.#remaining = Number.parseInt(size, 16)
    if (this.#remaining === 0) return this.#finish() // trailers tell a check nothing
    this.#chunkPart = "data"
    return true
  }

  #takeCounted(next: "done" | "data-end"): boolean {
    const bytes = Math.min(this.#remaining, this.#pending.length)
    if (bytes === 0) return false
    this.#remaining -= bytes
    const goesOn = this.#takeBody(bytes)
    if (this.#remaining > 0 || !goesOn) return goesOn
    if (next === "done") return this.#finish()
    this.#chunkPart = next
    return true
  }

  #takeBody(bytes: number): boolean {
    const kept = Math.min(bytes, this.#options.bodyBytesMax - this.#bodyBytes)
    this.#body.push(this.#pending.subarray(0, kept))
    this.#bodyBytes += kept
    this.#pending = this.#pending.subarray(bytes)
    return this.#bodyBytes < this.#options.bodyBytesMax || this.#finish()
  }

  #isOver(): boolean {
    return this.state === "done" || this.state === "failed"
  }

  #finish(): false {
    this.state = "done"
    return false
  }

  #fail(reason: string): false {
    this.state = "failed"
    this.reason = reason
    return false
  }
}

/** All fields of that name as one list (RFC 9110 §5.3), or undefined. */
function fieldValue(fields: readonly string[], name: string): string | undefined {
  const values = fields.flatMap((field) => {
    const colon = field.indexOf(":")
    return field.slice(0, colon).toLowerCase() === name ? [field.slice(colon + 1).trim()] : []
  })
  return values.length === 0 ? undefined : values.join(", ")
}

const PROTOCOL = "HTTP/1."
const STATUS_LINE = /^HTTP\/1\.[01] ([1-9]\d\d)(?: |$)/
const CHUNK_SIZE = /^([0-9a-f]{1,8})[ \t]*(?:;|$)/i
const CHUNK_LINE_BYTES_MAX = 1024
/** nginx and HAProxy accept heads of 4–16 KiB from servers. */
const HEAD_BYTES_MAX = 16 * 1024
