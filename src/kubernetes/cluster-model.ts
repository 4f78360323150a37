/**
 * All that follows from the cluster's objects and the file's configuration, in one place and
 * without a clock or a socket: what is to be served (`contribution`), what is to be written, what
 * the status tells. `daemon/cluster/` hands it the changes of the mirror and does what it says.
 *
 * Two ways lead to the data threads. Endpoints take the short one: `changed` returns the pools that
 * are others now. Everything else waits for `rebuild`, which works out the whole.
 */
import type { Config, PoolConfig } from "../config/config.ts"
import type { RouteConfig } from "../config/http-config.ts"
import {
  type Address,
  ANY_IPV4,
  ANY_IPV6,
  type Family,
  formatEndpoint,
  type Prefix,
} from "../net/address.ts"
import { reachableEndpoints } from "../net/reachable.ts"
import { after, earlier, type Instant } from "../net/time.ts"
import { ClusterPools } from "./cluster-pools.ts"
import { concernsPublishing, concernsRoutes } from "./concerns.ts"
import type { IngressCertificate, ReadCertificate } from "./ingress/certificates.ts"
import { type IngressTranslation, IngressTranslator } from "./ingress/translator.ts"
import { type Contribution, LoadBalancers, type ViewChanges } from "./load-balancers.ts"
import type { Mirror, MirrorChange } from "./mirror.ts"
import type { MirroredKind, ObjectKey } from "./objects.ts"
import { serviceKeyOf } from "./objects.ts"
import { Publisher, type PublishRow } from "./publish/publisher.ts"
import type { PublishedServer } from "./publish/wanted.ts"
import { SERVICE_POOL } from "./service-pool.ts"
import type { Write } from "./writes.ts"

/** What a cluster adds to the file's configuration. */
export interface ClusterContribution {
  /** With their servers; those of the file that a Service names among them. */
  readonly pools: readonly PoolConfig[]
  readonly streams: Config["streams"]
  /** For every `[[http]]` with `ingress = true`, behind its own. */
  readonly routes: readonly RouteConfig[]
  /** For the same, behind its own. */
  readonly certificates: readonly IngressCertificate[]
  /** By virtual router. */
  readonly addresses: ReadonlyMap<string, readonly Prefix[]>
}

export interface ClusterModelOptions {
  readonly readCertificate: ReadCertificate
  /** By which the edge reaches pods. */
  readonly families: readonly Family[]
  /** Of the edge's host itself. */
  readonly hostAddresses: readonly Address[]
}

/** What writing depends on besides the view. */
export interface WriteContext {
  readonly now: Instant
  readonly epochMs: number
  /** Services and EndpointSlices are those of the API server. */
  readonly isSynced: boolean
  readonly isWriter: boolean
  /** Of the pools of `[[publish]]` tables that are `direct`. */
  readonly servers: ReadonlyMap<string, readonly PublishedServer[]>
}

type ModelConfig = Config & { readonly kubernetes: NonNullable<Config["kubernetes"]> }

export class ClusterModel {
  readonly #mirror: Mirror
  readonly #hostAddresses: readonly Address[]
  readonly #pools: ClusterPools
  readonly #balancers = new LoadBalancers()
  readonly #ingress: IngressTranslator
  #publisher: Publisher
  #config: ModelConfig
  #translation: IngressTranslation = NO_INGRESS
  #isIngressStale = true
  #isStale = true
  #balanced: Contribution | undefined
  #contribution: ClusterContribution = NOTHING
  /** Since `#contribution` was made; thousands of pools are not listed for each change of one. */
  #arePoolsOther = false
  #published: readonly PublishRow[] = []
  /** What the last look at published objects went by; undefined: something else has changed. */
  #publishedFor: Omit<WriteContext, "now" | "epochMs"> | undefined
  /** The last look at the status of Ingresses was as the writer; undefined: to be looked at. */
  #describedAsWriter: boolean | undefined
  /** Ingresses whose status may be other since. */
  readonly #describeAgain = new Set<ObjectKey>()
  /** When all are looked at again although nothing has changed. */
  #describeAt: Instant | undefined

  constructor(config: ModelConfig, mirror: Mirror, options: ClusterModelOptions) {
    this.#mirror = mirror
    this.#config = config
    this.#hostAddresses = options.hostAddresses
    this.#pools = new ClusterPools(mirror, options.families)
    this.#ingress = new IngressTranslator(options.readCertificate)
    this.#publisher = new Publisher(ownerOf(config))
    this.configure(config)
  }

