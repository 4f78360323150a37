/**
 * Ethernet II frames as a packet socket delivers them: no preamble, no frame check sequence, VLAN
 * tags already stripped by the kernel.
 *
 *      0                   6                   12      14
 *     +-------------------+-------------------+-------+---------
 *     |    destination    |      source       | type  | payload
 *     +-------------------+-------------------+-------+---------
 */
import { type Mac, macBytes, macFromBytes } from "../net/mac.ts"

export const ETHERTYPE_IPV4 = 0x0800
export const ETHERTYPE_ARP = 0x0806
export const ETHERTYPE_IPV6 = 0x86dd
export const ETHERNET_HEADER_BYTES = 14

export interface EthernetFrame {
  readonly destination: Mac
  readonly source: Mac
  readonly etherType: number
  /** A view of the frame; short frames may be padded to 60 bytes. */
  readonly payload: Uint8Array
}

export type EthernetResult =
  | { readonly ok: true; readonly value: EthernetFrame }
  | { readonly ok: false; readonly reason: "length" }

export function parseEthernet(frame: Uint8Array): EthernetResult {
  if (frame.length < ETHERNET_HEADER_BYTES) return { ok: false, reason: "length" }
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength)
  const value = {
    destination: macFromBytes(frame.subarray(0, 6)),
    source: macFromBytes(frame.subarray(6, 12)),
    etherType: view.getUint16(12),
    payload: frame.subarray(ETHERNET_HEADER_BYTES),
  }
  return { ok: true, value }
}

export function encodeEthernet(frame: EthernetFrame): Uint8Array {
  const bytes = new Uint8Array(ETHERNET_HEADER_BYTES + frame.payload.length)
  bytes.set(macBytes(frame.destination), 0)
  bytes.set(macBytes(frame.source), 6)
  new DataView(bytes.buffer).setUint16(12, frame.etherType)
  bytes.set(frame.payload, ETHERNET_HEADER_BYTES)
  return bytes
}
