/**
 * The chunked coding (RFC 9112 §7.1) as a scanner: it follows the framing and says where the body
 * ends, so that chunks can be passed on as they stand.
 *
 * What it accepts is exactly the grammar, within limits: at most 15 hexadecimal digits, CRLF and
 * nothing else as line end, no blank before an extension, extensions and trailers bounded. Anything
 * looser is what a parser behind us might read differently.
 */
import { CR, FIELD_VALUE, HEX, LF, SEMICOLON } from "./syntax.ts"

const SIZE_DIGITS_MAX = 13
/** Of one chunk; nobody uses them, and long ones are an attack (CVE-2023-39326 and the like). */
const EXTENSION_BYTES_MAX = 256
const TRAILER_BYTES_MAX = 16 * 1024

export type ChunkedError =
  | "bad-chunk-size"
  | "bad-chunk-extension"
  | "bad-chunk-end"
  | "bad-trailer"
  | "trailer-too-large"

const State = {
  sizeStart: 0,
  size: 1,
  extension: 2,
  sizeLf: 3,
  data: 4,
  dataCr: 5,
  dataLf: 6,
  trailerStart: 7,
  trailer: 8,
  trailerLf: 9,
  endLf: 10,
  done: 11,
} as const
type State = (typeof State)[keyof typeof State]

export class ChunkedScanner {
  /** Bytes of content seen, without the framing. */
  contentBytes = 0
  /** Where content lay in the bytes of the last `scan`. */
  readonly content: [start: number, end: number][] = []
  #state: State = State.sizeStart
  #size = 0
  #digits = 0
  #lineBytes = 0

  get isDone(): boolean {
    return this.#state === State.done
  }

  /** Of the chunk under way: so many bytes are content, whatever they are. */
  get contentLeft(): number {
    return this.#state === State.data ? this.#size : 0
  }

  /** `count` bytes of content have passed unseen (spliced); at most `contentLeft`. */
  skipContent(count: number): void {
    this.#size -= count
    this.contentBytes += count
    if (this.#size === 0) this.#state = State.dataCr
  }

  /**
   * Scans from `start`. Returns the offset of the first byte that is not of this body (`end` while
   * it goes on), or what is wrong.
   */
  scan(bytes: Uint8Array, start: number, end: number): number | ChunkedError {
    let at = start
    this.content.length = 0
    while (at < end && this.#state !== State.done) {
      if (this.#state === State.data) {
        const count = Math.min(this.#size, end - at)
        this.skipContent(count)
        this.content.push([at, at + count])
        at += count
        continue
      }
      const error = this.#step(bytes[at++] as number)
      if (error !== undefined) return error
    }
    return at
  }

  #step(byte: number): ChunkedError | undefined {
    switch (this.#state) {
      case State.sizeStart:
      case State.size:
        return this.#sizeByte(byte)
      case State.extension:
        return this.#extensionByte(byte)
      case State.sizeLf:
        return this.#sizeEnd(byte)
      case State.dataCr:
        return this.#expect(byte, CR, State.dataLf)
      case State.dataLf:
        return this.#expect(byte, LF, State.sizeStart)
      default:
        return this.#trailerByte(byte)
    }
  }

  #sizeByte(byte: number): ChunkedError | undefined {
    const digit = HEX[byte] as number
    if (this.#state === State.sizeStart) {
      if (digit === 255) return "bad-chunk-size"
      this.#state = State.size
      this.#size = 0
      this.#digits = 0
      this.#lineBytes = 0
    }
    if (digit !== 255) {
      this.#size = this.#size * 16 + digit
      return ++this.#digits > SIZE_DIGITS_MAX ? "bad-chunk-size" : undefined
    }
    if (byte === SEMICOLON) this.#state = State.extension
    else if (byte === CR) this.#state = State.sizeLf
    else return "bad-chunk-size"
    return undefined
  }

  #extensionByte(byte: number): ChunkedError | undefined {
    if (byte === CR) {
      this.#state = State.sizeLf
      return undefined
    }
    if (FIELD_VALUE[byte] === 0) return "bad-chunk-extension"
    return ++this.#lineBytes > EXTENSION_BYTES_MAX ? "bad-chunk-extension" : undefined
  }

  #sizeEnd(byte: number): ChunkedError | undefined {
    if (byte !== LF) return "bad-chunk-size"
    this.#lineBytes = 0
    this.#state = this.#size === 0 ? State.trailerStart : State.data
    return undefined
  }

  #trailerByte(byte: number): ChunkedError | undefined {
    if (++this.#lineBytes > TRAILER_BYTES_MAX) return "trailer-too-large"
    switch (this.#state) {
      case State.trailerStart:
        if (byte === CR) this.#state = State.endLf
        else if (FIELD_VALUE[byte] === 0 || byte === 0x20 || byte === 0x09) return "bad-trailer"
        else this.#state = State.trailer
        return undefined
      case State.trailer:
        if (byte === CR) this.#state = State.trailerLf
        else if (FIELD_VALUE[byte] === 0) return "bad-trailer"
        return undefined
      case State.trailerLf:
        return byte === LF ? this.#enter(State.trailerStart) : "bad-trailer"
      default:
        return byte === LF ? this.#enter(State.done) : "bad-trailer"
    }
  }

  #expect(byte: number, wanted: number, next: State): ChunkedError | undefined {
    return byte === wanted ? this.#enter(next) : "bad-chunk-end"
  }

  #enter(state: State): undefined {
    this.#state = state
    return undefined
  }
}
