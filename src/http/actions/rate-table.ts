/**
 * How often each client has asked, for all data threads together: a hash table of fixed size in
 * memory they share, so that a limit means what it says whichever thread a connection fell to.
 *
 * The algorithm is GCRA, a leaky bucket in one number: the time at which the client's bucket will
 * be empty again (theoretical arrival time, TAT). A request is let through when the TAT is not
 * further ahead than a full bucket, and then moves it on by one request's worth.
 *
 * A bucket of the hash table is one cache line of four entries. A client that finds no entry
 * takes the one unused for longest: under a flood of clients the quiet ones are forgotten, which
 * errs on the side of letting through. A TAT changes by compare-and-swap, so no request goes
 * uncounted.
 *
 * Times are whole ticks of 1/64 of a request's worth, 32 bits, compared by difference: a TAT from
 * before the counter wrapped falls outside what can be and reads as an empty bucket.
 */
import type { Instant } from "../../net/time.ts"
import { hashText, mix } from "../../pool/hash.ts"

export interface RateLimit {
  /** What sets this limit apart from others in the same table. */
  readonly id: number
  /** Milliseconds between two requests at the permitted rate. */
  readonly intervalMs: number
  /** Requests at once. */
  readonly burst: number
}

export class RateTable {
  readonly #cells: Int32Array
  readonly #seed: number

  /** `buffer`: as `allocate` makes it. */
  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new Int32Array(buffer)
    this.#seed = this.#cells[SEED_CELL] as number
  }

  /** 65 536 cache lines = 4 MiB of address space, touched as used. `seed`: any random number. */
  static allocate(seed: number): SharedArrayBuffer {
    const cells = HEADER_CELLS + BUCKETS * BUCKET_CELLS
    const buffer = new SharedArrayBuffer(cells * Int32Array.BYTES_PER_ELEMENT)
    new Int32Array(buffer)[SEED_CELL] = seed
    return buffer
  }

  /** Counts a request of `client`. 0: let it through; else the milliseconds until one may pass. */
  admit(limit: RateLimit, client: string, now: Instant): number {
    const ticksPerMs = TICKS_PER_REQUEST / limit.intervalMs
    const current = Math.floor(now * ticksPerMs) | 0
    const seconds = Math.floor(now / 1000)
    const entry = this.#entryFor(client, { id: limit.id, seconds, current })
    const full = limit.burst * TICKS_PER_REQUEST
    for (;;) {
      const stored = Atomics.load(this.#cells, entry + TAT_CELL)
      const ahead = (stored - current) | 0
      const used = ahead > 0 && ahead <= full ? ahead : 0
      const excess = used + TICKS_PER_REQUEST - full
      if (excess > 0) return excess / ticksPerMs
      const next = (current + used + TICKS_PER_REQUEST) | 0
      if (Atomics.compareExchange(this.#cells, entry + TAT_CELL, stored, next) === stored) return 0
    }
  }

  /** First cell of the client's entry; one is taken for it where there is none. */
  #entryFor(
    client: string,
    { id, seconds, current }: { readonly id: number; seconds: number; current: number },
  ): number {
    const hash = mix(hashText(client) ^ mix(id ^ this.#seed))
    const bucket = HEADER_CELLS + (hash & (BUCKETS - 1)) * BUCKET_CELLS
    // 0 marks an entry that nobody has used.
    const mark = secondHash(client, id ^ this.#seed) | 1
    let oldest = bucket
    for (let entry = bucket; entry < bucket + BUCKET_CELLS; entry += ENTRY_CELLS) {
      if (Atomics.load(this.#cells, entry) === mark) {
        this.#cells[entry + SEEN_CELL] = seconds
        return entry
      }
      if (this.#isOlder(entry, oldest)) oldest = entry
    }
    Atomics.store(this.#cells, oldest, mark)
    Atomics.store(this.#cells, oldest + TAT_CELL, current)
    this.#cells[oldest + SEEN_CELL] = seconds
    return oldest
  }

  #isOlder(entry: number, than: number): boolean {
    const seen = this.#cells[entry + SEEN_CELL] as number
    return seen < (this.#cells[than + SEEN_CELL] as number)
  }
}

/** Another hash than the one that chooses the bucket. */
function secondHash(text: string, seed: number): number {
  let hash = seed | 0
  for (let at = 0; at < text.length; at++) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x9e3779b1)
    hash ^= hash >>> 15
  }
  return mix(hash) | 0
}

const BUCKETS = 65_536
/** Mark, TAT, second of the last request, and one to fill the line. */
const ENTRY_CELLS = 4
const TAT_CELL = 1
const SEEN_CELL = 2
const BUCKET_CELLS = 4 * ENTRY_CELLS
const SEED_CELL = 0
const HEADER_CELLS = BUCKET_CELLS
const TICKS_PER_REQUEST = 64
