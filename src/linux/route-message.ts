/**
 * Kernel routes on the wire: RTM_NEWROUTE and its siblings (linux/rtnetlink.h). Pure.
 */
import {
  type Address,
  ANY_IPV4,
  ANY_IPV6,
  addressBytes,
  addressFromBytes,
  familyOf,
  type Prefix,
} from "../net/address.ts"
import { LITTLE_ENDIAN, RTMSG, RTNEXTHOP } from "./layouts.ts"
import {
  type Attribute,
  type AttributeMap,
  encodeBody,
  malformed,
  type Parsed,
  parseAttributes,
  parseBody,
  u32Of,
  u32Value,
  viewOf,
} from "./netlink.ts"
import { AF_INET, AF_INET6 } from "./sockaddr.ts"

export const RTM_NEWROUTE = 24
export const RTM_DELROUTE = 25
export const RTM_GETROUTE = 26

export const ROUTE_TABLE_MAIN = 254
export const ROUTE_TABLE_LOCAL = 255

const RTA_DST = 1
const RTA_OIF = 4
const RTA_GATEWAY = 5
const RTA_PRIORITY = 6
const RTA_PREFSRC = 7
const RTA_MULTIPATH = 9
const RTA_TABLE = 15

const RTPROT_BOOT = 3
const RT_SCOPE_UNIVERSE = 0
const RT_SCOPE_LINK = 253
const RT_SCOPE_NOWHERE = 255
const RT_TABLE_UNSPEC = 0
/** Tables up to here fit the header's byte; RTA_TABLE carries larger numbers. */
const TABLE_BYTE_MAX = 255
const RTM_F_CLONED = 0x200

/** RTN_… in the order of their numbers. */
const ROUTE_TYPES = [
  "unspecified",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
] as const
export type RouteType = (typeof ROUTE_TYPES)[number]

/** A route to put into the kernel, or to name for deletion. */
export interface RouteSpec {
  /** Host bits must be clear. `0.0.0.0/0` and `::/0` are default routes. */
  readonly prefix: Prefix
  readonly gateway?: Address
  /** Index of the interface to send through. */
  readonly ifindex?: number
  /** The address that connections over this route start from. */
  readonly source?: Address
  /** `ROUTE_TABLE_MAIN` unless given. */
  readonly table?: number
  /** Who put it there (`/etc/iproute2/rt_protos`); "boot" unless given. Deletion matches it. */
  readonly protocol?: number
  /** Lower wins. The kernel's default: 0 for IPv4, 1024 for IPv6. */
  readonly metric?: number
  /** "unicast" unless given. */
  readonly type?: RouteType
}

export interface NextHop {
  readonly gateway: Address | undefined
  readonly ifindex: number
  /** Share among the next hops, 1–256. */
  readonly weight: number
}

/** A route as the kernel reports it. */
export interface Route {
  readonly prefix: Prefix
  readonly gateway: Address | undefined
  readonly ifindex: number | undefined
  readonly source: Address | undefined
  readonly table: number
  readonly protocol: number
  readonly metric: number
  readonly scope: number
  /** Number of RTN_… when it has no name here. */
  readonly type: RouteType | number
  /** More than one way at once; then `gateway` and `ifindex` are absent. */
  readonly nextHops: readonly NextHop[]
}

export function encodeRoute(spec: RouteSpec): Uint8Array {
  const header = rtmsg(spec, {
    scope: scopeOf(spec),
    protocol: spec.protocol ?? RTPROT_BOOT,
    type: spec.type ?? "unicast",
  })
  return encodeBody(header, attributesOf(spec))
}

/** What `spec` leaves open matches anything. */
export function encodeRouteRemoval(spec: RouteSpec): Uint8Array {
  const header = rtmsg(spec, {
    scope: RT_SCOPE_NOWHERE,
    protocol: spec.protocol ?? 0,
    type: spec.type ?? "unspecified",
  })
  return encodeBody(header, attributesOf(spec))
}

export interface RouteQuery {
  readonly family: 4 | 6
  readonly table?: number
  readonly protocol?: number
}

export function encodeRouteQuery({ family, table, protocol }: RouteQuery): Uint8Array {
  const header = new Uint8Array(RTMSG.size)
  header[RTMSG.family] = family === 4 ? AF_INET : AF_INET6
  header[RTMSG.protocol] = protocol ?? 0
  return encodeBody(header, table === undefined ? [] : [[RTA_TABLE, u32Value(table)]])
}

