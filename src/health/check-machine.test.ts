import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type Instant, instant } from "../net/time.ts"
import {
  type CheckAction,
  type CheckInput,
  CheckMachine,
  type CheckTiming,
  type HealthState,
  type ProbeResult,
} from "./check-machine.ts"

const TIMING: CheckTiming = { intervalMs: 2000, timeoutMs: 1000, rise: 2, fall: 3 }
const PASS: ProbeResult = { ok: true, reason: "pass", durationMs: 1, inconclusive: false }
const FAIL: ProbeResult = { ok: false, reason: "fail", durationMs: 1, inconclusive: false }
const SHORTAGE: ProbeResult = { ok: false, reason: "EMFILE", durationMs: 0, inconclusive: true }

/** A machine with a clock; probes start at once unless told otherwise. */
class Bench {
  readonly machine: CheckMachine
  now: Instant = instant(10_000)

  constructor(options: { timing?: CheckTiming; phase?: number; firstWithinMs?: number } = {}) {
    const { timing = TIMING, phase = 0, firstWithinMs = 0 } = options
    this.machine = new CheckMachine({ timing, phase, firstWithinMs }, this.now)
  }

  give(input: CheckInput): CheckAction[] {
    return this.machine.handle(input, this.now)
  }

  /** Jumps to the deadline, `lateMs` after it, and hands in the timeout. */
  expire(lateMs = 0, phase = ""): CheckAction[] {
    const deadline = this.machine.deadline()
    if (deadline === undefined) throw new Error("No deadline")
    this.now = instant(deadline + lateMs)
    return this.give({ type: "timeout", phase })
  }

  /** One whole check. Returns the changes it led to. */
  check(result: ProbeResult): CheckAction[] {
    expect(this.expire()).toEqual([{ type: "probe" }])
    this.give({ type: "started" })
    return this.give({ type: "result", result })
  }

  checks(...results: ProbeResult[]): CheckAction[] {
    return results.flatMap((result) => this.check(result))
  }

  get state(): HealthState {
    return this.machine.status().state
  }

  /** Milliseconds since the machine was made. */
  get deadlineMs(): number | undefined {
    const deadline = this.machine.deadline()
    return deadline === undefined ? undefined : deadline - 10_000
  }
}

describe("rise and fall", () => {
  test("handle() goes up on the first result when it is a success", () => {
    const bench = new Bench()
    expect(bench.machine.status()).toMatchObject({ state: "unknown", reason: "not checked yet" })
    expect(bench.check(PASS)).toEqual([{ type: "change", state: "up", reason: "pass" }])
    expect(bench.machine.status()).toEqual({
      state: "up",
      reason: "pass",
      since: instant(10_000),
      lastResult: PASS,
      checks: 1,
      failed: 0,
      inconclusive: 0,
    })
  })

  test("handle() goes down on the first result when it is a failure", () => {
    const bench = new Bench()
    expect(bench.check(FAIL)).toEqual([{ type: "change", state: "down", reason: "fail" }])
    expect(bench.machine.status()).toMatchObject({ checks: 1, failed: 1 })
  })

  test("handle() goes down at the third failure in a row when fall is 3", () => {
    const bench = new Bench()
    bench.check(PASS)
    expect(bench.checks(FAIL, FAIL)).toEqual([])
    expect(bench.state).toBe("up")
    expect(bench.check(FAIL)).toEqual([{ type: "change", state: "down", reason: "fail" }])
    expect(bench.machine.status().since).toBe(instant(16_000))
  })

  test("handle() goes up at the second success in a row when rise is 2", () => {
    const bench = new Bench()
    bench.check(FAIL)
    expect(bench.check(PASS)).toEqual([])
    expect(bench.check(PASS)).toEqual([{ type: "change", state: "up", reason: "pass" }])
  })

  test("handle() begins to count anew when a result speaks for the state", () => {
    const bench = new Bench()
    bench.check(PASS)
    expect(bench.checks(FAIL, FAIL, PASS, FAIL, FAIL)).toEqual([])
    expect(bench.state).toBe("up")
  })

  test("status() gives the latest reason for the state when the reason changes", () => {
    const bench = new Bench()
    bench.checks(FAIL, { ...FAIL, reason: "other" }, PASS)
    expect(bench.machine.status()).toMatchObject({ state: "down", reason: "other" })
    expect(bench.machine.status().lastResult?.reason).toBe("pass")
    expect(bench.machine.status().since).toBe(instant(10_000))
  })

  test("handle() counts neither way when the probe could not be made", () => {
    const bench = new Bench()
    expect(bench.checks(SHORTAGE, SHORTAGE)).toEqual([])
    expect(bench.state).toBe("unknown")
    bench.checks(PASS, FAIL, FAIL, SHORTAGE)
    expect(bench.state).toBe("up")
    expect(bench.check(FAIL)).toEqual([{ type: "change", state: "down", reason: "fail" }])
    expect(bench.machine.status()).toMatchObject({ checks: 7, failed: 3, inconclusive: 3 })
  })
})

