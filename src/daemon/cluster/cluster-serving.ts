/**
 * What of the cluster's contribution can be served on this host: a stream needs its socket, a pool
 * with TLS needs certificates that OpenSSL takes. The rest is left out and told of, and never
 * stands in the way of what can.
 */
import type { Config, PoolConfig } from "../../config/config.ts"
import type { ClusterContribution } from "../../kubernetes/cluster-model.ts"
import type { Logger } from "../../log/logger.ts"
import type { Serving } from "../serving.ts"
import type { TlsStore } from "../tls-store.ts"
import { EffectiveConfig } from "./effective-config.ts"

export interface ClusterServingParts {
  readonly serving: Serving
  readonly tls: TlsStore
  readonly log: Logger
}

export class ClusterServing {
  readonly #parts: ClusterServingParts
  readonly #effective = new EffectiveConfig()
  #refusedStreams: ReadonlyMap<string, string> = new Map()
  /** Index of each pool in the configuration as it was when last looked for in vain. */
  #places: ReadonlyMap<string, number> = new Map()
  /** Pools whose TLS cannot be used, and why. */
  #unusablePools: ReadonlyMap<string, string> = new Map()

  constructor(parts: ClusterServingParts) {
    this.#parts = parts
  }

  /** Streams whose sockets could not be opened, and why. */
  get refusedStreams(): ReadonlyMap<string, string> {
    return this.#refusedStreams
  }

  /** What runs: the file's configuration and what the cluster adds. Opens sockets. */
  merge(file: Config, contribution: ClusterContribution | undefined): Config {
    const { certificates = [], pools = [] } = contribution ?? {}
    const listeners = file.http.filter(({ ingress }) => ingress).map(({ name }) => name)
    const unusable = this.#parts.tls.useCluster({
      listeners: new Set(listeners),
      certificates,
      pools,
    })
    this.#tellNews("TLS of a pool cannot be used", unusable, this.#unusablePools)
    this.#unusablePools = unusable
    if (contribution === undefined) return file
    const merged = this.#effective.of(file, contribution)
    return {
      ...merged,
      streams: this.#listenable(merged.streams),
      pools: merged.pools.map((pool) => this.#usable(pool)),
    }
  }

  /** `config` with these pools as they are now, and those of them that are in it. */
  withPools(
    config: Config,
    changed: ReadonlyMap<string, PoolConfig>,
  ): { readonly config: Config; readonly pools: readonly PoolConfig[] } {
    const usable = [...changed.values()].map((pool) => this.#usable(pool))
    const pools = config.pools.slice()
    for (const pool of usable) {
      const place = this.#placeOf(pool.name, pools)
      if (place !== undefined) pools[place] = pool
    }
    return { config: { ...config, pools }, pools: usable }
  }

  /** Of a pool among thousands; looked up many times a second, while their order seldom changes. */
  #placeOf(name: string, pools: readonly PoolConfig[]): number | undefined {
    const known = this.#places.get(name)
    if (known !== undefined && pools[known]?.name === name) return known
    this.#places = new Map(pools.map((pool, index) => [pool.name, index]))
    return this.#places.get(name)
  }

  /** Better nobody than somebody in plain text. */
  #usable(pool: PoolConfig): PoolConfig {
    return this.#unusablePools.has(pool.name) ? { ...pool, servers: [] } : pool
  }

  #listenable(streams: Config["streams"]): Config["streams"] {
    const refused = new Map<string, string>()
    const open = this.#parts.serving.listenable(streams, (stream, reason) =>
      refused.set(stream, reason),
    )
    this.#tellNews("Cannot listen for a Service", refused, this.#refusedStreams)
    this.#refusedStreams = refused
    return open
  }

  #tellNews(
    message: string,
    now: ReadonlyMap<string, string>,
    before: ReadonlyMap<string, string>,
  ): void {
    for (const [name, reason] of now) {
      if (before.get(name) !== reason) this.#parts.log.warn("kubernetes", message, { name, reason })
    }
  }
}
