import { describe, expect, test } from "bun:test"
import { formatAge, formatBytes, formatCount } from "./format.ts"

describe("formatAge()", () => {
  test.each([
    [-5, "0s"],
    [0, "0s"],
    [499, "0s"],
    [1_500, "2s"],
    [59_000, "59s"],
    [60_000, "1m 0s"],
    [3_599_000, "59m 59s"],
    [3_600_000, "1h 0m"],
    [273_421_000, "3d 3h"],
  ])("%d ms is %s", (ms, text) => expect(formatAge(ms)).toBe(text))
})

describe("formatBytes()", () => {
  test.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [102_400, "100 KiB"],
    [28_991_029_248, "27.0 GiB"],
    [1.5 * 1024 ** 5, "1536.0 TiB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text))
})

test("formatCount() groups by thousands", () => expect(formatCount(4_804_638)).toBe("4,804,638"))
