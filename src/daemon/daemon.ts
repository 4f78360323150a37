/**
 * The running edge: brings the threads up in order, applies configurations, passes what one domain
 * learns to those it concerns, and takes everything down in order.
 *
 * Order at start: descriptors and memory, data threads and their sockets, health checks, virtual
 * routers, admin. The routers are told of the others last, so that an edge which cannot serve never
 * takes an address. At stop the other way round: no new connections, connections through virtual
 * addresses reset while the addresses are still here to send from, the addresses given up with
 * priority 0, then whatever came in by the edge's own addresses drains.
 */
import type {
  AdminBackend,
  CommandResult,
  ReloadResult,
  ServerChange,
  Status,
  StatusEvent,
} from "../admin/backend.ts"
import { AdminServer } from "../admin/driver.ts"
import type { Config, PoolConfig, TrackConfig } from "../config/config.ts"
import { formatDiagnostics } from "../config/diagnostic.ts"
import { diffConfig, formatDiff } from "../config/diff.ts"
import { type LoadResult, loadConfig } from "../config/load.ts"
import { type HealthChange, HealthChecker } from "../health/driver.ts"
import { monotonicNow } from "../linux/clock.ts"
import { SystemError } from "../linux/errno.ts"
import type { Logger } from "../log/logger.ts"
import { type Address, ANY_IPV4, ANY_IPV6, type Endpoint } from "../net/address.ts"
import { after } from "../net/time.ts"
import type { VirtualRouterSnapshot } from "../vrrp/messages.ts"
import type { TrackedState } from "../vrrp/tracking.ts"
import { AccessLog } from "./access-log.ts"
import { addressMark } from "./address-mark.ts"
import { BackgroundThreads } from "./background-threads.ts"
import { Cluster, checkClusterAccess, hasCluster } from "./cluster/cluster.ts"
import { ClusterServing } from "./cluster/cluster-serving.ts"
import { publishedServers } from "./cluster/published-servers.ts"
import { DataThreads } from "./data-threads.ts"
import { Notifier } from "./notifier.ts"
import { Serving, type ThreadLogging } from "./serving.ts"
import { Silence } from "./silence.ts"
import { stateDirectory } from "./state-directory.ts"
import {
  httpStatus,
  namedCheckId,
  namedCheckStatus,
  poolStatus,
  rfc3339,
  streamStatus,
  vrrpStatus,
} from "./status.ts"
import { type TlsFiles, TlsStore } from "./tls-store.ts"
import { poolState, Trackers } from "./tracking.ts"
import { VrrpThread } from "./vrrp-thread.ts"

const WATCH_INTERVAL_MS = 200
/** With hundreds of changes a second, the threads are told of those of so long together. */
const POOLS_EVERY_MS = 10
const DRAIN_POLL_MS = 20
const LISTEN_AGAIN_MS = 5_000
/** How long a start waits for the API server before it goes on with what the disk has. */
const CLUSTER_WAIT_MS = 3_000
/** Notify programs get this long at the end before the process goes anyway. */
const NOTIFY_WAIT_MS = 2_000

export interface DaemonOptions {
  readonly configPath: string
  readonly version: string
  readonly log: Logger
  /** Data threads; at least 1. */
  readonly threads: number
  /** Open sessions that the descriptor limit allows. */
  readonly sessionsMax: number
  readonly faultInjection: boolean
  /** The process cannot go on; addresses are given up and it ends with exit code 1. */
  readonly onHopeless: (reason: string) => void
}

