import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type Instant, instant } from "./time.ts"
import { TimerEntry, TimerWheel } from "./timer-wheel.ts"

class Timer extends TimerEntry {
  readonly firedAt: number[] = []
  readonly failures: unknown[] = []
  #action: () => void

  constructor(action: () => void = () => {}) {
    super()
    this.#action = action
  }

  override onTimer(now: Instant): void {
    this.firedAt.push(now)
    this.#action()
  }

  override fail(error: unknown): void {
    this.failures.push(error)
  }
}

/** One turn of the wheel: 4096 slots of 8 ms. */
const TURN_MS = 32_768

/** Advances tick by tick, as a loop that wakes on time does. */
function advanceTo(wheel: TimerWheel, from: number, to: number): void {
  for (let now = from; now <= to; now += 4) wheel.advance(instant(now))
}

describe("TimerWheel", () => {
  test("fires at the first tick that is not before the deadline, and once", () => {
    const wheel = new TimerWheel(instant(1000))
    const timer = new Timer()
    wheel.arm(timer, instant(1020))
    wheel.advance(instant(1019.9))
    expect(timer.firedAt).toEqual([])
    wheel.advance(instant(1024))
    wheel.advance(instant(9000))
    expect(timer.firedAt).toEqual([1024])
    expect(wheel.armed).toBe(0)
  })

  test("arm() with a deadline that has passed fires in the next tick, not at once", () => {
    const wheel = new TimerWheel(instant(1000))
    const timer = new Timer()
    wheel.arm(timer, instant(500))
    wheel.advance(instant(1000))
    expect(timer.firedAt).toEqual([])
    wheel.advance(instant(1008))
    expect(timer.firedAt).toEqual([1008])
  })

  test("arm() again moves the deadline, in both directions", () => {
    const wheel = new TimerWheel(instant(0))
    const [later, sooner] = [new Timer(), new Timer()]
    wheel.arm(later, instant(80))
    wheel.arm(later, instant(160))
    wheel.arm(sooner, instant(160))
    wheel.arm(sooner, instant(80))
    expect(wheel.armed).toBe(2)
    advanceTo(wheel, 0, 400)
    expect([later.firedAt, sooner.firedAt]).toEqual([[160], [80]])
  })

  test("passes over entries that are turns of the wheel away", () => {
    const wheel = new TimerWheel(instant(0))
    const timers = [0, 1, 2].map((turn) => {
      const timer = new Timer()
      wheel.arm(timer, instant(80 + turn * TURN_MS))
      return timer
    })
    advanceTo(wheel, 0, 80 + 3 * TURN_MS)
    expect(timers.map(({ firedAt }) => firedAt)).toEqual([[80], [32_848], [65_616]])
  })

  test("fires all that is due after a pause of many turns", () => {
    const wheel = new TimerWheel(instant(0))
    const timers = [8, TURN_MS, 3 * TURN_MS + 16].map((deadline) => {
      const timer = new Timer()
      wheel.arm(timer, instant(deadline))
      return timer
    })
    wheel.advance(instant(10 * TURN_MS))
    expect(timers.map(({ firedAt }) => firedAt.length)).toEqual([1, 1, 1])
  })

  test("cancel() of any entry of a slot leaves the others, and may be repeated", () => {
    for (const cancelled of [0, 1, 2]) {
      const wheel = new TimerWheel(instant(0))
      const timers = [new Timer(), new Timer(), new Timer()]
      for (const timer of timers) wheel.arm(timer, instant(16))
      for (let time = 0; time < 2; time++) wheel.cancel(timers[cancelled] as Timer)
      wheel.advance(instant(16))
      expect(timers.map(({ firedAt }) => firedAt.length)).toEqual(
        [0, 1, 2].map((index) => (index === cancelled ? 0 : 1)),
      )
    }
  })

  test("a handler may cancel another entry of its slot, and arm itself or others", () => {
    const wheel = new TimerWheel(instant(0))
    const victim = new Timer()
    const other = new Timer()
    const timer: Timer = new Timer(() => {
      wheel.cancel(victim)
      wheel.arm(other, instant(24))
      if (timer.firedAt.length === 1) wheel.arm(timer, instant(16 + TURN_MS))
    })
    // The last one armed fires first.
    wheel.arm(victim, instant(16))
    wheel.arm(timer, instant(16))
    wheel.advance(instant(16))
    expect([victim.firedAt, other.firedAt, timer.firedAt]).toEqual([[], [], [16]])
    advanceTo(wheel, 16, 16 + TURN_MS)
    expect([victim.firedAt, other.firedAt, timer.firedAt]).toEqual([[], [24], [16, 32_784]])
  })

  test("of a crowd so many fire at a time, and none is forgotten or fired twice", () => {
    const wheel = new TimerWheel(instant(0))
    const crowd = Array.from({ length: 100 }, (_, at) => {
      const timer = new Timer(() => at % 10 === 0 && timer.firedAt.length === 1 && again(timer))
      return timer
    })
    const again = (timer: Timer) => wheel.arm(timer, instant(0))
    for (const [at, timer] of crowd.entries()) wheel.arm(timer, instant(at < 60 ? 100 : 104))
    const fired = () => crowd.flatMap(({ firedAt }) => firedAt).length
    for (let before = 0; wheel.armed > 0; before = fired()) {
      expect(wheel.waitMs(instant(120), 50)).toBe(0)
      wheel.advance(instant(120), 7)
      expect(fired() - before).toBeWithin(1, 8)
    }
    expect(crowd.map(({ firedAt }) => firedAt.length)).toEqual(
      crowd.map((_, at) => (at % 10 === 0 ? 2 : 1)),
    )
  })

  test("an exception is the entry's own, the others fire", () => {
    const wheel = new TimerWheel(instant(0))
    const faulty = new Timer(() => {
      throw new Error("no")
    })
    const healthy = new Timer()
    wheel.arm(healthy, instant(8))
    wheel.arm(faulty, instant(8))
    wheel.advance(instant(8))
    expect(faulty.failures).toEqual([new Error("no")])
    expect(healthy.firedAt).toEqual([8])
  })

  test("waitMs() is the time to the next slot in use, rounded up, within the limit", () => {
    const wheel = new TimerWheel(instant(1000))
    expect(wheel.waitMs(instant(1000), 100)).toBe(100)
    const timer = new Timer()
    wheel.arm(timer, instant(1041))
    expect(wheel.waitMs(instant(1000), 100)).toBe(48)
    expect(wheel.waitMs(instant(1040.5), 100)).toBe(8)
    expect(wheel.waitMs(instant(1048.1), 100)).toBe(0)
    expect(wheel.waitMs(instant(1000), 40)).toBe(40)
    wheel.cancel(timer)
    expect(wheel.waitMs(instant(1000), 100)).toBe(100)
  })
})

