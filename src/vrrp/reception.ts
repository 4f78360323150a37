/**
 * Whether a packet from the VRRP socket is an advertisement for this virtual router (RFC 9568 §7.1,
 * RFC 3768 §7.1), and if not, why: the reason is the label of a counter.
 *
 * Departures, both keepalived's: an address owner does hear adverts, so that two routers configured
 * as owner end with one Active and not with a fight; and a list of addresses other than ours is
 * reported, not rejected (RFC 9568 §7.1 leaves that to the implementation).
 */
import type { Address } from "../net/address.ts"
import { IP_PROTOCOL_VRRP, type Ipv4DropReason, type Ipv4Packet, parseIpv4 } from "../wire/ipv4.ts"
import {
  ADVERTISED_ADDRESSES_MAX,
  type Advertisement,
  type Authentication,
  type ChecksumForm,
  parseVrrp,
  VRRP_MULTICAST_IPV4,
  VRRP_TIME_TO_LIVE,
  type VrrpDropReason,
} from "../wire/vrrp.ts"
import type { ReceivedAdvertisement } from "./virtual-router.ts"

/** What this router is configured to hear. */
export interface Expectation {
  readonly version: 2 | 3
  readonly virtualRouterId: number
  readonly intervalMs: number
  readonly authentication: Authentication
  readonly addresses: readonly Address[]
  /** Empty: multicast. */
  readonly unicastPeers: readonly Address[]
  /** The address our own adverts come from. */
  readonly primaryAddress: Address | undefined
}

export type ReceptionDropReason =
  | Exclude<Ipv4DropReason, "version">
  | VrrpDropReason
  | "ip-version"
  | "protocol"
  /** Multicast where unicast is configured, or the other way round. */
  | "destination"
  | "ttl"
  | "own-address"
  | "unknown-peer"
  | "vrid"
  | "authentication"
  | "interval"

export type Reception =
  | {
      readonly ok: true
      readonly advertisement: ReceivedAdvertisement
      readonly checksum: ChecksumForm
      /** Whether it lists the addresses we would. */
      readonly sameAddresses: boolean
    }
  | { readonly ok: false; readonly reason: ReceptionDropReason }

/** `datagram` starts with the IPv4 header. */
export function receive(datagram: Uint8Array, expected: Expectation): Reception {
  const ip = parseIpv4(datagram)
  if (!ip.ok) return drop(ip.reason === "version" ? "ip-version" : ip.reason)
  const stray = strayReason(ip.value, expected)
  if (stray !== undefined) return drop(stray)
  const vrrp = parseVrrp(ip.value.payload, ip.value)
  if (!vrrp.ok) return drop(vrrp.reason)
  const mismatch = mismatchReason(vrrp.value, expected)
  if (mismatch !== undefined) return drop(mismatch)
  return {
    ok: true,
    advertisement: {
      type: "advertisement",
      source: ip.value.source,
      priority: vrrp.value.priority,
      intervalMs: intervalMsOf(vrrp.value),
    },
    checksum: vrrp.checksum,
    sameAddresses: sameAddresses(vrrp.value.addresses, expected.addresses),
  }
}

function drop(reason: ReceptionDropReason): Reception {
  return { ok: false, reason }
}

/** The VRID of a datagram, before anything is known to be right with it; to find its router. */
export function peekVirtualRouterId(datagram: Uint8Array): number | undefined {
  const headerBytes = ((datagram[0] ?? 0) & 0x0f) * 4
  return datagram[headerBytes + 1]
}

function strayReason(ip: Ipv4Packet, expected: Expectation): ReceptionDropReason | undefined {
  if (ip.protocol !== IP_PROTOCOL_VRRP) return "protocol"
  const isUnicast = expected.unicastPeers.length > 0
  if ((ip.destination === VRRP_MULTICAST_IPV4) === isUnicast) return "destination"
  // A unicast peer may be some hops away, as with keepalived.
  if (!isUnicast && ip.timeToLive !== VRRP_TIME_TO_LIVE) return "ttl"
  if (ip.source === expected.primaryAddress) return "own-address"
  if (isUnicast && !expected.unicastPeers.includes(ip.source)) return "unknown-peer"
  return undefined
}

function mismatchReason(
  advertisement: Advertisement,
  expected: Expectation,
): ReceptionDropReason | undefined {
  if (advertisement.version !== expected.version) return "version"
  if (advertisement.virtualRouterId !== expected.virtualRouterId) return "vrid"
  if (advertisement.version === 3)
    // Zero would make Active_Down_Interval zero: every Backup Router Active at once.
    return advertisement.maxAdvertiseIntervalCs === 0 ? "interval" : undefined
  if (!sameAuthentication(advertisement.authentication, expected.authentication))
    return "authentication"
  return intervalMsOf(advertisement) === expected.intervalMs ? undefined : "interval"
}

function intervalMsOf(advertisement: Advertisement): number {
  return advertisement.version === 3
    ? advertisement.maxAdvertiseIntervalCs * 10
    : advertisement.advertisementIntervalS * 1000
}

/** Not in constant time: the password travels in the clear (RFC 2338 §10.2). */
function sameAuthentication(left: Authentication, right: Authentication): boolean {
  if (left.type === "none" || right.type === "none") return left.type === right.type
  return left.password === right.password
}

function sameAddresses(received: readonly Address[], own: readonly Address[]): boolean {
  const advertised = new Set(own.slice(0, ADVERTISED_ADDRESSES_MAX))
  return received.length === advertised.size && received.every((address) => advertised.has(address))
}
