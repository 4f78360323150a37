import { expect, test } from "bun:test"
import { hashBytes, hashText, mix } from "./hash.ts"

// Literals: two edges of a pair, and two versions of the program, must agree on them.
test("hashText(), hashBytes() and mix() give what they always gave", () => {
  expect(hashText("")).toBe(2_872_998_923)
  expect(hashText("192.0.2.1 80")).toBe(1_694_877_874)
  expect(mix(0)).toBe(0)
  expect(mix(1)).toBe(1_364_076_727) // fmix32 of MurmurHash3
})

test("hashBytes() hashes the range alone, and as hashText() does", () => {
  const bytes = Buffer.from("xxabcxx")
  expect(hashBytes(bytes, 2, 5)).toBe(hashText("abc"))
  expect(hashBytes(bytes, 2, 4)).not.toBe(hashText("abc"))
})

test("mix() stays within 32 unsigned bits", () => {
  for (const value of [-1, 0x80000000, 0xffffffff, 2 ** 31 - 1]) {
    expect(mix(value)).toBeGreaterThanOrEqual(0)
    expect(mix(value)).toBeLessThan(2 ** 32)
    expect(mix(value) % 1).toBe(0)
  }
})
