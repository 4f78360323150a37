/**
 * All LoadBalancer Services of the cluster: what they are served with on this edge, and, on the
 * edge that writes, what is given to them and told to the API.
 *
 * The two halves meet only in the API. *Serving* is a function of what the view shows (addresses in
 * status, the condition that names the virtual router, the pools), so that both edges serve the
 * same, with or without a writer, also from a view restored from disk. *Writing* decides and asks
 * for writes; what it decided is served when the view shows it, a moment later, and never before.
 */
import type { Config, PoolConfig, StreamConfig } from "../config/config.ts"
import type { Address, Prefix } from "../net/address.ts"
import { formatEndpoint } from "../net/address.ts"
import { after, earlier, type Instant } from "../net/time.ts"
import { ipFamilyOf, numberOf } from "./addresses/address-set.ts"
import { Allocator, byAge, type Placement } from "./addresses/allocator.ts"
import { carrierOf, leastLoaded, namedRouter } from "./addresses/carriers.ts"
import { Fence } from "./addresses/fence.ts"
import { type EffectivePools, effectivePools, type PoolProblem } from "./addresses/pools.ts"
import { isBlocking, isOurs, requestOf } from "./addresses/requests.ts"
import {
  conditionOf,
  nextStep,
  type Problem,
  READY,
  releaseStep,
  type Step,
  touchStep,
  type Verdict,
} from "./addresses/status-writes.ts"
import { WritePace } from "./addresses/write-pace.ts"
import { type ServiceListeners, serviceListeners } from "./load-balancer.ts"
import type { ClusterView, MirroredKind, ObjectKey, Service } from "./objects.ts"
import type { Write } from "./writes.ts"

/** Keys that were added, changed or removed; "everything" after a restart or a relist of all. */
export type ViewChanges = "everything" | { readonly [Kind in MirroredKind]?: Iterable<ObjectKey> }

export type LoadBalancersConfig = Pick<
  Config,
  "kubernetes" | "addressPools" | "vrrp" | "streams" | "http" | "admin"
>

export interface Contribution {
  readonly streams: readonly StreamConfig[]
  /** Templates without servers; `kubernetes` says what fills them. */
  readonly pools: readonly PoolConfig[]
  /** /32 and /128, by virtual router; those that the file already gives to one are not repeated. */
  readonly addressesByRouter: ReadonlyMap<string, readonly Prefix[]>
}

export interface LoadBalancerRow {
  /** "namespace/name". */
  readonly service: ObjectKey
  readonly addresses: readonly Address[]
  /** Of each address; "" where nobody carries it. */
  readonly routers: readonly string[]
  readonly ports: readonly string[]
  readonly state: "served" | "degraded" | "pending"
  /** "" when all is well. */
  readonly reason: string
}

export interface Clock {
  readonly now: Instant
  /** For the times that people read in conditions. */
  readonly epochMs: number
}

interface Served {
  readonly service: Service
  /** In its status and in a pool. */
  readonly addresses: readonly Address[]
  readonly listeners: ServiceListeners
  /** Equal when the same is served in the same places. */
  readonly fingerprint: string
}

export class LoadBalancers {
  readonly #allocator = new Allocator()
  readonly #fence = new Fence()
  #fenceEndsAt: Instant | undefined
  readonly #pace = new WritePace()
  #config: LoadBalancersConfig | undefined
  #view: ClusterView | undefined
  #pools: EffectivePools = { pools: [], problems: [] }
  #fileEndpoints: ReadonlyMap<string, string> = new Map()
  /** Addresses of `[[vrrp]]` itself, and who carries them. */
  #fileRouters: ReadonlyMap<Address, string> = new Map()
  /** Ours, as the view has them. */
  readonly #served = new Map<ObjectKey, Served>()
  readonly #holders = new Map<Address, Set<ObjectKey>>()
  #contribution: Contribution | undefined
  #term: string | undefined
  /** Chosen for addresses that no status shows yet. */
  readonly #chosenRouters = new Map<Address, string>()
  /** Services to look at for writes, now or at their time. */
  readonly #review = new Set<ObjectKey>()
  readonly #later = new Map<ObjectKey, Instant>()