type Step =
  | { readonly type: "arm"; readonly timer: number; readonly delayMs: number }
  | { readonly type: "cancel"; readonly timer: number }
  | { readonly type: "advance"; readonly ms: number }

const TIMERS = 6
const timer = fc.nat(TIMERS - 1)
const delayMs = fc.oneof(fc.nat(64), fc.nat(2 * TURN_MS), fc.constantFrom(-50, 0, TURN_MS, 40_960))
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant("arm" as const), timer, delayMs }),
  fc.record({ type: fc.constant("cancel" as const), timer }),
  fc.record({ type: fc.constant("advance" as const), ms: delayMs.map((ms) => Math.abs(ms) / 3) }),
)

test("TimerWheel agrees with a sorted list over any arms, cancels and pauses", () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.array(step, { maxLength: 60 }), (start, steps) => {
      let now = start
      const wheel = new TimerWheel(instant(now))
      const timers = Array.from({ length: TIMERS }, () => new Timer())
      const model = new Map<number, number>()
      for (const each of steps) {
        if (each.type === "arm") {
          wheel.arm(timers[each.timer] as Timer, instant(now + each.delayMs))
          // Never early, at most one tick late, and never in the tick it was armed in.
          const tick = Math.max(Math.ceil((now + each.delayMs) / 8), Math.floor(now / 8) + 1)
          model.set(each.timer, tick * 8)
        } else if (each.type === "cancel") {
          wheel.cancel(timers[each.timer] as Timer)
          model.delete(each.timer)
        } else {
          now += each.ms
          for (const { firedAt } of timers) firedAt.length = 0
          wheel.advance(instant(now))
          const due = [...model].filter(([, at]) => at <= now).map(([index]) => index)
          for (const index of due) model.delete(index)
          const fired = timers.flatMap(({ firedAt }, index) => firedAt.map(() => index))
          expect(fired).toEqual(due.sort())
        }
        expect(wheel.armed).toBe(model.size)
        const next = Math.min(...model.values())
        const waitMs = wheel.waitMs(instant(now), 100)
        expect(now + waitMs).toBeLessThanOrEqual(Math.max(now, Math.min(next + 1, now + 100)))
      }
    }),
  )
})
