/**
 * The chunked coding (RFC 9112 §7.1) as a scanner: it follows the framing and says where the body
 * ends, so that chunks can be passed on as they stand.
 *
 * What it accepts is exactly the grammar, within limits: at most 13 hexadecimal digits, CRLF and
 * nothing else as line end, no blank before an extension, extensions and trailers bounded. Anything
 * looser is what a parser behind us might read differently.
 *
 * Trailers go on like everything else, but for those with the name of a field that the proxy itself
 * acts on: whoever merges trailers into the head (RFC 9110 §6.5.1 warns of it) would let a client
 * write there what it may not write into the head.
 */
import { numberOf } from "./field.ts"
import { OTHER_FIELD } from "./field-names.ts"
import { COLON, CR, FIELD_VALUE, HEX, LF, NAME, SEMICOLON } from "./syntax.ts"

/** 52 bits: sizes stay exact numbers. */
const SIZE_DIGITS_MAX = 13
/** Of one chunk; nobody uses them, and long ones are an attack (CVE-2023-39326 and the like). */
const EXTENSION_BYTES_MAX = 256
const TRAILER_BYTES_MAX = 16 * 1024
/** Longer names are none of ours. */
const TRAILER_NAME_KEPT = 64

export type ChunkedError =
  | "bad-chunk-size"
  | "bad-chunk-extension"
  | "bad-chunk-end"
  | "bad-trailer"
  | "forbidden-trailer"
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
  trailerName: 8,
  trailerValue: 9,
  trailerLf: 10,
  endLf: 11,
  done: 12,
} as const
type State = (typeof State)[keyof typeof State]

export class ChunkedScanner {
  /** Bytes of content seen, without the framing. */
  contentBytes = 0
  /** Where content lay in the bytes of the last `scan`, for those who asked for it. */
  readonly content: [start: number, end: number][] | undefined
  #state: State = State.sizeStart
  /** Of the chunk under way: what is still to come. */
  #left = 0
  #digits = 0
  #lineBytes = 0
  #trailerName = ""

  constructor(options: { readonly notesContent: boolean }) {
    this.content = options.notesContent ? [] : undefined
  }

  get isDone(): boolean {
    return this.#state === State.done
  }

  /**
   * Scans from `start`. Returns the offset of the first byte that is not of this body (`end` while
   * it goes on), or what is wrong.
   */
  scan(bytes: Uint8Array, start: number, end: number): number | ChunkedError {
    let at = start
    if (this.content !== undefined) this.content.length = 0
    while (at < end && this.#state !== State.done) {
      if (this.#state === State.data) at = this.#data(at, end)
      else {
        const error = this.#step(bytes[at++] as number)
        if (error !== undefined) return error
      }
    }
    return at
  }

  #data(at: number, end: number): number {
    const count = Math.min(this.#left, end - at)
    this.#left -= count
    this.contentBytes += count
    this.content?.push([at, at + count])
    if (this.#left === 0) this.#state = State.dataCr
    return at + count
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
      this.#left = 0
      this.#digits = 0
      this.#lineBytes = 0
    }
    if (digit !== 255) {
      this.#left = this.#left * 16 + digit
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
    this.#state = this.#left === 0 ? State.trailerStart : State.data
    return undefined
  }

  #trailerByte(byte: number): ChunkedError | undefined {
    if (++this.#lineBytes > TRAILER_BYTES_MAX) return "trailer-too-large"
    switch (this.#state) {
      case State.trailerStart:
        this.#trailerName = ""
        if (byte === CR) return this.#enter(State.endLf)
        this.#state = State.trailerName
        return byte === COLON ? "bad-trailer" : this.#trailerNameByte(byte)
      case State.trailerName:
        return this.#trailerNameByte(byte)
      case State.trailerValue:
        if (byte === CR) return this.#enter(State.trailerLf)
        return FIELD_VALUE[byte] === 0 ? "bad-trailer" : undefined
      case State.trailerLf:
        return byte === LF ? this.#enter(State.trailerStart) : "bad-trailer"
      default:
        return byte === LF ? this.#enter(State.done) : "bad-trailer"
    }
  }

  #trailerNameByte(byte: number): ChunkedError | undefined {
    if (byte === COLON) {
      if (numberOf(this.#trailerName) !== OTHER_FIELD) return "forbidden-trailer"
      return this.#enter(State.trailerValue)
    }
    const folded = NAME[byte] as number
    if (folded === 0) return "bad-trailer"
    if (this.#trailerName.length < TRAILER_NAME_KEPT) {
      this.#trailerName += String.fromCharCode(folded)
    }
    return undefined
  }

  #expect(byte: number, wanted: number, next: State): ChunkedError | undefined {
    return byte === wanted ? this.#enter(next) : "bad-chunk-end"
  }

  #enter(state: State): undefined {
    this.#state = state
    return undefined
  }
}
