/** Routes that no request reaches, because others before them take everything they match. */
import type { Context, Decoded } from "./decode.ts"
import type { RouteConfig } from "./http-config.ts"
import { covers, hasConditions, inOrder, placeOf } from "./route-order.ts"
import type { TomlNode } from "./toml.ts"

type PlacedRoute = RouteConfig & { readonly node: TomlNode }

export function checkRouteOrder(routes: readonly Decoded<RouteConfig>[], context: Context): void {
  const placed = routes.flatMap(({ node, value }) =>
    value === undefined ? [] : { ...value, node },
  )
  for (const same of Map.groupBy(placed, placeOf).values()) checkPlace(inOrder(same), context)
  checkPatterns(placed, context)
}

/** Routes for the same host and path, in the order they are tried. */
function checkPlace(routes: readonly PlacedRoute[], { report }: Context): void {
  for (const [index, route] of routes.entries()) {
    const earlier = routes.slice(0, index).find((each) => covers(each, route))
    if (earlier === undefined) continue
    const message = "This route is never reached: another with the same host and path comes first"
    report.warning(route.node, message, `The other is at ${report.place(earlier.node)}`)
  }
}

/** Prefixes come before patterns, so one for "/" without conditions leaves them nothing. */
function checkPatterns(routes: readonly PlacedRoute[], { report }: Context): void {
  const everything = new Map<string, PlacedRoute>()
  for (const route of routes) {
    if (route.match !== "prefix" || route.path !== "/" || hasConditions(route)) continue
    if (!everything.has(route.host)) everything.set(route.host, route)
  }
  for (const route of routes) {
    const earlier = everything.get(route.host)
    if (route.match !== "regex" || earlier === undefined) continue
    const message = 'This pattern is never reached: the prefix "/" of the same host comes first'
    const hint = `That is at ${report.place(earlier.node)}; give it match = "regex" and path = "^/"`
    report.warning(route.node, message, hint)
  }
}
