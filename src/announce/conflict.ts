/**
 * Another host that uses one of our addresses (RFC 5227 §2.4; RFC 4861 has no such part for IPv6,
 * but its advertisements say as much).
 *
 * While active every ARP packet of the link is looked at, and every neighbour advertisement: one
 * that says an address of ours is at a MAC that is not means that somebody else answers for it.
 * Some seconds after becoming active probes (RFC 5227 §2.1.1) ask for such a host, because one that
 * is silent would otherwise be found only by the clients it steals; not sooner, because the router
 * that has just given the address up may still answer in the moment it learns of us.
 */
import type { Address } from "../net/address.ts"
import type { Mac } from "../net/mac.ts"
import { after, type Instant } from "../net/time.ts"
import { Rounds } from "./rounds.ts"

/** What a packet says of its sender: the sender fields of ARP, the target of an advertisement. */
export interface Claim {
  readonly address: Address
  readonly mac: Mac
}

export interface Conflict extends Claim {
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
  /** While watching: `addresses` are all of them now, `added` those that were not there before. */
  | {
      readonly type: "change"
      readonly addresses: readonly Address[]
      readonly added: readonly Address[]
    }
  | { readonly type: "stop" }
  /** `isOwn`: from a MAC of this host, whose kernel may answer on several interfaces. */
  | { readonly type: "claim"; readonly claim: Claim; readonly isOwn: boolean }
  | { readonly type: "timeout" }

export type ConflictAction =
  | { readonly type: "probe"; readonly address: Address }
  /** `isNew`: not heard since it was last forgotten. */
  | { readonly type: "conflict"; readonly conflict: Conflict; readonly isNew: boolean }

export class ConflictWatch {
  /** Empty: idle. */
  #addresses: ReadonlySet<Address> = new Set()
  readonly #probes = new Rounds()
  readonly #conflicts = new Map<string, Conflict>()

  deadline(): Instant | undefined {
    return this.#probes.deadline()
  }

  handle(input: ConflictInput, now: Instant): ConflictAction[] {
    switch (input.type) {
      case "start":
        this.#probes.clear()
        this.#watch(input.addresses, input.addresses, now)
        return []
      case "change":
        this.#watch(input.addresses, input.added, now)
        return []
      case "stop":
        this.#probes.clear()
        this.#watch([], [], now)
        return []
      case "claim":
        return input.isOwn ? [] : this.#heard(input.claim, now)
      case "timeout":
        return this.#probes.take(now).map((address) => ({ type: "probe", address }))
    }
  }

  /** Those heard lately. */
  conflicts(now: Instant): Conflict[] {
    return [...this.#conflicts.values()].filter(
      (conflict) => now - conflict.heardAt < CONFLICT_MEMORY_MS,
    )
  }

  #watch(addresses: readonly Address[], asked: readonly Address[], now: Instant): void {
    this.#addresses = new Set(addresses)
    for (const [key, { address }] of this.#conflicts)
      if (!this.#addresses.has(address)) this.#conflicts.delete(key)
    this.#probes.keepOnly(this.#addresses)
    const at = after(now, PROBE_DELAY_MS)
    this.#probes.add({ addresses: asked, rounds: PROBES, spacingMs: PROBE_SPACING_MS, at })
  }

  #heard({ address, mac }: Claim, now: Instant): ConflictAction[] {
    if (!this.#addresses.has(address)) return []
    const conflict = { address, mac, heardAt: now }
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
}
