/**
 * When to send gratuitous ARP, or unsolicited neighbour advertisements, for the addresses of one
 * virtual router.
 *
 * On becoming active `count` rounds go out `ROUND_SPACING_MS` apart, because hosts and switches
 * that missed the first must not wait for the second burst; `count` more follow after `delayMs` (a
 * switch port that has just come up forwards nothing for its first seconds); then one round every
 * `refreshMs` keeps tables right that were wrong for other reasons. A round announces each address
 * in request and in reply form. How fast is `Rounds`' concern.
 *
 * Addresses that come later (`change`) get the two bursts for themselves.
 *
 * After somebody else announced our addresses (`again`) another burst goes out, at most once per
 * `AGAIN_SPACING_MS`, so that two hosts that both defend do not flood the link.
 */
import type { Address } from "../net/address.ts"
import { after, earlier, type Instant } from "../net/time.ts"
import { Rounds } from "./rounds.ts"

export interface AnnounceConfig {
  /** Rounds per burst. 0: never announce. */
  readonly count: number
  /** From the first burst to the second. 0: no second burst. */
  readonly delayMs: number
  /** 0: never. */
  readonly refreshMs: number
}

export const ROUND_SPACING_MS = 20
export const AGAIN_SPACING_MS = 1000

export type AnnounceInput =
  | { readonly type: "start"; readonly addresses: readonly Address[] }
  /** While started: `addresses` are all of them now, `added` those that were not there before. */
  | {
      readonly type: "change"
      readonly addresses: readonly Address[]
      readonly added: readonly Address[]
    }
  | { readonly type: "again" }
  | { readonly type: "stop" }
  | { readonly type: "timeout" }

type State =
  | { readonly name: "idle" }
  | {
      readonly name: "announcing"
      readonly addresses: readonly Address[]
      /** The second bursts. */
      readonly repeats: readonly Repeat[]
      readonly refreshAt: Instant | undefined
      readonly againAt: Instant | undefined
      readonly lastBurstAt: Instant
    }

type Announcing = Extract<State, { name: "announcing" }>

interface Repeat {
  readonly addresses: readonly Address[]
  readonly at: Instant
}

export class AnnounceSchedule {
  readonly #config: AnnounceConfig
  readonly #rounds = new Rounds()
  #state: State = { name: "idle" }

  constructor(config: AnnounceConfig) {
    this.#config = config
  }

  deadline(): Instant | undefined {
    if (this.#state.name === "idle") return undefined
    const { repeats, refreshAt, againAt } = this.#state
    // Second bursts come in the order of the first.
    return [this.#rounds.deadline(), repeats[0]?.at, refreshAt, againAt].reduce(earlier)
  }

  /** The addresses to announce now, each in both forms. */
  handle(input: AnnounceInput, now: Instant): readonly Address[] {
    switch (input.type) {
      case "start":
        return this.#start(input.addresses, now)
      case "change":
        return this.#change(input.addresses, input.added, now)
      case "again":
        return this.#again(now)
      case "stop":
        this.#stop()
        return []
      case "timeout":
        return this.#send(now)
    }
  }

  #start(addresses: readonly Address[], now: Instant): readonly Address[] {
    this.#stop()
    const { count, refreshMs } = this.#config
    if (count === 0 || addresses.length === 0) return []
    this.#state = {
      name: "announcing",
      addresses,
      repeats: this.#repeatOf(addresses, now),
      refreshAt: refreshMs === 0 ? undefined : after(now, refreshMs),
      againAt: undefined,
      lastBurstAt: now,
    }
    this.#burst(addresses, now)
    return this.#send(now)
  }

  #stop(): void {
    this.#state = { name: "idle" }
    this.#rounds.clear()
  }

  #change(
    addresses: readonly Address[],
    added: readonly Address[],
    now: Instant,
  ): readonly Address[] {
    if (this.#state.name === "idle") return this.#start(addresses, now)
    const all = new Set(addresses)
    this.#rounds.keepOnly(all)
    const repeats = this.#state.repeats.map((repeat) => ({
      ...repeat,
      addresses: repeat.addresses.filter((address) => all.has(address)),
    }))
    const repeatOfAdded = added.length === 0 ? [] : this.#repeatOf(added, now)
    this.#state = { ...this.#state, addresses, repeats: [...repeats, ...repeatOfAdded] }
    this.#burst(added, now)
    return this.#send(now)
  }

  #repeatOf(addresses: readonly Address[], now: Instant): Repeat[] {
    const { delayMs } = this.#config
    return delayMs === 0 ? [] : [{ addresses, at: after(now, delayMs) }]
  }

  #burst(addresses: readonly Address[], now: Instant, rounds = this.#config.count): void {
    this.#rounds.add({ addresses, rounds, spacingMs: ROUND_SPACING_MS, at: now })
  }

  #again(now: Instant): readonly Address[] {
    if (this.#state.name === "idle") return []
    const againAt = after(this.#state.lastBurstAt, AGAIN_SPACING_MS)
    this.#state = { ...this.#state, againAt }
    return this.#send(now)
  }

  #send(now: Instant): readonly Address[] {
    if (this.#state.name === "idle") return []
    this.#state = this.#withDueBursts(this.#state, now)
    return this.#rounds.take(now)
  }

  /** Starts what is due. */
  #withDueBursts(state: Announcing, now: Instant): Announcing {
    if (isDue(state.againAt, now)) {
      this.#rounds.clear()
      this.#burst(state.addresses, now)
      state = { ...state, againAt: undefined, lastBurstAt: now }
    }
    for (const repeat of state.repeats)
      if (isDue(repeat.at, now)) {
        this.#burst(repeat.addresses, now)
        state = { ...state, lastBurstAt: now }
      }
    const repeats = state.repeats.filter(({ at }) => !isDue(at, now))
    if (!isDue(state.refreshAt, now)) return { ...state, repeats }
    // A burst of everything that is under way is longer than a refresh and stands for it.
    if (!this.#rounds.isOver(state.addresses.length)) this.#burst(state.addresses, now, 1)
    return { ...state, repeats, refreshAt: after(now, this.#config.refreshMs) }
  }
}

function isDue(at: Instant | undefined, now: Instant): boolean {
  return at !== undefined && at <= now
}
