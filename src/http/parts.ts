/**
 * Writing heads: bytes into one buffer, runs of fields copied as they stand.
 */

/** Appends to a fixed buffer; what does not fit sets `isFull` and is dropped. */
export class HeadWriter {
  readonly bytes: Buffer
  readonly #base: number
  readonly #limit: number
  at = 0
  isFull = false

  /** Writes to `bytes[base … base + length)`. */
  constructor(bytes: Buffer, base: number, length: number) {
    this.bytes = bytes
    this.#base = base
    this.#limit = base + length
    this.at = base
  }

  get start(): number {
    return this.#base
  }

  get length(): number {
    return this.at - this.#base
  }

  reset(): void {
    this.at = this.#base
    this.isFull = false
  }

  /** Latin-1 text. */
  text(text: string): void {
    if (this.at + text.length > this.#limit) {
      this.isFull = true
      return
    }
    if (text.length > 24) {
      this.at += this.bytes.write(text, this.at, "latin1")
      return
    }
    for (let index = 0; index < text.length; index++) this.bytes[this.at++] = text.charCodeAt(index)
  }

  /** A range of the same or another buffer. */
  copy(source: Buffer, start: number, end: number): void {
    if (this.at + end - start > this.#limit) {
      this.isFull = true
      return
    }
    if (end - start < 12) {
      for (let at = start; at < end; at++) this.bytes[this.at++] = source[at] as number
      return
    }
    this.at += source.copy(this.bytes, this.at, start, end)
  }

  /** All of a buffer: text made bytes once, where it is written often. */
  put(bytes: Buffer): void {
    this.copy(bytes, 0, bytes.length)
  }

  field(name: string, value: string): void {
    this.text(name)
    this.text(": ")
    this.text(value)
    this.text("\r\n")
  }
}

/** Latin-1 bytes of text that is written often. */
export function bytesOf(text: string): Buffer {
  return Buffer.from(text, "latin1")
}
