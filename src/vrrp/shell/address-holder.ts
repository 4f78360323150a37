/**
 * The addresses that one virtual router holds right now: put in place, their leases renewed, taken
 * away. When a new configuration drops an address that is held, the address departs: it stays for
 * `LEAVING_WAIT_MS`, so that the sessions through it can be reset from it.
 *
 * Addresses of Services come and go all the time, thousands of them, so a change costs what has
 * changed. And no pass of the thread may take so long that an advert is late: what is to be placed
 * is placed for `PLACING_MS_MAX` at a time, and renewals come in slices. (Measured: 2,000 IPv4
 * addresses are placed in 30 ms, as many of IPv6 in 90 ms on our device and in 1.5 s on an Ethernet
 * interface.)
 */
import type { VrrpConfig } from "../../config/config.ts"
import { monotonicNow } from "../../linux/clock.ts"
import type { LinkRef } from "../../linux/link-message.ts"
import { type Address, familyOf, formatPrefix } from "../../net/address.ts"
import { after, earlier, type Instant, instant } from "../../net/time.ts"
import { leaseFor, leaseOf } from "../lease.ts"
import { LEAVING_WAIT_MS } from "../messages.ts"
import { Rota } from "../rota.ts"
import { type HeldAddress, heldAddresses } from "../translate.ts"
import { InterfacePlacement } from "./interface-placement.ts"
import type { Placement, PlacementOptions, Refusal } from "./placement.ts"
import { ProcessPlacement } from "./process-placement.ts"

/** Without a lease: how soon an address that somebody removed comes back. */
const PERMANENT_REFRESH_MS = 5000
/** The same for the lasting ones, where there are more than a slice of them. */
const LASTING_ROUND_MS = 60_000
const LASTING_PER_SLICE_MIN = 32
/** What renewals of leases at once may come to (`costOf`): some 10 ms. */
const COST_PER_SLICE = 200
/** Below what a peer with adverts every 10 ms waits: 30 ms and its Skew_Time. */
const PLACING_MS_MAX = 25
const PLACED_AT_ONCE = 100
/** The kernel may end a lease this much early (ADDRCONF_TIMER_FUZZ). */
const KERNEL_EARLY_MS = 100

/** Addresses that one change has dropped. */
interface Departure {
  /** Which question to reset sessions it is that they wait for. */
  readonly question: number
  readonly addresses: readonly HeldAddress[]
  readonly until: Instant
}

/** When and how much is renewed. */
interface Renewal {
  readonly leaseS: number | undefined
  readonly everyMs: number
  readonly leased: Rota<HeldAddress>
  readonly leasedPerSlice: number
  readonly lasting: Rota<HeldAddress>
  readonly lastingPerSlice: number
}

export class AddressHolder {
  readonly #options: PlacementOptions
  #config: VrrpConfig
  #placement: Placement | undefined
  #held: readonly HeldAddress[] = []
  #renewal: Renewal | undefined
  #renewedAt: Instant | undefined
  /** Oldest first. */
  #departures: readonly Departure[] = []
  /** What the kernel would not take, by address. */
  readonly #refused = new Map<string, string>()
  /** To be placed as soon as the thread has time. */
  #pending: readonly HeldAddress[] = []
  #pendingSince: Instant | undefined

  constructor(config: VrrpConfig, options: PlacementOptions) {
    this.#config = config
    this.#options = options
  }

  get held(): readonly Address[] {
    return this.#held.map(({ prefix }) => prefix.address)
  }

