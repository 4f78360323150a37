/**
 * Signs of life of a thread: it counts, the control thread watches the count move. Beside the count
 * stands by what number the kernel knows the thread. One cell goes the other way: set, it tells a
 * thread that was given up as hung, and has come to after all, that another has taken its place.
 */
const BEATS = 0
const RETIRED = 1
const THREAD_ID = 2
const CELLS = 3

export class Heartbeat {
  readonly buffer: SharedArrayBuffer
  readonly #cells: Int32Array

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(CELLS * 4)) {
    this.buffer = buffer
    this.#cells = new Int32Array(buffer)
  }

  /** To be called by the thread itself. */
  identify(threadId: number): void {
    Atomics.store(this.#cells, THREAD_ID, threadId)
  }

  /** 0 before the thread has said it. */
  get threadId(): number {
    return Atomics.load(this.#cells, THREAD_ID)
  }

  beat(): void {
    Atomics.add(this.#cells, BEATS, 1)
  }

  get beats(): number {
    return Atomics.load(this.#cells, BEATS)
  }

  retire(): void {
    Atomics.store(this.#cells, RETIRED, 1)
  }

  get isRetired(): boolean {
    return Atomics.load(this.#cells, RETIRED) === 1
  }
}
