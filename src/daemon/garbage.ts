/**
 * Keeps the control thread's memory near what lives in it. JavaScriptCore lets garbage grow to the
 * size of what lives, and to 32 MiB in any case, on a machine with much memory; a large cluster's
 * JSON is ten times that in short-lived objects, and the holes they leave among the others are not
 * given back. So the garbage of what was read goes at once, which takes a millisecond, and
 * all garbage when enough of it has grown old.
 */
import { edenGC, fullGC, heapSize } from "bun:jsc"

export interface Heap {
  /** Bytes, garbage included. */
  size(): number
  /** What was made since the last time. */
  collectNew(): void
  /** Takes some 50 ms of this thread with a large cluster, and hardly any of others. */
  collectAll(): void
  /** Also gives memory back to the system, which takes the time of other threads too. */
  tidyUp(): void
}

/** Of JSON; its garbage is some ten times as much. */
const READ_CHARACTERS = 512 * 1024
/**
 * Garbage that has outlived a collection of what is new: ten seconds' when 200 endpoints change a
 * second.
 */
const OLD_BYTES_MAX = 20 * 1024 * 1024

export class Garbage {
  readonly #heap: Heap
  #characters = 0
  /** After all was collected. */
  #cleanBytes: number

  constructor(heap: Heap = OWN_HEAP) {
    this.#heap = heap
    this.#cleanBytes = heap.size()
  }

  /** So much JSON has been read. */
  read(characters: number): void {
    this.#characters += characters
    if (this.#characters < READ_CHARACTERS) return
    this.#characters = 0
    this.#heap.collectNew()
    if (this.#heap.size() <= this.#cleanBytes + OLD_BYTES_MAX) return
    this.#heap.collectAll()
    this.#cleanBytes = this.#heap.size()
  }

  /** For a moment in which nobody is served yet. */
  tidyUp(): void {
    this.#heap.tidyUp()
    this.#cleanBytes = this.#heap.size()
  }
}

const OWN_HEAP: Heap = {
  size: heapSize,
  collectNew: () => void edenGC(),
  collectAll: () => void fullGC(),
  // Measured: while it runs, requests to a data thread on the same core wait 40 ms, not 7.
  tidyUp: () => Bun.gc(true),
}
