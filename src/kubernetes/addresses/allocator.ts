/**
 * Gives addresses to Services (IPAM).
 *
 * What stands in the status of a Service is the truth, and this machine only remembers it: an
 * address that a Service has stays its own until the Service itself asks for another, and then
 * until the other can be had. All that the cluster already uses is known before anything is given
 * out, because giving begins with `setGiving(true)`, which is said when the caches are complete and
 * this edge is the one that writes (`election.ts`, `fence.ts`).
 *
 * Between the decision and the moment the API server shows it, an address is *planned*. Once a
 * write with it has left (`asked`), it stays reserved for this version of the Service whatever else
 * is decided: the write may still arrive, even if its answer was lost. Every write names the
 * version it is based on, so it is dead as soon as a newer one has been seen.
 *
 * The choice is the same on both edges: Services in the order of their creation, pools in the order
 * of `pools.ts`, an address that may be shared before a new one, and then the lowest that is free.
 */
import type { Address } from "../../net/address.ts"
import { keyOf, type Labels, type ObjectKey, type Service } from "../objects.ts"
import { addressOf, type IpFamily, ipFamilyOf, numberOf } from "./address-set.ts"
import { type AddressUser, AddressUses } from "./address-uses.ts"
import { type AddressPool, autoAssigned, poolAdmits } from "./pools.ts"
import { type AddressRequest, isBlocking, requestOf } from "./requests.ts"

export type PlacementReason =
  /** It has all that it asks for. */
  | "Assigned"
  /** PreferDualStack, and only one family could be had. */
  | "AssignedInPart"
  /** Nobody gave out anything yet: this edge does not write, or not all is known. */
  | "Waiting"
  | "InvalidRequest"
  | "UnknownPool"
  /** There is no pool that gives addresses to this Service. */
  | "NoPool"
  | "PoolNotAllowed"
  | "PoolExhausted"
  | "AddressNotInPool"
  | "AddressInUse"
  /** Its status names something that is in no pool: left alone, not served. */
  | "AddressWithoutPool"

export interface Placement {
  /** What its status should list; whatever is in no pool is not among them. */
  readonly addresses: readonly Address[]
  readonly reason: PlacementReason
  /** For a person; a sentence without a full stop. */
  readonly message: string
}

interface Tracked {
  readonly key: ObjectKey
  readonly service: Service
  readonly request: AddressRequest
  readonly user: AddressUser
  /** Status entries that are host names, or addresses. */
  readonly held: readonly Address[]
  readonly hasHostname: boolean
  /** Addresses in writes that left for this version of the Service. */
  asked: Address[]
  placement: Placement
}

type Answer =
  | { readonly ok: true; readonly addresses: readonly Address[] }
  | { readonly ok: false; readonly reason: PlacementReason; readonly message: string }

export interface PoolSetting {
  readonly pools: readonly AddressPool[]
  /** Given only to Services that ask for them by number: the edge's own addresses. */
  readonly reserved: ReadonlySet<Address>
  readonly namespaceLabels: ReadonlyMap<string, Labels>
}

export class Allocator {
  #setting: PoolSetting = { pools: [], reserved: new Set(), namespaceLabels: new Map() }
  readonly #tracked = new Map<ObjectKey, Tracked>()
  readonly #uses = new AddressUses()
  /** Services that want something they do not have. */
  readonly #wanting = new Set<ObjectKey>()
  /** By pool and family: nothing below is free. */
  readonly #cursors = new Map<string, bigint>()
  #isGiving = false
  /** Something was freed, changed or added since all wanting Services were looked at. */
  #isDirty = true

