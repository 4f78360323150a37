/**
 * The IPv4 header (RFC 791 §3.1), as far as VRRP looks at it: a raw socket delivers packets with
 * it, and RFC 9568 §5.1.1 judges its TTL and addresses.
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+-------------------------------+
 *     |Version|  IHL  |Type of Service|          Total Length         |
 *     +-------+-------+---------------+-----+-------------------------+
 *     |         Identification        |Flags|      Fragment Offset    |
 *     +---------------+---------------+-----+-------------------------+
 *     |  Time to Live |    Protocol   |         Header Checksum       |
 *     +---------------+---------------+-------------------------------+
 *     |                         Source Address                        |
 *     +---------------------------------------------------------------+
 *     |                      Destination Address                      |
 *     +---------------------------------------------------------------+
 */
import { type Address, addressBytes, addressFromBytes } from "../net/address.ts"
import { internetChecksum } from "./checksum.ts"

export const IPV4_HEADER_BYTES_MIN = 20
export const IP_PROTOCOL_VRRP = 112

export interface Ipv4Packet {
  readonly source: Address
  readonly destination: Address
  readonly typeOfService: number
  readonly identification: number
  readonly timeToLive: number
  readonly protocol: number
  /** A view of the packet; link-layer padding is cut off. */
  readonly payload: Uint8Array
}

export type Ipv4DropReason = "length" | "version" | "header-checksum"

export type Ipv4Result =
  | { readonly ok: true; readonly value: Ipv4Packet }
  | { readonly ok: false; readonly reason: Ipv4DropReason }

export function parseIpv4(bytes: Uint8Array): Ipv4Result {
  if (bytes.length < IPV4_HEADER_BYTES_MIN) return { ok: false, reason: "length" }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint8(0) >> 4 !== 4) return { ok: false, reason: "version" }
  const headerBytes = (view.getUint8(0) & 0x0f) * 4
  const totalBytes = view.getUint16(2)
  if (headerBytes < IPV4_HEADER_BYTES_MIN || totalBytes < headerBytes || bytes.length < totalBytes)
    return { ok: false, reason: "length" }
  if (internetChecksum(bytes.subarray(0, headerBytes)) !== 0)
    return { ok: false, reason: "header-checksum" }
  const value = {
    source: addressFromBytes(bytes.subarray(12, 16)),
    destination: addressFromBytes(bytes.subarray(16, 20)),
    typeOfService: view.getUint8(1),
    identification: view.getUint16(4),
    timeToLive: view.getUint8(8),
    protocol: view.getUint8(9),
    payload: bytes.subarray(headerBytes, totalBytes),
  }
  return { ok: true, value }
}

/** A packet without options, unfragmented. */
export function encodeIpv4(packet: Ipv4Packet): Uint8Array {
  const bytes = new Uint8Array(IPV4_HEADER_BYTES_MIN + packet.payload.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, 0x45)
  view.setUint8(1, packet.typeOfService)
  view.setUint16(2, bytes.length)
  view.setUint16(4, packet.identification)
  view.setUint8(8, packet.timeToLive)
  view.setUint8(9, packet.protocol)
  bytes.set(addressBytes(packet.source), 12)
  bytes.set(addressBytes(packet.destination), 16)
  view.setUint16(10, internetChecksum(bytes.subarray(0, IPV4_HEADER_BYTES_MIN)))
  bytes.set(packet.payload, IPV4_HEADER_BYTES_MIN)
  return bytes
}
