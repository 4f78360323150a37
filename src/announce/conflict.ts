/**
 * Another host that uses one of our addresses (RFC 5227 §2.4).
 *
 * While active every ARP packet of the link is looked at: one whose sender address is ours and
 * whose sender MAC is not means that somebody else answers for it. Some seconds after becoming
 * active probes (RFC 5227 §2.1.1) ask for such a host, because one that is silent would otherwise
 * be found only by the clients it steals; not sooner, because the router that has just given the
 * address up may still answer in the moment it learns of us.
 */
import type { Address } from "../net/address.ts"
import type { Mac } from "../net/mac.ts"
import { after, type Instant } from "../net/time.ts"
import type { Arp } from "../wire/arp.ts"

export interface Conflict {
  readonly address: Address
  readonly mac: Mac
  readonly heardAt: Instant
}

/** RFC 5227 §1.1: PROBE_NUM, and PROBE_MAX between them. */
export const PROBES = 3
export const PROBE_SPACING_MS = 2000
export const PROBE_DELAY_MS = 2000
/** A warning stays this long after the other host was last heard. */
export const CONFLICT_MEMORY_MS = 5 * 60_000
/** Conflicts remembered at once; beyond it the oldest is forgotten. */
const CONFLICTS_MAX = 64

export type ConflictInput =
  | { readonly type: "start"; readonly addresses: readonly Address[] }
  | { readonly type: "stop" }
  /** `isOwn`: from a MAC of this host, whose kernel may answer on several interfaces. */
  | { readonly type: "arp"; readonly arp: Arp; readonly isOwn: boolean }
  | { readonly type: "timeout" }

export type ConflictAction =
  | { readonly type: "probe"; readonly address: Address }
  /** `isNew`: not heard since it was last forgotten. */
  | { readonly type: "conflict"; readonly conflict: Conflict; readonly isNew: boolean }

type State =
  | { readonly name: "idle" }
  | {
      readonly name: "watching"
      readonly addresses: ReadonlySet<Address>
      readonly probesLeft: number
      readonly probeAt: Instant | undefined
    }

export class ConflictWatch {
  #state: State = { name: "idle" }
  readonly #conflicts = new Map<string, Conflict>()

  deadline(): Instant | undefined {
    return this.#state.name === "watching" ? this.#state.probeAt : undefined
  }

  handle(input: ConflictInput, now: Instant): ConflictAction[] {
    switch (input.type) {
      case "start":
        this.#state = {
          name: "watching",
          addresses: new Set(input.addresses),
          probesLeft: PROBES,
          probeAt: after(now, PROBE_DELAY_MS),
        }
        return []
      case "stop":
        this.#state = { name: "idle" }
        this.#conflicts.clear()
        return []
      case "arp":
        return input.isOwn ? [] : this.#heard(input.arp, now)
      case "timeout":
        return this.#probe(now)
    }
  }

  /** Those heard lately. */
  conflicts(now: Instant): Conflict[] {
    return [...this.#conflicts.values()].filter(
      (conflict) => now - conflict.heardAt < CONFLICT_MEMORY_MS,
    )
  }

  #heard(arp: Arp, now: Instant): ConflictAction[] {
    if (this.#state.name === "idle" || !this.#state.addresses.has(arp.senderAddress)) return []
    const conflict = { address: arp.senderAddress, mac: arp.senderMac, heardAt: now }
    return [{ type: "conflict", conflict, isNew: this.#remember(conflict) }]
  }

  #remember(conflict: Conflict): boolean {
    const key = `${conflict.address} ${conflict.mac}`
    const known = this.#conflicts.get(key)
    this.#conflicts.delete(key)
    this.#conflicts.set(key, conflict)
    for (const oldest of this.#conflicts.keys()) {
      if (this.#conflicts.size <= CONFLICTS_MAX) break
      this.#conflicts.delete(oldest)
    }
    return known === undefined || conflict.heardAt - known.heardAt >= CONFLICT_MEMORY_MS
  }

  #probe(now: Instant): ConflictAction[] {
    const state = this.#state
    if (state.name === "idle" || state.probeAt === undefined || state.probeAt > now) return []
    const probesLeft = state.probesLeft - 1
    const probeAt = probesLeft === 0 ? undefined : after(now, PROBE_SPACING_MS)
    this.#state = { ...state, probesLeft, probeAt }
    return [...state.addresses].map((address) => ({ type: "probe", address }))
  }
}
