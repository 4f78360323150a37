/**
 * When to send gratuitous ARP for the addresses of one virtual router.
 *
 * On becoming active `count` rounds go out `ROUND_SPACING_MS` apart, because hosts and switches
 * that missed the first must not wait for the second burst; `count` more follow after `delayMs` (a
 * switch port that has just come up forwards nothing for its first seconds); then one round every
 * `refreshMs` keeps tables right that were wrong for other reasons. A round announces each address
 * in request and in reply form. A thousand addresses do not leave at once: a full queue would drop
 * the tail every time, so a step sends at most `ADDRESSES_PER_STEP_MAX` and continues after
 * `STEP_SPACING_MS`.
 *
 * After somebody else announced our addresses (`again`) another burst goes out, at most once per
 * `AGAIN_SPACING_MS`, so that two hosts that both defend do not flood the link.
 */
import type { Address } from "../net/address.ts"
import { after, earlier, type Instant } from "../net/time.ts"

export interface AnnounceConfig {
  /** Rounds per burst. 0: never announce. */
  readonly count: number
  /** From the first burst to the second. 0: no second burst. */
  readonly delayMs: number
  /** 0: never. */
  readonly refreshMs: number
}

export const ROUND_SPACING_MS = 20
/** Two frames each; 64 frames a millisecond is 30 Mbit/s. */
export const ADDRESSES_PER_STEP_MAX = 32
export const STEP_SPACING_MS = 1
export const AGAIN_SPACING_MS = 1000

export type AnnounceInput =
  /** Also when the addresses have changed. */
  | { readonly type: "start"; readonly addresses: readonly Address[] }
  | { readonly type: "again" }
  | { readonly type: "stop" }
  | { readonly type: "timeout" }

type State =
  | { readonly name: "idle" }
  | {
      readonly name: "announcing"
      readonly addresses: readonly Address[]
      readonly burst: Burst | undefined
      /** The second burst. */
      readonly repeatAt: Instant | undefined
      readonly refreshAt: Instant | undefined
      readonly againAt: Instant | undefined
      readonly lastBurstAt: Instant
    }

type Announcing = Extract<State, { name: "announcing" }>

/** `rounds` are still to be sent; the current one goes on at address `next`. */
interface Burst {
  readonly rounds: number
  readonly next: number
  readonly at: Instant
}

export class AnnounceSchedule {
  readonly #config: AnnounceConfig
  #state: State = { name: "idle" }

  constructor(config: AnnounceConfig) {
    this.#config = config
  }

  deadline(): Instant | undefined {
    if (this.#state.name === "idle") return undefined
    const { burst, repeatAt, refreshAt, againAt } = this.#state
    return earlier(earlier(burst?.at, repeatAt), earlier(refreshAt, againAt))
  }

  /** The addresses to announce now, each in both forms. */
  handle(input: AnnounceInput, now: Instant): readonly Address[] {
    switch (input.type) {
      case "start":
        this.#state = this.#started(input.addresses, now)
        return this.#send(now)
      case "again":
        return this.#again(now)
      case "stop":
        this.#state = { name: "idle" }
        return []
      case "timeout":
        return this.#send(now)
    }
  }

  #started(addresses: readonly Address[], now: Instant): State {
    const { count, delayMs, refreshMs } = this.#config
    if (count === 0 || addresses.length === 0) return { name: "idle" }
    return {
      name: "announcing",
      addresses,
      burst: { rounds: count, next: 0, at: now },
      repeatAt: delayMs === 0 ? undefined : after(now, delayMs),
      refreshAt: refreshMs === 0 ? undefined : after(now, refreshMs),
      againAt: undefined,
      lastBurstAt: now,
    }
  }

  #again(now: Instant): readonly Address[] {
    if (this.#state.name === "idle") return []
    const againAt = after(this.#state.lastBurstAt, AGAIN_SPACING_MS)
    this.#state = { ...this.#state, againAt }
    return this.#send(now)
  }

  #send(now: Instant): readonly Address[] {
    if (this.#state.name === "idle") return []
    const state = this.#withDueBurst(this.#state, now)
    this.#state = state
    const { burst, addresses } = state
    if (burst === undefined || burst.at > now) return []
    this.#state = { ...state, burst: advance(burst, addresses.length, now) }
    return addresses.slice(burst.next, burst.next + ADDRESSES_PER_STEP_MAX)
  }

  /** Starts what is due; a burst under way is longer than a refresh and stands for it. */
  #withDueBurst(state: Announcing, now: Instant): Announcing {
    let next = state
    if (isDue(next.refreshAt, now)) {
      const burst = next.burst ?? { rounds: 1, next: 0, at: now }
      next = { ...next, burst, refreshAt: after(now, this.#config.refreshMs) }
    }
    if (isDue(next.repeatAt, now) || isDue(next.againAt, now)) {
      const burst = { rounds: this.#config.count, next: 0, at: now }
      const repeatAt = isDue(next.repeatAt, now) ? undefined : next.repeatAt
      next = { ...next, burst, repeatAt, againAt: undefined, lastBurstAt: now }
    }
    return next
  }
}

function isDue(at: Instant | undefined, now: Instant): boolean {
  return at !== undefined && at <= now
}

function advance(burst: Burst, addresses: number, now: Instant): Burst | undefined {
  const next = burst.next + ADDRESSES_PER_STEP_MAX
  if (next < addresses) return { ...burst, next, at: after(now, STEP_SPACING_MS) }
  if (burst.rounds === 1) return undefined
  return { rounds: burst.rounds - 1, next: 0, at: after(now, ROUND_SPACING_MS) }
}
