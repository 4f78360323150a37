import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { monotonicNow } from "./clock.ts"

test("monotonicNow() counts milliseconds since boot and never goes back", () => {
  const uptimeMs = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000
  let before = monotonicNow()
  // /proc/uptime counts suspended time too, which a machine under test has none of.
  expect(Math.abs(before - uptimeMs)).toBeLessThan(5000)
  for (let round = 0; round < 10_000; round++) {
    const now = monotonicNow()
    expect(now >= before).toBe(true)
    before = now
  }
})
