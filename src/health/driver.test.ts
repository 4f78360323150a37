import { describe, expect, test } from "bun:test"
import type { CheckConfig } from "../config/config.ts"
import type { Address } from "../net/address.ts"
import { type Instant, instant } from "../net/time.ts"
import type { ProbeResult } from "./check-machine.ts"
import { type CheckClock, type CheckTarget, type HealthChange, HealthChecker } from "./driver.ts"
import type { ProbeRun, ProbeTarget } from "./probes/probe.ts"

const TCP: CheckConfig = {
  type: "tcp",
  intervalMs: 2000,
  timeoutMs: 1000,
  rise: 2,
  fall: 3,
  port: undefined,
}
const PASS: ProbeResult = { ok: true, reason: "pass", durationMs: 1, inconclusive: false }
const FAIL: ProbeResult = { ok: false, reason: "fail", durationMs: 1, inconclusive: false }

function target(id: string, overrides: Partial<CheckTarget> = {}): CheckTarget {
  const address = { address: "192.0.2.1" as Address, port: 80 }
  return { id, name: id, check: TCP, address, env: {}, ...overrides }
}

/** Time stands still until a test moves it. Wall clock: one day after the epoch at the start. */
class FakeClock implements CheckClock {
  #now = 0
  #timers: { readonly at: number; readonly callback: () => void }[] = []

  now(): Instant {
    return instant(this.#now)
  }

  epochMs(): number {
    return 86_400_000 + this.#now
  }

  callAt(at: Instant, callback: () => void): () => void {
    const timer = { at, callback }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((each) => each !== timer)
    }
  }

  get armed(): number {
    return this.#timers.length
  }

  /** Fires what falls due, in order, letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    for (;;) {
      const next = this.#timers.toSorted((a, b) => a.at - b.at)[0]
      if (next === undefined || next.at > end) break
      this.#now = Math.max(this.#now, next.at)
      this.#timers = this.#timers.filter((each) => each !== next)
      next.callback()
      await settle()
    }
    this.#now = end
    await settle()
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve()
}

interface Running {
  readonly target: ProbeTarget
  readonly run: ProbeRun
  readonly finish: (result: ProbeResult) => void
}

/** A checker whose probes the test answers: by `verdicts` at once, else by hand. */
class Bench {
  readonly clock = new FakeClock()
  readonly changes: [string, HealthChange][] = []
  readonly verdicts = new Map<string, ProbeResult>()
  /** Begin of every probe, in milliseconds, by target. */
  readonly starts: [string, number][] = []
  running: Running[] = []
  runningMax = 0
  readonly checker = new HealthChecker({
    clock: this.clock,
    onChange: (id, change) => this.changes.push([id, change]),
    probe: (probed, run) => this.#probe(probed, run),
  })

  #probe(probed: ProbeTarget, run: ProbeRun): Promise<ProbeResult> {
    this.starts.push([probed.name, this.clock.now()])
    const verdict = this.verdicts.get(probed.name)
    if (verdict !== undefined) return Promise.resolve(verdict)
    return new Promise((resolve) => {
      const running: Running = {
        target: probed,
        run,
        finish: (result) => {
          this.running = this.running.filter((each) => each !== running)
          resolve(result)
        },
      }
      this.running.push(running)
      this.runningMax = Math.max(this.runningMax, this.running.length)
      run.signal.addEventListener("abort", () => running.finish(FAIL))
    })
  }
}

