/**
 * The pools that addresses are given out from: those of the file (`[[address_pool]]`) and the
 * cluster's MetalLB objects, so that a cluster that used MetalLB needs no edits.
 *
 * What does not fit together is reported and decided once, here: the file wins over the cluster,
 * and the pool that comes first wins an address that is in two of them. The order is the file's,
 * then MetalLB's by name, the same on both edges.
 */
import type { AddressPoolConfig, VrrpConfig } from "../../config/config.ts"
import type { L2Advertisement, Labels, MetalLbPool, PoolScope, Service } from "../objects.ts"
import {
  AddressSet,
  formatRange,
  ipFamilyOf,
  type NumberRange,
  numberOf,
  parseRange,
} from "./address-set.ts"
import { selectorMatches } from "./label-selector.ts"

export interface AddressPool {
  readonly name: string
  readonly origin: "file" | "metallb"
  readonly addresses: AddressSet
  /** Given out to Services that ask for nothing in particular. */
  readonly autoAssign: boolean
  /** Undefined: every Service may use it. */
  readonly scope: PoolScope | undefined
  /** Virtual routers that carry its addresses; empty: nobody does. */
  readonly virtualRouters: readonly string[]
}

export interface PoolProblem {
  readonly type:
    | "shadowed"
    | "duplicate"
    | "overlap"
    | "bad_range"
    | "not_announced"
    | "no_interface"
  readonly pool: string
  readonly message: string
}

export interface PoolSources {
  readonly addressPools: readonly AddressPoolConfig[]
  readonly vrrp: readonly Pick<VrrpConfig, "name" | "interface">[]
  readonly metalLbPools: Iterable<MetalLbPool>
  readonly l2Advertisements: Iterable<L2Advertisement>
}

export interface EffectivePools {
  readonly pools: readonly AddressPool[]
  readonly problems: readonly PoolProblem[]
}

export function effectivePools(sources: PoolSources): EffectivePools {
  const problems: PoolProblem[] = []
  const pools = sources.addressPools.map(filePool)
  const byName = new Map(pools.map((pool) => [pool.name, pool]))
  const advertisements = [...sources.l2Advertisements]
  const metalLbPools = [...sources.metalLbPools].sort(byNameThenNamespace)
  for (const object of metalLbPools) {
    const same = byName.get(object.meta.name)
    if (same === undefined) {
      const pool = metalLbPool(object, advertisements, sources.vrrp, problems)
      byName.set(pool.name, pool)
      pools.push(pool)
    } else problems.push(nameTaken(object, same))
  }
  return { pools, problems: [...problems, ...overlaps(pools)] }
}

/** May the Service use the pool? (MetalLB: namespaces and Service selectors must both hold.) */
export function poolAdmits(pool: AddressPool, service: Service, namespaceLabels: Labels): boolean {
  const { scope } = pool
  if (scope === undefined) return true
  const { namespace, labels } = service.meta
  const limitsNamespaces = scope.namespaces.length + scope.namespaceSelectors.length > 0
  const isNamespaceAdmitted =
    !limitsNamespaces ||
    scope.namespaces.includes(namespace) ||
    scope.namespaceSelectors.some((selector) => selectorMatches(selector, namespaceLabels))
  const isServiceAdmitted =
    scope.serviceSelectors.length === 0 ||
    scope.serviceSelectors.some((selector) => selectorMatches(selector, labels))
  return isNamespaceAdmitted && isServiceAdmitted
}

/**
 * Where a Service that names no pool may get addresses, best first: pools meant for it by their
 * priority (a lower number first, 0 = none = last), then those for everybody.
 */
export function autoAssigned(
  pools: readonly AddressPool[],
  service: Service,
  namespaceLabels: Labels,
): AddressPool[] {
  const usable = pools.filter(
    (pool) => pool.autoAssign && poolAdmits(pool, service, namespaceLabels),
  )
  const scoped = usable.filter(({ scope }) => scope !== undefined)
  const open = usable.filter(({ scope }) => scope === undefined)
  return [...scoped.sort((left, right) => rank(left) - rank(right)), ...open]
}

function rank({ scope }: AddressPool): number {
  return scope === undefined || scope.priority === 0 ? Number.POSITIVE_INFINITY : scope.priority
}

