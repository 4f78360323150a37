/**
 * Keeps a fault that repeats with every connection from filling the disk: so many records a second,
 * then a count of those left out.
 */
import type { Instant } from "../net/time.ts"

const RECORDS_PER_SECOND_MAX = 20

export class LogLimiter {
  #second = 0
  #records = 0
  #leftOut = 0

  /** Whether to log; `leftOut` were not since the last one that was. */
  admit(now: Instant): { readonly admitted: boolean; readonly leftOut: number } {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#records = 0
    }
    if (++this.#records > RECORDS_PER_SECOND_MAX) {
      this.#leftOut++
      return { admitted: false, leftOut: 0 }
    }
    const leftOut = this.#leftOut
    this.#leftOut = 0
    return { admitted: true, leftOut }
  }
}
