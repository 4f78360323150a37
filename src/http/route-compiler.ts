/** Makes the routes of one service ready: what they have in common is made once. */
import type { HttpConfig, RouteConfig } from "../config/http-config.ts"
import { ForwardAction } from "./actions/forward.ts"
import { CompiledRoute, ownResources, type RouteResources } from "./compiled-route.ts"
import { type IndexEntry, segmentsOf } from "./route-index.ts"

/** What a `RouteTable` is made of. */
export interface TableEntry extends IndexEntry<CompiledRoute> {
  /** Segments of its path. */
  readonly depth: number
}

export class RouteCompiler {
  readonly #http: HttpConfig
  readonly #resources: RouteResources
  readonly #forwards = new Map<string, ForwardAction>()

  /** `http`: all but its routes counts. */
  constructor(http: HttpConfig, resources: RouteResources = ownResources()) {
    this.#http = http
    this.#resources = resources
  }

  /** `row`: where it counts. */
  compile(config: RouteConfig, row: number): TableEntry {
    const forwardTo = (pool: string) => this.#forwardTo(pool)
    const context = { ...this.#resources, http: this.#http, row, forwardTo }
    const route = new CompiledRoute(config, context)
    const { host, path, match } = config
    const isUnconditional = route.conditions.isEmpty
    return { host, path, match, isUnconditional, route, depth: segmentsOf(config) }
  }

  /** The one action of all routes that only have this pool. */
  #forwardTo(pool: string): ForwardAction {
    const known = this.#forwards.get(pool)
    if (known !== undefined) return known
    const action = new ForwardAction(PLAIN, { pool, sticky: undefined })
    this.#forwards.set(pool, action)
    return action
  }
}

const PLAIN = { path: "/", match: "prefix", rewrite: undefined, rewriteScope: "match" } as const
