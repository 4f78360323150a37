/**
 * Runs all health checks, on the control thread: timers, the queue for probes, and who is told.
 *
 * `set` takes the whole desired list and compares it by id with what runs. A target that did not
 * change keeps its state, counters and place in the schedule, which is what lets a reload pass
 * unnoticed; one that asks something new keeps its state until the next result; one whose address
 * or type of check changed is another target and starts unknown.
 *
 * How many probes run at once is bounded, apart for sockets and for programs, which cost so much
 * more. Who finds no room waits in line; a target stands there at most once, so no target can
 * crowd out another.
 */
import { monotonicNow } from "../linux/clock.ts"
import type { Endpoint } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import { hashText } from "../pool/hash.ts"
import {
  type CheckAction,
  type CheckInput,
  CheckMachine,
  type HealthState,
  type ProbeResult,
} from "./check-machine.ts"
import { type ProbeRun, type ProbeTarget, runProbe } from "./probes/probe.ts"
import { probeOf } from "./probes/probe-table.ts"

export interface CheckTarget extends ProbeTarget {
  /** Unique, and the same from one configuration to the next. */
  readonly id: string
}

export interface HealthChange {
  readonly state: HealthState
  readonly reason: string
  readonly sinceEpochMs: number
}

export interface CheckSnapshot extends HealthChange {
  readonly id: string
  readonly name: string
  readonly lastResult: ProbeResult | undefined
  readonly checks: number
  readonly failed: number
  /** Checks that could not be made, for want of something on this machine. */
  readonly inconclusive: number
}

/** Time as the checker needs it; tests bring their own. */
export interface CheckClock {
  now(): Instant
  epochMs(): number
  /** Calls back once at or after `at`. Returns what cancels it. */
  callAt(at: Instant, callback: () => void): () => void
}

export interface HealthCheckerOptions {
  /**
   * Called at once when a state changes, also back to `unknown` when `set` puts another server in
   * the place of one. Must not throw.
   */
  readonly onChange: (id: string, change: HealthChange) => void
  readonly clock?: CheckClock
  readonly probe?: (target: ProbeTarget, run: ProbeRun) => Promise<ProbeResult>
}

export class HealthChecker {
  readonly #options: Required<HealthCheckerOptions>
  readonly #jobs = new Map<string, Job>()
  readonly #socketLane = new Lane(SOCKET_PROBES_IN_FLIGHT_MAX)
  readonly #commandLane = new Lane(COMMAND_PROBES_IN_FLIGHT_MAX)
  /** Without a first result. */
  readonly #unchecked = new Set<Job>()
  #firstResultsWaiters: (() => void)[] = []

  constructor(options: HealthCheckerOptions) {
    this.#options = { clock: systemClock, probe: runTableProbe, ...options }
  }

  /** Makes `targets` what is checked. Throws when two of them have the same id. */
  set(targets: readonly CheckTarget[]): void {
    const wanted = new Map(targets.map((target) => [target.id, target]))
    if (wanted.size !== targets.length) throw new Error("Two check targets have the same id")
    for (const job of this.#jobs.values()) {
      const target = wanted.get(job.target.id)
      if (target === undefined) this.#remove(job)
      else if (isSameTarget(target, job.target)) this.#update(job, target)
      else this.#replace(job)
    }
    const added = targets.filter(({ id }) => !this.#jobs.has(id))
    const firstWithinMs = added.length > VOLLEY_TARGETS_MAX ? FIRST_WITHIN_MS : 0
    for (const target of added) this.#add(target, firstWithinMs)
    this.#tellFirstResults()
  }

  /** Ends everything; no probe, socket or timer stays. */
  stop(): void {
    this.set([])
  }

  snapshot(): CheckSnapshot[] {
    return [...this.#jobs.values()].map(snapshotOf)
  }

  get(id: string): CheckSnapshot | undefined {
    const job = this.#jobs.get(id)
    return job === undefined ? undefined : snapshotOf(job)
  }

  /** Resolves when every target has been checked once, or is gone. */
  firstResults(): Promise<void> {
    return new Promise((resolve) => {
      this.#firstResultsWaiters.push(resolve)
      this.#tellFirstResults()
    })
  }

  #add(target: CheckTarget, firstWithinMs: number): void {
    const { clock } = this.#options
    const options = {
      timing: target.check,
      phase: hashText(target.id) / 2 ** 32,
      firstWithinMs: Math.min(firstWithinMs, target.check.intervalMs),
    }
    const lane = target.check.type === "command" ? this.#commandLane : this.#socketLane
    const machine = new CheckMachine(options, clock.now())
    const job = new Job(target, machine, { lane, sinceEpochMs: clock.epochMs() })
    this.#jobs.set(target.id, job)
    this.#unchecked.add(job)
    this.#arm(job)
  }

  #update(job: Job, target: CheckTarget): void {
    const isNewQuestion = !isSameQuestion(target, job.target)
    job.target = target
    this.#feed(job, { type: "configure", timing: target.check, isNewQuestion })
  }