/** Undefined for other families and for cached copies of routes. */
export function parseRoute(body: Uint8Array): Parsed<Route | undefined> {
  const parsed = parseBody(body, RTMSG.size)
  if (!parsed.ok) return parsed
  const family = body[RTMSG.family]
  const flags = viewOf(body).getUint32(RTMSG.flags, LITTLE_ENDIAN)
  if ((family !== AF_INET && family !== AF_INET6) || (flags & RTM_F_CLONED) !== 0) {
    return { ok: true, value: undefined }
  }
  const attributes = parsed.value
  const addresses = parseAddresses(attributes, family === AF_INET ? 4 : 16)
  const nextHops = parseNextHops(attributes.get(RTA_MULTIPATH) ?? new Uint8Array())
  if (addresses === undefined) return malformed("attribute of the wrong size")
  if (!nextHops.ok) return nextHops
  const type = body[RTMSG.type] ?? 0
  const any = family === AF_INET ? ANY_IPV4 : ANY_IPV6
  return {
    ok: true,
    value: {
      prefix: {
        address: addresses.destination ?? any,
        length: body[RTMSG.destinationLength] ?? 0,
      },
      gateway: addresses.gateway,
      ifindex: u32Of(attributes, RTA_OIF),
      source: addresses.source,
      table: u32Of(attributes, RTA_TABLE) ?? body[RTMSG.table] ?? RT_TABLE_UNSPEC,
      protocol: body[RTMSG.protocol] ?? 0,
      metric: u32Of(attributes, RTA_PRIORITY) ?? 0,
      scope: body[RTMSG.scope] ?? RT_SCOPE_UNIVERSE,
      type: ROUTE_TYPES[type] ?? type,
      nextHops: nextHops.value,
    },
  }
}

interface RouteAddresses {
  readonly destination: Address | undefined
  readonly gateway: Address | undefined
  readonly source: Address | undefined
}

/** Undefined when one of them has the wrong size. */
function parseAddresses(attributes: AttributeMap, size: number): RouteAddresses | undefined {
  const found = [RTA_DST, RTA_GATEWAY, RTA_PREFSRC].map((type) => attributes.get(type))
  if (found.some((bytes) => bytes !== undefined && bytes.length !== size)) return undefined
  const [destination, gateway, source] = found.map((bytes) =>
    bytes === undefined ? undefined : addressFromBytes(bytes),
  )
  return { destination, gateway, source }
}

function parseNextHops(bytes: Uint8Array): Parsed<NextHop[]> {
  const view = viewOf(bytes)
  const nextHops: NextHop[] = []
  for (let start = 0; bytes.length - start >= RTNEXTHOP.size; ) {
    const length = view.getUint16(start + RTNEXTHOP.length, LITTLE_ENDIAN)
    if (length < RTNEXTHOP.size) return malformed("attribute of the wrong size")
    if (start + length > bytes.length) return malformed("attribute longer than its message")
    const attributes = parseAttributes(bytes.subarray(start + RTNEXTHOP.size, start + length))
    if (!attributes.ok) return attributes
    const gateway = attributes.value.get(RTA_GATEWAY)
    if (gateway !== undefined && gateway.length !== 4 && gateway.length !== 16) {
      return malformed("attribute of the wrong size")
    }
    nextHops.push({
      gateway: gateway === undefined ? undefined : addressFromBytes(gateway),
      ifindex: view.getInt32(start + RTNEXTHOP.ifindex, LITTLE_ENDIAN),
      weight: view.getUint8(start + RTNEXTHOP.hops) + 1,
    })
    start += (length + 3) & ~3
  }
  return { ok: true, value: nextHops }
}

/** iproute2's rule: what is reached without a gateway is on the link. IPv6 has no scopes. */
function scopeOf({ prefix, gateway, type }: RouteSpec): number {
  const onLink = gateway === undefined && (type ?? "unicast") === "unicast"
  return onLink && familyOf(prefix.address) === 4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE
}

/** Attributes in the order of iproute2. */
function attributesOf(spec: RouteSpec): Attribute[] {
  const { prefix, table, gateway, source, metric, ifindex } = spec
  const attributes: Attribute[] = []
  if (prefix.length > 0) attributes.push([RTA_DST, addressBytes(prefix.address)])
  if (gateway !== undefined) attributes.push([RTA_GATEWAY, addressBytes(gateway)])
  if (table !== undefined && table > TABLE_BYTE_MAX) attributes.push([RTA_TABLE, u32Value(table)])
  if (source !== undefined) attributes.push([RTA_PREFSRC, addressBytes(source)])
  if (metric !== undefined) attributes.push([RTA_PRIORITY, u32Value(metric)])
  if (ifindex !== undefined) attributes.push([RTA_OIF, u32Value(ifindex)])
  return attributes
}

interface RouteKind {
  readonly scope: number
  readonly protocol: number
  readonly type: RouteType
}

function rtmsg({ prefix, table }: RouteSpec, { scope, protocol, type }: RouteKind): Uint8Array {
  const header = new Uint8Array(RTMSG.size)
  const tableNumber = table ?? ROUTE_TABLE_MAIN
  header[RTMSG.family] = familyOf(prefix.address) === 4 ? AF_INET : AF_INET6
  header[RTMSG.destinationLength] = prefix.length
  header[RTMSG.table] = tableNumber > TABLE_BYTE_MAX ? RT_TABLE_UNSPEC : tableNumber
  header[RTMSG.protocol] = protocol
  header[RTMSG.scope] = scope
  header[RTMSG.type] = ROUTE_TYPES.indexOf(type)
  return header
}
