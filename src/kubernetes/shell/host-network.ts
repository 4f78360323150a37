/**
 * This host's network as the planner of pod routes wants it, read from the kernel: what is ours,
 * what is on the link, and what others route. Only the main table counts.
 */

import { ROUTE_TABLE_MAIN, type Route } from "../../linux/route-message.ts"
import type { Rtnetlink } from "../../linux/rtnetlink.ts"
import { type Address, type Family, familyOf, formatPrefix } from "../../net/address.ts"
import type { HostNetwork, OnLinkSubnet, OwnRoute } from "../pod-routes.ts"

export interface ObservedNetwork extends HostNetwork {
  readonly ownRoutes: readonly OwnRoute[]
  /** "ifindex prefix" of each address. */
  readonly addressKeys: ReadonlySet<string>
  /** Indexes of the interfaces that are up. */
  readonly linksUp: ReadonlySet<number>
}

const FAMILIES: readonly Family[] = [4, 6]
const RTPROT_KERNEL = 2
const RTPROT_RA = 9
const RT_SCOPE_LINK = 253

/** Throws `SystemError`. */
export function observeNetwork(rtnetlink: Rtnetlink, protocol: number): ObservedNetwork {
  const links = rtnetlink.links()
  const names = new Map(links.map(({ index, name }) => [index, name]))
  const addresses = rtnetlink.addresses()
  const routes = FAMILIES.flatMap((family) => mainRoutes(rtnetlink, family))
  const others = routes.filter((route) => route.protocol !== protocol)
  return {
    addresses: addresses.map(({ prefix }) => prefix.address),
    subnets: others.flatMap((route) => subnetOf(route, names) ?? []),
    otherRoutes: new Set(
      others.filter((route) => !isConnected(route)).map(({ prefix }) => formatPrefix(prefix)),
    ),
    ownRoutes: ownRoutes(routes, protocol),
    addressKeys: new Set(
      addresses.map(({ ifindex, prefix }) => addressKey(ifindex, prefix.address)),
    ),
    linksUp: new Set(links.filter(({ up }) => up).map(({ index }) => index)),
  }
}

/** Our routes, whichever process put them there. Throws `SystemError`. */
export function listOwnRoutes(rtnetlink: Rtnetlink, protocol: number): OwnRoute[] {
  return ownRoutes(
    FAMILIES.flatMap((family) => mainRoutes(rtnetlink, family)),
    protocol,
  )
}

export function addressKey(ifindex: number, address: Address): string {
  return `${ifindex} ${address}`
}

export function isOnLink(route: Route): boolean {
  const { type, prefix, gateway, nextHops, ifindex, scope } = route
  if (type !== "unicast" || prefix.length === 0 || ifindex === undefined) return false
  if (gateway !== undefined || nextHops.length > 0) return false
  // An IPv4 route through an IPv6 gateway (RTA_VIA) is told apart by its scope only.
  return familyOf(prefix.address) === 4 ? scope === RT_SCOPE_LINK : !isLinkLocal(prefix.address)
}

/** A kernel without IPv6 answers with IPv4 routes. */
function mainRoutes(rtnetlink: Rtnetlink, family: Family): Route[] {
  const routes = rtnetlink.routes({ family, table: ROUTE_TABLE_MAIN })
  return routes.filter(({ prefix }) => familyOf(prefix.address) === family)
}

function ownRoutes(routes: readonly Route[], protocol: number): OwnRoute[] {
  return routes
    .filter((route) => route.protocol === protocol)
    .map(({ prefix, gateway, ifindex, metric }) => ({
      destination: prefix,
      gateway,
      ifindex,
      metric,
    }))
}

function subnetOf(route: Route, names: ReadonlyMap<number, string>): OnLinkSubnet | undefined {
  const { ifindex, prefix, metric } = route
  if (ifindex === undefined || !isOnLink(route)) return undefined
  const name = names.get(ifindex) ?? `interface ${ifindex}`
  return { prefix, interface: name, ifindex, metric, isConnected: isConnected(route) }
}

/** What comes with an address of the interface, or with a router's word on its prefix. */
function isConnected(route: Route): boolean {
  return isOnLink(route) && (route.protocol === RTPROT_KERNEL || route.protocol === RTPROT_RA)
}

function isLinkLocal(address: Address): boolean {
  return /^(?:fe[89ab][0-9a-f]|ff[0-9a-f]{2}):/.test(address)
}
