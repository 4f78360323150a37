import { expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import { BROADCAST_MAC, type Mac } from "../net/mac.ts"
import { type ArpDropReason, arpProbe, encodeArp, gratuitousArp, parseArp } from "./arp.ts"
import { ETHERTYPE_ARP, encodeEthernet, parseEthernet } from "./ethernet.ts"
import { KEEPALIVED } from "./fixtures/keepalived.ts"

const MAC = "02:00:00:00:00:01" as Mac
const VIP = "192.0.2.40" as Address

test("parseArp() reads keepalived's gratuitous ARP", () => {
  const frame = parseEthernet(Uint8Array.fromHex(KEEPALIVED.gratuitousArp))
  if (!frame.ok) throw new Error(frame.reason)
  expect(frame.value.destination).toBe(BROADCAST_MAC)
  expect(frame.value.source).toBe(MAC)
  expect(frame.value.etherType).toBe(0x0806)
  expect(parseArp(frame.value.payload)).toEqual({
    ok: true,
    value: {
      operation: "request",
      senderMac: MAC,
      senderAddress: VIP,
      targetMac: BROADCAST_MAC,
      targetAddress: VIP,
    },
  })
})

test("RFC5227-2.3: gratuitousArp() in request form is byte for byte keepalived's", () => {
  const frame = encodeEthernet({
    destination: BROADCAST_MAC,
    source: MAC,
    etherType: ETHERTYPE_ARP,
    payload: encodeArp(gratuitousArp("request", MAC, VIP)),
  })
  expect(frame.toHex()).toBe(KEEPALIVED.gratuitousArp)
})

test("gratuitousArp() in reply form differs in the operation alone", () => {
  expect(encodeArp(gratuitousArp("reply", MAC, VIP)).toHex()).toBe(
    "0001080006040002020000000001c0000228ffffffffffffc0000228",
  )
})

test("RFC5227-2.1.1: arpProbe() has sender address and target MAC zero", () => {
  expect(encodeArp(arpProbe(MAC, VIP)).toHex()).toBe(
    "000108000604000102000000000100000000000000000000c0000228",
  )
})

const REJECTED: readonly [hex: string, reason: ArpDropReason, why: string][] = [
  ["0001080006040001020000000001c0000228ffffffffffffc00002", "length", "27 bytes"],
  [
    "0006080006040001020000000001c0000228ffffffffffffc0000228",
    "hardware-type",
    "IEEE 802 hardware",
  ],
  ["000186dd06040001020000000001c0000228ffffffffffffc0000228", "protocol-type", "IPv6"],
  ["0001080008040001020000000001c0000228ffffffffffffc0000228", "length", "8-byte hardware address"],
  [
    "0001080006100001020000000001c0000228ffffffffffffc0000228",
    "length",
    "16-byte protocol address",
  ],
  ["0001080006040003020000000001c0000228ffffffffffffc0000228", "operation", "RARP request"],
]

for (const [hex, reason, why] of REJECTED) {
  test(`parseArp() answers ${reason} when ${why}`, () => {
    expect(parseArp(Uint8Array.fromHex(hex))).toEqual({ ok: false, reason })
  })
}

test("parseArp() ignores Ethernet padding", () => {
  const padded = new Uint8Array(46).fill(0xa5)
  padded.set(encodeArp(arpProbe(MAC, VIP)))
  expect(parseArp(padded)).toEqual({ ok: true, value: arpProbe(MAC, VIP) })
})

test("parseArp() and parseEthernet() never throw", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      expect(typeof parseArp(bytes).ok).toBe("boolean")
      expect(parseEthernet(bytes).ok).toBe(bytes.length >= 14)
    }),
  )
})
