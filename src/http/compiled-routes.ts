/**
 * The routes of one service on one thread, each made ready once and kept while its configuration
 * stays: where a cluster's Ingresses make thousands of routes, a change of one costs that one, and
 * an index of all. A route is known by a key, which follows from its counters' row: that is its own
 * for as long as it has its name, or shared by those of one name.
 */
import type { HttpConfig, RouteConfig } from "../config/http-config.ts"
import type { RouteResources } from "./compiled-route.ts"
import { HTTP_ROWS_MAX } from "./counters.ts"
import { RouteCompiler, type TableEntry } from "./route-compiler.ts"
import { RouteTable } from "./route-table.ts"

/** Of routes with these rows; the second of two that share a row has another key. */
export function routeKeys(rows: readonly number[]): number[] {
  const uses = new Map<number, number>()
  return rows.map((row) => {
    const before = uses.get(row) ?? 0
    uses.set(row, before + 1)
    return before * HTTP_ROWS_MAX + row
  })
}

export class CompiledRoutes {
  readonly #http: HttpConfig
  readonly #compiler: RouteCompiler
  #entries = new Map<number, TableEntry>()

  /** `http`: all but its routes counts. */
  constructor(http: HttpConfig, resources?: RouteResources) {
    this.#http = http
    this.#compiler = new RouteCompiler(http, resources)
  }

  /** Adds routes, or replaces those with these keys; tables that there are know nothing of it. */
  set(keys: readonly number[], routes: readonly RouteConfig[]): void {
    for (const [index, key] of keys.entries()) {
      const route = routes[index]
      if (route === undefined) continue
      this.#entries.set(key, this.#compiler.compile(route, key % HTTP_ROWS_MAX))
    }
  }

  /** Of the routes with these keys, in this order; the others are forgotten. */
  table(keys: readonly number[]): RouteTable {
    const entries = new Map<number, TableEntry>()
    for (const key of keys) {
      const entry = this.#entries.get(key)
      if (entry === undefined) throw new Error(`No route ${key} of ${this.#http.name}`)
      entries.set(key, entry)
    }
    this.#entries = entries
    return new RouteTable(this.#http, [...entries.values()])
  }
}
