/** Bytes that wait for more to come: an unfinished head, or the next request. Grows by doubling. */
export class HeldBytes {
  #storage: Buffer
  length = 0

  constructor(source: Buffer, start: number, end: number) {
    this.#storage = Buffer.from(source.subarray(start, end))
    this.length = end - start
  }

  append(source: Buffer, start: number, end: number): void {
    const length = this.length + end - start
    if (length > this.#storage.length) {
      const larger = Buffer.alloc(Math.max(length, this.#storage.length * 2))
      this.copyTo(larger)
      this.#storage = larger
    }
    source.copy(this.#storage, this.length, start, end)
    this.length = length
  }

  /** Copies all to the beginning of `target`. */
  copyTo(target: Buffer): void {
    this.#storage.copy(target, 0, 0, this.length)
  }
}
