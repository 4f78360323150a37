import { expect, test } from "bun:test"
import { expiryDays, expiryWarning } from "./expiry.ts"

const notBefore = Date.UTC(2026, 0, 1)
const notAfter = Date.UTC(2026, 3, 1)
const HOUR_MS = 3_600_000

test("expiryDays() counts with fractions, and below zero after the end", () => {
  expect(expiryDays({ notBefore, notAfter }, notAfter - 36 * HOUR_MS)).toBe(1.5)
  expect(expiryDays({ notBefore, notAfter }, notAfter + 12 * HOUR_MS)).toBe(-0.5)
})

test.each([
  ["at 21 days", -21 * 24, ""],
  ["an hour later", -21 * 24 + 1, "expires in 20 days"],
  ["a day and a half before the end", -36, "expires in 1 day"],
  ["in the last hours", -3, "expires in 0 days"],
  ["an hour after the end", 1, "expired 1 day ago"],
  ["three days after the end", 72, "expired 3 days ago"],
  ["before its time", -91 * 24, "is not valid before 2026-01-01"],
])("expiryWarning() %s", (_when, hours, expected) => {
  expect(expiryWarning({ notBefore, notAfter }, notAfter + hours * HOUR_MS)).toBe(expected)
})
