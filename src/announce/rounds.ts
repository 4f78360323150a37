/**
 * Frames about many addresses, paced. A thousand addresses do not leave at once: a full queue would
 * drop the tail every time, and a switch is not to be flooded. So what is due goes out in steps of
 * at most `ADDRESSES_PER_STEP_MAX` addresses, `STEP_SPACING_MS` apart, whoever asked for it.
 *
 * A *volley* is some rounds over a list of addresses. Volleys under way at the same time take
 * turns, so that the one address of a new Service does not wait for a burst of thousands.
 */
import type { Address } from "../net/address.ts"
import { after, earlier, type Instant, instant } from "../net/time.ts"

/** Two frames each where it is announced; 64 frames a millisecond is 30 Mbit/s. */
export const ADDRESSES_PER_STEP_MAX = 32
export const STEP_SPACING_MS = 1

export interface Volley {
  readonly addresses: readonly Address[]
  readonly rounds: number
  /** From the end of a round to the next. */
  readonly spacingMs: number
  /** When it starts. */
  readonly at: Instant
}

/** `rounds` are still to be sent; the current one goes on at position `next`. */
interface Underway extends Volley {
  readonly next: number
}

export class Rounds {
  #volleys: readonly Underway[] = []
  /** Before it nothing more is sent. */
  #nextStepAt: Instant = instant(0)

  /** Whether a volley over so many addresses, or more, is under way. */
  isOver(count: number): boolean {
    return this.#volleys.some(({ addresses }) => addresses.length >= count)
  }

  deadline(): Instant | undefined {
    const at = this.#volleys.reduce<Instant | undefined>(
      (soonest, volley) => earlier(soonest, volley.at),
      undefined,
    )
    return at === undefined ? undefined : instant(Math.max(at, this.#nextStepAt))
  }

  /** Instead of what is left of an earlier volley over the very same list. */
  add(volley: Volley): void {
    if (volley.addresses.length === 0 || volley.rounds === 0) return
    const others = this.#volleys.filter(({ addresses }) => addresses !== volley.addresses)
    this.#volleys = [...others, { ...volley, next: 0 }]
  }

  /** Forgets everything about other addresses. */
  keepOnly(addresses: ReadonlySet<Address>): void {
    this.#volleys = this.#volleys.flatMap((volley) => {
      const isKept = (address: Address) => addresses.has(address)
      if (volley.addresses.every(isKept)) return [volley]
      const kept = volley.addresses.filter(isKept)
      const next = volley.addresses.slice(0, volley.next).filter(isKept).length
      return kept.length === 0 ? [] : [{ ...volley, addresses: kept, next }]
    })
  }

  clear(): void {
    this.#volleys = []
  }

  /** What to send now. */
  take(now: Instant): readonly Address[] {
    const dueAt = this.deadline()
    if (dueAt === undefined || dueAt > now) return []
    const sent: Address[] = []
    const room = () => ADDRESSES_PER_STEP_MAX - sent.length
    const waiting = this.#volleys.toSorted((a, b) => a.at - b.at)
    this.#volleys = waiting.flatMap((volley) => {
      if (volley.at > now || room() === 0) return [volley]
      const step = volley.addresses.slice(volley.next, volley.next + room())
      sent.push(...step)
      return advanced(volley, step.length, now)
    })
    this.#nextStepAt = after(now, STEP_SPACING_MS)
    return sent
  }
}

function advanced(volley: Underway, sent: number, now: Instant): Underway[] {
  const next = volley.next + sent
  if (next < volley.addresses.length) return [{ ...volley, next, at: after(now, STEP_SPACING_MS) }]
  const rounds = volley.rounds - 1
  return rounds === 0 ? [] : [{ ...volley, rounds, next: 0, at: after(now, volley.spacingMs) }]
}
