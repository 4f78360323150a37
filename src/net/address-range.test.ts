/** Ranges as pools are written: their ends, and what lies in them. */
import { expect, test } from "bun:test"
import type { Address } from "./address.ts"
import {
  formatAddressRange,
  parseAddressRange,
  rangeContains,
  rangeSize,
  rangesOverlap,
  rangeWithout,
} from "./address-range.ts"

function range(text: string) {
  const parsed = parseAddressRange(text)
  if (parsed === undefined) throw new Error(`${text} is not a range`)
  return parsed
}

test.each([
  ["192.168.1.240-192.168.1.250", "192.168.1.240", "192.168.1.250", 11n],
  ["192.168.1.240 - 192.168.1.250", "192.168.1.240", "192.168.1.250", 11n],
  ["192.168.200.0/24", "192.168.200.0", "192.168.200.255", 256n],
  ["192.168.200.77/24", "192.168.200.0", "192.168.200.255", 256n],
  ["192.0.2.7", "192.0.2.7", "192.0.2.7", 1n],
  ["0.0.0.0/0", "0.0.0.0", "255.255.255.255", 4_294_967_296n],
  ["fd00::10-fd00::1f", "fd00::10", "fd00::1f", 16n],
  ["fd00:1::/64", "fd00:1::", "fd00:1::ffff:ffff:ffff:ffff", 18_446_744_073_709_551_616n],
])("parseAddressRange() reads %s", (text, first, last, size) => {
  expect(range(text)).toEqual({ first: first as Address, last: last as Address })
  expect(rangeSize(range(text))).toBe(size)
})

test.each([
  "",
  "192.168.1.250-192.168.1.240",
  "192.168.1.1-fd00::1",
  "192.168.1.1-10",
  "192.168.1.1-192.168.1.2-192.168.1.3",
  "192.168.1.0/33",
  "192.168.1.1-",
])("parseAddressRange() refuses %p", (text) => {
  expect(parseAddressRange(text)).toBeUndefined()
})

test("formatAddressRange() writes both ends, or the one address", () => {
  expect(formatAddressRange(range("192.0.2.0/30"))).toBe("192.0.2.0-192.0.2.3")
  expect(formatAddressRange(range("192.0.2.7/32"))).toBe("192.0.2.7")
})

test("rangeContains() includes both ends and no other family", () => {
  const pool = range("192.0.2.9-192.0.2.10")
  const inside = ["192.0.2.8", "192.0.2.9", "192.0.2.10", "192.0.2.11", "::9"].map((address) =>
    rangeContains(pool, address as Address),
  )
  expect(inside).toEqual([false, true, true, false, false])
})

test.each([
  ["192.0.2.0/24", "192.0.2.255-192.0.3.4", true],
  ["192.0.2.0/24", "192.0.2.7", true],
  ["192.0.2.7", "192.0.2.0/24", true],
  ["192.0.2.0/24", "192.0.3.0/24", false],
  ["192.0.2.0/24", "fd00::/64", false],
])("rangesOverlap() of %s and %s is %p", (left, right, expected) => {
  expect(rangesOverlap(range(left), range(right))).toBe(expected)
})

test.each([
  ["192.0.2.0/30", "192.0.2.1", ["192.0.2.0", "192.0.2.2-192.0.2.3"]],
  ["192.0.2.0/30", "192.0.2.0", ["192.0.2.1-192.0.2.3"]],
  ["192.0.2.0/30", "192.0.2.3", ["192.0.2.0-192.0.2.2"]],
  ["192.0.2.7", "192.0.2.7", []],
  ["192.0.2.7", "192.0.2.8", ["192.0.2.7"]],
  ["fd00::/126", "fd00::1", ["fd00::", "fd00::2-fd00::3"]],
])("rangeWithout() cuts %s at %s", (text, address, expected) => {
  expect(rangeWithout(range(text), address as Address).map(formatAddressRange)).toEqual(expected)
})
