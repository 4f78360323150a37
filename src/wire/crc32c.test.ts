import { expect, test } from "bun:test"
import { crc32c } from "./crc32c.ts"

// RFC 3720 Appendix B.4, read as numbers (the RFC lists bytes in the order they are sent).
test.each([
  ["32 bytes of zeros", new Uint8Array(32), 0x8a9136aa],
  ["32 bytes of ones", new Uint8Array(32).fill(0xff), 0x62a8ab43],
  ["32 bytes counting up", Uint8Array.from({ length: 32 }, (_, at) => at), 0x46dd794e],
  ["32 bytes counting down", Uint8Array.from({ length: 32 }, (_, at) => 31 - at), 0x113fdb5c],
])("crc32c() of %s", (_what, bytes, expected) => {
  expect(crc32c(bytes)).toBe(expected)
  expect(crc32c(bytes.subarray(0, 5), bytes.subarray(5))).toBe(expected)
})
