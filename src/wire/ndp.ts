/**
 * Neighbour Solicitation and Advertisement (RFC 4861 §4.3, §4.4) as whole IPv6 packets, and the
 * uses of them that answer for an address, announce it or question it: what ARP is to IPv4.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------+---------------+-------------------------------+
 *     |   Type 135/6  |     Code 0    |            Checksum           |
 *     +-+-+-+---------+---------------+-------------------------------+
 *     |R|S|O|                       Reserved                          |
 *     +-+-+-+---------------------------------------------------------+
 *     |                  Target Address (16 bytes)                    |
 *     +---------------+---------------+-------------------------------+
 *     |  Option type  | Length (of 8) |     Link-Layer Address ...    |
 *     +---------------+---------------+-------------------------------+
 */
import { type Address, ANY_IPV6, addressBytes, addressFromBytes } from "../net/address.ts"
import { type Mac, macBytes, macFromBytes } from "../net/mac.ts"
import { internetChecksum } from "./checksum.ts"

export const ALL_NODES_IPV6 = "ff02::1" as Address

export const IPV6_HEADER_BYTES = 40
export const IP_PROTOCOL_ICMPV6 = 58
export const ICMPV6_NEIGHBOR_SOLICITATION = 135
export const ICMPV6_NEIGHBOR_ADVERTISEMENT = 136
const MESSAGE_BYTES_MIN = 24
const OPTION_SOURCE_LINK_LAYER = 1
const OPTION_TARGET_LINK_LAYER = 2
const OPTION_BYTES = 8
const FLAG_SOLICITED = 0x40
const FLAG_OVERRIDE = 0x20
/** RFC 4861 §7.1: a packet that a router has forwarded cannot have it. */
const HOP_LIMIT = 255
/** Version 6, traffic class and flow label 0. */
const VERSION_WORD = 0x60000000

export interface NeighborSolicitation {
  readonly type: "solicitation"
  readonly source: Address
  readonly destination: Address
  readonly target: Address
  /** Of the sender; undefined when it left it out, as it must when its source is `::`. */
  readonly mac: Mac | undefined
}

export interface NeighborAdvertisement {
  readonly type: "advertisement"
  readonly source: Address
  readonly destination: Address
  readonly target: Address
  /** Of the target. */
  readonly mac: Mac | undefined
  readonly isSolicited: boolean
  /** Replaces what a neighbour cache holds (RFC 4861 §7.2.5). */
  readonly isOverriding: boolean
}

export type NeighborMessage = NeighborSolicitation | NeighborAdvertisement

export type NdpDropReason =
  | "length"
  | "version"
  | "next-header"
  | "hop-limit"
  | "checksum"
  | "type"
  | "code"
  | "target"
  | "option"
  | "source"

export type NdpResult =
  | { readonly ok: true; readonly value: NeighborMessage }
  | { readonly ok: false; readonly reason: NdpDropReason }

/** RFC 4861 §7.1.1, §7.1.2. Bytes after the packet's own length are Ethernet padding. */
export function parseNdp(packet: Uint8Array): NdpResult {
  if (packet.length < IPV6_HEADER_BYTES) return drop("length")
  const header = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
  if (header.getUint8(0) >> 4 !== 6) return drop("version")
  if (header.getUint8(6) !== IP_PROTOCOL_ICMPV6) return drop("next-header")
  if (header.getUint8(7) !== HOP_LIMIT) return drop("hop-limit")
  const payloadBytes = header.getUint16(4)
  const message = packet.subarray(IPV6_HEADER_BYTES, IPV6_HEADER_BYTES + payloadBytes)
  if (message.length < payloadBytes || payloadBytes < MESSAGE_BYTES_MIN) return drop("length")
  const [sourceBytes, destinationBytes] = [packet.subarray(8, 24), packet.subarray(24, 40)]
  const pseudoHeader = pseudoHeaderOf(sourceBytes, destinationBytes, payloadBytes)
  if (internetChecksum(pseudoHeader, message) !== 0) return drop("checksum")
  if (message[1] !== 0) return drop("code")
  if (message[8] === MULTICAST_BYTE) return drop("target")
  return parseMessage(message, {
    source: addressFromBytes(sourceBytes),
    destination: addressFromBytes(destinationBytes),
    target: addressFromBytes(message.subarray(8, 24)),
  })
}

type Addresses = Pick<NeighborMessage, "source" | "destination" | "target">

function parseMessage(message: Uint8Array, addresses: Addresses): NdpResult {
  const options = parseOptions(message.subarray(MESSAGE_BYTES_MIN))
  if (options === undefined) return drop("option")
  switch (message[0]) {
    case ICMPV6_NEIGHBOR_SOLICITATION: {
      const mac = options.get(OPTION_SOURCE_LINK_LAYER)
      if (addresses.source === ANY_IPV6 && (mac !== undefined || !isGroupOfTarget(addresses)))
        return drop("source")
      return { ok: true, value: { type: "solicitation", ...addresses, mac } }
    }
    case ICMPV6_NEIGHBOR_ADVERTISEMENT: {
      const flags = message[4] ?? 0
      const value = {
        type: "advertisement",
        ...addresses,
        mac: options.get(OPTION_TARGET_LINK_LAYER),
        isSolicited: (flags & FLAG_SOLICITED) !== 0,
        isOverriding: (flags & FLAG_OVERRIDE) !== 0,
      } as const
      return { ok: true, value }
    }
    default:
      return drop("type")
  }
}

