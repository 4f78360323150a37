import { expect, test } from "bun:test"
import { type Lease, leaseFor, leaseOf } from "./lease.ts"

const TABLE: readonly [leaseMs: number | "auto", intervalMs: number, Lease | undefined][] = [
  ["auto", 10, { seconds: 2, refreshMs: 500 }],
  ["auto", 1000, { seconds: 2, refreshMs: 500 }],
  ["auto", 1749, { seconds: 2, refreshMs: 500 }],
  ["auto", 1750, { seconds: 3, refreshMs: 750 }],
  ["auto", 5000, { seconds: 9, refreshMs: 2250 }],
  ["auto", 40_950, { seconds: 81, refreshMs: 20_250 }],
  [0, 1000, undefined],
  [1, 1000, { seconds: 2, refreshMs: 500 }],
  [2001, 1000, { seconds: 3, refreshMs: 750 }],
  [60_000, 1000, { seconds: 60, refreshMs: 15_000 }],
]

for (const [leaseMs, advertisementIntervalMs, expected] of TABLE) {
  test(`leaseOf() of ${leaseMs} with adverts every ${advertisementIntervalMs} ms`, () => {
    expect(leaseOf({ leaseMs, advertisementIntervalMs })).toEqual(expected)
  })
}

for (const [count, expected] of [
  [1, { seconds: 2, refreshMs: 500 }],
  [500, { seconds: 2, refreshMs: 500 }],
  [501, { seconds: 3, refreshMs: 750 }],
  [2000, { seconds: 8, refreshMs: 2000 }],
] as const) {
  test(`leaseFor() renews ${count} addresses at most 1,000 times a second`, () => {
    expect(leaseFor(count, { seconds: 2, refreshMs: 500 })).toEqual(expected)
  })
}
