/**
 * The Date field of answers that are the edge's own (RFC 9110 §6.6.1): an origin server with a
 * clock sends it. Written once a second.
 */
import type { Instant } from "../../net/time.ts"

export class DateField {
  readonly #epochMs: () => number
  #line = ""
  #until = Number.NEGATIVE_INFINITY

  /** `epochMs` is the wall clock. */
  constructor(epochMs: () => number) {
    this.#epochMs = epochMs
  }

  /** A complete field line. */
  lineAt(now: Instant): string {
    if (now < this.#until) return this.#line
    const epochMs = this.#epochMs()
    this.#until = now + 1000 - (epochMs % 1000)
    this.#line = `Date: ${new Date(epochMs).toUTCString()}\r\n`
    return this.#line
  }
}
