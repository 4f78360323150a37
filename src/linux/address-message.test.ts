import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address, Prefix } from "../net/address.ts"
import {
  type AddressSpec,
  encodeAddress,
  encodeAddressQuery,
  encodeAddressRemoval,
  parseInterfaceAddress,
  SCOPE_LINK,
} from "./address-message.ts"
import { GOLDEN } from "./fixtures/netlink.ts"

const NLMSGHDR_HEX = 32
const bodyHex = (message: string) => message.slice(NLMSGHDR_HEX)
const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const prefix = (address: string, length: number): Prefix => ({
  address: address as Address,
  length,
})

describe("encodeAddress()", () => {
  test("writes what `ip address add` writes for a leased virtual address", () => {
    const spec: AddressSpec = {
      prefix: prefix("192.0.2.40", 32),
      scope: SCOPE_LINK,
      label: "eth9:vip",
      validLifetimeS: 3,
      noPrefixRoute: true,
    }
    expect(hexOf(encodeAddress(9, spec))).toBe(bodyHex(GOLDEN.addressAdd))
  })

  test("writes what `ip address replace` writes for an IPv6 address that is never a source", () => {
    const spec: AddressSpec = {
      prefix: prefix("2001:db8::40", 128),
      validLifetimeS: 3,
      preferredLifetimeS: 0,
      noDad: true,
    }
    expect(hexOf(encodeAddress(9, spec))).toBe(bodyHex(GOLDEN.addressReplaceIpv6))
  })

  test("adds broadcast and mark when they are given, and no lifetime when none is", () => {
    const spec: AddressSpec = {
      prefix: prefix("192.0.2.40", 24),
      broadcast: "192.0.2.255" as Address,
      protocol: 0xc0,
    }
    expect(hexOf(encodeAddress(9, spec))).toBe(
      "0218000009000000" +
        "08000200c0000228" +
        "08000100c0000228" +
        "08000400c00002ff" +
        "05000b00c0000000",
    )
  })

  test("never lets the preferred lifetime exceed the valid one, which the kernel refuses", () => {
    const spec = { prefix: prefix("192.0.2.40", 32), validLifetimeS: 3, preferredLifetimeS: 9 }
    expect(hexOf(encodeAddress(9, spec)).slice(-40)).toBe(
      "1400060003000000030000000000000000000000",
    )
  })

  test("writes the kernel's for-ever when a lifetime is infinite", () => {
    const spec = { prefix: prefix("192.0.2.40", 32), validLifetimeS: Number.POSITIVE_INFINITY }
    expect(hexOf(encodeAddress(9, spec)).slice(-40)).toBe(
      "14000600ffffffffffffffff0000000000000000",
    )
  })
})

describe("encodeAddressRemoval()", () => {
  test("writes what `ip address del` writes", () => {
    const body = encodeAddressRemoval(9, prefix("192.0.2.40", 32))
    expect(hexOf(body)).toBe(bodyHex(GOLDEN.addressDelete))
  })
})

describe("encodeAddressQuery()", () => {
  test("names interface and family and nothing else", () => {
    expect(hexOf(encodeAddressQuery(9, 2))).toBe("0200000009000000")
  })
})

describe("parseInterfaceAddress()", () => {
  test("reads a leased virtual address", () => {
    expect(parseInterfaceAddress(bytesOf(bodyHex(GOLDEN.addressShow)))).toEqual({
      ok: true,
      value: {
        ifindex: 9,
        prefix: prefix("192.0.2.40", 32),
        peer: undefined,
        scope: 253,
        label: "eth9:vip",
        validLifetimeS: 3,
        preferredLifetimeS: 3,
        protocol: 0,
        secondary: false,
        deprecated: false,
        tentative: false,
        dadFailed: false,
        permanent: false,
        noPrefixRoute: true,
        noDad: false,
      },
    })
  })

  test("reads a deprecated IPv6 address", () => {
    expect(parseInterfaceAddress(bytesOf(bodyHex(GOLDEN.addressShowIpv6)))).toEqual({
      ok: true,
      value: {
        ifindex: 9,
        prefix: prefix("2001:db8::40", 128),
        peer: undefined,
        scope: 0,
        label: undefined,
        validLifetimeS: 3,
        preferredLifetimeS: 0,
        protocol: 0,
        secondary: false,
        deprecated: true,
        tentative: false,
        dadFailed: false,
        permanent: false,
        noPrefixRoute: false,
        noDad: true,
      },
    })
  })

  test("tells the peer of a point-to-point address from the address", () => {
    const header = "0220800009000000"
    const parsed = parseInterfaceAddress(bytesOf(`${header}08000100c000020208000200c0000201`))
    expect(parsed).toMatchObject({
      ok: true,
      value: { prefix: prefix("192.0.2.1", 32), peer: "192.0.2.2", permanent: true },
    })
  })

  test("takes lifetimes for infinite when the kernel says so or says nothing", () => {
    const local = "0220800009000000" + "08000200c0000201"
    const forever = `${local}14000600ffffffffffffffff0000000000000000`
    const infinite = { validLifetimeS: Number.POSITIVE_INFINITY }
    expect(parseInterfaceAddress(bytesOf(local))).toMatchObject({ ok: true, value: infinite })
    expect(parseInterfaceAddress(bytesOf(forever))).toMatchObject({ ok: true, value: infinite })
  })

  test("is undefined for other address families", () => {
    expect(parseInterfaceAddress(bytesOf("1c20800009000000"))).toEqual({
      ok: true,
      value: undefined,
    })
  })

  const rejects = [
    ["0220800009000000", "attribute of the wrong size"],
    ["02208000090000000500010001000000", "attribute of the wrong size"],
    ["0a80800009000000" + "08000100c0000201", "attribute of the wrong size"],
    ["022080000900", "family header cut short"],
    ["022080000900000009000100c0000201", "attribute longer than its message"],
  ] as const
  test.each(rejects)("rejects %s when it is malformed: %s", (hex, reason) => {
    expect(parseInterfaceAddress(bytesOf(hex))).toEqual({ ok: false, reason })
  })

  test("never throws, whatever the bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (body) => void parseInterfaceAddress(body)),
    )
    const whole = bytesOf(bodyHex(GOLDEN.addressShow))
    for (let length = 0; length < whole.length; length++) {
      parseInterfaceAddress(whole.subarray(0, length))
    }
  })
})