describe("checks", () => {
  test("set() checks a few targets at once and tells what was found", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS).set("b", FAIL)
    bench.checker.set([target("a"), target("b")])
    await bench.clock.advance(0)
    expect(bench.changes).toEqual([
      ["a", { state: "up", reason: "pass", sinceEpochMs: 86_400_000 }],
      ["b", { state: "down", reason: "fail", sinceEpochMs: 86_400_000 }],
    ])
  })

  test("snapshot() shows state, reason, times and counters", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a", { name: "a" })])
    expect(bench.checker.get("a")).toMatchObject({ state: "unknown", reason: "not checked yet" })
    await bench.clock.advance(0)
    bench.verdicts.set("a", FAIL)
    await bench.clock.advance(7000)
    expect(bench.checker.snapshot()).toEqual([
      {
        id: "a",
        name: "a",
        state: "down",
        reason: "fail",
        sinceEpochMs: expect.any(Number),
        lastResult: FAIL,
        checks: 4,
        failed: 3,
        inconclusive: 0,
      },
    ])
    expect(bench.checker.get("b")).toBeUndefined()
  })

  test("a probe that never answers is aborted and counted when its time is up", async () => {
    const bench = new Bench()
    bench.checker.set([target("a")])
    await bench.clock.advance(0)
    const [probe] = bench.running
    if (probe !== undefined) probe.run.phase = "connecting"
    await bench.clock.advance(1000)
    expect(probe?.run.signal.aborted).toBe(true)
    expect(bench.changes).toMatchObject([
      ["a", { state: "down", reason: "no answer within 1000 ms, connecting" }],
    ])
  })

  test("firstResults() resolves when every target was checked once", async () => {
    const bench = new Bench()
    let isResolved = false
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a"), target("b")])
    const waiting = bench.checker.firstResults().then(() => {
      isResolved = true
    })
    await bench.clock.advance(999)
    expect(isResolved).toBe(false)
    await bench.clock.advance(1)
    await waiting
    expect(bench.checker.get("b")?.state).toBe("down")
  })

  test("firstResults() resolves when the targets without a result are gone", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a"), target("b")])
    await bench.clock.advance(0)
    const waiting = bench.checker.firstResults()
    bench.checker.set([target("a")])
    expect(await waiting).toBeUndefined()
  })

  test("firstResults() resolves at once when there is nothing to check", async () => {
    expect(await new Bench().checker.firstResults()).toBeUndefined()
  })
})

describe("reload", () => {
  test("set() leaves a target alone when nothing changed", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a")])
    await bench.clock.advance(5000)
    const before = bench.checker.snapshot()
    const starts = bench.starts.length
    for (let reload = 0; reload < 10; reload++) bench.checker.set([target("a")])
    await bench.clock.advance(0)
    expect(bench.checker.snapshot()).toEqual(before)
    expect([bench.starts.length, bench.changes.length]).toEqual([starts, 1])
  })

  test("set() keeps the probe in flight when nothing changed", async () => {
    const bench = new Bench()
    bench.checker.set([target("a")])
    await bench.clock.advance(10)
    bench.checker.set([target("a"), target("b")])
    await bench.clock.advance(10)
    expect(bench.running.map((each) => each.target.name)).toEqual(["a", "b"])
    expect(bench.running[0]?.run.signal.aborted).toBe(false)
  })

  test("set() keeps the state and asks again at once when the question changes", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a")])
    await bench.clock.advance(100)
    bench.verdicts.set("a", FAIL)
    bench.checker.set([target("a", { check: { ...TCP, port: 81 } })])
    expect(bench.checker.get("a")?.state).toBe("up")
    await bench.clock.advance(0)
    expect(bench.changes.map(([, { state }]) => state)).toEqual(["up", "down"])
  })

  test("set() asks nothing new when only the timing changes", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a")])
    await bench.clock.advance(100)
    bench.verdicts.set("a", FAIL)
    const timing = { intervalMs: 100, timeoutMs: 90, rise: 5, fall: 2 }
    bench.checker.set([target("a", { check: { ...TCP, ...timing } })])
    await bench.clock.advance(0)
    expect(bench.starts).toHaveLength(1)
    await bench.clock.advance(200)
    expect(bench.changes.map(([, { state }]) => state)).toEqual(["up"])
    await bench.clock.advance(100)
    expect(bench.changes.map(([, { state }]) => state)).toEqual(["up", "down"])
  })

  test("set() starts unknown, and says so, when another server takes the place", async () => {
    const bench = new Bench()
    bench.verdicts.set("a", PASS)
    bench.checker.set([target("a")])
    await bench.clock.advance(100)
    bench.checker.set([target("a", { address: { address: "192.0.2.2" as Address, port: 80 } })])
    expect(bench.changes.at(-1)).toEqual([
      "a",
      { state: "unknown", reason: "not checked yet", sinceEpochMs: 86_400_100 },
    ])
    expect(bench.checker.get("a")).toMatchObject({ state: "unknown", checks: 0 })
  })

  test("set() aborts and forgets a target that is gone", async () => {
    const bench = new Bench()
    bench.checker.set([target("a")])
    await bench.clock.advance(0)
    const [probe] = bench.running
    bench.checker.set([])
    await settle()
    expect(probe?.run.signal.aborted).toBe(true)
    expect([bench.checker.snapshot(), bench.changes, bench.clock.armed]).toEqual([[], [], 0])
  })

  test("set() throws when two targets have the same id", () => {
    expect(() => new Bench().checker.set([target("a"), target("a")])).toThrow("the same id")
  })

  test("stop() leaves no probe and no timer", async () => {
    const bench = new Bench()
    bench.checker.set(Array.from({ length: 2000 }, (_, index) => target(`t${index}`)))
    await bench.clock.advance(600)
    expect(bench.running.length).toBe(1024)
    bench.checker.stop()
    await settle()
    expect([bench.running.length, bench.clock.armed]).toEqual([0, 0])
  })
})

