/**
 * Interface addresses on the wire: RTM_NEWADDR and its siblings (linux/if_addr.h). Pure.
 */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  familyOf,
  type Prefix,
} from "../net/address.ts"
import { IFA_CACHEINFO, IFADDRMSG, LITTLE_ENDIAN } from "./layouts.ts"
import {
  type Attribute,
  type AttributeMap,
  encodeBody,
  malformed,
  type Parsed,
  parseBody,
  textOf,
  textValue,
  u8Of,
  u8Value,
  u32Of,
  u32Value,
  viewOf,
} from "./netlink.ts"
import { AF_INET, AF_INET6 } from "./sockaddr.ts"

export const RTM_NEWADDR = 20
export const RTM_DELADDR = 21
export const RTM_GETADDR = 22

const IFA_ADDRESS = 1
const IFA_LOCAL = 2
const IFA_LABEL = 3
const IFA_BROADCAST = 4
const IFA_CACHEINFO_TYPE = 6
const IFA_FLAGS = 8
export const IFA_PROTO = 11

const IFA_F_SECONDARY = 0x01
const IFA_F_NODAD = 0x02
const IFA_F_DADFAILED = 0x08
const IFA_F_DEPRECATED = 0x20
const IFA_F_TENTATIVE = 0x40
const IFA_F_PERMANENT = 0x80
const IFA_F_NOPREFIXROUTE = 0x200
/** Flags up to here fit the header's byte; IFA_FLAGS carries all of them. */
const FLAGS_BYTE_MAX = 0xff

/** Usable anywhere. */
export const SCOPE_GLOBAL = 0
/**
 * Usable on the attached link only. There the kernel does choose it as a source address, and before
 * the interface's own: for multicast, and over routes without a gateway.
 */
export const SCOPE_LINK = 253
/**
 * Usable inside the host only, which keeps the kernel from ever choosing it as a source address; it
 * answers ARP and connections from outside all the same. What an IPv4 virtual address wants.
 */
export const SCOPE_HOST = 254

/** INFINITY_LIFE_TIME of the kernel. */
const FOREVER_S = 0xffffffff

/** What tells the addresses of one interface apart. */
export interface AddressPlace {
  /** The host bits are the address; the length makes the prefix route. */
  readonly prefix: Prefix
  /**
   * IPv4: the other end of a point-to-point address; the address itself unless given. Addresses
   * with one peer and length are one subnet to the kernel, of which the first is the primary.
   */
  readonly peer?: Address
}

/** An address to put on an interface. */
export interface AddressSpec extends AddressPlace {
  /** IPv4 only; `SCOPE_GLOBAL` unless given. The scope of an IPv6 address is part of it. */
  readonly scope?: number
  /** IPv4 only; by custom the interface name, or it with ":something". */
  readonly label?: string
  /** IPv4 only; none unless given. */
  readonly broadcast?: Address
  /** Whole seconds until the kernel removes the address by itself; for ever unless given. */
  readonly validLifetimeS?: number
  /**
   * Whole seconds until it is no longer a source address of choice (IPv6); at most the valid one.
   */
  readonly preferredLifetimeS?: number
  /** Who put it there (IFA_PROTO, Linux 5.18; older kernels forget it). 1–3 are the kernel's. */
  readonly protocol?: number
  /** No route for the prefix. */
  readonly noPrefixRoute?: boolean
  /** IPv6: usable at once, without duplicate address detection. */
  readonly noDad?: boolean
}

/** An address as the kernel reports it. */
export interface InterfaceAddress {
  readonly ifindex: number
  readonly prefix: Prefix
  /** The other end of a point-to-point address. */
  readonly peer: Address | undefined
  readonly scope: number
  readonly label: string | undefined
  /** Seconds; `Infinity` is for ever. */
  readonly validLifetimeS: number
  readonly preferredLifetimeS: number
  /** IFA_PROTO; 0: unmarked. */
  readonly protocol: number
  /** IPv4: another address of the same prefix came first. IPv6: temporary. */
  readonly secondary: boolean
  readonly deprecated: boolean
  /** IPv6: duplicate address detection has not finished; not usable yet. */
  readonly tentative: boolean
  readonly dadFailed: boolean
  readonly permanent: boolean
  readonly noPrefixRoute: boolean
  readonly noDad: boolean
}

/** Attributes in the order of iproute2, so that captures of the two compare byte by byte. */
export function encodeAddress(ifindex: number, spec: AddressSpec): Uint8Array {
  const address = addressBytes(spec.prefix.address)
  const flags = flagsOf(spec)
  const attributes: Attribute[] = [[IFA_LOCAL, address]]
  if (spec.label !== undefined) attributes.push([IFA_LABEL, textValue(spec.label)])
  if (flags > FLAGS_BYTE_MAX) attributes.push([IFA_FLAGS, u32Value(flags)])
  attributes.push([IFA_ADDRESS, spec.peer === undefined ? address : addressBytes(spec.peer)])
  if (spec.broadcast !== undefined) attributes.push([IFA_BROADCAST, addressBytes(spec.broadcast)])
  if (spec.validLifetimeS !== undefined || spec.preferredLifetimeS !== undefined) {
    attributes.push([IFA_CACHEINFO_TYPE, cacheInfo(spec)])
  }
  if (spec.protocol !== undefined) attributes.push([IFA_PROTO, u8Value(spec.protocol)])
  const header = ifaddrmsg({ ...headerOf(ifindex, spec.prefix), scope: spec.scope ?? SCOPE_GLOBAL })
  header[IFADDRMSG.flags] = flags & FLAGS_BYTE_MAX
  return encodeBody(header, attributes)
}

