/** Names are unique per kind, and what is named elsewhere exists. */
import type { Context, Decoded } from "./decode.ts"
import type { Draft } from "./draft.ts"
import type { RouteConfig } from "./http-config.ts"
import { nearest } from "./nearest.ts"
import { locate, type TomlNode } from "./toml.ts"

export function checkNames(draft: Draft, context: Context): void {
  for (const [kind, tables] of Object.entries({
    vrrp: draft.vrrp,
    check: draft.checks,
    pool: draft.pools,
    stream: draft.streams,
    http: draft.http,
    address_pool: draft.addressPools,
  })) {
    checkUnique(kind, tables, context)
  }
  checkTrackTargets(draft, context)
  const pools = namesOf(draft.pools)
  for (const { node, draft: stream } of draft.streams) {
    const target = { kind: "pool", name: stream.pool, known: pools }
    checkExists(locate(node, "pool"), target, context)
    if (!isTlsPool(stream.pool, draft)) continue
    const hint = "Give the stream a pool without [pool.tls]; clients bring their own TLS"
    const message = `A stream passes bytes as they come: pool "${stream.pool}" has tls`
    context.report.error(locate(node, "pool"), message, hint)
  }
  checkClusterNames(draft, context)
  for (const { routes } of draft.http) {
    for (const route of routes) checkRoutePools(route, pools, context)
  }
}

/** Virtual routers of address pools, and streams that are published. */
function checkClusterNames(draft: Draft, context: Context): void {
  const routers = namesOf(draft.vrrp)
  for (const { node, draft: pool } of draft.addressPools) {
    for (const [index, name] of (pool.vrrp ?? []).entries()) {
      checkExists(locate(node, "vrrp", index), { kind: "vrrp", name, known: routers }, context)
    }
  }
  const streams = namesOf(draft.streams)
  for (const { node, draft: publish } of draft.publish) {
    const target = { kind: "stream", name: publish.stream, known: streams }
    checkExists(locate(node, "stream"), target, context)
  }
}

function isTlsPool(name: string | undefined, { pools }: Draft): boolean {
  return pools.some(({ draft }) => draft.name === name && draft.tls !== undefined)
}

function checkRoutePools(
  { node, draft }: Decoded<RouteConfig>,
  known: readonly string[],
  context: Context,
): void {
  const { action, mirror, forwardAuth } = draft
  const named: (readonly [TomlNode, string | undefined])[] = [
    [locate(node, "mirror"), mirror === "" ? undefined : mirror],
    [locate(node, "forward_auth", "pool"), forwardAuth?.pool],
  ]
  if (action?.type === "pool") named.push([locate(node, "pool"), action.pool])
  if (action?.type === "split") {
    for (const [index, { pool }] of action.targets.entries()) {
      named.push([locate(node, "split", index, "pool"), pool])
    }
  }
  for (const [at, name] of named) checkExists(at, { kind: "pool", name, known }, context)
}

function checkUnique(kind: string, tables: readonly Decoded<{ name: string }>[], context: Context) {
  const first = new Map<string, TomlNode>()
  for (const { node, draft } of tables) {
    if (draft.name === undefined) continue
    const at = locate(node, "name")
    const earlier = first.get(draft.name)
    if (earlier === undefined) first.set(draft.name, at)
    else {
      const message = `There are two [[${kind}]] named "${draft.name}"`
      context.report.error(at, message, `The first is at ${context.report.place(earlier)}`)
    }
  }
}

/** Interfaces may come and go, so their names are not looked up here. */
function checkTrackTargets(draft: Draft, context: Context): void {
  const known = { check: namesOf(draft.checks), pool: namesOf(draft.pools) }
  for (const { node, draft: router } of draft.vrrp) {
    for (const [index, { type, target }] of (router.track ?? []).entries()) {
      if (type === "interface") continue
      const at = locate(node, "track", index, type)
      checkExists(at, { kind: type, name: target, known: known[type] }, context)
    }
  }
}

function checkExists(
  at: TomlNode,
  { kind, name, known }: { kind: string; name: string | undefined; known: readonly string[] },
  { report }: Context,
): void {
  if (name === undefined || known.includes(name)) return
  const similar = nearest(name, known)
  const hint =
    similar !== undefined
      ? `Did you mean "${similar}"?`
      : known.length === 0
        ? `Add a [[${kind}]] with name = "${name}"`
        : `There are: ${known.join(", ")}`
  report.error(at, `There is no [[${kind}]] named "${name}"`, hint)
}

function namesOf(tables: readonly Decoded<{ name: string }>[]): string[] {
  return tables.flatMap(({ draft }) => draft.name ?? [])
}
