import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  type Address,
  addressBytes,
  addressFromBytes,
  compareAddresses,
  familyOf,
  formatEndpoint,
  formatPrefix,
  parseAddress,
  parseEndpoint,
  parsePrefix,
  prefixContains,
} from "./address.ts"

const address = (text: string) => text as Address

describe("parseAddress()", () => {
  test.each([
    ["192.0.2.1", "192.0.2.1"],
    ["0.0.0.0", "0.0.0.0"],
    ["255.255.255.255", "255.255.255.255"],
    ["::", "::"],
    ["::1", "::1"],
    ["2001:DB8::1", "2001:db8::1"], // RFC 5952 §4.3: lower case
    ["2001:0db8:0:0:0:0:0:0001", "2001:db8::1"], // §4.1: no leading zeros
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"], // §4.2.3: the first of two equal runs
    ["1:0:0:2:0:0:0:3", "1:0:0:2::3"], // §4.2.3: the longest run
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"], // §4.2.2: one field is not shortened
    ["::ffff:192.0.2.1", "::ffff:c000:201"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
    ["::192.0.2.1", "::c000:201"], // RFC 4291 §2.5.5.1: compatible, not mapped
  ])("reads %s", (text, canonical) => {
    expect<string | undefined>(parseAddress(text)).toBe(canonical)
  })

  test.each([
    "",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.04",
    "0x1.2.3.4",
    "1e1.2.3.4",
    " 1.2.3.4",
    "1.2.3.4\n",
    "edge.example.com",
    "[::1]",
    ":1",
    "1:",
    "1::2::3",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7::8::",
    "12345::",
    "::g",
    "fe80::1%eth0",
    "::ffff:1.2.3",
    "::ffff:010.1.1.1",
    "::1.2.3.4:5",
    "::1\n",
  ])("refuses %j", (text) => {
    expect(parseAddress(text)).toBeUndefined()
  })
})

test("addressBytes() gives network order", () => {
  expect([...addressBytes(address("192.0.2.1"))]).toEqual([192, 0, 2, 1])
  expect(Buffer.from(addressBytes(address("2001:db8::a:1"))).toString("hex")).toBe(
    "20010db8000000000000000000" + "0a0001",
  )
})

test("addressFromBytes() is the inverse of addressBytes() for any bytes", () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
    // Long runs of zeros are what the shortening of RFC 5952 is about.
    fc
      .array(fc.constantFrom(0, 0, 0, 1), { minLength: 16, maxLength: 16 })
      .map((bytes) => Uint8Array.from(bytes)),
  )
  fc.assert(
    fc.property(anyBytes, (bytes) => {
      const text = addressFromBytes(bytes)
      expect(parseAddress(text)).toBe(text)
      expect(addressBytes(text)).toEqual(Uint8Array.from(bytes))
    }),
  )
})

test("addressFromBytes() refuses any other length", () => {
  expect(() => addressFromBytes(new Uint8Array(6))).toThrow("Cannot read an address of 6 bytes")
})

test("familyOf() tells IPv4 from IPv6", () => {
  expect(familyOf(address("192.0.2.1"))).toBe(4)
  expect(familyOf(address("::"))).toBe(6)
})

describe("parsePrefix()", () => {
  test.each([
    ["192.0.2.1/24", "192.0.2.1/24"],
    ["192.0.2.1", "192.0.2.1/32"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["2001:DB8::/32", "2001:db8::/32"],
    ["::1", "::1/128"],
  ])("reads %s", (text, formatted) => {
    const prefix = parsePrefix(text)
    expect(prefix && formatPrefix(prefix)).toBe(formatted)
  })

  test.each(["", "/24", "1.2.3.4/", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/024", "1.2.3.4/8/9"])(
    "refuses %j",
    (text) => expect(parsePrefix(text)).toBeUndefined(),
  )

  test.each(["::/129", "::/ 8", "::/8\n", "::/+8", "1.2.3.4/1e1"])("refuses %j", (text) =>
    expect(parsePrefix(text)).toBeUndefined(),
  )
})

test.each([
  ["192.0.2.0/24", "192.0.2.255", true],
  ["192.0.2.77/24", "192.0.2.1", true],
  ["192.0.2.0/24", "192.0.3.0", false],
  ["0.0.0.0/0", "203.0.113.9", true],
  ["192.0.2.1/32", "192.0.2.2", false],
  ["2001:db8::/33", "2001:db8:7fff::1", true],
  ["2001:db8::/33", "2001:db8:8000::1", false],
  ["::/0", "192.0.2.1", false],
  ["0.0.0.0/0", "::1", false],
])("prefixContains() of %s and %s", (text, member, expected) => {
  const prefix = parsePrefix(text)
  expect(prefix && prefixContains(prefix, address(member))).toBe(expected)
})

describe("parseEndpoint()", () => {
  test.each(["192.0.2.1:80", "0.0.0.0:1", "255.255.255.255:65535", "[::1]:443", "[2001:db8::1]:1"])(
    "reads %s",
    (text) => {
      const endpoint = parseEndpoint(text)
      expect(endpoint && formatEndpoint(endpoint)).toBe(text)
    },
  )

  test.each([
    "",
    ":80",
    "192.0.2.1",
    "192.0.2.1:",
    "192.0.2.1:0",
    "192.0.2.1:080",
    "192.0.2.1:65536",
    "192.0.2.1:80\n",
    "[::1]",
    "[::1]80",
    "::1:80",
    "[192.0.2.1]:80",
    "[::1]:80x",
    "edge:80",
  ])("refuses %j", (text) => expect(parseEndpoint(text)).toBeUndefined())
})

test("compareAddresses() orders by value, not by text", () => {
  const sorted = ["10.0.0.9", "10.0.0.10", "9.255.255.255", "192.0.2.1"]
    .map(address)
    .sort(compareAddresses)
  expect<string[]>(sorted).toEqual(["9.255.255.255", "10.0.0.9", "10.0.0.10", "192.0.2.1"])
  expect(compareAddresses(address("fe80::2"), address("fe80::10"))).toBeLessThan(0)
  expect(compareAddresses(address("::1"), address("::1"))).toBe(0)
})
