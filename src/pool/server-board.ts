/**
 * What all threads know of every server: one row of numbers in memory they share.
 *
 * The control thread writes the operator's and the health checker's word; any data thread writes
 * the failures it meets. A data thread reads a row at the moment it picks a server, so a change
 * takes effect with no message and no delay. A row is eight aligned doubles, which every machine we
 * run on loads and stores whole; two threads that count a failure at the same instant may lose one
 * of the two, which a threshold over many seconds does not notice.
 *
 * A slot names a server for as long as it is configured: control hands them out
 * (`slot-allocator.ts`).
 */
import type { Instant } from "../net/time.ts"

/** 32 768 servers × 64 bytes = 2 MiB of address space, touched as used. */
export const SERVER_SLOTS_MAX = 32_768

export type Health = "up" | "down" | "unknown" | "unchecked"
export type AdminState = "ready" | "drain" | "maintenance"

const HEALTH: readonly Health[] = ["unchecked", "up", "down", "unknown"]
const ADMIN: readonly AdminState[] = ["ready", "drain", "maintenance"]

const CELLS = 8
const HEALTH_CELL = 0
const ADMIN_CELL = 1
const WEIGHT_CELL = 2
const FAILS_CELL = 3
const FAILS_SINCE_CELL = 4
const EJECTED_UNTIL_CELL = 5
const SLOW_START_CELL = 6

export class ServerBoard {
  readonly #cells: Float64Array

  constructor(buffer: SharedArrayBuffer) {
    this.#cells = new Float64Array(buffer)
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(SERVER_SLOTS_MAX * CELLS * Float64Array.BYTES_PER_ELEMENT)
  }

  health(slot: number): Health {
    return HEALTH[this.#read(slot, HEALTH_CELL)] ?? "unchecked"
  }

  /**
   * A check that brings a server back ends its ejection too, or each server of a rolling restart
   * would stay without work for `failTimeoutMs`.
   */
  setHealth(slot: number, health: Health): void {
    if (health === "up" && this.health(slot) === "down") this.#forgetFailures(slot)
    this.#write(slot, HEALTH_CELL, HEALTH.indexOf(health))
  }

  admin(slot: number): AdminState {
    return ADMIN[this.#read(slot, ADMIN_CELL)] ?? "ready"
  }

  setAdmin(slot: number, admin: AdminState): void {
    this.#write(slot, ADMIN_CELL, ADMIN.indexOf(admin))
  }

  weight(slot: number): number {
    return this.#read(slot, WEIGHT_CELL)
  }

  setWeight(slot: number, weight: number): void {
    this.#write(slot, WEIGHT_CELL, weight)
  }

  /** Since when it is ramping up after having been down; 0 when it is not. */
  slowStartSince(slot: number): number {
    return this.#read(slot, SLOW_START_CELL)
  }

  setSlowStartSince(slot: number, since: number): void {
    this.#write(slot, SLOW_START_CELL, since)
  }

  isEjected(slot: number, now: Instant): boolean {
    return this.#read(slot, EJECTED_UNTIL_CELL) > now
  }

  ejectedUntil(slot: number): number {
    return this.#read(slot, EJECTED_UNTIL_CELL)
  }

  /**
   * Counts a failed connect. At `maxFails` within `failTimeoutMs` the server is ejected for
   * `failTimeoutMs`; after that one more failure ejects it again, until a connect succeeds
   * (nginx `max_fails`). Returns whether this failure ejected it. `maxFails` 0: never.
   */
  recordFailure(
    slot: number,
    now: Instant,
    limits: { readonly maxFails: number; readonly failTimeoutMs: number },
  ): boolean {
    if (limits.maxFails === 0 || this.isEjected(slot, now)) return false
    const wasEjected = this.#read(slot, EJECTED_UNTIL_CELL) > 0
    const known = this.#read(slot, FAILS_CELL)
    const isFirst = known === 0 || now - this.#read(slot, FAILS_SINCE_CELL) > limits.failTimeoutMs
    const fails = isFirst ? 1 : known + 1
    if (isFirst) this.#write(slot, FAILS_SINCE_CELL, now)
    this.#write(slot, FAILS_CELL, fails)
    if (fails < limits.maxFails && !wasEjected) return false
    this.#write(slot, EJECTED_UNTIL_CELL, now + limits.failTimeoutMs)
    return true
  }

  /**
   * A connect succeeded: a server whose ejection is over has passed its trial. Any other success
   * says nothing: of a server that fails every second connect, one is always under way.
   */
  recordSuccess(slot: number, now: Instant): void {
    const ejectedUntil = this.#read(slot, EJECTED_UNTIL_CELL)
    if (ejectedUntil === 0 || ejectedUntil > now) return
    this.#forgetFailures(slot)
  }

  /** Makes the row that of a server nothing is known of. */
  reset(slot: number, weight: number, health: Health): void {
    this.#cells.fill(0, slot * CELLS, (slot + 1) * CELLS)
    this.setWeight(slot, weight)
    this.setHealth(slot, health)
  }

  #forgetFailures(slot: number): void {
    this.#write(slot, FAILS_CELL, 0)
    this.#write(slot, EJECTED_UNTIL_CELL, 0)
  }

  #read(slot: number, cell: number): number {
    return this.#cells[slot * CELLS + cell] as number
  }

  #write(slot: number, cell: number, value: number): void {
    this.#cells[slot * CELLS + cell] = value
  }
}
