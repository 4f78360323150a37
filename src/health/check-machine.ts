/**
 * One target's check: when to probe, and what the answers come to.
 *
 * Two things live here and nowhere else. The hysteresis: `fall` failures in a row take a target
 * down, `rise` successes in a row bring it up, and the very first result decides alone, because a
 * start that waited for `rise` results would keep healthy servers out for seconds. The schedule:
 * one probe at a time, at the target's own place in the interval, so that a thousand checks make an
 * even stream instead of a volley.
 *
 * What is not the target's fault must not take it down. A probe that could not be made (no
 * descriptor, no free port) counts neither way. And when the timeout is noticed much too late, it
 * was this process that slept, and the answer may lie unread in the socket: it gets a last chance.
 */
import { after, type Instant } from "../net/time.ts"

export type HealthState = "unknown" | "up" | "down"

/** What one probe found. */
export interface ProbeResult {
  readonly ok: boolean
  /** For a person: what was found, or what went wrong. */
  readonly reason: string
  readonly durationMs: number
  /** The probe could not be made, for want of something on this machine: no word on the target. */
  readonly inconclusive: boolean
}

export interface CheckTiming {
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly rise: number
  readonly fall: number
}

export interface CheckMachineOptions {
  readonly timing: CheckTiming
  /** The target's place in the interval, 0 ≤ phase < 1. */
  readonly phase: number
  /** The first check starts within this time, at the same place. */
  readonly firstWithinMs: number
}

export type CheckInput =
  /** A deadline has passed. `phase` is what the probe in flight is doing, such as "connecting". */
  | { readonly type: "timeout"; readonly phase: string }
  /** The probe asked for has begun. */
  | { readonly type: "started" }
  /** The probe has ended, by itself or because it was aborted. */
  | { readonly type: "result"; readonly result: ProbeResult }
  /**
   * New configuration. With `isNewQuestion` something other than the timing changed: the state is
   * kept (a reload must not empty a pool), and the next result decides alone.
   */
  | {
      readonly type: "configure"
      readonly timing: CheckTiming
      readonly isNewQuestion: boolean
    }

export type CheckAction =
  /** Probe as soon as there is room, and say `started`. */
  | { readonly type: "probe" }
  /** Give up the probe in flight; it still owes its `result`. */
  | { readonly type: "abort" }
  | { readonly type: "change"; readonly state: HealthState; readonly reason: string }

export interface CheckStatus {
  readonly state: HealthState
  /** Of the last result that speaks for the state. */
  readonly reason: string
  /** When the state was entered. */
  readonly since: Instant
  readonly lastResult: ProbeResult | undefined
  readonly checks: number
  readonly failed: number
  readonly inconclusive: number
}

/** Where the target is in its schedule. */
type Stage =
  | { readonly name: "waiting"; readonly dueAt: Instant }
  | { readonly name: "queued"; readonly dueAt: Instant }
  | {
      readonly name: "probing"
      readonly dueAt: Instant
      readonly startedAt: Instant
      readonly timeoutAt: Instant
      readonly isLastChance: boolean
    }
  /** Aborted, but not yet over; `dueAt` is when the next probe should have begun. */
  | { readonly name: "ending"; readonly dueAt: Instant }

export class CheckMachine {
  readonly #phase: number
  readonly #createdAt: Instant
  #timing: CheckTiming
  #stage: Stage
  #state: HealthState = "unknown"
  #reason = "not checked yet"
  #since: Instant
  /** The next result decides alone. */
  #isFresh = true
  /** Results in a row that speak against the state. */
  #against = 0
  #lastResult: ProbeResult | undefined
  #checks = 0
  #failed = 0
  #inconclusive = 0

  constructor({ timing, phase, firstWithinMs }: CheckMachineOptions, now: Instant) {
    this.#timing = timing
    this.#phase = phase
    this.#createdAt = now
    this.#since = now
    this.#stage = { name: "waiting", dueAt: after(now, phase * firstWithinMs) }
  }

  handle(input: CheckInput, now: Instant): CheckAction[] {
    switch (input.type) {
      case "timeout":
        return this.#onTimeout(input.phase, now)
      case "started":
        return this.#onStarted(now)
      case "result":
        return this.#onResult(input.result, now)
      case "configure":
        return this.#onConfigure(input.timing, input.isNewQuestion, now)
    }
  }

  /** When to hand in the next `timeout`; undefined while the probe waits for room. */
  deadline(): Instant | undefined {
    switch (this.#stage.name) {
      case "queued":
        return undefined
      case "probing":
        return this.#stage.timeoutAt
      default:
        return this.#stage.dueAt
    }
  }

