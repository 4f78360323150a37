/**
 * Links, addresses and routes of this network namespace (rtnetlink(7)).
 *
 * Every operation is one synchronous request, acknowledged by the kernel before it returns.
 * Failures are `SystemError`s that say what was tried, on what, and what the kernel gave as its
 * reason.
 */
import { type Address, ANY_IPV4, type Family, formatPrefix, type Prefix } from "../net/address.ts"
import {
  type AddressPlace,
  type AddressSpec,
  encodeAddress,
  encodeAddressQuery,
  encodeAddressRemoval,
  type InterfaceAddress,
  parseInterfaceAddress,
  RTM_DELADDR,
  RTM_GETADDR,
  RTM_NEWADDR,
} from "./address-message.ts"
import { EADDRNOTAVAIL, ENODEV, ENOENT, ESRCH, SystemError } from "./errno.ts"
import {
  encodeLinkByIndex,
  encodeLinkByName,
  encodeLinkChange,
  LINK_NAME_BYTES_MAX,
  type Link,
  type LinkChange,
  type LinkRef,
  parseLink,
  RTM_GETLINK,
  RTM_NEWLINK,
} from "./link-message.ts"
import {
  type NetlinkMessage,
  NLM_F_CREATE,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  type Parsed,
} from "./netlink.ts"
import { NetlinkSocket, valid } from "./netlink-socket.ts"
import {
  encodeRoute,
  encodeRouteQuery,
  encodeRouteRemoval,
  parseRoute,
  ROUTE_TABLE_MAIN,
  type Route,
  type RouteQuery,
  type RouteSpec,
  RTM_DELROUTE,
  RTM_GETROUTE,
  RTM_NEWROUTE,
} from "./route-message.ts"
import { AF_INET, AF_INET6 } from "./sockaddr.ts"

export interface AddressQuery {
  /** Only those of this interface. */
  readonly ifindex?: number
  readonly family?: Family
}

/** Of an index that cannot be. */
const NO_PREFIX: Prefix = { address: ANY_IPV4, length: 0 }

export class Rtnetlink {
  readonly #socket = new NetlinkSocket()

  /** Equivalent to `ip link show`. */
  links(): Link[] {
    const request = { type: RTM_GETLINK, flags: 0, body: encodeLinkByIndex(0) }
    const operation = "list interfaces"
    return parseAll(this.#socket.dump(request, operation), RTM_NEWLINK, parseLink, operation)
  }

  /** Equivalent to `ip link show dev NAME`; undefined when there is none. */
  link(name: string): Link | undefined {
    if (name === "" || Buffer.byteLength(name) > LINK_NAME_BYTES_MAX) return undefined
    const request = { type: RTM_GETLINK, flags: 0, body: encodeLinkByName(name) }
    const operation = `look up interface ${name}`
    return absentAs(undefined, [ENODEV], () => {
      const answer = this.#socket.request(request, operation)
      return parseAll(answer, RTM_NEWLINK, parseLink, operation)[0]
    })
  }

  /** Equivalent to `ip link set dev NAME up` (`down`, `mtu BYTES`, `addrgenmode none`). */
  changeLink(link: LinkRef, change: LinkChange): void {
    const request = { type: RTM_NEWLINK, flags: 0, body: encodeLinkChange(link.index, change) }
    this.#socket.request(request, `${describeChange(change)} of interface ${link.name}`)
  }

  /** Equivalent to `ip address show [dev NAME]`. */
  addresses({ ifindex, family }: AddressQuery = {}): InterfaceAddress[] {
    const body = encodeAddressQuery(ifindex ?? 0, addressFamily(family))
    const operation = "list addresses"
    return parseAll(
      this.#socket.dump({ type: RTM_GETADDR, flags: 0, body }, operation),
      RTM_NEWADDR,
      parseInterfaceAddress,
      operation,
    )
  }

  /**
   * Equivalent to `ip address add PREFIX dev NAME …`. EEXIST when it is there already. An IPv4
   * address is usable when this returns; an IPv6 one is tentative for a moment even with `noDad`
   * (the kernel ends duplicate address detection in a work queue, then the monitor reports it).
   */
  addAddress(link: LinkRef, spec: AddressSpec): void {
    this.#newAddress(link, spec, NLM_F_CREATE | NLM_F_EXCL, "add")
  }

  /**
   * Equivalent to `ip address replace PREFIX dev NAME …`: adds it, or renews the lifetimes (and the
   * mark) of the one that is there. Scope, label and flags of an existing IPv4 address stay.
   */
  replaceAddress(link: LinkRef, spec: AddressSpec): void {
    this.#newAddress(link, spec, NLM_F_CREATE | NLM_F_REPLACE, "set")
  }

  /**
   * Equivalent to `ip address del PREFIX dev NAME`. False when it, or the interface, was not there.
   */
  deleteAddress(link: LinkRef, prefix: Prefix): boolean {
    const body = encodeAddressRemoval(link.index, prefix)
    const operation = `delete ${formatPrefix(prefix)} from ${link.name}`
    return absentAs(false, [EADDRNOTAVAIL, ENODEV], () => {
      this.#socket.request({ type: RTM_DELADDR, flags: 0, body }, operation)
      return true
    })
  }

  /** `replaceAddress` for many, in few system calls. Returns what was refused, by index. */
  replaceAddresses(link: LinkRef, specs: readonly AddressSpec[]): Map<number, SystemError> {
    const flags = NLM_F_CREATE | NLM_F_REPLACE
    return this.#socket.requestAll(
      specs.map((spec) => ({ type: RTM_NEWADDR, flags, body: encodeAddress(link.index, spec) })),
      (index) => `set ${formatPrefix(specs[index]?.prefix ?? NO_PREFIX)} on ${link.name}`,
    )
  }

