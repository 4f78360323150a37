/**
 * Time as values. A machine never reads a clock: its shell passes `now` in.
 *
 * `Instant` counts milliseconds (fractions allowed) on CLOCK_MONOTONIC, the same for all threads of
 * the process. Spans of time are plain numbers whose name ends in `Ms`.
 */
declare const instantBrand: unique symbol
export type Instant = number & { readonly [instantBrand]: true }

export function instant(ms: number): Instant {
  return ms as Instant
}

export function after(now: Instant, delayMs: number): Instant {
  return (now + delayMs) as Instant
}

/** The earlier of two optional deadlines. */
export function earlier(a: Instant | undefined, b: Instant | undefined): Instant | undefined {
  if (a === undefined) return b
  if (b === undefined) return a
  return a < b ? a : b
}
