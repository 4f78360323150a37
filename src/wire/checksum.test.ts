import { expect, test } from "bun:test"
import { internetChecksum } from "./checksum.ts"

test("RFC1071-3: internetChecksum() complements the RFC's own example, whose sum is ddf2", () => {
  expect(internetChecksum(Uint8Array.fromHex("0001f203f4f5f6f7"))).toBe(0x220d)
})

test("RFC1071-1: internetChecksum() pads an odd byte with zero", () => {
  // 0001 + f200 = f201, complement 0dfe.
  expect(internetChecksum(Uint8Array.fromHex("0001f2"))).toBe(0x0dfe)
})

test("internetChecksum() of parts is the checksum of the whole", () => {
  const parts = ["0001f203", "f4f5f6f7"].map((hex) => Uint8Array.fromHex(hex))
  expect(internetChecksum(...parts)).toBe(0x220d)
})

test("internetChecksum() folds every carry when all words are ffff", () => {
  expect(internetChecksum(new Uint8Array(65535).fill(0xff))).toBe(0x00ff)
})