  /** `deleteAddress` for many. Returns what was refused, by index; what was not there is not. */
  deleteAddresses(link: LinkRef, places: readonly AddressPlace[]): Map<number, SystemError> {
    const refused = this.#socket.requestAll(
      places.map((place) => ({
        type: RTM_DELADDR,
        flags: 0,
        body: encodeAddressRemoval(link.index, place.prefix, place.peer),
      })),
      (index) => `delete ${formatPrefix(places[index]?.prefix ?? NO_PREFIX)} from ${link.name}`,
    )
    for (const [index, { errno }] of refused)
      if (errno === EADDRNOTAVAIL || errno === ENODEV) refused.delete(index)
    return refused
  }

  /** Equivalent to `ip route show table TABLE`; without `table`, of all tables. */
  routes(query: RouteQuery): Route[] {
    const request = { type: RTM_GETROUTE, flags: 0, body: encodeRouteQuery(query) }
    const operation = "list routes"
    const answer = absentAs([], [ENOENT, ESRCH], () => this.#socket.dump(request, operation))
    // Linux before 4.20 ignores the filter, so it is applied here too.
    return parseAll(answer, RTM_NEWROUTE, parseRoute, operation).filter(
      (route) =>
        (query.table === undefined || route.table === query.table) &&
        (query.protocol === undefined || route.protocol === query.protocol),
    )
  }

  /**
   * Equivalent to `ip route add PREFIX …`. EEXIST when one of the same prefix and metric is there.
   */
  addRoute(spec: RouteSpec): void {
    this.#newRoute(spec, NLM_F_CREATE | NLM_F_EXCL, "add")
  }

  /** Equivalent to `ip route replace PREFIX …`. */
  replaceRoute(spec: RouteSpec): void {
    this.#newRoute(spec, NLM_F_CREATE | NLM_F_REPLACE, "set")
  }

  /** Equivalent to `ip route del PREFIX …`. False when no route matched. */
  deleteRoute(spec: RouteSpec): boolean {
    const request = { type: RTM_DELROUTE, flags: 0, body: encodeRouteRemoval(spec) }
    return absentAs(false, [ESRCH], () => {
      this.#socket.request(request, `delete ${describeRoute(spec)}`)
      return true
    })
  }

  close(): void {
    this.#socket.close()
  }

  #newAddress(link: LinkRef, spec: AddressSpec, flags: number, verb: "add" | "set"): void {
    const body = encodeAddress(link.index, spec)
    const preposition = verb === "add" ? "to" : "on"
    const operation = `${verb} ${formatPrefix(spec.prefix)} ${preposition} ${link.name}`
    this.#socket.request({ type: RTM_NEWADDR, flags, body }, operation)
  }

  #newRoute(spec: RouteSpec, flags: number, verb: "add" | "set"): void {
    const request = { type: RTM_NEWROUTE, flags, body: encodeRoute(spec) }
    this.#socket.request(request, `${verb} ${describeRoute(spec)}`)
  }
}

function parseAll<Value>(
  messages: readonly NetlinkMessage[],
  type: number,
  parse: (body: Uint8Array) => Parsed<Value | undefined>,
  operation: string,
): Value[] {
  return messages
    .filter((message) => message.type === type)
    .map((message) => valid(parse(message.body), operation))
    .filter((value) => value !== undefined)
}

/** Runs `operation`; an error of `errnos` means that the object does not exist. */
function absentAs<Value>(absent: Value, errnos: readonly number[], operation: () => Value): Value {
  try {
    return operation()
  } catch (error) {
    if (error instanceof SystemError && errnos.includes(error.errno)) return absent
    throw error
  }
}

function addressFamily(family: Family | undefined): number {
  if (family === undefined) return 0
  return family === 4 ? AF_INET : AF_INET6
}

function describeChange(change: LinkChange): string {
  const { up, mtu, ipv6AddressGeneration, promoteSecondaries } = change
  const parts = [
    up === undefined ? "" : `set state ${up ? "up" : "down"}`,
    mtu === undefined ? "" : `set MTU ${mtu}`,
    ipv6AddressGeneration === undefined ? "" : "turn off IPv6 address generation",
    promoteSecondaries === undefined ? "" : "set promote_secondaries",
  ]
  return parts.filter((part) => part !== "").join(" and ")
}

function describeRoute({ prefix, gateway, table }: RouteSpec): string {
  const via = gateway === undefined ? "" : ` via ${gateway satisfies Address}`
  const where = (table ?? ROUTE_TABLE_MAIN) === ROUTE_TABLE_MAIN ? "" : ` in table ${table}`
  return `route ${formatPrefix(prefix)}${via}${where}`
}