describe("schedule", () => {
  test("deadline() keeps the interval from start to start when probes take their time", () => {
    const bench = new Bench()
    expect(bench.deadlineMs).toBe(0)
    bench.expire()
    bench.give({ type: "started" })
    bench.now = instant(10_700)
    bench.give({ type: "result", result: PASS })
    expect(bench.deadlineMs).toBe(2000)
    bench.check(PASS)
    expect(bench.deadlineMs).toBe(4000)
  })

  // place in the interval, first check within → first, second and third start
  const spreads: [number, number, number[]][] = [
    [0, 0, [0, 2000, 4000]],
    [0.25, 0, [0, 2500, 4500]],
    [0.5, 0, [0, 1000, 3000]],
    [0.75, 0, [0, 1500, 3500]],
    [0, 500, [0, 2000, 4000]],
    [0.5, 500, [250, 3000, 5000]],
    [0.75, 500, [375, 1500, 3500]],
  ]
  test.each(spreads)(
    "deadline() moves to its place with the second check when phase is %p, first within %p ms",
    (phase, firstWithinMs, starts) => {
      const bench = new Bench({ phase, firstWithinMs })
      const seen = starts.map(() => {
        const start = bench.deadlineMs
        bench.check(PASS)
        return start as number
      })
      expect(seen).toEqual(starts)
    },
  )

  test("deadline() skips the places that were missed when the process slept", () => {
    const bench = new Bench()
    bench.check(PASS)
    bench.expire(7_300)
    bench.give({ type: "started" })
    bench.give({ type: "result", result: PASS })
    expect(bench.deadlineMs).toBe(10_000)
  })

  test("handle() asks for no second probe when one waits for room", () => {
    const bench = new Bench()
    expect(bench.expire()).toEqual([{ type: "probe" }])
    expect(bench.machine.deadline()).toBeUndefined()
    bench.now = instant(90_000)
    expect(bench.give({ type: "timeout", phase: "" })).toEqual([])
    bench.give({ type: "started" })
    expect(bench.deadlineMs).toBe(81_000) // the timeout runs from the start
  })

  test("handle() does nothing when a timeout comes early", () => {
    const bench = new Bench({ phase: 0.5, firstWithinMs: 500 })
    bench.now = instant(10_249)
    expect(bench.give({ type: "timeout", phase: "" })).toEqual([])
    expect(bench.deadlineMs).toBe(250)
  })
})

describe("timeout", () => {
  function probing(timing = TIMING): Bench {
    const bench = new Bench({ timing })
    bench.expire()
    bench.give({ type: "started" })
    return bench
  }

  test("handle() aborts and counts a failure when the probe takes too long", () => {
    const bench = probing()
    expect(bench.expire(0, "connecting")).toEqual([
      { type: "abort" },
      { type: "change", state: "down", reason: "no answer within 1000 ms, connecting" },
    ])
    expect(bench.machine.status().lastResult).toEqual({
      ok: false,
      reason: "no answer within 1000 ms, connecting",
      durationMs: 1000,
      inconclusive: false,
    })
  })

  test("handle() counts the result of an aborted probe no second time", () => {
    const bench = probing()
    bench.expire()
    expect(bench.give({ type: "result", result: PASS })).toEqual([])
    expect(bench.machine.status()).toMatchObject({ checks: 1, failed: 1 })
    expect(bench.deadlineMs).toBe(2000)
    expect(bench.expire()).toEqual([{ type: "probe" }])
  })

  test("handle() counts a failure each interval, without a probe, when one does not end", () => {
    const bench = probing()
    bench.expire()
    expect([bench.expire(), bench.deadlineMs]).toEqual([[], 4000])
    bench.expire()
    expect(bench.machine.status()).toMatchObject({
      checks: 3,
      failed: 3,
      reason: "the last check has not ended yet",
    })
    bench.give({ type: "result", result: FAIL })
    expect([bench.deadlineMs, bench.machine.status().checks]).toEqual([6000, 3])
  })

  test("handle() gives the probe a last chance when it was the process that slept", () => {
    const bench = probing()
    expect(bench.expire(101)).toEqual([])
    expect(bench.deadlineMs).toBe(1151)
    expect(bench.give({ type: "result", result: PASS })).toMatchObject([{ state: "up" }])
  })

  test("handle() gives no further chance when the last one has passed", () => {
    const bench = probing()
    bench.expire(101)
    expect(bench.expire(101)).toMatchObject([{ type: "abort" }, { state: "down" }])
  })

  test("deadline() skips places when the timeout is longer than the interval", () => {
    const bench = probing({ ...TIMING, intervalMs: 300 })
    bench.expire()
    bench.give({ type: "result", result: FAIL })
    expect(bench.deadlineMs).toBe(1200)
  })
})

