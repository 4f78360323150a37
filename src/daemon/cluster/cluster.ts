/**
 * The connection to a cluster: mirrors it, works out what to serve (`ClusterModel`), keeps kernel
 * routes to its pods, and, on the edge that holds the Lease, writes back.
 *
 * What is known stays served, whatever becomes of the API server: the mirror only ever changes by
 * what the server says, and a copy on disk serves an edge that starts while the server is away. A
 * copy may be old, so the server is given a moment first.
 */
import { networkInterfaces } from "node:os"
import { join } from "node:path"
import type { KubernetesStatus } from "../../admin/backend.ts"
import type { Config, PoolConfig } from "../../config/config.ts"
import { Garbage } from "../../dataplane/garbage.ts"
import { featuresOf, needsLease } from "../../kubernetes/access-rules.ts"
import { describeFailure } from "../../kubernetes/api-failure.ts"
import { type ClusterContribution, ClusterModel } from "../../kubernetes/cluster-model.ts"
import type { ClusterAccess } from "../../kubernetes/kubeconfig.ts"
import { Mirror, type MirrorChange } from "../../kubernetes/mirror.ts"
import type { PublishedServer } from "../../kubernetes/publish/wanted.ts"
import { wantedResources } from "../../kubernetes/resources.ts"
import { ApiClient } from "../../kubernetes/shell/api-client.ts"
import { loadClusterAccess } from "../../kubernetes/shell/cluster-access.ts"
import { ElectionDriver } from "../../kubernetes/shell/election-driver.ts"
import { Reflectors, type ReflectorsSettings } from "../../kubernetes/shell/reflector-driver.ts"
import { PodRoutes } from "../../kubernetes/shell/route-driver.ts"
import { readStateFile, StateFile } from "../../kubernetes/shell/state-file.ts"
import { Writer } from "../../kubernetes/shell/writer.ts"
import { monotonicNow } from "../../linux/clock.ts"
import type { Logger } from "../../log/logger.ts"
import { type Address, type Family, parseAddress } from "../../net/address.ts"
import { readCertificate } from "../../tls/certificate.ts"
import { clusterStatus } from "./cluster-status.ts"
import { isFresh, listServiceVersions } from "./fresh-view.ts"

export interface ClusterOptions {
  readonly log: Logger
  /** Where the copy on disk is. */
  readonly stateDir: string
  /** Endpoints: these pools are others now. Only once `settled`. */
  readonly onPools: (changed: readonly PoolConfig[]) => void
  /** Anything else: look at `contribution`. */
  readonly onContribution: () => void
  /** `isKnown` was false at the start and is true now; after `onContribution`. */
  readonly onKnown: () => void
  readonly serversOf: (pool: string) => readonly PublishedServer[]
}

export type ClusterConfig = Config & { readonly kubernetes: NonNullable<Config["kubernetes"]> }

export function hasCluster(config: Config): config is ClusterConfig {
  return config.kubernetes !== undefined
}

/** From the first event of a crowd to the answer to all of it. */
const REBUILD_AFTER_MS = 10
/** Rebuilding takes at most this share of the thread. */
const REBUILD_SHARE = 0.2
const STOP_WAIT_MS = 1_000
/** In characters of JSON, each of which leaves some ten bytes. */
const GARBAGE_LIMITS = { newMax: 256 * 1024, oldBytesMax: 8 * 1024 * 1024 }
const STATE_FILE = "kubernetes.jsonl"
const FRESH_POLL_MS = 50
const FRESH_WAIT_MS = 5_000

