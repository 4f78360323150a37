import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import {
  type Address,
  addressBytes,
  addressFromBytes,
  parsePrefix,
  prefixContains,
} from "./address.ts"
import { PrefixSet } from "./prefix-set.ts"

function setOf(...texts: string[]): PrefixSet {
  return new PrefixSet(texts.flatMap((text) => parsePrefix(text) ?? []))
}

function contains(set: PrefixSet, text: string): boolean {
  const bytes = addressBytes(text as Address)
  return set.contains(bytes, 0, bytes.length)
}

describe("PrefixSet", () => {
  test.each([
    ["192.0.2.0/24", "192.0.2.255", true],
    ["192.0.2.0/24", "192.0.3.0", false],
    ["192.0.2.128/25", "192.0.2.127", false],
    ["192.0.2.128/25", "192.0.2.128", true],
    ["192.0.2.66/26", "192.0.2.127", true], // host bits are ignored
    ["10.0.0.0/9", "10.127.255.255", true],
    ["10.0.0.0/9", "10.128.0.0", false],
    ["192.0.2.1", "192.0.2.1", true],
    ["192.0.2.1", "192.0.2.0", false],
    ["0.0.0.0/0", "255.255.255.255", true],
    ["0.0.0.0/0", "::", false],
    ["::/0", "0.0.0.0", false],
    ["::/0", "ffff::", true],
    ["2001:db8::/33", "2001:db8:8000::", false],
    ["2001:db8::/127", "2001:db8::1", true],
    ["2001:db8::/127", "2001:db8::2", false],
  ])("contains() of %s and %s", (prefix, address, expected) => {
    expect(contains(setOf(prefix), address)).toBe(expected)
  })

  test("contains() reads the address where it stands in a larger buffer", () => {
    const bytes = Uint8Array.of(2, 0, 0x1f, 0x90, 192, 0, 2, 7, 99)
    expect(setOf("192.0.2.0/24").contains(bytes, 4, 4)).toBe(true)
    expect(setOf("192.0.2.0/24").contains(bytes, 5, 4)).toBe(false)
  })

  test("contains() is true when one of several matches", () => {
    const set = setOf("10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24")
    expect(contains(set, "192.0.2.9")).toBe(true)
    expect(contains(set, "192.0.3.9")).toBe(false)
  })

  test("isEmpty only without prefixes of either family", () => {
    expect(setOf().isEmpty).toBe(true)
    expect(setOf("::/0").isEmpty).toBe(false)
    expect(setOf("0.0.0.0/0").isEmpty).toBe(false)
  })

  test("contains() agrees with prefixContains()", () => {
    const near = fc.array(fc.constantFrom(0, 1, 127, 128, 255), { minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(near, near, fc.nat(32), (network, host, length) => {
        const prefix = { address: addressFromBytes(Uint8Array.from(network)), length }
        const bytes = Uint8Array.from(host)
        expect(new PrefixSet([prefix]).contains(bytes, 0, 4)).toBe(
          prefixContains(prefix, addressFromBytes(bytes)),
        )
      }),
    )
  })
})