  /** Another file; the cluster is the same. */
  configure(config: ModelConfig): void {
    if (ownerOf(config) !== ownerOf(this.#config)) this.#publisher = new Publisher(ownerOf(config))
    this.#config = config
    this.#balancers.configure(config)
    this.#balancers.update(this.#mirror.view, "everything")
    this.#tellOwn()
    this.#isIngressStale = true
    this.#isStale = true
    this.#publishedFor = undefined
    this.#describedAsWriter = undefined
  }

  /** What the mirror says has changed. Returns the pools that are others now. */
  changed(changes: readonly MirrorChange[]): PoolConfig[] {
    if (changes.length === 0) return []
    const keys = changedKeys(changes)
    this.#balancers.update(this.#mirror.view, keys)
    this.#isIngressStale ||= changes.some((each) => concernsRoutes(each, this.secretsWanted))
    for (const key of keys.ingresses ?? []) this.#describeAgain.add(key)
    if (changes.some((each) => concernsPublishing(each, this.#config.publish))) {
      this.#publishedFor = undefined
    }
    if (keys.metalLbPools !== undefined) {
      this.#tellOwn()
      this.#isStale = true
    }
    const pools = this.#pools.refresh(servicesOf(changes), { nodes: keys.nodes !== undefined })
    this.#arePoolsOther ||= pools.length > 0
    return pools
  }

  /** Whether `rebuild` has something to do. */
  get isStale(): boolean {
    return (
      this.#isStale || this.#isIngressStale || this.#balancers.contribution() !== this.#balanced
    )
  }

  /** Works out the contribution. True: it is another one now. */
  rebuild(): boolean {
    const balanced = this.#balancers.contribution()
    const isOther = this.#translate() || balanced !== this.#balanced || this.#isStale
    this.#isStale = false
    if (!isOther) return false
    this.#balanced = balanced
    const { routes, certificates, pools } = this.#translation
    this.#pools.setTemplates([...this.#config.pools, ...balanced.pools, ...pools])
    const { streams, addressesByRouter: addresses } = balanced
    const contribution = { pools: this.#pools.pools(), streams, routes, certificates, addresses }
    this.#contribution = contribution
    this.#arePoolsOther = false
    return true
  }

  get contribution(): ClusterContribution {
    if (this.#arePoolsOther) {
      this.#arePoolsOther = false
      this.#contribution = { ...this.#contribution, pools: this.#pools.pools() }
    }
    return this.#contribution
  }

  /** Secrets that Ingresses name, whatever their type. */
  get secretsWanted(): ReadonlySet<ObjectKey> {
    return this.#translation.secretsWanted
  }

  /** See `LoadBalancers.setWriter`. */
  setWriter(term: string | undefined): void {
    this.#balancers.setWriter(term)
  }

  /** What is to be written now. */
  takeWrites(context: WriteContext): Write[] {
    return [
      ...this.#balancers.takeWrites(context),
      ...this.#describeIngresses(context),
      ...this.#publish(context),
    ]
  }

  /** The API did not take a write. */
  failed(write: Exclude<Write, { type: "event" }>, message: string): void {
    this.#publisher.failed(write, message)
    this.#publishedFor = undefined
  }

  /** When `takeWrites` is to be called although nothing has changed. */
  deadline(): Instant | undefined {
    return earlier(
      earlier(this.#balancers.deadline(), this.#publisher.deadline()),
      this.#describeAt,
    )
  }

  status() {
    return {
      pools: this.#pools.status(),
      services: this.#balancers.status(),
      addressPools: this.#balancers.poolUsage(),
      addressPoolProblems: this.#balancers.poolProblems(),
      ingresses: this.#translation.ingresses.length,
      ingressProblems: this.#translation.problems,
      published: this.#published,
    }
  }

  #tellOwn(): void {
    const listening = listeningAt(this.#config, this.#hostAddresses)
    this.#pools.setOwn((endpoint) => {
      return this.#balancers.isVirtual(endpoint.address) || listening.has(formatEndpoint(endpoint))
    })
  }

  /** Looks at all of them only when the translation is other, or a write may have got lost. */
  #describeIngresses({ now, isWriter, isSynced }: WriteContext): Write[] {
    const asWriter = isWriter && isSynced
    const again = [...this.#describeAgain]
    this.#describeAgain.clear()
    const isDue = this.#describeAt !== undefined && this.#describeAt <= now
    const isSame = this.#describedAsWriter === asWriter && !isDue
    if (isSame && (!asWriter || again.length === 0)) return []
    const { view } = this.#mirror
    const addresses = this.#ingressAddresses()
    const context = { view, addresses, isWriter: asWriter }
    const writes = isSame
      ? this.#ingress.writesAgain(again, context)
      : this.#ingress.writes(this.#translation, context)
    if (!isSame) this.#describeAt = undefined
    if (writes.length > 0) this.#describeAt = after(now, DESCRIBE_AGAIN_MS)
    this.#describedAsWriter = asWriter
    return writes
  }

  #publish({ now, isSynced, isWriter, servers }: WriteContext): Write[] {
    const context = { isSynced, isWriter, servers }
    const deadline = this.#publisher.deadline()
    const isDue = deadline !== undefined && deadline <= now
    if (!isDue && Bun.deepEquals(this.#publishedFor, context)) return []
    this.#publishedFor = context
    const { view } = this.#mirror
    const { publish } = this.#config
    const published = this.#publisher.update({ ...context, publish, view }, now)
    this.#published = published.rows
    return [...published.writes]
  }

  /** True: routes or certificates are others now. */
  #translate(): boolean {
    if (!this.#isIngressStale) return false
    this.#isIngressStale = false
    const listeners = this.#config.http.filter(({ ingress }) => ingress)
    if (listeners.length === 0) return false
    const before = this.#translation
    const next = this.#ingress.translate(this.#mirror.view, {
      ingressClass: this.#config.kubernetes.ingressClass,
      servesTls: listeners.some(({ bind }) => bind.some(({ tls }) => tls)),
      crossNamespaceSecrets: false,
      poolTemplate: { ...SERVICE_POOL, name: "", kubernetes: undefined },
    })
    this.#translation = {
      ...next,
      routes: same(before.routes, next.routes),
      certificates: same(before.certificates, next.certificates),
      pools: same(before.pools, next.pools),
    }
    this.#describedAsWriter = undefined
    const { routes, certificates, pools } = this.#translation
    return (
      routes !== before.routes || certificates !== before.certificates || pools !== before.pools
    )
  }

  /** Where the listeners that serve Ingresses are reached. */
  #ingressAddresses(): Address[] {
    const { http, vrrp } = this.#config
    const binds = http.filter(({ ingress }) => ingress).flatMap(({ bind }) => bind)
    const endpoints = reachableEndpoints(
      binds.map(({ endpoint }) => endpoint),
      vrrp.flatMap(({ addresses, unadvertisedAddresses }) =>
        [...addresses, ...unadvertisedAddresses].map(({ address }) => address),
      ),
    )
    return [...new Set(endpoints.map(({ address }) => address))]
  }
}

/** Where the file makes this edge listen. */
function listeningAt(
  { streams, http, admin }: ModelConfig,
  hostAddresses: readonly Address[],
): ReadonlySet<string> {
  const endpoints = [
    ...streams.flatMap(({ bind }) => bind),
    ...http.flatMap(({ bind }) => bind.map(({ endpoint }) => endpoint)),
    ...admin.listen.flatMap((listen) => (listen.type === "tcp" ? [listen.endpoint] : [])),
  ]
  return new Set(
    endpoints.flatMap(({ address, port }) => {
      const isAny = address === ANY_IPV4 || address === ANY_IPV6
      return (isAny ? hostAddresses : [address]).map((each) =>
        formatEndpoint({ address: each, port }),
      )
    }),
  )
}

/** The objects before, when they are equal: who compares by identity then sees no change. */
function same<T>(before: T, next: T): T {
  return Bun.deepEquals(before, next) ? before : next
}

function ownerOf({ kubernetes: { lease } }: ModelConfig): string {
  return `${lease.namespace}/${lease.name}`
}

function changedKeys(changes: readonly MirrorChange[]): Exclude<ViewChanges, "everything"> {
  const keys: { [Kind in MirroredKind]?: Set<ObjectKey> } = {}
  for (const { kind, key } of changes) {
    const known = keys[kind]
    if (known === undefined) keys[kind] = new Set([key])
    else known.add(key)
  }
  return keys
}

/** Services whose endpoints may be others. */
function servicesOf(changes: readonly MirrorChange[]): Set<ObjectKey> {
  const services = new Set<ObjectKey>()
  for (const change of changes) {
    if (change.kind === "services") services.add(change.key)
    if (change.kind !== "endpointSlices") continue
    for (const slice of [change.before, change.after]) {
      if (slice !== undefined && slice.service !== "") services.add(serviceKeyOf(slice))
    }
  }
  return services
}

/** For writes that were lost: refused for a while, or dropped with the Lease. */
const DESCRIBE_AGAIN_MS = 5_000

const NO_INGRESS: IngressTranslation = {
  routes: [],
  pools: [],
  certificates: [],
  problems: [],
  ingresses: [],
  secretsWanted: new Set(),
}

const NOTHING: ClusterContribution = {
  pools: [],
  streams: [],
  routes: [],
  certificates: [],
  addresses: new Map(),
}
