import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import { parseEthernet } from "./ethernet.ts"
import { KEEPALIVED } from "./fixtures/keepalived.ts"
import { encodeIpv4, parseIpv4 } from "./ipv4.ts"
import {
  type Advertisement,
  encodeVrrp,
  parseVrrp,
  VRRP_MULTICAST_IPV4,
  type VrrpDropReason,
} from "./vrrp.ts"

const SOURCE = "192.0.2.1" as Address
const MULTICAST = { source: SOURCE, destination: VRRP_MULTICAST_IPV4 }

const GOLDENS: readonly {
  readonly name: keyof typeof KEEPALIVED
  readonly destination: Address
  readonly checksum: "message" | "pseudo-header"
  readonly identification: number
  readonly value: Advertisement
}[] = [
  {
    name: "v2",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "message",
    identification: 1,
    value: {
      version: 2,
      virtualRouterId: 51,
      priority: 100,
      advertisementIntervalS: 1,
      addresses: ["192.0.2.40" as Address],
      authentication: { type: "none" },
    },
  },
  {
    name: "v2Pass",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "message",
    identification: 1,
    value: {
      version: 2,
      virtualRouterId: 51,
      priority: 213,
      advertisementIntervalS: 3,
      addresses: ["192.0.2.40" as Address, "192.0.2.41" as Address],
      authentication: { type: "pass", password: "42" },
    },
  },
  {
    name: "v2Stop",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "message",
    identification: 2,
    value: {
      version: 2,
      virtualRouterId: 51,
      priority: 0,
      advertisementIntervalS: 1,
      addresses: ["192.0.2.40" as Address],
      authentication: { type: "none" },
    },
  },
  {
    name: "v3",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "pseudo-header",
    identification: 1,
    value: {
      version: 3,
      virtualRouterId: 51,
      priority: 100,
      maxAdvertiseIntervalCs: 100,
      addresses: ["192.0.2.40" as Address],
    },
  },
  {
    name: "v3Fast",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "pseudo-header",
    identification: 1,
    value: {
      version: 3,
      virtualRouterId: 51,
      priority: 100,
      maxAdvertiseIntervalCs: 10,
      addresses: ["192.0.2.40" as Address, "192.0.2.41" as Address, "198.51.100.7" as Address],
    },
  },
  {
    name: "v3Unicast",
    destination: "192.0.2.2" as Address,
    checksum: "pseudo-header",
    identification: 1,
    value: {
      version: 3,
      virtualRouterId: 51,
      priority: 100,
      maxAdvertiseIntervalCs: 100,
      addresses: ["192.0.2.40" as Address],
    },
  },
  {
    name: "v3Stop",
    destination: VRRP_MULTICAST_IPV4,
    checksum: "pseudo-header",
    identification: 2,
    value: {
      version: 3,
      virtualRouterId: 51,
      priority: 0,
      maxAdvertiseIntervalCs: 100,
      addresses: ["192.0.2.40" as Address],
    },
  },
]

describe("keepalived's own adverts", () => {
  for (const golden of GOLDENS) {
    const frame = fromHex(KEEPALIVED[golden.name])

    test(`parseVrrp() reads ${golden.name}`, () => {
      const ethernet = parseEthernet(frame)
      const ip = parseIpv4(ethernet.ok ? ethernet.value.payload : new Uint8Array())
      if (!ip.ok) throw new Error(ip.reason)
      expect(ip.value.source).toBe(SOURCE)
      expect(ip.value.destination).toBe(golden.destination)
      expect(ip.value.timeToLive).toBe(255)
      expect(ip.value.protocol).toBe(112)
      expect(parseVrrp(ip.value.payload, ip.value)).toEqual({
        ok: true,
        value: golden.value,
        checksum: golden.checksum,
      })
    })

    test(`encodeVrrp() and encodeIpv4() write ${golden.name}`, () => {
      const envelope = { source: SOURCE, destination: golden.destination }
      const packet = encodeIpv4({
        ...envelope,
        typeOfService: 0xc0,
        identification: golden.identification,
        timeToLive: 255,
        protocol: 112,
        payload: encodeVrrp(golden.value, { ...envelope, checksum: golden.checksum }),
      })
      expect(packet.toHex()).toBe(KEEPALIVED[golden.name].slice(28))
    })
  }
})

// Worked out by hand: 3133 + 6401 + 0064 + c000 + 0228 = 157c0, folded 57c1, complement a83e.
const MESSAGE_ONLY = "3133640100 64a83e c0000228"
const V3: Advertisement = {
  version: 3,
  virtualRouterId: 51,
  priority: 100,
  maxAdvertiseIntervalCs: 100,
  addresses: ["192.0.2.40" as Address],
}

