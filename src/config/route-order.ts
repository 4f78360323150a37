/**
 * The order in which routes are tried, as `http/route-table.ts` looks them up: for the plan, and to
 * find routes that no request can reach. A test in `http/` holds the two together.
 */
import type { FieldCondition, RouteConfig } from "./http-config.ts"

/** Most specific host first, then path, then conditions; otherwise as in the file. */
export function inOrder<R extends RouteConfig>(routes: readonly R[]): R[] {
  const hosts = new Map<string, number>()
  for (const { host } of routes) if (!hosts.has(host)) hosts.set(host, hosts.size)
  const ranked = routes.map((route) => ({
    route,
    host: hostRank(route) * routes.length + (hosts.get(route.host) ?? 0),
    match: MATCH_RANK[route.match],
    // Patterns cannot be compared: they stay as in the file.
    path: route.match === "regex" ? "" : comparable(route.path, route.match),
    conditions: route.match === "regex" ? 0 : conditionRank(route),
  }))
  const sorted = ranked.toSorted(
    (a, b) =>
      a.host - b.host ||
      a.match - b.match ||
      b.path.length - a.path.length ||
      compare(a.path, b.path) ||
      b.conditions - a.conditions,
  )
  return sorted.map(({ route }) => route)
}

/** Requests with this key are the same to both routes: host and path as they are compared. */
export function placeOf({ host, path, match }: RouteConfig): string {
  return `${match} ${host} ${match === "regex" ? path : comparable(path, match)}`
}

/** Whether every request that meets the conditions of `narrow` meets those of `wide`. */
export function covers(wide: RouteConfig, narrow: RouteConfig): boolean {
  const methods = new Set(wide.methods)
  const areMethodsCovered =
    methods.size === 0 ||
    (narrow.methods.length > 0 && narrow.methods.every((method) => methods.has(method)))
  return (
    areMethodsCovered &&
    wide.headers.every((condition) =>
      narrow.headers.some((each) => implies(each, condition, true)),
    ) &&
    wide.query.every((condition) => narrow.query.some((each) => implies(each, condition, false)))
  )
}

export function hasConditions({ methods, headers, query }: RouteConfig): boolean {
  return methods.length + headers.length + query.length > 0
}

/** `a` holds only if `b` does. */
function implies(a: FieldCondition, b: FieldCondition, ignoresCase: boolean): boolean {
  const isSameName = ignoresCase ? a.name.toLowerCase() === b.name.toLowerCase() : a.name === b.name
  if (!isSameName) return false
  return Bun.deepEquals(a.value, b.value) || (b.value === true && typeof a.value !== "boolean")
}

function hostRank({ host }: RouteConfig): number {
  if (host === "") return 2
  return host.startsWith("*.") ? 1 : 0
}

function conditionRank({ methods, headers, query }: RouteConfig): number {
  return (methods.length > 0 ? 1e6 : 0) + headers.length * 1e3 + query.length
}

/** Percent-encoded UTF-8 and the text itself are the same, and so are "/api" and "/api/". */
function comparable(path: string, match: RouteConfig["match"]): string {
  const bytes = Buffer.from(path, "utf8").toString("latin1")
  const decoded = bytes.replace(/%([0-9A-Fa-f]{2})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  return match === "prefix" ? decoded.replace(/\/$/, "") : decoded
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

const MATCH_RANK = { exact: 0, prefix: 1, regex: 2 } as const