  configure(config: LoadBalancersConfig): void {
    this.#config = config
    this.#fileEndpoints = fileEndpoints(config)
    this.#fileRouters = new Map(
      config.vrrp.flatMap((router) =>
        [...router.addresses, ...router.unadvertisedAddresses].map(
          ({ address }) => [address, router.name] as const,
        ),
      ),
    )
    this.#setPools()
    this.#setAll()
    this.#contribution = undefined
  }

  /** The view has changed. Call `configure` before the first time. */
  update(view: ClusterView, changes: ViewChanges): void {
    this.#view = view
    const arePoolsOther =
      changes === "everything" ||
      POOL_KINDS.some((kind) => changes[kind] !== undefined) ||
      (changes.namespaces !== undefined && this.#pools.pools.some(({ scope }) => scope))
    if (arePoolsOther) this.#setPools()
    if (changes === "everything" || arePoolsOther) this.#setAll()
    else this.#setServices(changes.services ?? [])
  }

  /**
   * With a term (`election.ts`, different for each time this or another edge became the writer)
   * this edge gives out addresses and writes. Say it only when the caches are complete and Services
   * have been listed anew, consistently, after the Lease was taken, and the view has that list.
   */
  setWriter(term: string | undefined): void {
    if (term === this.#term) return
    this.#term = term
    this.#allocator.setGiving(false)
    this.#chosenRouters.clear()
    this.#pace.clear()
    this.#later.clear()
    this.#fence.drop()
    this.#fenceEndsAt = undefined
    if (term === undefined) return
    this.#fence.raise(this.#allocator.unsettled())
    this.#reviewAll()
  }

  /**
   * What is to be written now, to be passed on at once: an address counts as promised from here.
   */
  takeWrites(clock: Clock): Write[] {
    if (this.#term === undefined) return []
    this.#takeDue(clock.now)
    if (!this.#isPastFence(clock.now)) return this.#touch(this.#term, clock)
    this.#allocator.setGiving(true)
    for (const key of this.#allocator.give()) this.#review.add(key)
    const writes = this.#reviewedInOrder().flatMap((key) => this.#writesFor(key, clock))
    this.#review.clear()
    return writes
  }

  /** When `takeWrites` has something to repeat. */
  deadline(): Instant | undefined {
    let first: Instant | undefined
    for (const at of this.#later.values()) first = earlier(first, at)
    return this.#fence.isPassed ? first : earlier(first, this.#fenceEndsAt)
  }

  contribution(): Contribution {
    this.#contribution ??= this.#contribute()
    return this.#contribution
  }

  /** An address that a virtual router carries, or may be given: an edge answers there. */
  isVirtual(address: Address): boolean {
    return this.#fileRouters.has(address) || this.#allocator.poolOf(address) !== undefined
  }

  poolProblems(): readonly PoolProblem[] {
    return this.#pools.problems
  }

  poolUsage(): ReturnType<Allocator["usage"]> {
    return this.#allocator.usage()
  }

  /** Sorted by name. */
  status(): LoadBalancerRow[] {
    return this.#servedInOrder().map(([key, served]) => this.#rowOf(key, served))
  }

  // The view.

  #setPools(): void {
    if (this.#config === undefined) return
    const { addressPools, vrrp } = this.#config
    const view = this.#view
    this.#pools = effectivePools({
      addressPools,
      vrrp,
      metalLbPools: view?.metalLbPools.values() ?? [],
      l2Advertisements: view?.l2Advertisements.values() ?? [],
    })
    this.#allocator.configure({
      pools: this.#pools.pools,
      reserved: reservedAddresses(this.#config),
      namespaceLabels: new Map(
        [...(view?.namespaces ?? [])].map(([name, { meta }]) => [name, meta.labels]),
      ),
    })
  }

  #setAll(): void {
    const keys = [...(this.#view?.services.keys() ?? [])]
    const gone = [...this.#served.keys()].filter((key) => !this.#view?.services.has(key))
    for (const key of this.#fence.waiting) {
      if (!this.#view?.services.has(key)) this.#fence.see(key, undefined)
    }
    this.#setServices([...gone, ...keys])
    this.#allocator.retain((key) => this.#view?.services.has(key) === true)
  }

  #setServices(keys: Iterable<ObjectKey>): void {
    const before = new Map<ObjectKey, Served | undefined>()
    const affected = new Set<ObjectKey>()
    for (const key of keys) {
      const service = this.#view?.services.get(key)
      before.set(key, this.#served.get(key))
      this.#fence.see(key, service)
      for (const other of this.#set(key, service)) affected.add(other)
      affected.add(key)
    }
    for (const key of affected) {
      const known = before.has(key) ? before.get(key) : this.#served.get(key)
      this.#serveAnew(key, known)
      this.#review.add(key)
    }
  }

  /** What is served in the same way stays the same object: most changes are our own writes. */
  #serveAnew(key: ObjectKey, known: Served | undefined): void {
    const served = this.#served.get(key)
    const next = served && this.#serve(served.service)
    if (next !== undefined) this.#served.set(key, next)
    if (known?.fingerprint !== next?.fingerprint) this.#contribution = undefined
  }

  /** Returns the Services that had or have an address in common with it. */
  #set(key: ObjectKey, service: Service | undefined): ObjectKey[] {
    const before = this.#served.get(key)?.addresses ?? []
    const isServed = service !== undefined && this.#isOurs(service)
    if (service?.type === "LoadBalancer") this.#allocator.set(service, isServed)
    else this.#allocator.delete(key)
    if (service === undefined) this.#pace.forget(key)
    const addresses = isServed ? this.#pooledOf(service) : []
    for (const address of before) this.#release(address, key)
    for (const address of addresses) {
      this.#holders.set(address, (this.#holders.get(address) ?? new Set()).add(key))
      this.#chosenRouters.delete(address)
    }
    if (isServed) this.#served.set(key, { service, addresses, ...NOTHING })
    else this.#served.delete(key)
    return [...before, ...addresses].flatMap((address) => [...(this.#holders.get(address) ?? [])])
  }

  #release(address: Address, key: ObjectKey): void {
    const holders = this.#holders.get(address)
    holders?.delete(key)
    if (holders?.size === 0) this.#holders.delete(address)
  }

  #isOurs(service: Service): boolean {
    return this.#config?.kubernetes !== undefined && isOurs(service, this.#config.kubernetes)
  }

  #pooledOf({ ingress }: Service): Address[] {
    const addresses = ingress.flatMap(({ ip }) => ip ?? [])
    return [...new Set(addresses)].filter((each) => this.#allocator.poolOf(each) !== undefined)
  }

  // Serving.

  #serve(service: Service): Served {
    const addresses = this.#pooledOf(service)
    const key = keyOfService(service)
    const listeners = serviceListeners({
      service,
      request: this.#allocator.requestOf(key) ?? requestOf(service),
      addresses,
      ownerOf: (endpoint) =>
        this.#fileEndpoints.get(formatEndpoint(endpoint)) ??
        this.#elderOn(endpoint.address, endpoint.port, service),
    })
    const routers = addresses.map((address) => this.#carrierOf(address) ?? "")
    const { streams, pools } = listeners
    const fingerprint = JSON.stringify([addresses, routers, streams, pools])
    return { service, addresses, listeners, fingerprint }
  }

  /** The oldest other Service with this port of the address, if it is older than this one. */
  #elderOn(address: Address, port: number, service: Service): string | undefined {
    for (const holder of this.#holdersOf(address)) {
      if (holder.meta.uid === service.meta.uid) return undefined
      const has = holder.ports.some((its) => its.port === port && its.protocol === "TCP")
      if (has) return `Service ${keyOfService(holder)}`
    }
    return undefined
  }

  /** Services that have the address in their status, oldest first. */
  #holdersOf(address: Address): Service[] {
    const holders = [...(this.#holders.get(address) ?? [])]
    return holders
      .flatMap((key) => this.#served.get(key) ?? [])
      .sort(byAge)
      .map(({ service }) => service)
  }

  #carrierOf(address: Address): string | undefined {
    const ofFile = this.#fileRouters.get(address)
    const pool = this.#allocator.poolOf(address)
    if (ofFile !== undefined || pool === undefined) return ofFile
    return carrierOf(address, this.#holdersOf(address), pool)
  }

  #contribute(): Contribution {
    const inOrder = this.#servedInOrder().map(([, served]) => served)
    const byRouter = new Map<string, Address[]>()
    for (const address of this.#holders.keys()) {
      const router = this.#carrierOf(address)
      if (router === undefined || this.#fileRouters.has(address)) continue
      byRouter.set(router, [...(byRouter.get(router) ?? []), address])
    }
    const prefixes = [...byRouter].map(
      ([router, addresses]) => [router, addresses.sort(byNumber).map(hostPrefix)] as const,
    )
    return {
      streams: inOrder.flatMap(({ listeners }) => listeners.streams),
      pools: inOrder.flatMap(({ listeners }) => listeners.pools),
      addressesByRouter: new Map(prefixes.sort(([left], [right]) => (left < right ? -1 : 1))),
    }
  }

  #servedInOrder(): [ObjectKey, Served][] {
    return [...this.#served].sort(([left], [right]) => (left < right ? -1 : 1))
  }

  #rowOf(key: ObjectKey, { service, addresses, listeners }: Served): LoadBalancerRow {
    const verdict = this.#verdict(service)
    const problems = verdict.problems.map(({ message }) => message)
    const { reason: why } = this.#allocator.placementOf(key)
    // Who does not write has not tried; what the writer found out stands in the condition.
    const said = why === "Waiting" ? conditionOf(service, READY)?.message : undefined
    const message = said ?? verdict.ready.message
    const reason = verdict.ready.isTrue && !said ? problems : [message, ...problems]
    const isWhole = verdict.ready.isTrue && problems.length === 0
    return {
      service: key,
      addresses,
      routers: addresses.map((address) => this.#carrierOf(address) ?? ""),
      ports: service.ports.map(({ port, protocol }) => `${port}/${protocol}`),
      state: listeners.streams.length === 0 ? "pending" : isWhole ? "served" : "degraded",
      reason: reason.join("; "),
    }
  }

  // Writing.

  /** One Service that nobody can write to must not keep all others from addresses for ever. */
  #isPastFence(now: Instant): boolean {
    if (this.#fence.isPassed) return true
    this.#fenceEndsAt ??= after(now, FENCE_MS_MAX)
    if (now < this.#fenceEndsAt) return false
    this.#fence.drop()
    return true
  }

  #reviewAll(): void {
    for (const key of this.#view?.services.keys() ?? []) this.#review.add(key)
  }

  /** Oldest first, as addresses are given. */
  #reviewedInOrder(): ObjectKey[] {
    const services = [...this.#review].flatMap((key) => this.#view?.services.get(key) ?? [])
    return services
      .map((service) => ({ service }))
      .sort(byAge)
      .map(({ service }) => keyOfService(service))
  }

  #takeDue(now: Instant): void {
    for (const [key, at] of this.#later) {
      if (at > now) continue
      this.#later.delete(key)
      this.#review.add(key)
    }
  }

  #touch(term: string, { now, epochMs }: Clock): Write[] {
    return [...this.#fence.waiting].flatMap((key) => {
      const service = this.#view?.services.get(key)
      return service === undefined ? [] : this.#ask(key, touchStep(service, term, epochMs), now)
    })
  }

  #writesFor(key: ObjectKey, { now, epochMs }: Clock): Write[] {
    const service = this.#view?.services.get(key)
    if (service === undefined || service.meta.isDeleting) return []
    const step = this.#isOurs(service)
      ? this.#nextStep(service, epochMs)
      : releaseStep(service, (address) => this.#allocator.poolOf(address) !== undefined)
    if (step !== undefined) return this.#ask(key, step, now)
    this.#pace.settle(key, now)
    this.#later.delete(key)
    return []
  }

  #nextStep(service: Service, epochMs: number): Step | undefined {
    const placement = this.#allocator.placementOf(keyOfService(service))
    if (placement.reason === "Waiting") return undefined
    return nextStep(service, this.#verdict(service), epochMs)
  }

  #ask(key: ObjectKey, { write, events, isGiving }: Step, now: Instant): Write[] {
    const step = JSON.stringify(write.patch, withoutTimes)
    const answer = this.#pace.ask(key, { step, version: write.resourceVersion ?? "" }, now)
    const againAt = this.#pace.againAt(key)
    if (againAt !== undefined) this.#later.set(key, againAt)
    if (answer === "later") return []
    if (isGiving) this.#allocator.asked(key)
    return answer === "first" ? [write, ...events] : [write]
  }

  #verdict(service: Service): Verdict {
    const key = keyOfService(service)
    const placement = this.#allocator.placementOf(key)
    const isAssigned = placement.reason === "Assigned" || placement.reason === "AssignedInPart"
    const routers = new Map<Address, string>()
    for (const address of placement.addresses) {
      const router = this.#routerFor(address, service)
      if (router !== undefined) routers.set(address, router)
    }
    return {
      routers,
      addresses: isAssigned ? placement.addresses : undefined,
      ready: readiness(service, placement, routers),
      problems: this.#problemsOf(key),
    }
  }

  /** Where it is carried; for an address that nobody has yet, where it will be. */
  #routerFor(address: Address, service: Service): string | undefined {
    if (this.#holders.has(address)) return this.#carrierOf(address)
    const ofFile = this.#fileRouters.get(address)
    const pool = this.#allocator.poolOf(address)
    if (ofFile !== undefined || pool === undefined) return ofFile
    const chosen = this.#chosenRouters.get(address)
    const isValid = chosen !== undefined && pool.virtualRouters.includes(chosen)
    const known = isValid ? chosen : namedRouter(service, address, pool)
    const router = known ?? leastLoaded(pool, this.#loads())
    if (router !== undefined && this.#term !== undefined) this.#chosenRouters.set(address, router)
    return router
  }

  /** Addresses by router, those that are planned included. */
  #loads(): Map<string, number> {
    const loads = new Map<string, number>()
    const count = (router: string | undefined) => {
      if (router !== undefined) loads.set(router, (loads.get(router) ?? 0) + 1)
    }
    for (const [router, prefixes] of this.contribution().addressesByRouter) {
      loads.set(router, prefixes.length)
    }
    for (const router of this.#chosenRouters.values()) count(router)
    return loads
  }

  #problemsOf(key: ObjectKey): Problem[] {
    const requested = this.#allocator.requestOf(key)?.problems ?? []
    return [
      ...(this.#served.get(key)?.listeners.problems ?? []),
      ...requested
        .filter((problem) => !isBlocking(problem))
        .map(({ message }) => ({ type: "BadAnnotation", message })),
      ...this.#allocator.conflictsOf(key).map((message) => ({ type: "AddressConflict", message })),
    ]
  }
}

/** Its addresses, or why it has none, in the words of the condition. */
function readiness(
  { ports }: Service,
  { addresses, reason, message }: Placement,
  routers: ReadonlyMap<Address, string>,
): Verdict["ready"] {
  const isAssigned = reason === "Assigned" || reason === "AssignedInPart"
  if (!isAssigned) {
    const keeps = addresses.length === 0 ? "" : `; it keeps ${addresses.join(", ")}`
    return { isTrue: addresses.length > 0, reason, message: `${message}${keeps}` }
  }
  const lost = addresses.filter((address) => !routers.has(address))
  if (lost.length > 0) {
    const message = `no virtual router carries ${lost.join(", ")} (L2Advertisement, [[vrrp]])`
    return { isTrue: false, reason: "NotCarried", message }
  }
  if (!ports.some(({ protocol }) => protocol === "TCP")) {
    return { isTrue: false, reason: "ProtocolNotServed", message: "it has no TCP port" }
  }
  const places = addresses.map(
    (address) => `${address} on virtual router "${routers.get(address)}"`,
  )
  const note = message === "" ? "" : `; ${message}`
  return { isTrue: true, reason, message: `${places.join(", ")}${note}` }
}

/**
 * Listeners of the file, by endpoint. One on all addresses is no hindrance: the kernel gives a
 * connection to the more specific listener.
 */
function fileEndpoints({ streams, http, admin }: LoadBalancersConfig): Map<string, string> {
  return new Map([
    ...streams.flatMap(({ name, bind }) =>
      bind.map((endpoint) => [formatEndpoint(endpoint), `stream "${name}"`] as const),
    ),
    ...http.flatMap(({ name, bind }) =>
      bind.map(({ endpoint }) => [formatEndpoint(endpoint), `http "${name}"`] as const),
    ),
    ...admin.listen.flatMap((listen) =>
      listen.type === "tcp" ? [[formatEndpoint(listen.endpoint), "[admin]"] as const] : [],
    ),
  ])
}

/** What the file uses itself is given only to a Service that asks for it by number. */
function reservedAddresses({ vrrp, streams, http }: LoadBalancersConfig): Set<Address> {
  return new Set([
    ...vrrp.flatMap(({ addresses, unadvertisedAddresses }) =>
      [...addresses, ...unadvertisedAddresses].map(({ address }) => address),
    ),
    ...streams.flatMap(({ bind }) => bind.map(({ address }) => address)),
    ...http.flatMap(({ bind }) => bind.map(({ endpoint }) => endpoint.address)),
  ])
}

function keyOfService({ meta }: Service): ObjectKey {
  return `${meta.namespace}/${meta.name}`
}

function hostPrefix(address: Address): Prefix {
  return { address, length: ipFamilyOf(address) === "IPv4" ? 32 : 128 }
}

function byNumber(left: Address, right: Address): number {
  if (ipFamilyOf(left) !== ipFamilyOf(right)) return ipFamilyOf(left) === "IPv4" ? -1 : 1
  return numberOf(left) < numberOf(right) ? -1 : 1
}

/** Two patches that differ only in the moment are the same step. */
function withoutTimes(key: string, value: unknown): unknown {
  return key === "lastTransitionTime" ? undefined : value
}

/** A request that was sent before it lives no longer but by a rare chance; then a clash is told. */
const FENCE_MS_MAX = 60_000

const NOTHING = { listeners: { streams: [], pools: [], problems: [] }, fingerprint: "" }
const POOL_KINDS = ["metalLbPools", "l2Advertisements"] as const satisfies MirroredKind[]