export class Cluster {
  readonly #options: ClusterOptions
  readonly #mirror = new Mirror()
  readonly #garbage = new Garbage(GARBAGE_LIMITS)
  readonly #model: ClusterModel
  readonly #reflectors: Reflectors
  readonly #stateFile: StateFile
  #writer: Writer
  readonly #identity: string
  #config: ClusterConfig
  #access: ClusterAccess
  #client: ApiClient
  #election: ElectionDriver
  #podRoutes: PodRoutes | undefined
  /** Of the copy on disk that is served, until the server has told all; undefined: none. */
  #restoredSavedAt: number | undefined
  /** The server whose state the mirror holds. */
  #mirrored: string
  #isKnown = false
  #isServing = false
  #isStopped = false
  /** There is something to write: we stand for election. */
  #isStanding = false
  /** The Lease is ours. */
  #candidate: string | undefined
  /** And the view is fresh. */
  #term: string | undefined
  #rebuild: ReturnType<typeof setTimeout> | undefined
  #rebuildNotBefore = monotonicNow()
  #work: ReturnType<typeof setTimeout> | undefined
  #syncWaiters: (() => void)[] = []

  /** Throws where the kubeconfig cannot be read or used. */
  static async create(config: ClusterConfig, options: ClusterOptions): Promise<Cluster> {
    return new Cluster(config, await accessOf(config), options)
  }