  /** Unadvertised addresses that are not there, and why. An advertised one is an error at once. */
  get refused(): readonly string[] {
    return [...this.#refused.values()]
  }

  deadline(): Instant | undefined {
    const placeAt = this.#pending.length > 0 ? this.#pendingSince : undefined
    return [this.#renewAt(), this.#departures[0]?.until, placeAt].reduce(earlier)
  }

  /** Takes effect with the next `hold` or `change`. */
  reconfigure(config: VrrpConfig): void {
    this.#config = config
  }

  /** Makes sure that addresses can be placed, long before they must be. Throws `SystemError`. */
  prepare(): void {
    this.#placement ??=
      this.#config.placement === "process"
        ? new ProcessPlacement(this.#config.name, this.#options)
        : new InterfacePlacement(this.#options)
  }

  /** Places the configured addresses. Throws `SystemError`. */
  hold(link: LinkRef, now: Instant): void {
    this.#held = heldAddresses(this.#config)
    this.#renewal = this.#plan()
    this.#renewedAt = now
    this.#pending = this.#held
    this.#placePending(link, now)
  }

  /**
   * While they are held: places those that the new configuration adds, and returns those that
   * depart: they wait for the answer to `question`. Throws `SystemError`.
   */
  change(
    link: LinkRef,
    { question, now }: { readonly question: number; readonly now: Instant },
  ): { added: Address[]; departing: Address[] } {
    const before = this.#held
    const leaseBefore = this.#renewal?.leaseS
    this.#held = heldAddresses(this.#config)
    this.#renewal = this.#plan()
    const departing = without(before, this.#held)
    for (const { prefix } of departing) this.#refused.delete(formatPrefix(prefix))
    const departure = { question, addresses: departing, until: after(now, LEAVING_WAIT_MS) }
    if (departing.length > 0) this.#departures = [...this.#departures, departure]
    const moved = movedBetweenLists(before, this.#held)
    this.#placement?.remove(moved.map((held) => ({ ...held, isAdvertised: !held.isAdvertised })))
    const added = without(this.#held, before)
    const isAnew = this.#renewal?.leaseS !== leaseBefore
    const current = new Set(this.#held.map(({ prefix }) => formatPrefix(prefix)))
    const waiting = this.#pending.filter(({ prefix }) => current.has(formatPrefix(prefix)))
    this.#pending = isAnew ? this.#held : [...moved, ...added, ...without(waiting, moved)]
    this.#placePending(link, now)
    return { added: addressesOf(added), departing: addressesOf(departing) }
  }

  /** Renews leases and lets go of what has departed. Throws `SystemError`. */
  timeout(link: LinkRef | undefined, now: Instant): void {
    this.#endDepartures(({ until }) => until <= now)
    if (link !== undefined) this.#placePending(link, now)
    const renewAt = this.#renewAt()
    if (renewAt === undefined || renewAt > now) return
    if (link === undefined) this.renewNoMore()
    else this.#renew(link, now)
  }

  /** What is held stays for the rest of its lease at most. */
  renewNoMore(): void {
    this.#renewal = undefined
    this.#pending = []
  }

  /** All questions up to `question` are answered: the sessions are reset. Throws `SystemError`. */
  left(question: number): void {
    this.#endDepartures((departure) => departure.question <= question)
  }

  /** Throws `SystemError`; what was not removed leaves with its lease. */
  remove(): void {
    const departing = this.#departures.flatMap(({ addresses }) => addresses)
    const gone = [...without(departing, this.#held), ...this.#held]
    this.#forget()
    if (gone.length > 0) this.#placement?.remove(gone)
  }

  /** Whether it is held, and the kernel does not answer neighbour solicitations for it. */
  isUnanswered(address: Address): boolean {
    return this.#placement?.isUnanswered(address) ?? false
  }

  /** What would keep hosts on the link from being answered when they ask for the addresses. */
  obstacles(link: LinkRef): readonly string[] {
    return this.#placement?.obstacles(link) ?? []
  }

  /** The addresses in the process's own place go too; others leave with their lease. */
  close(): void {
    this.#placement?.close()
    this.#placement = undefined
    this.#forget()
  }

  #forget(): void {
    this.#held = []
    this.#renewal = undefined
    this.#pending = []
    this.#departures = []
    this.#refused.clear()
  }

  #endDepartures(isOver: (departure: Departure) => boolean): void {
    const over = this.#departures.filter(isOver)
    if (over.length === 0) return
    this.#departures = this.#departures.filter((departure) => !over.includes(departure))
    // One that has come back meanwhile stays.
    const gone = without(
      over.flatMap(({ addresses }) => addresses),
      this.#held,
    )
    if (gone.length > 0) this.#placement?.remove(gone)
  }

  #renewAt(): Instant | undefined {
    if (this.#renewal === undefined || this.#renewedAt === undefined) return undefined
    // On a grid that all routers share, so that the kernel finds their leases due together
    // (ProcessPlacement says why).
    const { everyMs } = this.#renewal
    return instant((Math.floor(this.#renewedAt / everyMs) + 1) * everyMs)
  }

  #plan(): Renewal {
    const isLasting = (held: HeldAddress) => this.#placement?.isLasting(held) ?? false
    const leased = this.#held.filter((held) => !isLasting(held))
    const lasting = this.#held.filter(isLasting)
    const base = leaseOf(this.#config)
    const cost = leased.reduce((sum, held) => sum + costOf(held), 0)
    const lease = base === undefined ? undefined : leaseFor(cost, base)
    const roundMs = lease?.refreshMs ?? PERMANENT_REFRESH_MS
    const slices = Math.max(1, Math.ceil(cost / COST_PER_SLICE))
    const everyMs = roundMs / slices
    const lastingShare = Math.ceil((lasting.length * everyMs) / LASTING_ROUND_MS)
    return {
      leaseS: lease?.seconds,
      everyMs,
      leased: new Rota(leased, this.#renewal?.leased),
      leasedPerSlice: Math.ceil(leased.length / slices),
      lasting: new Rota(lasting, this.#renewal?.lasting),
      lastingPerSlice: Math.max(LASTING_PER_SLICE_MIN, lastingShare),
    }
  }

  #renew(link: LinkRef, now: Instant): void {
    if (this.#renewal === undefined || this.#renewedAt === undefined) return
    const { leaseS, leased, leasedPerSlice, lasting, lastingPerSlice } = this.#renewal
    const sinceMs = now - this.#renewedAt
    this.#renewedAt = now
    // After a pause that long nothing may be left of what has leases or hangs on one.
    const isLapsed = leaseS !== undefined && sinceMs >= leaseS * 1000 - KERNEL_EARLY_MS
    if (isLapsed) {
      this.#pending = this.#held
      return this.#placePending(link, now)
    }
    this.#place([...leased.take(leasedPerSlice), ...lasting.take(lastingPerSlice)], link)
  }

  #placePending(link: LinkRef, now: Instant): void {
    const startedAt = monotonicNow()
    while (this.#pending.length > 0 && monotonicNow() - startedAt < PLACING_MS_MAX) {
      const next = this.#pending.slice(0, PLACED_AT_ONCE)
      this.#pending = this.#pending.slice(PLACED_AT_ONCE)
      this.#place(next, link)
    }
    this.#pendingSince = now
  }

  #place(addresses: readonly HeldAddress[], link: LinkRef): void {
    const refusals = this.#placement?.hold(addresses, link, this.#renewal?.leaseS) ?? []
    if (this.#refused.size > 0)
      for (const { prefix } of addresses) this.#refused.delete(formatPrefix(prefix))
    for (const { held, error } of refusals)
      this.#refused.set(formatPrefix(held.prefix), error.message)
    throwIfAdvertised(refusals)
  }
}

/** One address of a Service that cannot be placed is not worth the others; the first ones are. */
function throwIfAdvertised(refusals: readonly Refusal[]): void {
  for (const { held, error } of refusals) if (held.isAdvertised) throw error
}

/**
 * Of a renewal, in those of an IPv4 address; on an Ethernet interface the kernel takes 0.5 ms for
 * an IPv6 one.
 */
function costOf({ prefix }: HeldAddress): number {
  return familyOf(prefix.address) === 6 ? 10 : 1
}

/** As they are now; an address advertised is placed in another way than one that is not. */
function movedBetweenLists(
  before: readonly HeldAddress[],
  now: readonly HeldAddress[],
): HeldAddress[] {
  const old = new Map(
    before.map(({ prefix, isAdvertised }) => [formatPrefix(prefix), isAdvertised]),
  )
  return now.filter(({ prefix, isAdvertised }) => {
    const wasAdvertised = old.get(formatPrefix(prefix))
    return wasAdvertised !== undefined && wasAdvertised !== isAdvertised
  })
}

function without(addresses: readonly HeldAddress[], others: readonly HeldAddress[]): HeldAddress[] {
  const texts = new Set(others.map(({ prefix }) => formatPrefix(prefix)))
  return addresses.filter(({ prefix }) => !texts.has(formatPrefix(prefix)))
}

function addressesOf(addresses: readonly HeldAddress[]): Address[] {
  return addresses.map(({ prefix }) => prefix.address)
}
