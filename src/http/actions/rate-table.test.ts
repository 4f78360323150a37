/** Counting clients, against literals worked out from GCRA and against a token bucket. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { instant } from "../../net/time.ts"
import { type RateLimit, RateTable } from "./rate-table.ts"

/** Far from zero, where the counter of ticks has wrapped many times. */
const START_MS = 987_654_321.5

function table(seed = 1): RateTable {
  return new RateTable(RateTable.allocate(seed))
}

function limit(requests: number, perMs: number, burst: number): RateLimit {
  return { id: 7, intervalMs: perMs / requests, burst }
}

describe("RateTable.admit()", () => {
  test("lets a burst through, then one request per interval", () => {
    const rates = table()
    const tenPerSecond = limit(10, 1000, 3)
    const admit = (ms: number) => rates.admit(tenPerSecond, "c", instant(START_MS + ms))
    expect([admit(0), admit(0), admit(0)]).toEqual([0, 0, 0])
    expect(admit(0)).toBeGreaterThan(98)
    expect(admit(50)).toBeGreaterThan(48)
    expect(admit(50)).toBeLessThan(52)
    expect(admit(102)).toBe(0)
    expect(admit(102)).toBeGreaterThan(90)
    // Idle for long enough the whole burst is there again, and no more.
    expect([admit(2000), admit(2000), admit(2000)]).toEqual([0, 0, 0])
    expect(admit(2000)).toBeGreaterThan(0)
  })

  test("counts each client and each limit for itself", () => {
    const rates = table()
    const one = limit(1, 1000, 1)
    const other = { ...one, id: 8 }
    const now = instant(START_MS)
    expect(rates.admit(one, "a", now)).toBe(0)
    expect(rates.admit(one, "a", now)).toBeGreaterThan(0)
    expect(rates.admit(one, "b", now)).toBe(0)
    expect(rates.admit(other, "a", now)).toBe(0)
  })

  test("counts for all threads that share the memory", () => {
    const buffer = RateTable.allocate(3)
    const one = limit(1, 1000, 1)
    const now = instant(START_MS)
    expect(new RateTable(buffer).admit(one, "a", now)).toBe(0)
    expect(new RateTable(buffer).admit(one, "a", now)).toBeGreaterThan(0)
  })

  test.each([
    [1, 86_400_000, 1],
    [1, 1000, 1],
    [1_000_000, 1000, 1_000_000],
    [100, 60_000, 100],
  ])("lets %d in %d ms through, %d at once", (requests, perMs, burst) => {
    const rates = table()
    const one = limit(requests, perMs, burst)
    let admitted = 0
    while (admitted <= burst && rates.admit(one, "a", instant(START_MS)) === 0) admitted++
    expect(admitted).toBe(burst)
    const waitMs = rates.admit(one, "a", instant(START_MS))
    expect(waitMs / (perMs / requests)).toBeGreaterThan(0.96)
    expect(waitMs / (perMs / requests)).toBeLessThan(1.02)
  })

  test("forgets what is older than its counter can tell", () => {
    const rates = table()
    const fast = limit(1_000_000, 1000, 10)
    expect(rates.admit(fast, "a", instant(START_MS))).toBe(0)
    // A third, half and two thirds of the wrap, and beyond it.
    for (const ms of [22_000, 33_600, 45_000, 90_000]) {
      expect(rates.admit(fast, "a", instant(START_MS + ms))).toBe(0)
    }
  })

  test("remembers busy clients through a flood of others", () => {
    const rates = table()
    const one = limit(1, 3_600_000, 1)
    const at = (seconds: number) => instant(START_MS + seconds * 1000)
    for (let client = 0; client < 1000; client++) rates.admit(one, `busy-${client}`, at(0))
    for (let client = 0; client < 50_000; client++) rates.admit(one, `flood-${client}`, at(1))
    let forgotten = 0
    for (let client = 0; client < 1000; client++) {
      if (rates.admit(one, `busy-${client}`, at(2)) === 0) forgotten++
    }
    expect(forgotten).toBeLessThan(20)
  })
})

test("RateTable agrees with a token bucket, but for a tick", () => {
  const steps = fc.array(fc.nat({ max: 400 }), { minLength: 1, maxLength: 60 })
  fc.assert(
    fc.property(steps, fc.integer({ min: 1, max: 5 }), fc.nat(), (waits, burst, seed) => {
      const rates = table(seed | 0)
      const intervalMs = 100
      let tokens = burst
      let ms = START_MS
      for (const wait of waits) {
        ms += wait
        tokens = Math.min(burst, tokens + wait / intervalMs)
        const isAdmitted = rates.admit({ id: 1, intervalMs, burst }, "c", instant(ms)) === 0
        // 1/64 of a request is what the table cannot tell.
        if (Math.abs(tokens - 1) > 0.05) expect(isAdmitted).toBe(tokens >= 1)
        tokens = isAdmitted ? Math.max(0, tokens - 1) : tokens
      }
    }),
    { numRuns: 300 },
  )
})