export class Daemon implements AdminBackend {
  readonly #options: DaemonOptions
  readonly #log: Logger
  readonly #threads: DataThreads
  readonly #checker: HealthChecker
  readonly #serving: Serving
  readonly #trackers: Trackers
  readonly #accessLog: AccessLog
  readonly #tls = new TlsStore(() => this.#certificatesChanged())
  readonly #notifier: Notifier
  readonly #admin: AdminServer
  readonly #subscribers = new Set<(event: StatusEvent) => void>()
  readonly #background = new BackgroundThreads()
  readonly #startedAt = monotonicNow()
  #vrrp: VrrpThread | undefined
  /** What the file says. */
  #file: Config
  /** What runs: the file's, and what the cluster adds. */
  #config: Config
  readonly #clusterServing: ClusterServing
  #cluster: Cluster | undefined
  #listenAgain: ReturnType<typeof setTimeout> | undefined
  #waitingPools = new Map<string, PoolConfig>()
  #poolsNotBefore = monotonicNow()
  #loadedAt = Date.now()
  #generation = 0
  #lastError: string | null = null
  #warnings: readonly string[] = []
  #isReady = false
  #reloading: Promise<unknown> = Promise.resolve()
  #watch: ReturnType<typeof setInterval> | undefined
  #watchedAt = monotonicNow()
  #isBeating = true

