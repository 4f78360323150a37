/**
 * Keeps a thread's memory near what lives in it. JavaScriptCore lets garbage grow to the size of
 * what lives, and to 32 MiB in any case, on a machine with much memory; a large cluster's JSON is
 * ten times that in short-lived objects, and the holes they leave among the others are not given
 * back. So what something leaves behind goes soon, which takes a few milliseconds, and all of it
 * when enough has grown old.
 *
 * What a collection has freed stays the thread's: JavaScriptCore gives blocks back on a timer, and
 * timers never run in a thread that blocks in `epoll_wait`. It is given back when asked.
 */
import { edenGC, fullGC, gcAndSweep, heapSize } from "bun:jsc"

export interface Heap {
  /** Bytes that outlived the last collection. */
  size(): number
  /** What was made since the last time. */
  collectNew(): void
  /** Takes some 50 ms of this thread with a large cluster, and hardly any of others. */
  collectAll(): void
  /** The same, and gives back what is free; some 10 ms in a thread with a small configuration. */
  giveBack(): void
  /** Also forgets code that may be made anew, which takes the time of other threads too. */
  tidyUp(): void
}

export interface GarbageLimits {
  /** New garbage, in whatever it is counted in. */
  readonly newMax: number
  /** What has outlived a collection of the new. */
  readonly oldBytesMax: number
}

export class Garbage {
  readonly #limits: GarbageLimits
  readonly #heap: Heap
  #new = 0
  /** After all was collected. */
  #cleanBytes: number

  constructor(limits: GarbageLimits, heap: Heap = OWN_HEAP) {
    this.#limits = limits
    this.#heap = heap
    this.#cleanBytes = heap.size()
  }

  /** So much more of it, a little at a time. */
  made(amount: number): void {
    this.#new += amount
    if (this.#new < this.#limits.newMax) return
    this.#new = 0
    this.#heap.collectNew()
    if (this.#heap.size() <= this.#cleanBytes + this.#limits.oldBytesMax) return
    this.#heap.collectAll()
    this.#cleanBytes = this.#heap.size()
  }

  /** For a lull of this thread. */
  giveBack(): void {
    this.#heap.giveBack()
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
  giveBack: () => void gcAndSweep(),
  // Measured: while it runs, requests to a data thread on the same core wait 40 ms, not 7.
  tidyUp: () => Bun.gc(true),
}