test("RFC9568-5.2.8: a checksum over the message alone is accepted and named", () => {
  expect(parseVrrp(fromHex(MESSAGE_ONLY), MULTICAST)).toEqual({
    ok: true,
    value: V3,
    checksum: "message",
  })
})

test("RFC9568-5.2.8: encodeVrrp() covers the message alone when told so", () => {
  expect(encodeVrrp(V3, { ...MULTICAST, checksum: "message" }).toHex()).toBe(
    MESSAGE_ONLY.replaceAll(" ", ""),
  )
})

test("RFC9568-5.2.6: the reserved bits are ignored on reception", () => {
  // f064 instead of 0064: the sum grows by f000 to 247c0, folded 47c2, complement b83d.
  const result = parseVrrp(fromHex("31336401f064b83dc0000228"), MULTICAST)
  expect(result).toEqual({ ok: true, value: V3, checksum: "message" })
})

const REJECTED: readonly [hex: string, reason: VrrpDropReason, why: string][] = [
  ["", "length", "nothing"],
  ["31336401006405", "length", "one byte less than a header"],
  ["31336401006405aec00002", "length", "the address is cut short"],
  ["31336401006405aec000022800", "length", "one byte too many"],
  ["31336402006405aec0000228", "length", "two addresses counted, one there"],
  ["213364010001b8a1c000022800000000", "length", "version 2 without half its authentication data"],
  ["11336401006405aec0000228", "version", "version 1"],
  ["41336401006405aec0000228", "version", "version 4"],
  ["32336401006405aec0000228", "type", "type 2"],
  ["31336401006405afc0000228", "checksum", "last checksum bit"],
  ["31336501006405aec0000228", "checksum", "priority changed on the way"],
  ["213364010001b8a2c00002280000000000000000", "checksum", "version 2, last checksum bit"],
  // keepalived's v2 golden with Auth Type 2 (AH): b8a1 - 0200 = b6a1.
  ["213364010201b6a1c00002280000000000000000", "authentication-type", "RFC 2338 AH"],
]

for (const [hex, reason, why] of REJECTED) {
  test(`parseVrrp() answers ${reason} when ${why}`, () => {
    expect(parseVrrp(fromHex(hex), MULTICAST)).toEqual({ ok: false, reason })
  })
}

test("encodeVrrp() lists 255 addresses when there are 256", () => {
  const addresses = Array.from({ length: 256 }, (_, index) => `198.18.0.${index}` as Address)
  const message = encodeVrrp({ ...V3, addresses }, { ...MULTICAST, checksum: "message" })
  expect(message.length).toBe(8 + 255 * 4)
  expect(message[3]).toBe(255)
})

test("encodeVrrp() sends the first 8 bytes of a password of 9", () => {
  const authentication = { type: "pass", password: "123456789" } as const
  const v2: Advertisement = { ...GOLDENS[0]?.value, authentication } as Advertisement
  const message = encodeVrrp(v2, { ...MULTICAST, checksum: "message" })
  expect(message.subarray(12).toHex()).toBe("3132333435363738")
})

test("parseVrrp() never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const padded = new Uint8Array(bytes.length + 8).fill(0xa5)
      padded.set(bytes, 4)
      const result = parseVrrp(padded.subarray(4, 4 + bytes.length), MULTICAST)
      expect(typeof result.ok).toBe("boolean")
    }),
  )
})

test("parseVrrp() reads back what encodeVrrp() wrote", () => {
  const v3 = fc.record({
    version: fc.constant(3 as const),
    virtualRouterId: fc.integer({ min: 1, max: 255 }),
    priority: fc.integer({ min: 0, max: 255 }),
    maxAdvertiseIntervalCs: fc.integer({ min: 1, max: 4095 }),
    addresses: fc.array(
      fc.ipV4().map((text) => text as Address),
      { maxLength: 255 },
    ),
  })
  fc.assert(
    fc.property(
      v3,
      fc.constantFrom("message" as const, "pseudo-header" as const),
      (value, form) => {
        const message = encodeVrrp(value, { ...MULTICAST, checksum: form })
        const result = parseVrrp(message, MULTICAST)
        expect(result.ok && result.value).toEqual(value)
      },
    ),
  )
})

function fromHex(hex: string): Uint8Array {
  return Uint8Array.fromHex(hex.replaceAll(" ", ""))
}
