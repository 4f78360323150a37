/**
 * ARP for IPv4 over Ethernet (RFC 826), and the two uses of it that announce or question an
 * address: gratuitous ARP (RFC 5227 §2.3, "ARP Announcement") and the ARP probe (RFC 5227 §2.1.1).
 *
 *     0       2       4   5   6       8             14          18            24          28
 *     +-------+-------+---+---+-------+-------------+-----------+-------------+-----------+
 *     |  HRD  |  PRO  |HLN|PLN|  OP   |     SHA     |    SPA    |     THA     |    TPA    |
 *     +-------+-------+---+---+-------+-------------+-----------+-------------+-----------+
 */
import { type Address, ANY_IPV4, addressBytes, addressFromBytes } from "../net/address.ts"
import { BROADCAST_MAC, type Mac, macBytes, macFromBytes } from "../net/mac.ts"

export const ARP_BYTES = 28
const HARDWARE_ETHERNET = 1
const PROTOCOL_IPV4 = 0x0800
const OPERATION_REQUEST = 1
const OPERATION_REPLY = 2
const ZERO_MAC = "00:00:00:00:00:00" as Mac

export interface Arp {
  readonly operation: "request" | "reply"
  readonly senderMac: Mac
  readonly senderAddress: Address
  readonly targetMac: Mac
  readonly targetAddress: Address
}

export type ArpDropReason = "length" | "hardware-type" | "protocol-type" | "operation"

export type ArpResult =
  | { readonly ok: true; readonly value: Arp }
  | { readonly ok: false; readonly reason: ArpDropReason }

/** Bytes after the 28th are Ethernet padding and ignored. */
export function parseArp(bytes: Uint8Array): ArpResult {
  if (bytes.length < ARP_BYTES) return { ok: false, reason: "length" }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint16(0) !== HARDWARE_ETHERNET) return { ok: false, reason: "hardware-type" }
  if (view.getUint16(2) !== PROTOCOL_IPV4) return { ok: false, reason: "protocol-type" }
  if (view.getUint8(4) !== 6 || view.getUint8(5) !== 4) return { ok: false, reason: "length" }
  const operation = operationOf(view.getUint16(6))
  if (operation === undefined) return { ok: false, reason: "operation" }
  const value = {
    operation,
    senderMac: macFromBytes(bytes.subarray(8, 14)),
    senderAddress: addressFromBytes(bytes.subarray(14, 18)),
    targetMac: macFromBytes(bytes.subarray(18, 24)),
    targetAddress: addressFromBytes(bytes.subarray(24, 28)),
  }
  return { ok: true, value }
}

function operationOf(code: number): Arp["operation"] | undefined {
  if (code === OPERATION_REQUEST) return "request"
  return code === OPERATION_REPLY ? "reply" : undefined
}

export function encodeArp(arp: Arp): Uint8Array {
  const bytes = new Uint8Array(ARP_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint16(0, HARDWARE_ETHERNET)
  view.setUint16(2, PROTOCOL_IPV4)
  view.setUint8(4, 6)
  view.setUint8(5, 4)
  view.setUint16(6, arp.operation === "request" ? OPERATION_REQUEST : OPERATION_REPLY)
  bytes.set(macBytes(arp.senderMac), 8)
  bytes.set(addressBytes(arp.senderAddress), 14)
  bytes.set(macBytes(arp.targetMac), 18)
  bytes.set(addressBytes(arp.targetAddress), 24)
  return bytes
}

/**
 * "This address is at this MAC", to everybody. Some hosts and switches learn only from the request
 * form, others only from the reply form, so the announcer sends both. The target hardware address
 * is broadcast as keepalived sends it: RFC 5227 §2.3 leaves it unused.
 */
export function gratuitousArp(operation: Arp["operation"], mac: Mac, address: Address): Arp {
  return {
    operation,
    senderMac: mac,
    senderAddress: address,
    targetMac: BROADCAST_MAC,
    targetAddress: address,
  }
}

/** RFC 5227 §2.1.1: a question that no cache learns from, because the sender address is zero. */
export function arpProbe(mac: Mac, address: Address): Arp {
  return {
    operation: "request",
    senderMac: mac,
    senderAddress: ANY_IPV4,
    targetMac: ZERO_MAC,
    targetAddress: address,
  }
}
