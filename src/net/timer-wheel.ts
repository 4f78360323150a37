/**
 * Timers for many connections: a hashed wheel with O(1) arm and cancel.
 *
 * A connection re-arms its timer far more often than one fires, so a heap's log n would be paid at
 * every packet. Here an entry is a link in the list of its slot; entries further away than one turn
 * of the wheel wait in the slot they hash to and are passed over until their turn. A timer fires
 * up to one tick late and never early; of a crowd that is due at once, some later, so that those
 * who are served meanwhile have their turn.
 */
import type { Instant } from "./time.ts"

/** A thing with one timer. Extend it; the fields belong to the wheel. */
export abstract class TimerEntry {
  wheelNext: TimerEntry | undefined = undefined
  wheelPrevious: TimerEntry | undefined = undefined
  /** Slot index, or -1 while not armed. */
  wheelSlot = -1
  /** Tick at which it fires. */
  wheelTick = 0

  /** Called once, when the deadline has passed; the entry is disarmed by then. */
  abstract onTimer(now: Instant): void

  /** `onTimer` threw: release everything the entry serves. Must not throw. */
  abstract fail(error: unknown): void
}

const SLOTS = 4096
/** At a time: a handler takes some 40 µs where it ends a connection. */
const FIRED_MAX = 32

export class TimerWheel {
  readonly #tickMs: number
  readonly #slots: (TimerEntry | undefined)[] = new Array(SLOTS).fill(undefined)
  #tick: number
  #armed = 0

  constructor(now: Instant, tickMs = 8) {
    this.#tickMs = tickMs
    this.#tick = Math.floor(now / tickMs)
  }

  get armed(): number {
    return this.#armed
  }

  /** Arms or re-arms `entry` to fire at `deadline`, or in the next tick when that has passed. */
  arm(entry: TimerEntry, deadline: Instant): void {
    if (entry.wheelSlot >= 0) this.cancel(entry)
    const tick = Math.max(Math.ceil(deadline / this.#tickMs), this.#tick + 1)
    const slot = tick % SLOTS
    const head = this.#slots[slot]
    entry.wheelTick = tick
    entry.wheelSlot = slot
    entry.wheelPrevious = undefined
    entry.wheelNext = head
    if (head !== undefined) head.wheelPrevious = entry
    this.#slots[slot] = entry
    this.#armed++
  }

  cancel(entry: TimerEntry): void {
    if (entry.wheelSlot < 0) return
    const { wheelNext: next, wheelPrevious: previous } = entry
    if (previous === undefined) this.#slots[entry.wheelSlot] = next
    else previous.wheelNext = next
    if (next !== undefined) next.wheelPrevious = previous
    entry.wheelNext = undefined
    entry.wheelPrevious = undefined
    entry.wheelSlot = -1
    this.#armed--
  }

  /** When an armed entry fires, to the tick. */
  deadlineOf(entry: TimerEntry): Instant {
    return (entry.wheelTick * this.#tickMs) as Instant
  }

  /**
   * Fires what is due, up to `firedMax`; what is left has `waitMs` 0 and comes first the next time.
   * Handlers may arm and cancel any entry, themselves included.
   */
  advance(now: Instant, firedMax = FIRED_MAX): void {
    const target = Math.floor(now / this.#tickMs)
    // After a long pause one turn visits every slot; more would only repeat it.
    if (target - this.#tick > SLOTS) this.#tick = target - SLOTS
    let left = firedMax
    while (this.#tick < target) {
      this.#tick++
      left -= this.#fire(this.#tick % SLOTS, { target, now, firedMax: left })
      if (left > 0) continue
      this.#tick-- // there may be more of it
      return
    }
  }

  /** How long until something may be due, at most `limitMs`; a whole number of milliseconds. */
  waitMs(now: Instant, limitMs: number): number {
    if (this.#armed === 0) return limitMs
    const last = Math.floor((now + limitMs) / this.#tickMs)
    for (let tick = this.#tick + 1; tick <= last; tick++) {
      if (this.#slots[tick % SLOTS] === undefined) continue
      return Math.max(0, Math.ceil(tick * this.#tickMs - now))
    }
    return limitMs
  }

  /** Returns how many were due. */
  #fire(slot: number, { target, now, firedMax }: FireOptions): number {
    const due: TimerEntry[] = []
    for (let entry = this.#slots[slot]; entry !== undefined; entry = entry.wheelNext) {
      if (entry.wheelTick > target) continue
      due.push(entry)
      if (due.length === firedMax) break
    }
    for (const entry of due) {
      if (entry.wheelSlot !== slot || entry.wheelTick > target) continue // re-armed by another
      this.cancel(entry)
      try {
        entry.onTimer(now)
      } catch (error) {
        entry.fail(error)
      }
    }
    return due.length
  }
}

interface FireOptions {
  /** The tick that time has come to. */
  readonly target: number
  readonly now: Instant
  readonly firedMax: number
}
