/**
 * Signs of life of a thread: it counts, the control thread watches the count move. The second cell
 * goes the other way: set, it tells a thread that was given up as hung, and has come to after all,
 * that another has taken its place.
 */
const BEATS = 0
const RETIRED = 1

export class Heartbeat {
  readonly buffer: SharedArrayBuffer
  readonly #cells: Int32Array

  constructor(buffer: SharedArrayBuffer = new SharedArrayBuffer(8)) {
    this.buffer = buffer
    this.#cells = new Int32Array(buffer)
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