describe("configure", () => {
  test("handle() keeps state and counters when only the timing changes", () => {
    const bench = new Bench()
    bench.checks(PASS, FAIL)
    const timing = { ...TIMING, intervalMs: 500, fall: 2 }
    expect(bench.give({ type: "configure", timing, isNewQuestion: false })).toEqual([])
    expect(bench.deadlineMs).toBe(2500)
    expect(bench.check(FAIL)).toEqual([{ type: "change", state: "down", reason: "fail" }])
  })

  test("handle() brings the next check forward when the interval shrinks", () => {
    const bench = new Bench({ timing: { ...TIMING, intervalMs: 3_600_000 } })
    bench.check(PASS)
    bench.give({ type: "configure", timing: TIMING, isNewQuestion: false })
    expect(bench.deadlineMs).toBe(2000)
  })

  test("handle() keeps the state and lets the next result decide when the question changes", () => {
    const bench = new Bench()
    bench.check(PASS)
    bench.give({ type: "configure", timing: TIMING, isNewQuestion: true })
    expect([bench.state, bench.deadlineMs]).toEqual(["up", 0])
    expect(bench.check(FAIL)).toEqual([{ type: "change", state: "down", reason: "fail" }])
  })

  test("handle() needs fall failures again when the new question was answered once", () => {
    const bench = new Bench()
    bench.check(PASS)
    bench.give({ type: "configure", timing: TIMING, isNewQuestion: true })
    expect(bench.checks(PASS, FAIL, FAIL)).toEqual([])
  })

  test("handle() discards the probe in flight when the question changes", () => {
    const bench = new Bench()
    bench.check(PASS)
    bench.expire()
    bench.give({ type: "started" })
    expect(bench.give({ type: "configure", timing: TIMING, isNewQuestion: true })).toEqual([
      { type: "abort" },
    ])
    expect(bench.give({ type: "result", result: FAIL })).toEqual([])
    expect(bench.machine.status()).toMatchObject({ state: "up", checks: 1 })
    expect(bench.deadlineMs).toBe(2000)
    expect(bench.expire()).toEqual([{ type: "probe" }])
  })

  test("handle() keeps the probe in flight when only the timing changes", () => {
    const bench = new Bench()
    bench.expire()
    bench.give({ type: "started" })
    expect(bench.give({ type: "configure", timing: TIMING, isNewQuestion: false })).toEqual([])
    expect(bench.give({ type: "result", result: PASS })).toMatchObject([{ state: "up" }])
  })
})

describe("any history", () => {
  const result = fc.constantFrom(PASS, FAIL, SHORTAGE)
  const event = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({ type: fc.constant("expire" as const), lateMs: fc.nat(400) }),
    },
    { weight: 3, arbitrary: fc.record({ type: fc.constant("started" as const) }) },
    { weight: 4, arbitrary: fc.record({ type: fc.constant("result" as const), result }) },
    {
      weight: 1,
      arbitrary: fc.record({
        type: fc.constant("configure" as const),
        timing: fc.record({
          intervalMs: fc.integer({ min: 50, max: 5000 }),
          timeoutMs: fc.integer({ min: 10, max: 9000 }),
          rise: fc.integer({ min: 1, max: 5 }),
          fall: fc.integer({ min: 1, max: 5 }),
        }),
        isNewQuestion: fc.boolean(),
      }),
    },
  )

  test("handle() never overlaps probes, repeats a state, or goes back in time", () => {
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 120 }),
        fc.double({ min: 0, max: 0.99 }),
        (events, phase) => {
          const bench = new Bench({ phase: Number.isNaN(phase) ? 0 : phase, firstWithinMs: 500 })
          let isOwed = false // a probe was asked for and has not ended
          let isStarted = false
          let state: HealthState = "unknown"
          for (const each of events) {
            if (each.type === "expire" && bench.machine.deadline() === undefined) continue
            if (each.type === "started" && (!isOwed || isStarted)) continue
            if (each.type === "result" && !isStarted) continue
            const actions = each.type === "expire" ? bench.expire(each.lateMs) : bench.give(each)
            if (each.type === "started") isStarted = true
            if (each.type === "result") isOwed = isStarted = false
            for (const action of actions) {
              if (action.type === "probe") {
                expect(isOwed).toBe(false)
                isOwed = true
              }
              if (action.type === "abort") expect(isStarted).toBe(true)
              if (action.type === "change") {
                expect(action.state).not.toBe(state)
                state = action.state
              }
            }
            expect(bench.state).toBe(state)
            const deadline = bench.machine.deadline()
            if (deadline === undefined) expect(isOwed && !isStarted).toBe(true)
            else expect(deadline).toBeGreaterThanOrEqual(bench.now - 0.001)
          }
        },
      ),
      { numRuns: 500 },
    )
  })
})
