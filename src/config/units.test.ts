/** Durations and sizes: what is read, what is refused, how they are shown. */
import { expect, test } from "bun:test"
import { formatDuration, formatSize, parseDuration, parseSize } from "./units.ts"

test.each([
  ["0s", 0],
  ["500ms", 500],
  ["1s", 1000],
  ["10m", 600_000],
  ["2h", 7_200_000],
  ["1d", 86_400_000],
])("parseDuration() reads %p", (text, ms) => {
  expect(parseDuration(text)).toBe(ms)
})

test.each(["", "1", "s", "1.5s", "-1s", "1 s", "1S", "1s ", "1m30s", "1e3s", "9999999999999s"])(
  "parseDuration() refuses %p",
  (text) => {
    expect(parseDuration(text)).toBeUndefined()
  },
)

test.each([
  [0, "0s"],
  [250, "250ms"],
  [360.9375, "360.938ms"],
  [1000, "1s"],
  [1500, "1.5s"],
  [3609.375, "3.609s"],
  [90_000, "90s"],
  [600_000, "10m"],
  [7_200_000, "2h"],
  [86_400_000, "1d"],
])("formatDuration(%p) is %p", (ms, text) => {
  expect(formatDuration(ms)).toBe(text)
})

test.each([
  ["512B", 512],
  ["64KiB", 65_536],
  ["1MiB", 1_048_576],
  ["2GiB", 2_147_483_648],
])("parseSize() reads %p", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes)
})

test.each(["64", "64KB", "64k", "-1B", "1.5MiB", ""])("parseSize() refuses %p", (text) => {
  expect(parseSize(text)).toBeUndefined()
})

test.each([
  [0, "0B"],
  [1000, "1000B"],
  [65_536, "64KiB"],
  [1_048_576, "1MiB"],
  [1_572_864, "1536KiB"],
  [3_221_225_472, "3GiB"],
])("formatSize(%p) is %p", (bytes, text) => {
  expect(formatSize(bytes)).toBe(text)
  expect(parseSize(text)).toBe(bytes)
})
