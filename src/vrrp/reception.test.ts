import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import { KEEPALIVED } from "../wire/fixtures/keepalived.ts"
import { encodeIpv4, type Ipv4Packet } from "../wire/ipv4.ts"
import { encodeVrrp } from "../wire/vrrp.ts"
import {
  type Expectation,
  peekVirtualRouterId,
  type ReceptionDropReason,
  receive,
} from "./reception.ts"

const EXPECTED: Expectation = {
  version: 3,
  virtualRouterId: 51,
  intervalMs: 1000,
  authentication: { type: "none" },
  addresses: ["192.0.2.40" as Address],
  unicastPeers: [],
  primaryAddress: "192.0.2.2" as Address,
}
const V2: Expectation = { ...EXPECTED, version: 2 }
const UNICAST: Expectation = { ...EXPECTED, unicastPeers: ["192.0.2.1" as Address] }
const PASS: Expectation = {
  ...V2,
  intervalMs: 3000,
  authentication: { type: "pass", password: "42" },
  addresses: ["192.0.2.41" as Address, "192.0.2.40" as Address],
}

/** A captured frame without its Ethernet header. */
function captured(name: keyof typeof KEEPALIVED): Uint8Array {
  return Uint8Array.fromHex(KEEPALIVED[name].slice(28))
}

/** keepalived's version 3 golden with parts of the IPv4 header or the payload changed. */
function altered(change: Partial<Ipv4Packet>): Uint8Array {
  return encodeIpv4({
    source: "192.0.2.1" as Address,
    destination: "224.0.0.18" as Address,
    typeOfService: 0xc0,
    identification: 1,
    timeToLive: 255,
    protocol: 112,
    payload: captured("v3").subarray(20),
    ...change,
  })
}

describe("receive() accepts from keepalived", () => {
  const advertisement = {
    type: "advertisement",
    source: "192.0.2.1" as Address,
    priority: 100,
    intervalMs: 1000,
  } as const

  test("version 3", () => {
    expect(receive(captured("v3"), EXPECTED)).toEqual({
      ok: true,
      advertisement,
      checksum: "pseudo-header",
      sameAddresses: true,
    })
  })

  test("version 3 with another interval, which is learnt", () => {
    const result = receive(captured("v3Fast"), EXPECTED)
    expect(result.ok && result.advertisement.intervalMs).toBe(100)
  })

  test("version 3 with other addresses, which is reported", () => {
    const result = receive(captured("v3Fast"), EXPECTED)
    expect(result.ok && result.sameAddresses).toBe(false)
  })

  test("version 3 over unicast", () => {
    expect(receive(captured("v3Unicast"), UNICAST)).toMatchObject({ ok: true, advertisement })
  })

  test("version 2", () => {
    expect(receive(captured("v2"), V2)).toEqual({
      ok: true,
      advertisement,
      checksum: "message",
      sameAddresses: true,
    })
  })

  test("version 2 with a password, addresses in another order", () => {
    const result = receive(captured("v2Pass"), PASS)
    expect(result.ok && result.sameAddresses).toBe(true)
    expect(result.ok && result.advertisement.priority).toBe(213)
  })

  test("priority 0 of a router that stops", () => {
    const result = receive(captured("v3Stop"), EXPECTED)
    expect(result.ok && result.advertisement.priority).toBe(0)
  })
})

describe("receive() drops", () => {
  const zeroInterval = encodeVrrp(
    { version: 3, virtualRouterId: 51, priority: 1, maxAdvertiseIntervalCs: 0, addresses: [] },
    {
      source: "192.0.2.1" as Address,
      destination: "224.0.0.18" as Address,
      checksum: "message",
    },
  )
  const badChecksum = captured("v3").slice(20)
  badChecksum[2] = 255

  const table: readonly [ReceptionDropReason, string, Uint8Array, Expectation][] = [
    ["length", "half an IP header", captured("v3").subarray(0, 10), EXPECTED],
    ["length", "no payload", altered({ payload: new Uint8Array() }), EXPECTED],
    ["ip-version", "IPv6", Uint8Array.from({ length: 40 }, () => 0x60), EXPECTED],
    [
      "header-checksum",
      "a changed TTL",
      Uint8Array.from(captured("v3"), (byte, at) => (at === 8 ? 254 : byte)),
      EXPECTED,
    ],
    ["protocol", "another protocol", altered({ protocol: 2 }), EXPECTED],
    ["ttl", "RFC9568-5.1.1.3: a TTL of 254", altered({ timeToLive: 254 }), EXPECTED],
    ["destination", "unicast where multicast is configured", captured("v3Unicast"), EXPECTED],
    ["destination", "multicast where unicast is configured", captured("v3"), UNICAST],
    [
      "unknown-peer",
      "a unicast sender that is no peer",
      captured("v3Unicast"),
      { ...UNICAST, unicastPeers: ["192.0.2.9" as Address] },
    ],
    [
      "own-address",
      "our own address",
      captured("v3"),
      { ...EXPECTED, primaryAddress: "192.0.2.1" as Address },
    ],
    ["checksum", "a priority changed on the way", altered({ payload: badChecksum }), EXPECTED],
    ["version", "version 2 where 3 is configured", captured("v2"), EXPECTED],
    ["version", "version 3 where 2 is configured", captured("v3"), V2],
    ["vrid", "another VRID", captured("v3"), { ...EXPECTED, virtualRouterId: 52 }],
    ["interval", "version 3 with interval 0", altered({ payload: zeroInterval }), EXPECTED],
    ["interval", "RFC3768-7.1: another interval", captured("v2"), { ...V2, intervalMs: 2000 }],
    ["authentication", "no password where one is configured", captured("v2Pass"), V2],
    [
      "authentication",
      "RFC2338-5.3.6: another password",
      captured("v2Pass"),
      { ...PASS, authentication: { type: "pass", password: "43" } },
    ],
  ]

  for (const [reason, why, datagram, expected] of table)
    test(`${reason}: ${why}`, () => {
      expect(receive(datagram, expected)).toEqual({ ok: false, reason })
    })
})

test("receive() compares only the 255 addresses an advert can list", () => {
  const addresses = Array.from(
    { length: 300 },
    (_, at) => `198.18.${at >> 8}.${at & 255}` as Address,
  )
  const options = {
    source: "192.0.2.1" as Address,
    destination: "224.0.0.18" as Address,
    checksum: "message",
  } as const
  const payload = encodeVrrp(
    { version: 3, virtualRouterId: 51, priority: 1, maxAdvertiseIntervalCs: 100, addresses },
    options,
  )
  const result = receive(altered({ payload }), { ...EXPECTED, addresses })
  expect(result.ok && result.sameAddresses).toBe(true)
})

test("peekVirtualRouterId() finds it behind the IP header", () => {
  expect(peekVirtualRouterId(captured("v3"))).toBe(51)
  expect(peekVirtualRouterId(captured("v3").subarray(0, 21))).toBeUndefined()
  expect(peekVirtualRouterId(new Uint8Array())).toBeUndefined()
})

test("receive() never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(receive(bytes, EXPECTED).ok).toBe(false)
    }),
  )
})
