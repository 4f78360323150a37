/**
 * How long the body of a message is (RFC 9112 §6.3), and following it to its end.
 */
import { type ChunkedError, ChunkedScanner } from "./chunked.ts"
import type { RequestHead, ResponseHead } from "./head.ts"

export type Framing = "none" | "length" | "chunked" | "until-close"

/** Follows one body through the reads it arrives in. */
export class BodyCursor {
  framing: Framing
  /** Bytes of content that are still to come, with framing "length". */
  left: number
  /** Content that has passed. */
  contentBytes = 0
  readonly #scanner: ChunkedScanner | undefined

  /** `notesContent`: for somebody who takes the chunks apart, see `lastContent`. */
  constructor(framing: Framing, length: number, notesContent = false) {
    this.framing = framing === "length" && length === 0 ? "none" : framing
    this.left = framing === "length" ? length : 0
    this.#scanner = framing === "chunked" ? new ChunkedScanner({ notesContent }) : undefined
  }

  get isDone(): boolean {
    if (this.#scanner !== undefined) return this.#scanner.isDone
    return this.framing !== "until-close" && this.left === 0
  }

  /** Offset after the part of `bytes[start…end)` that belongs to the body, or what is wrong. */
  take(bytes: Uint8Array, start: number, end: number): number | ChunkedError {
    if (this.#scanner !== undefined) {
      const result = this.#scanner.scan(bytes, start, end)
      this.contentBytes = this.#scanner.contentBytes
      return result
    }
    if (this.framing === "none") return start
    const count = this.framing === "length" ? Math.min(this.left, end - start) : end - start
    this.pass(count)
    return start + count
  }

  /** Where the insides of chunks lay in the bytes of the last `take`. */
  get lastContent(): readonly (readonly [start: number, end: number])[] {
    return this.#scanner?.content ?? NOTHING
  }

  /** Bytes that may pass without being looked at (to be spliced). */
  get blindBytes(): number {
    if (this.framing === "length") return this.left
    return this.framing === "until-close" ? Number.POSITIVE_INFINITY : 0
  }

  /** `count` bytes of content have passed. */
  pass(count: number): void {
    this.contentBytes += count
    if (this.framing === "length") this.left -= count
  }
}

const NOTHING: readonly (readonly [number, number])[] = []

/** Shared by all messages without a body. */
export const NO_BODY = new BodyCursor("none", 0)

export function requestBody(head: RequestHead): BodyCursor {
  if (head.isChunked) return new BodyCursor("chunked", 0)
  return head.contentLength > 0 ? new BodyCursor("length", head.contentLength) : NO_BODY
}

/**
 * The response to HEAD has the fields of a body and none. `decodes`: chunks will be taken apart.
 */
export function responseBody(
  head: ResponseHead,
  request: { readonly method: string; readonly decodes: boolean },
): BodyCursor {
  const { status } = head
  if (request.method === "HEAD" || status === 204 || status === 304 || status < 200) return NO_BODY
  if (head.isChunked) return new BodyCursor("chunked", 0, request.decodes)
  if (head.contentLength >= 0) {
    return head.contentLength === 0 ? NO_BODY : new BodyCursor("length", head.contentLength)
  }
  return new BodyCursor("until-close", 0)
}