function filePool(config: AddressPoolConfig): AddressPool {
  const ranges = config.addresses.map(({ first, last }): NumberRange => {
    return { family: ipFamilyOf(first), first: numberOf(first), last: numberOf(last) }
  })
  return {
    name: config.name,
    origin: "file",
    addresses: new AddressSet(ranges),
    autoAssign: config.autoAssign,
    scope: undefined,
    virtualRouters: config.vrrp,
  }
}

function metalLbPool(
  object: MetalLbPool,
  advertisements: readonly L2Advertisement[],
  vrrp: PoolSources["vrrp"],
  problems: PoolProblem[],
): AddressPool {
  const { name } = object.meta
  const ranges: NumberRange[] = []
  for (const text of object.addresses) {
    const parsed = parseRange(text)
    if (parsed.ok) ranges.push(parsed.range)
    else problems.push({ type: "bad_range", pool: name, message: poolSays(name, parsed.reason) })
  }
  return {
    name,
    origin: "metallb",
    addresses: new AddressSet(ranges, { avoidBuggyIPs: object.avoidBuggyIPs }),
    autoAssign: object.autoAssign,
    scope: object.allocateTo,
    virtualRouters: announcers(object, advertisements, vrrp, problems),
  }
}

/**
 * MetalLB announces a pool on the interfaces of every L2Advertisement that selects it, on all of
 * them if one names none. Without an advertisement it gives addresses out but announces nothing.
 */
function announcers(
  object: MetalLbPool,
  advertisements: readonly L2Advertisement[],
  vrrp: PoolSources["vrrp"],
  problems: PoolProblem[],
): string[] {
  const pool = object.meta.name
  const selecting = advertisements.filter((advertisement) => selects(advertisement, object))
  if (selecting.length === 0) {
    const message = "no L2Advertisement selects it, so its addresses are given out but not carried"
    problems.push({ type: "not_announced", pool, message: poolSays(pool, message) })
    return []
  }
  const isEverywhere = selecting.some(({ interfaces }) => interfaces.length === 0)
  const interfaces = new Set(selecting.flatMap((advertisement) => advertisement.interfaces))
  const carrying = vrrp.filter((router) => isEverywhere || interfaces.has(router.interface))
  if (carrying.length === 0) {
    const where = isEverywhere ? "" : ` on ${[...interfaces].join(", ")}`
    const message = `there is no [[vrrp]]${where} to carry its addresses`
    problems.push({ type: "no_interface", pool, message: poolSays(pool, message) })
  }
  return carrying.map(({ name }) => name)
}

function selects({ pools, poolSelectors }: L2Advertisement, { meta }: MetalLbPool): boolean {
  if (pools.length === 0 && poolSelectors.length === 0) return true
  if (pools.includes(meta.name)) return true
  return poolSelectors.some((selector) => selectorMatches(selector, meta.labels))
}

function nameTaken({ meta }: MetalLbPool, same: AddressPool): PoolProblem {
  const pool = meta.name
  if (same.origin === "file") {
    const its = `${meta.namespace}/${pool}`
    const message = `[[address_pool]] "${pool}" of the file is used; ${its} is not`
    return { type: "shadowed", pool, message }
  }
  const message = poolSays(
    pool,
    `another namespace has it too; ${meta.namespace}/${pool} is not used`,
  )
  return { type: "duplicate", pool, message }
}

function overlaps(pools: readonly AddressPool[]): PoolProblem[] {
  return pools.flatMap((pool, index) =>
    pools.slice(index + 1).flatMap((later): PoolProblem[] => {
      const range = pool.addresses.overlap(later.addresses)
      if (range === undefined) return []
      const message = `${formatRange(range)} is in "${pool.name}" too, which has it`
      return [{ type: "overlap", pool: later.name, message: poolSays(later.name, message) }]
    }),
  )
}

function poolSays(pool: string, message: string): string {
  return `Address pool "${pool}": ${message}`
}

function byNameThenNamespace(left: MetalLbPool, right: MetalLbPool): number {
  if (left.meta.name !== right.meta.name) return left.meta.name < right.meta.name ? -1 : 1
  return left.meta.namespace < right.meta.namespace ? -1 : 1
}