describe("many targets", () => {
  const many = (count: number, overrides: Partial<CheckTarget> = {}) =>
    Array.from({ length: count }, (_, index) => target(`t${index}`, overrides))

  test("set() starts all first checks at once when there are at most 64", async () => {
    const bench = new Bench()
    bench.checker.set(many(64))
    await bench.clock.advance(0)
    expect(bench.running.length).toBe(64)
  })

  test("set() spreads first checks over 500 ms when there are more", async () => {
    const bench = new Bench()
    for (const { name } of many(1000)) bench.verdicts.set(name, PASS)
    bench.checker.set(many(1000))
    await bench.clock.advance(499)
    expect(new Set(bench.starts.map(([name]) => name)).size).toBeGreaterThan(990)
    const quarters = countPer(
      bench.starts.map(([, at]) => at),
      125,
    )
    expect(Math.min(...quarters)).toBeGreaterThan(190)
    await bench.clock.advance(1)
    expect(bench.changes.length).toBe(1000)
  })

  test("set() spreads them within the interval when that is shorter", async () => {
    const bench = new Bench()
    bench.checker.set(many(100, { check: { ...TCP, intervalMs: 100 } }))
    await bench.clock.advance(100)
    expect(new Set(bench.starts.map(([name]) => name)).size).toBe(100)
  })

  test("checks come as an even stream after the first round", async () => {
    const bench = new Bench()
    for (const { name } of many(1000)) bench.verdicts.set(name, PASS)
    bench.checker.set(many(1000))
    await bench.clock.advance(10_000)
    const later = bench.starts.map(([, at]) => at).filter((at) => at >= 4000 && at < 10_000)
    const tenths = countPer(
      later.map((at) => at - 4000),
      200,
    )
    expect(later.length).toBe(3000)
    expect(Math.min(...tenths)).toBeGreaterThan(70)
    expect(Math.max(...tenths)).toBeLessThan(130)
  })

  test("no more probes run than there is room for, and all get their turn", async () => {
    const bench = new Bench()
    const patient = { ...TCP, timeoutMs: 60_000 }
    bench.checker.set(many(3000, { check: patient }))
    await bench.clock.advance(500)
    expect([bench.running.length, bench.runningMax]).toEqual([1024, 1024])
    while (bench.running[0] !== undefined) {
      bench.running[0].finish(PASS)
      await settle()
    }
    expect(bench.changes.length).toBe(3000)
    expect(bench.runningMax).toBe(1024)
  })

  test("commands do not take the place of other probes", async () => {
    const bench = new Bench()
    const command: CheckConfig = { ...TCP, type: "command", command: ["/bin/true"] }
    bench.checker.set([...many(50, { check: command }), target("web")])
    await bench.clock.advance(0)
    expect(bench.running.length).toBe(33)
    expect(bench.running.at(-1)?.target.name).toBe("web")
  })
})

/** How many of `times` fall into each span of `spanMs`. */
function countPer(times: readonly number[], spanMs: number): number[] {
  const counts: number[] = []
  for (const time of times) {
    const span = Math.floor(time / spanMs)
    counts[span] = (counts[span] ?? 0) + 1
  }
  return Array.from(counts, (count) => count ?? 0)
}