  configure(setting: PoolSetting): void {
    this.#setting = setting
    this.#cursors.clear()
    for (const tracked of this.#tracked.values()) this.#judge(tracked)
    this.#isDirty = true
  }

  /** May addresses be given out? Plans that nobody has seen end with the right to make them. */
  setGiving(isGiving: boolean): void {
    if (this.#isGiving === isGiving) return
    this.#isGiving = isGiving
    this.#isDirty = true
    for (const tracked of this.#tracked.values()) this.#judge(tracked)
  }

  /** A LoadBalancer Service as the API has it now. Not ours: only its addresses are minded. */
  set(service: Service, isOurs: boolean): void {
    const key = keyOf(service.meta)
    const before = this.#tracked.get(key)
    const request = requestOf(service)
    const sharingKey = isOurs ? request.sharingKey : ""
    const isSameVersion =
      before?.service.meta.resourceVersion === service.meta.resourceVersion &&
      before.service.meta.uid === service.meta.uid
    const tracked: Tracked = {
      key,
      service,
      request,
      user: { service, sharingKey, isForeign: !isOurs },
      held: service.ingress.flatMap(({ ip }) => ip ?? []),
      hasHostname: service.ingress.some(({ ip }) => ip === undefined),
      asked: isSameVersion ? before.asked : [],
      placement: before?.placement ?? NOTHING,
    }
    this.#tracked.set(key, tracked)
    this.#judge(tracked)
    this.#isDirty = true
  }

  delete(key: ObjectKey): void {
    this.#tracked.delete(key)
    this.#wanting.delete(key)
    this.#freed(this.#uses.delete(key))
  }

  /** Forgets all Services that are not among these. */
  retain(isKnown: (key: ObjectKey) => boolean): void {
    for (const key of this.#tracked.keys()) if (!isKnown(key)) this.delete(key)
  }

  /** A write that gives the Service its planned addresses is about to leave. */
  asked(key: ObjectKey): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    tracked.asked = [...new Set([...tracked.asked, ...tracked.placement.addresses])]
    this.#use(tracked)
  }

  /**
   * Looks again at all Services that want something, oldest first. Returns those whose placement
   * has changed.
   */
  give(): ObjectKey[] {
    if (!this.#isDirty) return []
    this.#isDirty = false
    const wanting = [...this.#wanting].flatMap((key) => this.#tracked.get(key) ?? [])
    return wanting.sort(byAge).flatMap((tracked) => {
      const before = tracked.placement
      this.#place(tracked)
      return isSamePlacement(before, tracked.placement) ? [] : [tracked.key]
    })
  }

  placementOf(key: ObjectKey): Placement {
    return this.#tracked.get(key)?.placement ?? NOTHING
  }

  /** Addresses that it has together with others against the rules of sharing. */
  conflictsOf(key: ObjectKey): string[] {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return []
    return tracked.placement.addresses.flatMap(
      (address) => this.#uses.refusal(address, tracked.user) ?? [],
    )
  }

  requestOf(key: ObjectKey): AddressRequest | undefined {
    return this.#tracked.get(key)?.request
  }

  /** The pool an address belongs to: the first that has it. */
  poolOf(address: Address): AddressPool | undefined {
    return this.#setting.pools.find(({ addresses }) => addresses.contains(address))
  }

  /**
   * Services that could have been promised something by whoever wrote before: those that lack
   * something there is, and those for which a write of ours is under way.
   */
  unsettled(): Service[] {
    return [...this.#tracked.values()]
      .filter((tracked) => tracked.asked.length > 0 || this.#isPromisable(tracked))
      .map(({ service }) => service)
  }

  #isPromisable(tracked: Tracked): boolean {
    if (!this.#wanting.has(tracked.key)) return false
    const { missing } = this.#wishOf(tracked)
    return this.#setting.pools.some(({ addresses }) => missing.some((each) => addresses.has(each)))
  }

  /** Addresses in use by pool, for status and metrics. */
  usage(): { readonly pool: AddressPool; readonly used: number }[] {
    const used = new Map<AddressPool, Set<Address>>()
    for (const { user, placement } of this.#tracked.values()) {
      for (const address of user.isForeign ? [] : placement.addresses) {
        const pool = this.poolOf(address)
        if (pool !== undefined) used.set(pool, (used.get(pool) ?? new Set()).add(address))
      }
    }
    return this.#setting.pools.map((pool) => ({ pool, used: used.get(pool)?.size ?? 0 }))
  }

  /** What can be said without giving: what it keeps, and whether it wants more. */
  #judge(tracked: Tracked): void {
    this.#wanting.delete(tracked.key)
    if (tracked.user.isForeign) {
      tracked.placement = { ...NOTHING, addresses: tracked.held }
    } else {
      const wish = this.#wishOf(tracked)
      if (wish.isWanting) this.#wanting.add(tracked.key)
      const isPlanning = this.#isGiving && wish.isWanting
      tracked.placement = (isPlanning ? this.#withPlanned(tracked, wish) : wish).placement
    }
    this.#use(tracked)
  }

  /**
   * What was planned for it at an earlier look stays planned while it could be planned anew: what
   * has been said about it (its virtual router) stays true.
   */
  #withPlanned(tracked: Tracked, wish: Wish): Wish {
    const planned = tracked.placement.addresses.filter(
      (address) => wish.missing.includes(ipFamilyOf(address)) && this.#mayHave(tracked, address),
    )
    if (planned.length === 0) return wish
    const keep = inOrder([...wish.keep, ...planned], tracked.request.families)
    const families = new Set(keep.map(ipFamilyOf))
    const missing = wish.missing.filter((family) => !families.has(family))
    const placement = missing.length === 0 ? placed(keep, "Assigned", "") : wish.placement
    return { ...wish, keep, missing, placement }
  }

  /** Would the allocator itself give this address to this Service? */
  #mayHave({ request, service, user }: Tracked, address: Address): boolean {
    const pool = this.poolOf(address)
    if (pool === undefined || !this.#admits(pool, service)) return false
    if (!this.#isWhatItAsks(address, request)) return false
    if (request.addresses.length === 0) {
      if (this.#setting.reserved.has(address)) return false
      if (request.pool === "" && !pool.autoAssign) return false
    }
    return this.#uses.refusal(address, user) === undefined
  }

  #wishOf({ held, hasHostname, request }: Tracked): Wish {
    const pooled = held.filter((address) => this.poolOf(address) !== undefined)
    const keep = pooled.filter((address) => this.#isWhatItAsks(address, request))
    const missing = request.families.filter((family) => !keep.some((a) => ipFamilyOf(a) === family))
    const problem = request.problems.find(isBlocking)
    const asksForAnother = request.addresses.length > 0 || request.pool !== ""
    const isStranger = hasHostname || pooled.length < held.length
    const wish = { keep, missing, isWanting: false }
    if (problem !== undefined) {
      return { ...wish, placement: placed(pooled, "InvalidRequest", problem.message) }
    }
    if (isStranger && !asksForAnother) {
      return { ...wish, placement: placed(pooled, "AddressWithoutPool", strangerMessage(held)) }
    }
    if (missing.length === 0) return { ...wish, placement: placed(keep, "Assigned", "") }
    return { ...wish, isWanting: true, placement: placed(pooled, "Waiting", WAITING) }
  }

  #isWhatItAsks(address: Address, request: AddressRequest): boolean {
    if (request.addresses.length > 0 && !request.addresses.includes(address)) return false
    if (request.pool !== "" && this.poolOf(address)?.name !== request.pool) return false
    return request.families.includes(ipFamilyOf(address))
  }

  #place(tracked: Tracked): void {
    // Nothing new for what is about to go.
    if (!this.#isGiving || tracked.service.meta.isDeleting) return
    const wish = this.#withPlanned(tracked, this.#wishOf(tracked))
    tracked.placement = wish.missing.length === 0 ? wish.placement : this.#given(tracked, wish)
    this.#use(tracked)
  }

  #given(tracked: Tracked, wish: Wish): Placement {
    const { families, isPartialEnough } = tracked.request
    const answer = this.#answer(tracked, wish)
    if (answer.ok) {
      const addresses = inOrder([...wish.keep, ...answer.addresses], families)
      const isWhole = addresses.length >= families.length
      return placed(addresses, isWhole ? "Assigned" : "AssignedInPart", isWhole ? "" : IN_PART)
    }
    if (isPartialEnough && wish.keep.length > 0) {
      return placed(wish.keep, "AssignedInPart", answer.message)
    }
    return placed(wish.placement.addresses, answer.reason, answer.message)
  }

  #answer(tracked: Tracked, { keep, missing }: Wish): Answer {
    const { request } = tracked
    if (request.addresses.length > 0) {
      return this.#named(
        tracked,
        request.addresses.filter((address) => !keep.includes(address)),
      )
    }
    const pools = this.#poolsFor(tracked)
    if (!Array.isArray(pools)) return pools
    const home = keep[0] === undefined ? undefined : this.poolOf(keep[0])
    const ordered = home !== undefined && pools.includes(home) ? [home, ...pools] : pools
    return this.#fromPools(tracked, ordered, missing)
  }

  /** Exactly these addresses, all or none. */
  #named(tracked: Tracked, addresses: readonly Address[]): Answer {
    for (const address of addresses) {
      const pool = this.poolOf(address)
      if (pool === undefined) {
        return refused("AddressNotInPool", `${address} is in no address pool`)
      }
      if (tracked.request.pool !== "" && tracked.request.pool !== pool.name) {
        const message = `${address} is in pool "${pool.name}", not in "${tracked.request.pool}"`
        return refused("AddressNotInPool", message)
      }
      if (!this.#admits(pool, tracked.service)) return refused("PoolNotAllowed", notFor(pool))
      const refusal = this.#uses.refusal(address, tracked.user)
      if (refusal !== undefined) return refused("AddressInUse", refusal)
    }
    return { ok: true, addresses }
  }

  #poolsFor({ request, service }: Tracked): AddressPool[] | (Answer & { ok: false }) {
    const { pools } = this.#setting
    if (request.pool === "") {
      const found = autoAssigned(pools, service, this.#labelsOf(service))
      if (found.length > 0) return found
      const message = "no address pool gives addresses to this Service by itself"
      return refused("NoPool", message)
    }
    const named = pools.find(({ name }) => name === request.pool)
    if (named === undefined) {
      return refused("UnknownPool", `there is no address pool "${request.pool}"`)
    }
    return this.#admits(named, service) ? [named] : refused("PoolNotAllowed", notFor(named))
  }

  /** From one pool that has all families (as MetalLB), else each from the first that has it. */
  #fromPools(tracked: Tracked, pools: readonly AddressPool[], families: Families): Answer {
    for (const pool of pools) {
      const found = families.flatMap((family) => this.#freeIn(pool, family, tracked) ?? [])
      if (found.length === families.length) return { ok: true, addresses: found }
    }
    const each = families.map((family) => this.#firstFree(tracked, pools, family))
    const found = each.filter((address) => address !== undefined)
    const isEnough = found.length === families.length || tracked.request.isPartialEnough
    if (found.length > 0 && isEnough) return { ok: true, addresses: found }
    const lacking = families.filter((_, index) => each[index] === undefined).join(" and ")
    const names = [...new Set(pools.map(({ name }) => `"${name}"`))].join(", ")
    return refused("PoolExhausted", `no free ${lacking} address in ${names}`)
  }

  #firstFree(tracked: Tracked, pools: readonly AddressPool[], family: IpFamily) {
    for (const pool of pools) {
      const address = this.#freeIn(pool, family, tracked)
      if (address !== undefined) return address
    }
    return undefined
  }

  #freeIn(pool: AddressPool, family: IpFamily, tracked: Tracked): Address | undefined {
    const shared = this.#uses
      .sharedBy(tracked.request.sharingKey)
      .filter((address) => ipFamilyOf(address) === family && this.poolOf(address) === pool)
      .filter((address) => !this.#setting.reserved.has(address))
      .filter((address) => this.#uses.refusal(address, tracked.user) === undefined)
      .sort((left, right) => (numberOf(left) < numberOf(right) ? -1 : 1))[0]
    return shared ?? this.#lowestFree(pool, family)
  }

  #lowestFree(pool: AddressPool, family: IpFamily): Address | undefined {
    const cursor = `${family} ${pool.name}`
    let at = pool.addresses.next(family, this.#cursors.get(cursor) ?? 0n)
    while (at !== undefined) {
      const address = addressOf(family, at)
      const isFree = !this.#uses.isUsed(address) && !this.#setting.reserved.has(address)
      if (isFree && this.poolOf(address) === pool) {
        this.#cursors.set(cursor, at)
        return address
      }
      at = pool.addresses.next(family, at + 1n)
    }
    this.#cursors.set(cursor, BEYOND)
    return undefined
  }

  #use({ user, held, asked, placement }: Tracked): void {
    const addresses = [...new Set([...held, ...asked, ...placement.addresses])]
    this.#freed(this.#uses.set(user, addresses))
  }

  #freed(addresses: readonly Address[]): void {
    for (const address of addresses) {
      const number = numberOf(address)
      const family = ipFamilyOf(address)
      for (const pool of this.#setting.pools) {
        const cursor = `${family} ${pool.name}`
        if (number < (this.#cursors.get(cursor) ?? 0n)) this.#cursors.set(cursor, number)
      }
      this.#isDirty = true
    }
  }

  #admits(pool: AddressPool, service: Service): boolean {
    return poolAdmits(pool, service, this.#labelsOf(service))
  }

  #labelsOf({ meta }: Service): Labels {
    return this.#setting.namespaceLabels.get(meta.namespace) ?? {}
  }
}

interface Wish {
  /** Of what it has, what it asks for. */
  readonly keep: readonly Address[]
  readonly missing: Families
  readonly isWanting: boolean
  /** If nothing is given. */
  readonly placement: Placement
}

type Families = readonly IpFamily[]

/** Older first, so that who came first is served first, on whichever edge. */
export function byAge(left: { service: Service }, right: { service: Service }): number {
  const [a, b] = [left.service.meta, right.service.meta]
  if (a.createdEpochMs !== b.createdEpochMs) return a.createdEpochMs - b.createdEpochMs
  return keyOf(a) < keyOf(b) ? -1 : 1
}

function placed(addresses: readonly Address[], reason: PlacementReason, message: string) {
  return { addresses, reason, message }
}

function refused(reason: PlacementReason, message: string) {
  return { ok: false, reason, message } as const
}

function inOrder(addresses: readonly Address[], families: Families): Address[] {
  const rank = (address: Address) => families.indexOf(ipFamilyOf(address))
  return addresses.toSorted((left, right) => rank(left) - rank(right))
}

function notFor({ name }: AddressPool): string {
  return `pool "${name}" is not for this Service (serviceAllocation)`
}

function strangerMessage(held: readonly Address[]): string {
  const what = held.length === 0 ? "a host name" : held.join(", ")
  const way = "clear status.loadBalancer or ask for another address"
  return `its status already names ${what}, not all of which is in an address pool; ${way}`
}

function isSamePlacement(left: Placement, right: Placement): boolean {
  if (left === right) return true
  if (left.reason !== right.reason || left.message !== right.message) return false
  return left.addresses.join() === right.addresses.join()
}

const WAITING = "no address has been given out yet"
const IN_PART = "there is no free address of its other family"
const NOTHING: Placement = { addresses: [], reason: "Waiting", message: WAITING }
/** Above every address. */
const BEYOND = 1n << 129n