function isGroupOfTarget({ destination, target }: Addresses): boolean {
  return destination === solicitedNodeGroup(target)
}

/** Link-layer addresses by type; undefined when an option is malformed. */
function parseOptions(bytes: Uint8Array): Map<number, Mac> | undefined {
  const macs = new Map<number, Mac>()
  for (let start = 0; start < bytes.length; ) {
    const length = (bytes[start + 1] ?? 0) * 8
    if (length === 0 || start + length > bytes.length) return undefined
    const type = bytes[start] ?? 0
    if (length === OPTION_BYTES && type <= OPTION_TARGET_LINK_LAYER)
      macs.set(type, macFromBytes(bytes.subarray(start + 2, start + 8)))
    start += length
  }
  return macs
}

/** The whole packet. */
export function encodeNdp(message: NeighborMessage): Uint8Array {
  const [source, destination] = [addressBytes(message.source), addressBytes(message.destination)]
  const body = encodeMessage(message)
  const packet = new Uint8Array(IPV6_HEADER_BYTES + body.length)
  const view = new DataView(packet.buffer)
  view.setUint32(0, VERSION_WORD)
  view.setUint16(4, body.length)
  view.setUint8(6, IP_PROTOCOL_ICMPV6)
  view.setUint8(7, HOP_LIMIT)
  packet.set(source, 8)
  packet.set(destination, 24)
  packet.set(body, IPV6_HEADER_BYTES)
  const checksum = internetChecksum(pseudoHeaderOf(source, destination, body.length), body)
  view.setUint16(IPV6_HEADER_BYTES + 2, checksum)
  return packet
}

/** With a checksum of 0. */
function encodeMessage(message: NeighborMessage): Uint8Array {
  const option = message.mac === undefined ? new Uint8Array(0) : encodeMac(message)
  const bytes = new Uint8Array(MESSAGE_BYTES_MIN + option.length)
  const isSolicitation = message.type === "solicitation"
  bytes[0] = isSolicitation ? ICMPV6_NEIGHBOR_SOLICITATION : ICMPV6_NEIGHBOR_ADVERTISEMENT
  bytes[4] = isSolicitation ? 0 : flagsOf(message)
  bytes.set(addressBytes(message.target), 8)
  bytes.set(option, MESSAGE_BYTES_MIN)
  return bytes
}

function flagsOf({ isSolicited, isOverriding }: NeighborAdvertisement): number {
  return (isSolicited ? FLAG_SOLICITED : 0) | (isOverriding ? FLAG_OVERRIDE : 0)
}

function encodeMac({ type, mac }: NeighborMessage): Uint8Array {
  const option = type === "solicitation" ? OPTION_SOURCE_LINK_LAYER : OPTION_TARGET_LINK_LAYER
  return Uint8Array.of(option, 1, ...(mac === undefined ? [] : macBytes(mac)))
}

/** RFC 8200 §8.1. */
function pseudoHeaderOf(source: Uint8Array, destination: Uint8Array, length: number): Uint8Array {
  const bytes = new Uint8Array(40)
  bytes.set(source, 0)
  bytes.set(destination, 16)
  new DataView(bytes.buffer).setUint32(32, length)
  bytes[39] = IP_PROTOCOL_ICMPV6
  return bytes
}

/** "This address is at this MAC", to everybody, whatever they believed (RFC 4861 §7.2.6). */
export function unsolicitedAdvertisement(mac: Mac, address: Address): NeighborAdvertisement {
  const addresses = { source: address, destination: ALL_NODES_IPV6, target: address }
  return { type: "advertisement", ...addresses, mac, isSolicited: false, isOverriding: true }
}

/** RFC 4861 §7.2.4. Who asks without an address (for a duplicate) is told with all others. */
export function answerTo(asked: NeighborSolicitation, mac: Mac): NeighborAdvertisement {
  const isKnown = asked.source !== ANY_IPV6
  return {
    type: "advertisement",
    source: asked.target,
    destination: isKnown ? asked.source : ALL_NODES_IPV6,
    target: asked.target,
    mac,
    isSolicited: isKnown,
    isOverriding: true,
  }
}

/** RFC 4862 §5.4.2: a question that no cache learns from, because the source is `::`. */
export function duplicateQuestion(address: Address): NeighborSolicitation {
  const destination = solicitedNodeGroup(address)
  return { type: "solicitation", source: ANY_IPV6, destination, target: address, mac: undefined }
}

/** RFC 4291 §2.7.1: where those who look for the address ask. */
export function solicitedNodeGroup(address: Address): Address {
  const bytes = Uint8Array.of(0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0)
  bytes.set(addressBytes(address).subarray(13), 13)
  return addressFromBytes(bytes)
}

/** RFC 2464 §7. */
export function multicastMac(group: Address): Mac {
  return macFromBytes(Uint8Array.of(0x33, 0x33, ...addressBytes(group).subarray(12)))
}

function drop(reason: NdpDropReason): NdpResult {
  return { ok: false, reason }
}

const MULTICAST_BYTE = 0xff