  status(): CheckStatus {
    return {
      state: this.#state,
      reason: this.#reason,
      since: this.#since,
      lastResult: this.#lastResult,
      checks: this.#checks,
      failed: this.#failed,
      inconclusive: this.#inconclusive,
    }
  }

  #onTimeout(phase: string, now: Instant): CheckAction[] {
    const stage = this.#stage
    const deadline = this.deadline()
    if (deadline === undefined || now < deadline) return []
    switch (stage.name) {
      case "waiting":
        this.#stage = { name: "queued", dueAt: stage.dueAt }
        return [{ type: "probe" }]
      case "probing":
        return this.#onProbeTimeout(stage, phase, now)
      case "ending":
        // Cannot be killed, such as a program in uninterruptible sleep. Silence would be no news.
        this.#stage = { name: "ending", dueAt: this.#nextDue(stage.dueAt, now) }
        return this.#count(failure("the last check has not ended yet", 0), now)
      default:
        return []
    }
  }

  #onProbeTimeout(
    stage: Extract<Stage, { name: "probing" }>,
    phase: string,
    now: Instant,
  ): CheckAction[] {
    if (now - stage.timeoutAt > LATE_MS_MAX && !stage.isLastChance) {
      this.#stage = { ...stage, timeoutAt: after(now, LAST_CHANCE_MS), isLastChance: true }
      return []
    }
    this.#stage = { name: "ending", dueAt: this.#nextDue(stage.dueAt, now) }
    const reason = `no answer within ${this.#timing.timeoutMs} ms${phase && `, ${phase}`}`
    return [{ type: "abort" }, ...this.#count(failure(reason, now - stage.startedAt), now)]
  }

  #onStarted(now: Instant): CheckAction[] {
    const stage = this.#stage
    if (stage.name !== "queued") return []
    this.#stage = {
      name: "probing",
      dueAt: stage.dueAt,
      startedAt: now,
      timeoutAt: after(now, this.#timing.timeoutMs),
      isLastChance: false,
    }
    return []
  }

  #onResult(result: ProbeResult, now: Instant): CheckAction[] {
    const stage = this.#stage
    if (stage.name === "ending") {
      this.#stage = { name: "waiting", dueAt: stage.dueAt }
      return [] // counted when it was given up
    }
    if (stage.name !== "probing") return []
    this.#stage = { name: "waiting", dueAt: this.#nextDue(stage.dueAt, now) }
    return this.#count(result, now)
  }

  #onConfigure(timing: CheckTiming, isNewQuestion: boolean, now: Instant): CheckAction[] {
    this.#timing = timing
    if (isNewQuestion) this.#isFresh = true
    const stage = this.#stage
    if (stage.name === "queued") return []
    if (stage.name === "probing") {
      if (!isNewQuestion) return []
      // It asks the old question, so whatever it finds no longer counts.
      this.#stage = { name: "ending", dueAt: now }
      return [{ type: "abort" }]
    }
    const latest = isNewQuestion ? now : after(now, timing.intervalMs)
    if (stage.dueAt > latest) this.#stage = { ...stage, dueAt: latest }
    return []
  }

  #count(result: ProbeResult, now: Instant): CheckAction[] {
    this.#checks++
    this.#lastResult = result
    if (result.inconclusive) {
      this.#inconclusive++
      return []
    }
    if (!result.ok) this.#failed++
    const verdict = result.ok ? "up" : "down"
    if (verdict === this.#state) {
      this.#isFresh = false
      this.#against = 0
      this.#reason = result.reason
      return []
    }
    this.#against++
    const needed = result.ok ? this.#timing.rise : this.#timing.fall
    if (!this.#isFresh && this.#against < needed) return []
    return this.#change(verdict, result.reason, now)
  }

  #change(state: HealthState, reason: string, now: Instant): CheckAction[] {
    this.#isFresh = false
    this.#against = 0
    this.#state = state
    this.#reason = reason
    this.#since = now
    return [{ type: "change", state, reason }]
  }

  /**
   * The first of the target's places in the interval that leaves at least half an interval after
   * `dueAt` and is still ahead. A place that was missed is not made up for.
   */
  #nextDue(dueAt: Instant, now: Instant): Instant {
    const { intervalMs } = this.#timing
    const earliest = Math.max(dueAt + intervalMs / 2, now)
    const origin = this.#createdAt + this.#phase * intervalMs
    const places = Math.ceil((earliest - origin) / intervalMs)
    return after(this.#createdAt, (places + this.#phase) * intervalMs)
  }
}

function failure(reason: string, durationMs: number): ProbeResult {
  return { ok: false, reason, durationMs, inconclusive: false }
}

/** Timers of a healthy process are late by a few milliseconds, a collected one by tens. */
const LATE_MS_MAX = 100
/** Enough for the event loop to read what has arrived meanwhile. */
const LAST_CHANCE_MS = 50
