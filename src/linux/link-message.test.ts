import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { GOLDEN } from "./fixtures/netlink.ts"
import {
  encodeLinkByIndex,
  encodeLinkByName,
  encodeLinkChange,
  type Link,
  parseLink,
} from "./link-message.ts"

const NLMSGHDR_HEX = 32
const bodyHex = (message: string) => message.slice(NLMSGHDR_HEX)
const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

describe("encodeLinkChange()", () => {
  test("writes what `ip link set` writes", () => {
    expect(hexOf(encodeLinkChange(9, { up: true }))).toBe(bodyHex(GOLDEN.linkUp))
    expect(hexOf(encodeLinkChange(9, { up: false }))).toBe(bodyHex(GOLDEN.linkDown))
    expect(hexOf(encodeLinkChange(9, { mtu: 1400 }))).toBe(bodyHex(GOLDEN.linkMtu))
  })

  test("writes `addrgenmode none` as ip does, with the nested attributes marked as such", () => {
    const unmarked = bodyHex(GOLDEN.linkAddressGeneration)
    expect(unmarked).toEndWith("10001a00" + "0c000a00" + "0500080001000000")
    expect(hexOf(encodeLinkChange(9, { ipv6AddressGeneration: "none" }))).toBe(
      "00000000090000000000000000000000" + "10001a80" + "0c000a80" + "0500080001000000",
    )
  })
})

describe("encodeLinkByName()", () => {
  const withoutCounters = "08001d0008000000"

  test("asks by IFLA_IFNAME, leaving out the counters", () => {
    expect(hexOf(encodeLinkByName("eth9"))).toBe(
      `${"00".repeat(16)}${withoutCounters}090003006574683900000000`,
    )
  })

  test("asks by IFLA_ALT_IFNAME when the name is too long for an interface", () => {
    const name = Buffer.from("a23456789012345\0")
    const longName = Buffer.from("a234567890123456\0")
    expect(hexOf(encodeLinkByName("a23456789012345"))).toEndWith(`14000300${name.toString("hex")}`)
    expect(hexOf(encodeLinkByName("a234567890123456"))).toEndWith(
      `15003500${longName.toString("hex")}000000`,
    )
  })
})

describe("encodeLinkByIndex()", () => {
  test("puts the index into the header", () => {
    expect(hexOf(encodeLinkByIndex(9))).toBe(
      "00000000090000000000000000000000" + "08001d0008000000",
    )
  })
})

describe("parseLink()", () => {
  test("reads a veth port of a bridge that is up", () => {
    const expected: Link = {
      index: 8,
      name: "eth8",
      mac: "02:00:00:00:00:08" as NonNullable<Link["mac"]>,
      mtu: 1500,
      kind: "veth",
      master: 7,
      up: true,
      running: true,
      carrier: true,
      loopback: false,
      noArp: false,
    }
    expect(parseLink(bytesOf(bodyHex(GOLDEN.linkShow)))).toEqual({ ok: true, value: expected })
  })

  test("is undefined when a bridge reports one of its ports", () => {
    expect(parseLink(bytesOf(bodyHex(GOLDEN.bridgePort)))).toEqual({ ok: true, value: undefined })
  })

  const header = (flags: string) => `0000feff05000000${flags}00000000`
  const named = "0900030065746839" + "00000000"

  test("has no MAC when the hardware address has not six bytes", () => {
    const parsed = parseLink(bytesOf(`${header("d1000100")}${named}08000100c0000201`))
    expect(parsed).toMatchObject({
      ok: true,
      value: { mac: undefined, noArp: true, kind: undefined },
    })
  })

  const flagRows = [
    ["00000000", { up: false, running: false, carrier: false }],
    ["01000000", { up: true, running: false, carrier: false }],
    ["41000000", { up: true, running: true, carrier: false }],
    ["01000100", { up: true, running: false, carrier: true }],
    ["49000100", { up: true, running: true, carrier: true, loopback: true }],
  ] as const
  test.each(flagRows)("reads flags %s", (flags, expected) => {
    expect(parseLink(bytesOf(`${header(flags)}${named}`))).toMatchObject({
      ok: true,
      value: expected,
    })
  })

  const rejects = [
    ["0000feff05000000d1000100", "family header cut short"],
    [header("00000000"), "attribute of the wrong size"],
    [`${header("00000000")}ff00030065746839`, "attribute longer than its message"],
    [`${header("00000000")}${named}0800120009000100`, "attribute longer than its message"],
  ] as const
  test.each(rejects)("rejects %s when it is malformed: %s", (hex, reason) => {
    expect(parseLink(bytesOf(hex))).toEqual({ ok: false, reason })
  })

  test("never throws, whatever the bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (body) => void parseLink(body)))
    const whole = bytesOf(bodyHex(GOLDEN.linkShow))
    for (let length = 0; length < whole.length; length++) {
      parseLink(whole.subarray(0, length))
    }
  })
})
