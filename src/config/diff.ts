/**
 * What changed between two configurations: the first half of a reload. Things are the same when
 * their names are; what did not change is listed too, because it keeps its sockets and its state.
 */
import type {
  AddressPoolConfig,
  Config,
  NamedCheckConfig,
  PoolConfig,
  PublishConfig,
  StreamConfig,
  VrrpConfig,
} from "./config.ts"
import type { HttpConfig } from "./http-config.ts"

export interface ConfigDiff {
  readonly vrrp: KindDiff<VrrpConfig>
  readonly checks: KindDiff<NamedCheckConfig>
  readonly pools: KindDiff<PoolConfig>
  readonly streams: KindDiff<StreamConfig>
  readonly http: KindDiff<HttpConfig>
  readonly addressPools: KindDiff<AddressPoolConfig>
  /** Things here are the same when their Service is. */
  readonly publish: KindDiff<PublishConfig>
  readonly kubernetes: boolean
  readonly node: boolean
  readonly admin: boolean
  readonly log: boolean
}

export interface KindDiff<T> {
  readonly added: readonly T[]
  readonly removed: readonly T[]
  readonly changed: readonly Change<T>[]
  /** As in the new configuration, by value the same as in the old one. */
  readonly unchanged: readonly T[]
}

export interface Change<T> {
  readonly from: T
  readonly to: T
  /** The keys whose values differ. */
  readonly keys: readonly (keyof T & string)[]
}

export function diffConfig(old: Config, next: Config): ConfigDiff {
  return {
    vrrp: diffKind(old.vrrp, next.vrrp),
    checks: diffKind(old.checks, next.checks),
    pools: diffKind(old.pools, next.pools),
    streams: diffKind(old.streams, next.streams),
    http: diffKind(old.http, next.http),
    addressPools: diffKind(old.addressPools, next.addressPools),
    publish: diffKind(old.publish, next.publish),
    kubernetes: !Bun.deepEquals(old.kubernetes, next.kubernetes),
    node: !Bun.deepEquals(old.node, next.node),
    admin: !Bun.deepEquals(old.admin, next.admin),
    log: !Bun.deepEquals(old.log, next.log),
  }
}

export function isEmptyDiff(diff: ConfigDiff): boolean {
  return formatDiff(diff).length === 0
}

/** One line for each difference, such as `pool "db": changed servers, max_fails`. */
export function formatDiff(diff: ConfigDiff): string[] {
  const tables = (["node", "admin", "log", "kubernetes"] as const).filter((table) => diff[table])
  return [
    ...tables.map((table) => `[${table}]: changed`),
    ...formatKind("vrrp", diff.vrrp),
    ...formatKind("check", diff.checks),
    ...formatKind("pool", diff.pools),
    ...formatKind("stream", diff.streams),
    ...formatKind("http", diff.http),
    ...formatKind("address_pool", diff.addressPools),
    ...formatKind("publish", diff.publish),
  ]
}

/** What a reload knows a thing by. */
function nameOf(item: Named): string {
  return "name" in item ? item.name : `${item.namespace}/${item.service}`
}

type Named = { readonly name: string } | Pick<PublishConfig, "namespace" | "service">

function diffKind<T extends Named>(old: readonly T[], next: readonly T[]): KindDiff<T> {
  const before = new Map(old.map((item) => [nameOf(item), item]))
  const after = new Set(next.map(nameOf))
  const kept = next.flatMap((to) => {
    const from = before.get(nameOf(to))
    return from === undefined ? [] : { from, to, keys: differingKeys(from, to) }
  })
  return {
    added: next.filter((item) => !before.has(nameOf(item))),
    removed: old.filter((item) => !after.has(nameOf(item))),
    changed: kept.filter(({ keys }) => keys.length > 0),
    unchanged: kept.filter(({ keys }) => keys.length === 0).map(({ to }) => to),
  }
}

function differingKeys<T extends object>(from: T, to: T): (keyof T & string)[] {
  const keys = Object.keys(to) as (keyof T & string)[]
  return keys.filter((key) => !Bun.deepEquals(from[key], to[key]))
}

function formatKind<T extends Named>(kind: string, diff: KindDiff<T>): string[] {
  return [
    ...diff.removed.map((item) => `${kind} "${nameOf(item)}": removed`),
    ...diff.added.map((item) => `${kind} "${nameOf(item)}": added`),
    ...diff.changed.map(
      ({ to, keys }) => `${kind} "${nameOf(to)}": changed ${keys.map(tomlKey).join(", ")}`,
    ),
  ]
}

function tomlKey(key: string): string {
  return key.replace(/Ms$/, "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