/** Names an address that shall go. */
export function encodeAddressRemoval(
  ifindex: number,
  prefix: Prefix,
  peer: Address = prefix.address,
): Uint8Array {
  const header = ifaddrmsg({ ...headerOf(ifindex, prefix), scope: SCOPE_GLOBAL })
  return encodeBody(header, [
    [IFA_LOCAL, addressBytes(prefix.address)],
    [IFA_ADDRESS, addressBytes(peer)],
  ])
}

/** Asks for the addresses of one interface, or with index 0 of all; family 0 is both. */
export function encodeAddressQuery(ifindex: number, family: number): Uint8Array {
  return encodeBody(ifaddrmsg({ ifindex, family, prefixLength: 0, scope: 0 }), [])
}

/** Undefined for address families other than IPv4 and IPv6. */
export function parseInterfaceAddress(body: Uint8Array): Parsed<InterfaceAddress | undefined> {
  const attributes = parseBody(body, IFADDRMSG.size)
  if (!attributes.ok) return attributes
  const family = body[IFADDRMSG.family]
  if (family !== AF_INET && family !== AF_INET6) return { ok: true, value: undefined }
  const addressSize = family === AF_INET ? 4 : 16
  // IPv6 sends IFA_LOCAL only when there is a peer; IPv4 sends both always.
  const remote = attributes.value.get(IFA_ADDRESS)
  const local = attributes.value.get(IFA_LOCAL) ?? remote
  if (local?.length !== addressSize || (remote !== undefined && remote.length !== addressSize)) {
    return malformed("attribute of the wrong size")
  }
  const address = addressFromBytes(local)
  const peer = remote === undefined ? address : addressFromBytes(remote)
  const prefix = { address, length: body[IFADDRMSG.prefixLength] ?? 0 }
  const flags = u32Of(attributes.value, IFA_FLAGS) ?? body[IFADDRMSG.flags] ?? 0
  return {
    ok: true,
    value: {
      ifindex: viewOf(body).getUint32(IFADDRMSG.index, LITTLE_ENDIAN),
      prefix,
      peer: peer === address ? undefined : peer,
      scope: body[IFADDRMSG.scope] ?? SCOPE_GLOBAL,
      label: textOf(attributes.value, IFA_LABEL),
      ...lifetimesOf(attributes.value),
      protocol: u8Of(attributes.value, IFA_PROTO) ?? 0,
      secondary: (flags & IFA_F_SECONDARY) !== 0,
      deprecated: (flags & IFA_F_DEPRECATED) !== 0,
      tentative: (flags & IFA_F_TENTATIVE) !== 0,
      dadFailed: (flags & IFA_F_DADFAILED) !== 0,
      permanent: (flags & IFA_F_PERMANENT) !== 0,
      noPrefixRoute: (flags & IFA_F_NOPREFIXROUTE) !== 0,
      noDad: (flags & IFA_F_NODAD) !== 0,
    },
  }
}

function lifetimesOf(attributes: AttributeMap) {
  const value = attributes.get(IFA_CACHEINFO_TYPE)
  if (value === undefined || value.length < IFA_CACHEINFO.size) {
    return {
      validLifetimeS: Number.POSITIVE_INFINITY,
      preferredLifetimeS: Number.POSITIVE_INFINITY,
    }
  }
  const view = viewOf(value)
  const seconds = (offset: number) => {
    const number = view.getUint32(offset, LITTLE_ENDIAN)
    return number === FOREVER_S ? Number.POSITIVE_INFINITY : number
  }
  return {
    validLifetimeS: seconds(IFA_CACHEINFO.valid),
    preferredLifetimeS: seconds(IFA_CACHEINFO.preferred),
  }
}

function cacheInfo({ validLifetimeS, preferredLifetimeS }: AddressSpec): Uint8Array {
  const bytes = new Uint8Array(IFA_CACHEINFO.size)
  const valid = Math.min(validLifetimeS ?? FOREVER_S, FOREVER_S)
  const preferred = Math.min(preferredLifetimeS ?? valid, valid)
  viewOf(bytes).setUint32(IFA_CACHEINFO.preferred, preferred, LITTLE_ENDIAN)
  viewOf(bytes).setUint32(IFA_CACHEINFO.valid, valid, LITTLE_ENDIAN)
  return bytes
}

function flagsOf({ noPrefixRoute, noDad }: AddressSpec): number {
  return (noPrefixRoute === true ? IFA_F_NOPREFIXROUTE : 0) | (noDad === true ? IFA_F_NODAD : 0)
}

interface AddressHeader {
  readonly ifindex: number
  readonly family: number
  readonly prefixLength: number
  readonly scope: number
}

function headerOf(ifindex: number, prefix: Prefix) {
  const family = familyOf(prefix.address) === 4 ? AF_INET : AF_INET6
  return { ifindex, family, prefixLength: prefix.length }
}

function ifaddrmsg({ ifindex, family, prefixLength, scope }: AddressHeader): Uint8Array {
  const header = new Uint8Array(IFADDRMSG.size)
  header[IFADDRMSG.family] = family
  header[IFADDRMSG.prefixLength] = prefixLength
  header[IFADDRMSG.scope] = scope
  viewOf(header).setUint32(IFADDRMSG.index, ifindex, LITTLE_ENDIAN)
  return header
}
