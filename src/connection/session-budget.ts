/** Open sessions of all threads against what the descriptor limit allows. */
/** The client's and the server's. */
const DESCRIPTORS_PER_SESSION = 2

export class SessionBudget {
  readonly #open: Int32Array
  readonly sessionsMax: number

  constructor(buffer: SharedArrayBuffer, sessionsMax: number) {
    this.#open = new Int32Array(buffer)
    this.sessionsMax = sessionsMax
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  }

  get open(): number {
    return Atomics.load(this.#open, 0)
  }

  /**
   * Whether `idle` descriptors beside those of sessions are better given up: sessions may take two
   * each, and an eighth of that is left for those to come.
   */
  isTightWith(idle: number): boolean {
    return this.open + idle / DESCRIPTORS_PER_SESSION > this.sessionsMax * (7 / 8)
  }

  /** Whether there was room; then the caller owes a `release`. */
  take(): boolean {
    if (Atomics.add(this.#open, 0, 1) < this.sessionsMax) return true
    this.release(1)
    return false
  }

  release(sessions: number): void {
    Atomics.sub(this.#open, 0, sessions)
  }
}