  private constructor(config: ClusterConfig, access: ClusterAccess, options: ClusterOptions) {
    this.#options = options
    this.#config = config
    this.#access = access
    this.#client = new ApiClient(access)
    this.#mirrored = access.server
    this.#identity = `${config.node.name}_${crypto.randomUUID()}`
    this.#model = new ClusterModel(config, this.#mirror, {
      readCertificate: (chainPem, keyPem) => readCertificate(chainPem, keyPem, { isServer: true }),
      families: ownFamilies(),
      hostAddresses: hostAddresses(),
    })
    this.#reflectors = new Reflectors({
      ...this.#reflectorSettings(),
      mirror: this.#mirror,
      log: options.log,
      onChange: (changes) => this.#changed(changes),
      onSynced: () => this.#synced(),
      onRead: (characters) => this.#garbage.made(characters),
    })
    this.#stateFile = new StateFile({
      path: this.#statePath,
      cluster: () => this.#mirrored,
      log: options.log,
      snapshot: () => this.#mirror.snapshot(),
      isCurrent: () => this.#reflectors.isSynced() && !this.#isFailing(),
    })
    this.#writer = this.#newWriter()
    this.#election = this.#newElection()
  }

  /**
   * Starts, and resolves when the server has told all, or, with what the disk has, after `waitMs`.
   * From then on `contribution` counts and changes are told.
   */
  async start(waitMs: number): Promise<void> {
    await this.#restore()
    this.#reflectors.start()
    this.#standForElection()
    const end = monotonicNow() + waitMs
    await this.#untilSynced(end)
    this.#workOut()
    // Only now is it known which Secrets the Ingresses name.
    this.#wantSecrets()
    if (!this.#reflectors.isSynced()) {
      await this.#untilSynced(end)
      this.#workOut()
    }
    this.#isServing = true
    this.#tellStart()
    this.#alignRoutes()
    this.#scheduleWork(0)
  }

  /** All of it, from the view. */
  #workOut(): void {
    this.#model.configure(this.#config)
    this.#model.rebuild()
  }

  /** Another file. Throws, with nothing changed, where its kubeconfig cannot be used. */
  async configure(config: ClusterConfig): Promise<void> {
    const access = await accessOf(config)
    const isElsewhere = !Bun.deepEquals(access, this.#access)
    const isOtherLease = !Bun.deepEquals(config.kubernetes.lease, this.#config.kubernetes.lease)
    this.#config = config
    this.#access = access
    if (isElsewhere) this.#client = new ApiClient(access)
    this.#reflectors.reconfigure(this.#reflectorSettings())
    if (isElsewhere || isOtherLease) await this.#resetWriting()
    this.#standForElection()
    this.#workOut()
    this.#wantSecrets()
    this.#alignRoutes()
    this.#scheduleWork(0)
  }

  get contribution(): ClusterContribution {
    return this.#model.contribution
  }

  /** The health of servers has changed, which is told to pods where `[[publish]]` says so. */
  serversChanged(): void {
    if (this.#config.publish.some(({ direct }) => direct)) this.#scheduleWork(0)
  }

  /**
   * What is served is the cluster's state, be it an old one. Once true it stays so: what another
   * file asks for in addition takes nothing away.
   */
  get isKnown(): boolean {
    return this.#isKnown
  }

  /** All of it is served for the first time: a moment to tidy up. */
  settled(): void {
    this.#garbage.tidyUp()
  }

  notReady(): string[] {
    if (this.#isKnown) return []
    const failing = this.#reflectors.status().find(({ isSynced }) => !isSynced)
    const why = failing?.lastError ? `: ${failing.lastError}` : ""
    return [`kubernetes: not all of the cluster is known yet${why}`]
  }

  status(refusedStreams: ReadonlyMap<string, string>): KubernetesStatus {
    return clusterStatus({
      refusedStreams,
      server: this.#client.server,
      credentialsProblem: this.#client.credentialsProblem() ?? "",
      isSynced: this.#reflectors.isSynced(),
      restoredSavedAt: this.#restoredSavedAt,
      sources: this.#reflectors.status(),
      election: this.#election.status(),
      identity: this.#identity,
      isWriter: this.#term !== undefined,
      writer: this.#writer.status(),
      model: this.#model.status(),
      nodes: this.#podRoutes?.status() ?? [],
      nowEpochMs: Date.now(),
    })
  }

  /** Gives the Lease back; routes to pods go when `dropRoutes` is called. */
  async stop(): Promise<void> {
    this.#isStopped = true
    clearTimeout(this.#rebuild)
    clearTimeout(this.#work)
    this.#lost()
    this.#reflectors.stop()
    const released = this.#isStanding ? this.#election.stop(STOP_WAIT_MS) : undefined
    await Promise.all([released, this.#stateFile.stop()])
  }

  /** When nobody is served through them any more. */
  dropRoutes(): void {
    this.#podRoutes?.stop()
    this.#podRoutes = undefined
  }

  #reflectorSettings(): ReflectorsSettings {
    const { namespaces, watchSilenceMs } = this.#config.kubernetes
    return {
      client: this.#client,
      sources: wantedResources(featuresOf(this.#config), namespaces),
      silenceMs: watchSilenceMs,
    }
  }

  // What changes.

  #changed(changes: readonly MirrorChange[]): void {
    if (this.#isStopped) return
    this.#stateFile.touch()
    // Until then everything is worked out from the view, once.
    if (!this.#isServing) return
    const pools = this.#model.changed(changes)
    if (pools.length > 0) this.#options.onPools(pools)
    if (changes.some(({ kind }) => NETWORK_KINDS.has(kind))) this.#updateRoutes()
    this.#scheduleRebuild()
    this.#scheduleWork(0)
  }

  #synced(): void {
    this.#restoredSavedAt = undefined
    if (this.#mirrored !== this.#client.server) this.#stateFile.touch()
    this.#mirrored = this.#client.server
    const wasKnown = this.#isKnown
    this.#isKnown = true
    for (const resolve of this.#syncWaiters.splice(0)) resolve()
    if (!this.#isServing) return
    this.#updateRoutes()
    if (!wasKnown) this.#becameKnown()
    this.#scheduleWork(0)
  }

  #becameKnown(): void {
    if (this.#model.rebuild()) this.#options.onContribution()
    this.#wantSecrets()
    this.#options.log.info("kubernetes", "The cluster is known", { server: this.#client.server })
    this.#options.onKnown()
  }

  async #untilSynced(end: number): Promise<void> {
    if (this.#reflectors.isSynced()) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#syncWaiters.push(resolve)
    await Promise.race([promise, Bun.sleep(Math.max(0, end - monotonicNow()))])
  }

  #scheduleRebuild(): void {
    if (this.#rebuild !== undefined || !this.#model.isStale) return
    const waitMs = Math.max(REBUILD_AFTER_MS, this.#rebuildNotBefore - monotonicNow())
    this.#rebuild = setTimeout(() => {
      this.#rebuild = undefined
      const startedAt = monotonicNow()
      if (this.#model.rebuild()) this.#options.onContribution()
      this.#wantSecrets()
      const tookMs = monotonicNow() - startedAt
      this.#rebuildNotBefore = (startedAt + tookMs / REBUILD_SHARE) as typeof startedAt
      this.#scheduleRebuild()
      this.#scheduleWork(0)
    }, waitMs)
  }

  #wantSecrets(): void {
    const { secrets } = this.#mirror.view
    const tlsWatch = this.#reflectors.status().filter(({ id }) => /^secrets(\/[^/]*)?$/.test(id))
    const isTlsWatched = tlsWatch.length > 0 && tlsWatch.every(({ state }) => state !== "forbidden")
    const keys = [...this.#model.secretsWanted].filter(
      (key) => !isTlsWatched || secrets.get(key)?.type !== "kubernetes.io/tls",
    )
    const leftOut = this.#reflectors.wantSecrets(keys)
    if (leftOut.length > 0) {
      const fields = { left_out: leftOut.length, first: leftOut[0] ?? "" }
      this.#options.log.warn("kubernetes", "Too many single Secrets are named by Ingresses", fields)
    }
  }

  async #restore(): Promise<void> {
    const saved = await readStateFile(this.#statePath, this.#access.server)
    if (saved.ok) {
      this.#reflectors.restore(saved.snapshot)
      this.#restoredSavedAt = saved.savedAtEpochMs
      this.#isKnown = true
    } else if (saved.reason !== "missing") {
      const { message: reason } = saved
      this.#options.log.warn("kubernetes", "The last known state on disk is not used", { reason })
    }
  }

  get #statePath(): string {
    return join(this.#options.stateDir, STATE_FILE)
  }

  #isFailing(): boolean {
    return this.#reflectors.status().some((each) => each.failingSinceEpochMs !== undefined)
  }

  #tellStart(): void {
    const { log } = this.#options
    if (this.#reflectors.isSynced()) {
      return log.info("kubernetes", "The cluster is known", { server: this.#client.server })
    }
    const [failing] = this.#reflectors.status().filter(({ lastError }) => lastError !== "")
    const fields = { server: this.#client.server, reason: failing?.lastError ?? "no answer yet" }
    if (this.#restoredSavedAt === undefined) {
      return log.warn("kubernetes", "Starting without the cluster: the API server is away", fields)
    }
    const saved_at = new Date(this.#restoredSavedAt).toISOString()
    const message = "Serving the last known state: the API server is away"
    log.warn("kubernetes", message, { ...fields, saved_at })
  }

  // Routes.

  #alignRoutes(): void {
    if (this.#config.kubernetes.podRoutes === "off") return this.dropRoutes()
    this.#podRoutes ??= new PodRoutes({ log: this.#options.log, onState: () => {} })
    this.#updateRoutes()
  }

  #updateRoutes(): void {
    const isSynced = this.#reflectors.isSynced()
    if (isSynced || this.#restoredSavedAt !== undefined) {
      this.#podRoutes?.update(this.#mirror.view, isSynced)
    }
  }

  // Writing.

  #newWriter(): Writer {
    return new Writer({
      client: this.#client,
      mayWrite: () => this.#term !== undefined && this.#election.mayWrite(),
      onRefused: (message) => {
        this.#options.log.warn("kubernetes", "The API server refused a write", { message })
      },
      node: this.#config.node.name,
      suffix: this.#identity.slice(-12),
      now: monotonicNow,
      epochMs: Date.now,
    })
  }

  #newElection(): ElectionDriver {
    return new ElectionDriver({
      client: this.#client,
      lease: this.#config.kubernetes.lease,
      identity: this.#identity,
      onWon: (term) => {
        this.#candidate = term
        void this.#becomeWriter(term)
      },
      onLost: (reason) => {
        this.#options.log.info("kubernetes", "Not the writer any more", { reason })
        this.#lost()
      },
    })
  }

  /** Who never writes asks for no Lease, and needs no right to one. */
  #standForElection(): void {
    if (this.#isStanding || !needsLease(this.#config)) return
    this.#isStanding = true
    this.#election.start()
  }

  /** For another server or another Lease. */
  async #resetWriting(): Promise<void> {
    this.#lost()
    if (this.#isStanding) await this.#election.stop(STOP_WAIT_MS)
    this.#isStanding = false
    this.#writer = this.#newWriter()
    this.#election = this.#newElection()
  }

  #lost(): void {
    this.#candidate = undefined
    this.#term = undefined
    this.#model.setWriter(undefined)
    this.#writer.clear()
  }

  /** What was written before us must be in the view before anything is given out. */
  async #becomeWriter(term: string): Promise<void> {
    const { namespaces } = this.#config.kubernetes
    while (this.#candidate === term && !this.#isStopped) {
      const listed = await listServiceVersions(this.#client, namespaces)
      if (listed.ok && (await this.#untilFresh(listed.versions, term))) break
      if (!listed.ok) {
        const reason = describeFailure(listed.failure)
        this.#options.log.warn("kubernetes", "Cannot list Services to become the writer", {
          reason,
        })
        await Bun.sleep(FRESH_WAIT_MS / 5)
      }
    }
    if (this.#candidate !== term || this.#isStopped) return
    this.#term = term
    this.#model.setWriter(term)
    this.#options.log.info("kubernetes", "This edge is the writer", { lease_term: term })
    this.#scheduleWork(0)
  }

  async #untilFresh(versions: ReadonlyMap<string, string>, term: string): Promise<boolean> {
    const end = monotonicNow() + FRESH_WAIT_MS
    while (this.#candidate === term && !this.#isStopped && monotonicNow() < end) {
      if (this.#reflectors.isSynced() && isFresh(this.#mirror.view.services, versions)) return true
      await Bun.sleep(FRESH_POLL_MS)
    }
    return false
  }

  #scheduleWork(waitMs: number): void {
    if (waitMs === 0) clearTimeout(this.#work)
    this.#work = setTimeout(() => this.#takeWrites(), waitMs)
  }

  #takeWrites(): void {
    if (!this.#isServing || this.#isStopped) return
    const now = monotonicNow()
    const direct = this.#config.publish.filter(({ direct }) => direct).map(({ pool }) => pool)
    const writes = this.#model.takeWrites({
      now,
      epochMs: Date.now(),
      isSynced: this.#reflectors.isSynced(),
      isWriter: this.#term !== undefined,
      servers: new Map(direct.map((pool) => [pool, this.#options.serversOf(pool)])),
    })
    this.#writer.push(writes)
    const deadline = this.#model.deadline()
    clearTimeout(this.#work)
    if (deadline !== undefined) this.#scheduleWork(Math.max(1, Math.ceil(deadline - now)))
  }
}

/** Throws where the kubeconfig cannot be read or used. */
export async function checkClusterAccess(config: ClusterConfig): Promise<void> {
  await accessOf(config)
}

async function accessOf({ kubernetes }: ClusterConfig): Promise<ClusterAccess> {
  const result = await loadClusterAccess(kubernetes)
  if (result.ok) return result.access
  throw new Error(`[kubernetes]: ${result.message}`)
}

/** IPv6 pods are of no use to a host without IPv6. */
function ownFamilies(): Family[] {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  const hasIpv6 = addresses.some(
    ({ family, internal, address }) =>
      family === "IPv6" && !internal && !address.startsWith("fe80:"),
  )
  return hasIpv6 ? [4, 6] : [4]
}

function hostAddresses(): Address[] {
  const addresses = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return addresses.flatMap(({ address }) => parseAddress(address) ?? [])
}

const NETWORK_KINDS: ReadonlySet<MirrorChange["kind"]> = new Set([
  "nodes",
  "blockAffinities",
  "ciliumNodes",
])