  constructor(loaded: Extract<LoadResult, { ok: true }>, options: DaemonOptions) {
    this.#options = options
    this.#log = options.log
    this.#file = loaded.config
    this.#config = loaded.config
    this.#warnings = loaded.warnings.map((warning) => warning.message)
    this.#threads = new DataThreads({
      count: options.threads,
      sessionsMax: options.sessionsMax,
      faultInjection: options.faultInjection,
      nice: this.#background.nice,
      onLog: (record) => this.#log.log(record),
      onAccess: (records) => this.#accessLog.write(records, new Date()),
      onHopeless: options.onHopeless,
    })
    this.#checker = new HealthChecker({ onChange: (id, change) => this.#healthChanged(id, change) })
    this.#serving = new Serving({
      threads: this.#threads,
      checker: this.#checker,
      tls: this.#tls,
      onLeftOut: ({ pool, servers }) =>
        this.#log.error("pool", "Servers left out: too many are known", { pool, servers }),
    })
    this.#clusterServing = new ClusterServing({
      serving: this.#serving,
      tls: this.#tls,
      log: this.#log,
    })
    this.#trackers = new Trackers(
      (tracked) => this.#trackedState(tracked),
      (router, tracking) => this.#vrrp?.post({ type: "tracking", router, tracking }),
    )
    this.#accessLog = new AccessLog(this.#log)
    this.#notifier = new Notifier(this.#log)
    this.#admin = new AdminServer(this, this.#log)
  }

  /** Throws when a socket cannot be opened: an edge that cannot serve must not start. */
  async start(): Promise<void> {
    const started = this.#start()
    // What the cluster tells meanwhile waits for it.
    this.#reloading = started.catch(() => undefined)
    await started
  }

  async #start(): Promise<void> {
    const config = this.#config
    this.#tls.use(this.#tls.load(config))
    this.#warnings = [...this.#warnings, ...this.#tls.warnings]
    for (const warning of this.#tls.warnings) this.#log.warn("tls", warning)
    const threads = this.#threads.start()
    if (config.vrrp.length > 0) this.#startVrrp()
    await this.#admin.configure(config.admin)
    this.#serving.openSockets(config)
    this.#accessLog.configure(config.log)
    const [cluster] = await Promise.all([this.#startCluster(config), threads])
    this.#cluster = cluster
    // What the other edge serves, if it knows the cluster, is not to be taken from it.
    this.#trackers.standLast(cluster?.isKnown === false)
    this.#config = this.#clusterServing.merge(config, cluster?.contribution)
    await this.#apply(this.#config, undefined)
    cluster?.settled()
    this.#background.stepBack()
    this.#watch = setInterval(() => this.#watchThreads(), WATCH_INTERVAL_MS)
    this.#isReady = true
  }

  /** Whether every thread is alive: the condition for feeding the service manager's watchdog. */
  get isBeating(): boolean {
    return this.#isBeating
  }

  /** Gives the addresses to the peer, drains, ends the threads. `cutShort` ends the draining. */
  async stop(cutShort: Promise<void>): Promise<void> {
    this.#isReady = false
    clearInterval(this.#watch)
    this.#background.stop()
    await this.#reloading
    const silence = new Silence(this.#leavingEndpoints())
    await this.#threads.closeListeners()
    await this.#vrrp?.stop()
    silence.close()
    await Promise.all([this.#cluster?.stop(), this.#drain(cutShort)])
    this.#checker.stop()
    await this.#threads.stop()
    this.#cluster?.dropRoutes()
    await Promise.race([this.#notifier.idle(), Bun.sleep(NOTIFY_WAIT_MS), cutShort])
    this.#accessLog.close()
    this.#tls.close()
    await this.#admin.close()
  }

  /** Listeners through which clients come by an address that is about to be given up. */
  #leavingEndpoints(): Endpoint[] {
    const active = (this.#vrrp?.snapshots() ?? []).filter(({ state }) => state === "active")
    const names = new Set(active.map(({ name }) => name))
    const routers = this.#config.vrrp.filter(({ name }) => names.has(name))
    const prefixes = routers.flatMap((each) => [...each.addresses, ...each.unadvertisedAddresses])
    if (prefixes.length === 0) return []
    const addresses = new Set([ANY_IPV4, ANY_IPV6, ...prefixes.map(({ address }) => address)])
    return this.#threads.endpoints().filter(({ address }) => addresses.has(address))
  }

  /** One at a time, in the order asked for. Never rejects. */
  reload(): Promise<ReloadResult> {
    const result = this.#reloading.then(() => this.#reload())
    this.#reloading = result
    return result
  }

  setServer(pool: string, server: string, change: ServerChange): CommandResult {
    if (!this.#serving.registry.hasPool(pool)) return notFound(`There is no pool "${pool}"`)
    const known = this.#serving.registry.servers(pool).find(({ config }) => config.name === server)
    if (known === undefined) return notFound(`Pool "${pool}" has no server "${server}"`)
    if (change.state !== undefined) this.#serving.registry.setAdmin(known, change.state, Date.now())
    if (change.weight !== undefined) this.#threads.board.setWeight(known.slot, change.weight)
    if (change.state === "maintenance") this.#threads.serversDown([known.slot])
    this.#event("server", "Server set by the operator", { pool, server, ...change })
    this.#trackers.update()
    return { ok: true }
  }

  release(vrrp: string): CommandResult {
    return this.#command(vrrp, "release")
  }

  resume(vrrp: string): CommandResult {
    return this.#command(vrrp, "resume")
  }

  injectFault(thread: number, fault: string): CommandResult {
    if (fault !== "hang" && fault !== "throw") return notFound(`There is no fault "${fault}"`)
    if (this.#threads.inject(thread, fault)) return { ok: true }
    return { ok: false, status: 403, detail: "Fault injection is not enabled" }
  }

  subscribe(listener: (event: StatusEvent) => void): () => void {
    this.#subscribers.add(listener)
    return () => this.#subscribers.delete(listener)
  }

  notReady(): readonly string[] {
    if (!this.#isReady) return ["starting or stopping: listeners are not all bound"]
    return this.#cluster?.notReady() ?? []
  }

  status(): Status {
    const config = this.#config
    const notReady = this.notReady()
    return {
      node: config.node.name,
      version: this.#options.version,
      uptime_seconds: Math.round(monotonicNow() - this.#startedAt) / 1000,
      ready: notReady.length === 0,
      not_ready: notReady,
      config: {
        path: this.#options.configPath,
        loaded_at: rfc3339(this.#loadedAt),
        generation: this.#generation,
        last_error: this.#lastError,
        warnings: this.#warnings,
      },
      vrrp: (this.#vrrp?.snapshots() ?? []).map(vrrpStatus),
      checks: namedCheckStatus(config, this.#checker),
      pools: poolStatus(this.#serving.registry, { threads: this.#threads, checker: this.#checker }),
      streams: config.streams.map((stream) =>
        streamStatus(stream, this.#serving.streamRows.row(stream.name), this.#threads),
      ),
      http: config.http.map((http) =>
        httpStatus(this.#serving.httpService(http), {
          tables: this.#threads.httpCounters,
          certificates: this.#tls.certificates(http.name),
        }),
      ),
      kubernetes: this.#cluster?.status(this.#clusterServing.refusedStreams) ?? null,
      threads: {
        data: this.#threads.count,
        data_restarts: this.#threads.restarts,
        sessions: this.#threads.budget.open,
        sessions_max: this.#threads.budget.sessionsMax,
        vrrp_scheduling: this.#vrrp?.scheduling ?? "none",
      },
    }
  }

  async #reload(): Promise<ReloadResult> {
    // It would open the listeners again.
    if (!this.#isReady) return this.#refused("The edge is stopping")
    try {
      const loaded = loadConfig(this.#options.configPath)
      if (!loaded.ok) return this.#refused(formatDiagnostics(loaded.diagnostics))
      const previous = this.#file
      const tls = this.#tls.load(loaded.config)
      if (hasCluster(loaded.config)) await checkClusterAccess(loaded.config)
      const changes = formatDiff(diffConfig(previous, loaded.config))
      await this.#admin.configure(loaded.config.admin)
      try {
        this.#serving.openSockets(loaded.config)
      } catch (error) {
        await this.#admin.configure(previous.admin)
        throw error
      }
      await this.#replaceConfig(loaded.config, tls)
      this.#loadedAt = Date.now()
      this.#lastError = null
      this.#warnings = [...loaded.warnings.map(({ message }) => message), ...tls.warnings]
      for (const warning of this.#warnings) this.#log.warn("config", warning)
      this.#event("reload", "Configuration applied", { changes: changes.length })
      for (const change of changes) this.#log.info("config", change)
      return { ok: true, generation: this.#generation, changes, warnings: this.#warnings }
    } catch (error) {
      return this.#refused(error instanceof Error ? error.message : String(error))
    }
  }

  /** What should not fail any more; if it does, the old configuration is put back. */
  async #replaceConfig(next: Config, tls: TlsFiles): Promise<void> {
    const previous = this.#file
    const previousTls = this.#tls.files
    try {
      await this.#replace(next, tls)
    } catch (error) {
      await this.#admin.configure(previous.admin)
      await this.#replace(previous, previousTls)
      throw error
    }
  }

  async #replace(file: Config, tls: TlsFiles): Promise<void> {
    const previous = this.#config
    const left = hasCluster(file) ? undefined : this.#cluster
    if (left !== undefined) {
      this.#cluster = undefined
      this.#trackers.standLast(false)
    } else if (this.#cluster === undefined) this.#cluster = await this.#startCluster(file)
    else if (hasCluster(file)) await this.#cluster.configure(file)
    this.#tls.use(tls)
    this.#file = file
    try {
      this.#config = this.#clusterServing.merge(file, this.#cluster?.contribution)
      await this.#apply(this.#config, previous)
    } finally {
      // Nobody knows it any more, also when the old file is put back: that has a new one.
      await left?.stop()
      left?.dropRoutes()
    }
  }

  async #startCluster(file: Config): Promise<Cluster | undefined> {
    if (!hasCluster(file)) return undefined
    const cluster = await Cluster.create(file, {
      log: this.#log,
      stateDir: stateDirectory(file),
      onPools: (changed) => this.#poolsChanged(changed),
      onContribution: () => this.#contributionChanged(),
      onKnown: () => this.#enqueue("The priority", async () => this.#trackers.standLast(false)),
      serversOf: (pool) =>
        publishedServers(this.#serving.registry.servers(pool), this.#threads.board),
    })
    await cluster.start(CLUSTER_WAIT_MS)
    return cluster
  }

  async #applyCluster(): Promise<void> {
    const previous = this.#config
    this.#config = this.#clusterServing.merge(this.#file, this.#cluster?.contribution)
    await this.#run(this.#config, previous)
    if (this.#clusterServing.refusedStreams.size === 0) return
    // Somebody else has the port: it may be given up without anybody telling us.
    clearTimeout(this.#listenAgain)
    this.#listenAgain = setTimeout(() => this.#contributionChanged(), LISTEN_AGAIN_MS)
    this.#listenAgain.unref()
  }

  #contributionChanged(): void {
    this.#enqueue("The cluster's state", () => this.#applyCluster())
  }

  /** Endpoints: pools that are others now. Of a crowd, those that wait go together. */
  #poolsChanged(changed: readonly PoolConfig[]): void {
    const isAwaited = this.#waitingPools.size > 0
    for (const pool of changed) this.#waitingPools.set(pool.name, pool)
    if (isAwaited) return
    const waitMs = this.#poolsNotBefore - monotonicNow()
    if (waitMs <= 0) this.#applyPools()
    else setTimeout(() => this.#applyPools(), waitMs)
  }

  #applyPools(): void {
    this.#enqueue("Endpoints", async () => {
      this.#poolsNotBefore = after(monotonicNow(), POOLS_EVERY_MS)
      const waiting = this.#waitingPools
      this.#waitingPools = new Map()
      const { config, pools } = this.#clusterServing.withPools(this.#config, waiting)
      this.#config = config
      await this.#serving.setPools(pools, config)
      this.#trackers.update()
    })
  }

  /** After whatever changes the configuration now. */
  #enqueue(what: string, task: () => Promise<void>): void {
    const unlessStopping = async () => {
      // It would open the listeners again.
      if (this.#isReady) await task()
    }
    this.#reloading = this.#reloading.then(unlessStopping).catch((error: unknown) => {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      this.#log.error("kubernetes", `${what} could not be applied`, { reason })
    })
  }

  /** A renewed certificate serves the next connection; the open ones keep what they began with. */
  #certificatesChanged(): void {
    const renewed = this.#reloading.then(async () => {
      try {
        this.#tls.use(this.#tls.load(this.#file))
        await this.#serving.configureThreads(this.#config, this.#config)
        this.#event("reload", "Certificates read again", { warnings: this.#tls.warnings.length })
        this.#log.info("tls", "Certificates read again")
        for (const warning of this.#tls.warnings) this.#log.warn("tls", warning)
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        this.#log.error("tls", "Changed certificates are not used, the old ones stay", { reason })
      }
    })
    this.#reloading = renewed
  }

  #refused(reason: string): ReloadResult {
    this.#lastError = reason
    this.#event("reload", "Configuration refused, the old one stays", { reason })
    this.#log.error("config", "Configuration refused, the old one stays", { reason })
    return { ok: false, error: reason }
  }

  /** Makes `next` what runs. Untouched things see nothing of it. */
  async #apply(next: Config, previous: Config | undefined): Promise<void> {
    this.#generation++
    this.#log.configure(next.log)
    this.#accessLog.configure(next.log)
    await this.#run(next, previous)
    if (previous !== undefined && previous.node.threads !== next.node.threads) {
      this.#log.warn("config", "node.threads takes effect at the next start")
    }
  }

  async #run(next: Config, previous: Config | undefined): Promise<void> {
    await this.#serving.serve(next, previous, this.#threadLogging(next))
    if (next.vrrp.length > 0 && this.#vrrp === undefined) this.#startVrrp()
    if (this.#vrrp === undefined) return
    await this.#vrrp.started
    this.#vrrp.post({ type: "configure", routers: next.vrrp })
    this.#trackers.configure(next.vrrp)
    this.#vrrp.post({ type: "ready" })
  }

  #threadLogging(config: Config): ThreadLogging {
    return { accessLog: this.#accessLog.isEnabled, debugLog: config.log.level === "debug" }
  }

  #healthChanged(id: string, { state, reason, sinceEpochMs }: HealthChange): void {
    const server = this.#serving.registry.byCheckId(id)
    if (server === undefined)
      this.#log.info("health", "Check changed", { check: id, state, reason })
    else {
      const { board } = this.#threads
      const wasDown = board.health(server.slot) === "down"
      if (wasDown && state === "up") board.setSlowStartSince(server.slot, monotonicNow())
      this.#serving.registry.setHealth(server, state, { sinceEpochMs })
      if (state === "down") this.#threads.serversDown([server.slot])
      const fields = { pool: server.pool, server: server.config.name, state, reason }
      this.#log[state === "down" ? "warn" : "info"]("health", "Server changed", fields)
      this.#event("server", "Server changed", fields)
    }
    this.#trackers.update()
    this.#cluster?.serversChanged()
  }

  #trackedState({ type, target }: TrackConfig): TrackedState {
    if (type === "pool")
      return poolState(this.#serving.registry.servers(target), this.#threads.board)
    return this.#checker.get(namedCheckId(target))?.state ?? "unknown"
  }

  #startVrrp(): void {
    this.#vrrp = new VrrpThread({
      nice: this.#background.nice,
      addressMark: addressMark(this.#options.configPath),
      onState: (snapshot, previous) => this.#routerChanged(snapshot, previous),
      onLog: (record) => this.#log.log(record),
      onLeaving: (addresses: readonly Address[]) => this.#threads.reset(addresses),
      onFailed: (reason) => this.#options.onHopeless(reason),
    })
  }

  #routerChanged(
    snapshot: VirtualRouterSnapshot,
    previous: VirtualRouterSnapshot | undefined,
  ): void {
    const { name, state, reason, effectivePriority } = snapshot
    if (previous?.state === state) return
    this.#event("vrrp", "Virtual router changed", { name, state, reason })
    const program = this.#config.vrrp.find((router) => router.name === name)?.notify ?? ""
    // A router that has not started yet has nothing to tell; keepalived is silent then, too.
    if (state === "initialize" && previous === undefined) return
    this.#notifier.notify(name, { program, state, priority: effectivePriority })
  }

  #command(name: string, type: "release" | "resume"): CommandResult {
    if (!this.#config.vrrp.some((router) => router.name === name)) {
      return notFound(`There is no virtual router "${name}"`)
    }
    this.#vrrp?.post({ type, router: name })
    return { ok: true }
  }

  async #drain(cutShort: Promise<void>): Promise<void> {
    const { drainTimeoutMs } = this.#config.node
    const end = monotonicNow() + drainTimeoutMs
    let isCut = false
    void cutShort.then(() => {
      isCut = true
    })
    if (this.#threads.budget.open > 0) {
      this.#log.info("daemon", "Draining", {
        connections: this.#threads.budget.open,
        seconds: drainTimeoutMs / 1000,
      })
    }
    while (!isCut && this.#threads.budget.open > 0 && monotonicNow() < end) {
      await Bun.sleep(DRAIN_POLL_MS)
    }
  }

  #watchThreads(): void {
    const now = monotonicNow()
    const wasLate = now - this.#watchedAt > WATCH_INTERVAL_MS * 3
    this.#watchedAt = now
    const isVrrpBeating = this.#vrrp?.isBeating(now, wasLate) ?? true
    this.#isBeating = isVrrpBeating && this.#threads.isBeating
    if (!isVrrpBeating) this.#options.onHopeless("vrrp thread hangs")
  }

  #event(
    type: StatusEvent["type"],
    message: string,
    fields: Readonly<Record<string, string | number | boolean>>,
  ): void {
    const event = { time: rfc3339(Date.now()), type, message, fields }
    for (const listener of this.#subscribers) listener(event)
  }
}

function notFound(detail: string): CommandResult {
  return { ok: false, status: 404, detail }
}

/** What a failed start says to the operator. */
export function startFailure(error: unknown): string {
  if (error instanceof SystemError) return error.message
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}
