/**
 * Open sessions of all threads against what the descriptor limit allows. Listening sockets come and
 * go with the configuration and the cluster: control says how many there are, and what they take is
 * not there for sessions.
 */
export class SessionBudget {
  readonly #cells: Int32Array
  /** Were there no listening socket. */
  readonly #sessionsMax: number

  constructor(buffer: SharedArrayBuffer, sessionsMax: number) {
    this.#cells = new Int32Array(buffer)
    this.#sessionsMax = sessionsMax
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(CELLS * Int32Array.BYTES_PER_ELEMENT)
  }

  get open(): number {
    return Atomics.load(this.#cells, OPEN)
  }

  get sessionsMax(): number {
    const withheld = Math.ceil(Atomics.load(this.#cells, LISTENING) / DESCRIPTORS_PER_SESSION)
    return Math.max(1, this.#sessionsMax - withheld)
  }

  /** So many listening sockets are open now. */
  setListening(sockets: number): void {
    Atomics.store(this.#cells, LISTENING, sockets)
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
    if (Atomics.add(this.#cells, OPEN, 1) < this.sessionsMax) return true
    this.release(1)
    return false
  }

  release(sessions: number): void {
    Atomics.sub(this.#cells, OPEN, sessions)
  }
}

const OPEN = 0
const LISTENING = 1
const CELLS = 2
/** The client's and the server's. */
const DESCRIPTORS_PER_SESSION = 2
