import { expect, test } from "bun:test"
import { activeDownIntervalMs, skewTimeMs, type TimerParameters } from "./timers.ts"

// Worked out from the formulas of the RFCs by hand.
const TABLE: readonly (TimerParameters & { skewMs: number; downMs: number })[] = [
  // RFC 9568 §6.1: Skew_Time = (256 - priority) * Active_Adver_Interval / 256.
  { version: 3, priority: 100, intervalMs: 1000, skewMs: 609.375, downMs: 3609.375 },
  { version: 3, priority: 90, intervalMs: 1000, skewMs: 648.4375, downMs: 3648.4375 },
  { version: 3, priority: 254, intervalMs: 1000, skewMs: 7.8125, downMs: 3007.8125 },
  { version: 3, priority: 100, intervalMs: 100, skewMs: 60.9375, downMs: 360.9375 },
  { version: 3, priority: 1, intervalMs: 40950, skewMs: 40790.0390625, downMs: 163640.0390625 },
  // RFC 3768 §6.1: Skew_Time = (256 - priority) / 256 seconds.
  { version: 2, priority: 100, intervalMs: 1000, skewMs: 609.375, downMs: 3609.375 },
  { version: 2, priority: 128, intervalMs: 3000, skewMs: 500, downMs: 9500 },
]

for (const { skewMs, downMs, ...parameters } of TABLE) {
  const { version, priority, intervalMs } = parameters
  test(`skewTimeMs() is ${skewMs} when version ${version}, ${priority}, ${intervalMs} ms`, () => {
    expect(skewTimeMs(parameters)).toBe(skewMs)
    expect(activeDownIntervalMs(parameters)).toBe(downMs)
  })
}
