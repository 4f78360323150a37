/**
 * What data threads are told, cut so that no single message takes one long: a thread beats its
 * heart and serves its clients between any two. Of a service only the routes go that a thread does
 * not know yet; the rest of it is small.
 */
import type { RouteConfig } from "../config/http-config.ts"
import type {
  DataHttpService,
  DataHttpServiceUpdate,
  DataPoolSpec,
  ToDataThread,
} from "../dataplane/messages.ts"
import { routeKeys } from "../http/compiled-routes.ts"

/** About 50 µs: endpoints change all the time, and who asks meanwhile waits. */
const SERVERS_MAX = 16
/** About a millisecond. */
const ROUTES_MAX = 128

/** Pools in portions of a few servers; a pool is not divided. */
export function poolPortions(pools: readonly DataPoolSpec[]): DataPoolSpec[][] {
  const portions: DataPoolSpec[][] = []
  let room = 0
  for (const pool of pools) {
    const size = 1 + pool.servers.length
    if (size > room) {
      portions.push([])
      room = SERVERS_MAX
    }
    portions.at(-1)?.push(pool)
    room -= size
  }
  return portions
}

export interface ServiceMessages {
  /** To be said before. */
  readonly routes: readonly Extract<ToDataThread, { readonly type: "routes" }>[]
  readonly update: DataHttpServiceUpdate
}

/** @param known What a thread was told last of the service; undefined: nothing. */
export function serviceMessages(
  service: DataHttpService,
  known: DataHttpService | undefined,
): ServiceMessages {
  const { routeRows, ...rest } = service
  const http = { ...service.config, routes: [] }
  const isFresh = known === undefined || !Bun.deepEquals({ ...known.config, routes: [] }, http)
  const keyed = keyedRoutes(service)
  const { keys, routes } = isFresh ? keyed : otherThan(keyedRoutes(known), keyed)
  const messages = Array.from({ length: Math.ceil(keys.length / ROUTES_MAX) }, (_, index) => {
    const [start, end] = [index * ROUTES_MAX, (index + 1) * ROUTES_MAX]
    const part = { keys: keys.slice(start, end), routes: routes.slice(start, end) }
    return { type: "routes" as const, http, isFresh: isFresh && index === 0, ...part }
  })
  // Without routes the thread must still forget those of other terms.
  const none = { type: "routes", http, isFresh, keys: [], routes: [] } as const
  const update = { ...rest, config: http, routeKeys: keyed.keys }
  return { routes: isFresh && messages.length === 0 ? [none] : messages, update }
}

interface KeyedRoutes {
  readonly keys: readonly number[]
  readonly routes: readonly RouteConfig[]
}

function keyedRoutes({ config, routeRows }: DataHttpService): KeyedRoutes {
  return { keys: routeKeys(routeRows), routes: config.routes }
}

/** Routes whose key had another, or none. */
function otherThan(known: KeyedRoutes, now: KeyedRoutes): KeyedRoutes {
  const before = new Map(known.keys.map((key, index) => [key, known.routes[index]]))
  const keys: number[] = []
  const routes: RouteConfig[] = []
  for (const [index, route] of now.routes.entries()) {
    const key = now.keys[index] ?? 0
    const same = before.get(key)
    if (same === route || Bun.deepEquals(same, route)) continue
    keys.push(key)
    routes.push(route)
  }
  return { keys, routes }
}
