import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../../net/address.ts"
import { AddressSet, addressOf, formatRange, numberOf, parseRange } from "./address-set.ts"

function setOf(texts: readonly string[], avoidBuggyIPs = false): AddressSet {
  const ranges = texts.map((text) => {
    const parsed = parseRange(text)
    if (!parsed.ok) throw new Error(parsed.reason)
    return parsed.range
  })
  return new AddressSet(ranges, { avoidBuggyIPs })
}

function members(set: AddressSet, family: "IPv4" | "IPv6"): string[] {
  const found: string[] = []
  let at = set.next(family, 0n)
  while (at !== undefined) {
    found.push(addressOf(family, at))
    at = set.next(family, at + 1n)
  }
  return found
}

describe("parseRange()", () => {
  test.each([
    ["192.168.1.240-192.168.1.250", "192.168.1.240-192.168.1.250"],
    [" 192.168.1.240 - 192.168.1.250 ", "192.168.1.240-192.168.1.250"],
    ["192.168.200.0/24", "192.168.200.0-192.168.200.255"],
    ["192.168.200.77/24", "192.168.200.0-192.168.200.255"],
    ["192.0.2.1", "192.0.2.1"],
    ["192.0.2.1/32", "192.0.2.1"],
    ["0.0.0.0/0", "0.0.0.0-255.255.255.255"],
    ["2001:db8::/126", "2001:db8::-2001:db8::3"],
    ["2001:db8::ff-2001:db8::1:0", "2001:db8::ff-2001:db8::1:0"],
  ])("reads %j", (text, expected) => {
    const parsed = parseRange(text)
    expect(parsed.ok && formatRange(parsed.range)).toBe(expected)
  })

  test.each([
    ["", "is not a range"],
    ["192.0.2.0/33", "is not a range"],
    ["192.0.2.0/-1", "is not a range"],
    ["192.0.2.1-192.0.2.2-192.0.2.3", "is not a range"],
    ["192.0.2.0/24-192.0.3.0/24", "is not a range"],
    ["192.0.2.9-192.0.2.1", "ends before it begins"],
    ["192.0.2.9-2001:db8::1", "mixes IPv4 and IPv6"],
  ])("refuses %j", (text, reason) => {
    const parsed = parseRange(text)
    expect(parsed.ok ? "" : parsed.reason).toContain(reason)
  })
})

describe("AddressSet", () => {
  test("lists its members in order, once, whatever the ranges' order", () => {
    const set = setOf(["192.0.2.9-192.0.2.10", "192.0.2.1/31", "192.0.2.10-192.0.2.11"])
    expect(members(set, "IPv4")).toEqual([
      "192.0.2.0",
      "192.0.2.1",
      "192.0.2.9",
      "192.0.2.10",
      "192.0.2.11",
    ])
    expect(set.ranges).toHaveLength(2)
    expect(set.has("IPv6")).toBe(false)
  })

  test("gives out all of a CIDR, as MetalLB does", () => {
    expect(members(setOf(["192.0.2.0/30"]), "IPv4")).toEqual([
      "192.0.2.0",
      "192.0.2.1",
      "192.0.2.2",
      "192.0.2.3",
    ])
  })

  test("spares .0 and .255 when told so, of IPv4 alone", () => {
    const set = setOf(["192.0.2.254-192.0.3.1", "2001:db8::ff", "2001:db8::"], true)
    expect(members(set, "IPv4")).toEqual(["192.0.2.254", "192.0.3.1"])
    expect(members(set, "IPv6")).toEqual(["2001:db8::", "2001:db8::ff"])
    expect(set.contains("192.0.2.255" as Address)).toBe(false)
    expect(set.contains("192.0.3.1" as Address)).toBe(true)
  })

  test.each([
    [["10.0.0.0/16"], false, 65_536n],
    [["10.0.0.0/16"], true, 65_024n],
    [["0.0.0.0/31"], true, 1n],
    [["192.0.2.255"], true, 0n],
    [["192.0.2.1-192.0.2.254"], true, 254n],
  ])("count() of %j, sparing %p", (texts, avoid, expected) => {
    expect(setOf(texts, avoid).count("IPv4")).toBe(expected)
  })

  test("count() of an IPv6 subnet exceeds every number", () => {
    expect(setOf(["2001:db8::/64"]).count("IPv6")).toBe(18_446_744_073_709_551_616n)
  })

  test("overlap() names the first common range", () => {
    const overlap = setOf(["192.0.2.0/24"]).overlap(setOf(["192.0.2.250-192.0.3.9"]))
    expect(overlap && formatRange(overlap)).toBe("192.0.2.250-192.0.2.255")
    expect(setOf(["192.0.2.0/24"]).overlap(setOf(["192.0.3.0/24", "::/0"]))).toBeUndefined()
  })

  test("agrees with a plain list of numbers", () => {
    const range = fc
      .tuple(fc.nat(600), fc.nat(20))
      .map(([first, length]) => [first, first + length])
    fc.assert(
      fc.property(fc.array(range, { maxLength: 6 }), fc.boolean(), (pairs, avoidBuggyIPs) => {
        const plain = new Set<number>()
        for (const [first = 0, last = 0] of pairs) {
          for (let at = first; at <= last; at++) {
            if (!avoidBuggyIPs || (at % 256 !== 0 && at % 256 !== 255)) plain.add(at)
          }
        }
        const ranges = pairs.map(([first = 0, last = 0]) => {
          return { family: "IPv4" as const, first: BigInt(first), last: BigInt(last) }
        })
        const set = new AddressSet(ranges, { avoidBuggyIPs })
        const listed = members(set, "IPv4").map((text) => Number(numberOf(text as Address)))
        expect(listed).toEqual([...plain].sort((a, b) => a - b))
        expect(set.count("IPv4")).toBe(BigInt(plain.size))
      }),
    )
  })
})
