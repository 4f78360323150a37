/**
 * Bytes that wait: an unfinished head, or the requests behind the one that is being answered. Taken
 * from the front without moving the rest, because a client may send thousands of requests at once.
 */
export class HeldBytes {
  storage: Buffer
  start = 0
  end: number

  constructor(source: Buffer, start: number, end: number) {
    this.storage = Buffer.from(source.subarray(start, end))
    this.end = end - start
  }

  get length(): number {
    return this.end - this.start
  }

  append(source: Buffer, start: number, end: number): void {
    const length = this.length + end - start
    if (this.start + length > this.storage.length) {
      const larger = Buffer.alloc(Math.max(length, this.length * 2))
      this.copyTo(larger)
      this.storage = larger
      this.end = this.length
      this.start = 0
    }
    source.copy(this.storage, this.end, start, end)
    this.end += end - start
  }

  /** Copies all to the beginning of `target`. */
  copyTo(target: Buffer): void {
    this.storage.copy(target, 0, this.start, this.end)
  }
}