  /** Another target takes the job's place. */
  #replace(job: Job): void {
    this.#remove(job)
    if (job.machine.status().state !== "unknown") this.#tell(job, "unknown", "not checked yet")
  }

  #remove(job: Job): void {
    this.#jobs.delete(job.target.id)
    this.#unchecked.delete(job)
    job.lane.waiting.delete(job)
    job.cancelTimer()
    job.isRemoved = true
    job.abortion?.abort()
  }

  #feed(job: Job, input: CheckInput): void {
    const actions = job.machine.handle(input, this.#options.clock.now())
    for (const action of actions) this.#perform(job, action)
    this.#arm(job)
    if (job.machine.status().checks > 0 && this.#unchecked.delete(job)) this.#tellFirstResults()
  }

  #perform(job: Job, action: CheckAction): void {
    switch (action.type) {
      case "probe":
        job.lane.waiting.add(job)
        this.#admit(job.lane)
        break
      case "abort":
        job.abortion?.abort()
        break
      case "change":
        this.#tell(job, action.state, action.reason)
        break
    }
  }

  #tell(job: Job, state: HealthState, reason: string): void {
    job.sinceEpochMs = this.#options.clock.epochMs()
    this.#options.onChange(job.target.id, { state, reason, sinceEpochMs: job.sinceEpochMs })
  }

  #arm(job: Job): void {
    job.cancelTimer()
    const deadline = job.machine.deadline()
    if (deadline === undefined || job.isRemoved) return
    job.cancelTimer = this.#options.clock.callAt(deadline, () => {
      this.#feed(job, { type: "timeout", phase: job.run?.phase ?? "" })
    })
  }

  #admit(lane: Lane): void {
    for (const job of lane.waiting) {
      if (lane.inFlight >= lane.inFlightMax) return
      lane.waiting.delete(job)
      void this.#probe(job)
    }
  }

  async #probe(job: Job): Promise<void> {
    const { lane } = job
    const abortion = new AbortController()
    const run: ProbeRun = { signal: abortion.signal, phase: "" }
    job.abortion = abortion
    job.run = run
    lane.inFlight++
    this.#feed(job, { type: "started" })
    const result = await this.#options.probe(job.target, run)
    lane.inFlight--
    job.abortion = undefined
    job.run = undefined
    if (!job.isRemoved) this.#feed(job, { type: "result", result })
    this.#admit(lane)
  }

  #tellFirstResults(): void {
    if (this.#unchecked.size > 0) return
    for (const resolve of this.#firstResultsWaiters.splice(0)) resolve()
  }
}

/** A target with what belongs to it while it is checked. */
class Job {
  target: CheckTarget
  readonly machine: CheckMachine
  readonly lane: Lane
  sinceEpochMs: number
  isRemoved = false
  abortion: AbortController | undefined
  run: ProbeRun | undefined
  cancelTimer: () => void = () => {}

  constructor(
    target: CheckTarget,
    machine: CheckMachine,
    { lane, sinceEpochMs }: { readonly lane: Lane; readonly sinceEpochMs: number },
  ) {
    this.target = target
    this.machine = machine
    this.lane = lane
    this.sinceEpochMs = sinceEpochMs
  }
}

/** A bound on probes in flight, with those who wait for room, first come first. */
class Lane {
  readonly inFlightMax: number
  inFlight = 0
  readonly waiting = new Set<Job>()

  constructor(inFlightMax: number) {
    this.inFlightMax = inFlightMax
  }
}

function snapshotOf({ target, machine, sinceEpochMs }: Job): CheckSnapshot {
  const { since: _, ...status } = machine.status()
  return { id: target.id, name: target.name, ...status, sinceEpochMs }
}

function isSameTarget(left: CheckTarget, right: CheckTarget): boolean {
  return left.check.type === right.check.type && isSameEndpoint(left.address, right.address)
}

function isSameEndpoint(left: Endpoint | undefined, right: Endpoint | undefined): boolean {
  return left?.address === right?.address && left?.port === right?.port
}

/** Whether the probe would do the same, whatever the timing. */
function isSameQuestion(left: CheckTarget, right: CheckTarget): boolean {
  return Bun.deepEquals(questionOf(left), questionOf(right))
}

function questionOf({ name, check, env, proxyProtocol }: CheckTarget): unknown {
  const { intervalMs: _interval, timeoutMs: _timeout, rise: _rise, fall: _fall, ...rest } = check
  return check.type === "command" ? { name, env, rest } : { rest, proxyProtocol }
}

function runTableProbe(target: ProbeTarget, run: ProbeRun): Promise<ProbeResult> {
  return runProbe(probeOf(target.check.type), target, run)
}

const systemClock: CheckClock = {
  now: monotonicNow,
  epochMs: Date.now,
  callAt(at, callback) {
    const delayMs = Math.min(Math.max(0, Math.ceil(at - monotonicNow())), TIMER_MS_MAX)
    const timer = setTimeout(callback, delayMs)
    return () => clearTimeout(timer)
  },
}

/** Each costs a descriptor, of which the data threads want the most. */
const SOCKET_PROBES_IN_FLIGHT_MAX = 1024
/** Each costs a process. */
const COMMAND_PROBES_IN_FLIGHT_MAX = 32

/** So many first checks may start at once; more are spread, as start-up waits for them. */
const VOLLEY_TARGETS_MAX = 64
const FIRST_WITHIN_MS = 500

/** Beyond it `setTimeout` fires at once. */
const TIMER_MS_MAX = 2 ** 31 - 1
