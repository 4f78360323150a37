/**
 * What the data threads serve and what is checked: makes a configuration what runs, touching only
 * what differs from the one before. Pools can also change one by one, which is how the endpoints of
 * a cluster come and go: many times a second, and each at its own cost alone.
 */
import type { Config, PoolConfig } from "../config/config.ts"
import type { HttpConfig } from "../config/http-config.ts"
import type { DataHttpService, DataPoolSpec } from "../dataplane/messages.ts"
import type { CheckTarget, HealthChecker } from "../health/driver.ts"
import { HTTP_ROWS_MAX, type HttpColumn } from "../http/counters.ts"
import { LISTENER_ROWS_MAX, type ListenerColumn } from "../stream/listener-counters.ts"
import type { ServerTlsSpec } from "../tls/tls-spec.ts"
import type { DataThreads, ListenerTemplate } from "./data-threads.ts"
import {
  CounterRows,
  httpRowNames,
  httpService,
  httpTemplates,
  listenerTemplates,
  OTHER_ROUTES,
  refuseTakenEndpoints,
} from "./listeners.ts"
import { type LeftOut, ServerRegistry } from "./server-registry.ts"
import { namedCheckId } from "./status.ts"
import type { TlsStore } from "./tls-store.ts"

export interface ServingParts {
  readonly threads: DataThreads
  readonly checker: HealthChecker
  readonly tls: TlsStore
  /** There are more servers than can be held. */
  readonly onLeftOut: (leftOut: LeftOut) => void
}

/** How the threads log. */
export interface ThreadLogging {
  readonly accessLog: boolean
  readonly debugLog: boolean
}

interface KnownService {
  readonly config: HttpConfig
  readonly tls: ServerTlsSpec | undefined
  readonly service: DataHttpService
}

export class Serving {
  readonly registry: ServerRegistry
  readonly streamRows: CounterRows<ListenerColumn>
  readonly #threads: DataThreads
  readonly #checker: HealthChecker
  readonly #tls: TlsStore
  readonly #httpRows: CounterRows<HttpColumn>
  readonly #services = new Map<string, KnownService>()
  #logging: ThreadLogging = { accessLog: false, debugLog: false }

  constructor({ threads, checker, tls, onLeftOut }: ServingParts) {
    this.#threads = threads
    this.#checker = checker
    this.#tls = tls
    this.registry = new ServerRegistry(threads.board, threads.serverCounters, onLeftOut)
    this.streamRows = new CounterRows(threads.listenerCounters, {
      rowsMax: LISTENER_ROWS_MAX,
      gauge: "connections",
    })
    this.#httpRows = new CounterRows(threads.httpCounters, {
      rowsMax: HTTP_ROWS_MAX,
      gauge: "connections",
    })
  }

  /** Opens the sockets of what `next` adds. When it throws, nothing has changed. */
  openSockets(next: Config): void {
    this.#open(this.#templates(next).filter(({ id }) => !this.#threads.hasListener(id)))
  }

  /** `streams` whose sockets are or could be opened; who could not is told of by `onFailed`. */
  listenable(
    streams: Config["streams"],
    onFailed: (stream: string, reason: string) => void,
  ): Config["streams"] {
    return streams.filter((stream) => {
      try {
        const templates = listenerTemplates(stream, this.streamRows.row(stream.name))
        this.#open(templates.filter(({ id }) => !this.#threads.hasListener(id)))
        return true
      } catch (error) {
        onFailed(stream.name, error instanceof Error ? error.message : String(error))
        return false
      }
    })
  }

  /** Makes `next` what is served. Its sockets are open. */
  async serve(next: Config, previous: Config | undefined, logging: ThreadLogging): Promise<void> {
    this.#logging = logging
    this.registry.apply(next.pools, Date.now())
    await this.configureThreads(next, previous)
    this.streamRows.keepOnly(new Set(next.streams.map(({ name }) => name)))
    this.#httpRows.keepOnly(new Set([OTHER_ROUTES, ...next.http.flatMap(httpRowNames)]))
    this.#checker.set(this.#checkTargets(next))
  }

  /** Tells the threads what they do not know yet. */
  async configureThreads(next: Config, previous: Config | undefined): Promise<void> {
    const specs = this.registry.specs((pool) => this.#tls.poolSpec(pool))
    const templates = this.#templates(next)
    const wanted = new Set(templates.map(({ id }) => id))
    const pools = new Set(next.pools.map(({ name }) => name))
    const services = new Set(next.http.map(({ name }) => name))
    await this.#threads.configure({
      pools: {
        set: specs.filter((spec) => !this.#threads.hasPool(spec)),
        remove: namesGone(previous?.pools, pools),
      },
      services: {
        set: next.http
          .map((http) => this.httpService(http))
          .filter((service) => !this.#threads.hasService(service)),
        remove: namesGone(previous?.http, services),
      },
      listeners: {
        set: templates.filter((template) => !this.#threads.isListening(template)),
        remove: this.#threads.listenerIds().filter((id) => !wanted.has(id)),
      },
      ...this.#logging,
    })
  }

  /** The same for pools alone; those that are not known are left out. `config` has them already. */
  async setPools(changed: readonly PoolConfig[], config: Config): Promise<void> {
    const nowEpochMs = Date.now()
    const set: DataPoolSpec[] = []
    for (const pool of changed) {
      this.registry.applyPool(pool, nowEpochMs)
      const spec = this.registry.specOf(pool.name, this.#tls.poolSpec(pool.name))
      if (spec !== undefined && !this.#threads.hasPool(spec)) set.push(spec)
    }
    if (changed.some(({ check }) => check !== undefined)) {
      this.#checker.set(this.#checkTargets(config))
    }
    await this.#threads.configure({ ...NO_CHANGE, ...this.#logging, pools: { set, remove: [] } })
  }

  httpService(config: HttpConfig): DataHttpService {
    const tls = this.#tls.spec(config.name)
    const known = this.#services.get(config.name)
    if (known?.config === config && known.tls === tls) return known.service
    const service = httpService(config, this.#httpRows, tls)
    this.#services.set(config.name, { config, tls, service })
    return service
  }

  #open(added: readonly ListenerTemplate[]): void {
    refuseTakenEndpoints(
      added.map(({ endpoint }) => endpoint),
      () => this.#threads.endpoints(),
    )
    this.#threads.openSockets(added)
  }

  #templates(config: Config): ListenerTemplate[] {
    const streams = config.streams.flatMap((stream) =>
      listenerTemplates(stream, this.streamRows.row(stream.name)),
    )
    return [...streams, ...config.http.flatMap(httpTemplates)]
  }

  #checkTargets(config: Config): CheckTarget[] {
    const named = config.checks.map(({ name, address, check }) => {
      return { id: namedCheckId(name), name, address, check, env: {} }
    })
    const servers = this.registry.pools().flatMap(({ config: pool, servers: members }) => {
      const { check } = pool
      if (check === undefined) return []
      return members.map((server) => ({
        id: server.checkId,
        name: server.config.name,
        address: server.config.endpoint,
        check,
        proxyProtocol: pool.proxyProtocol === "off" ? undefined : pool.proxyProtocol,
        env: { CAUSEWAY_POOL: pool.name },
      }))
    })
    return [...named, ...servers]
  }
}

function namesGone(
  previous: readonly { readonly name: string }[] | undefined,
  wanted: ReadonlySet<string>,
): string[] {
  return (previous ?? []).map(({ name }) => name).filter((name) => !wanted.has(name))
}

const NOTHING = { set: [], remove: [] }
const NO_CHANGE = { pools: NOTHING, services: NOTHING, listeners: NOTHING }
