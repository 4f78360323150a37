import { beforeEach, describe, expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { SERVER_SLOTS_MAX, ServerBoard } from "./server-board.ts"

const LIMITS = { maxFails: 2, failTimeoutMs: 30_000 }

let board: ServerBoard

beforeEach(() => {
  board = new ServerBoard(ServerBoard.allocate())
  board.reset(0, 1, "up")
})

function fail(atMs: number, limits = LIMITS): boolean {
  return board.recordFailure(0, instant(atMs), limits)
}

function isEjected(atMs: number): boolean {
  return board.isEjected(0, instant(atMs))
}

test("every state that is set is read back, by another thread's view too", () => {
  const buffer = ServerBoard.allocate()
  const [control, data] = [new ServerBoard(buffer), new ServerBoard(buffer)]
  for (const health of ["up", "down", "unknown", "unchecked"] as const) {
    control.setHealth(7, health)
    expect(data.health(7)).toBe(health)
  }
  for (const admin of ["ready", "drain", "maintenance"] as const) {
    control.setAdmin(7, admin)
    expect(data.admin(7)).toBe(admin)
  }
  control.setWeight(7, 256)
  control.setSlowStartSince(7, 1234.5)
  expect([data.weight(7), data.slowStartSince(7)]).toEqual([256, 1234.5])
})

test("rows do not touch each other", () => {
  const last = SERVER_SLOTS_MAX - 1
  board.reset(last, 9, "down")
  board.reset(last - 1, 3, "unknown")
  expect([board.weight(last), board.health(last)]).toEqual([9, "down"])
  expect([board.weight(0), board.health(0)]).toEqual([1, "up"])
})

test("reset() makes a row that of a server nothing is known of", () => {
  board.setAdmin(0, "maintenance")
  board.setSlowStartSince(0, 5)
  fail(100)
  fail(100)
  board.reset(0, 4, "unknown")
  expect([board.health(0), board.admin(0), board.weight(0)]).toEqual(["unknown", "ready", 4])
  expect([board.slowStartSince(0), board.ejectedUntil(0)]).toEqual([0, 0])
})

describe("recordFailure()", () => {
  test("ejects for fail_timeout at the max_fails-th failure", () => {
    expect(fail(100_000)).toBe(false)
    expect(isEjected(100_000)).toBe(false)
    expect(fail(101_000)).toBe(true)
    expect(board.ejectedUntil(0)).toBe(131_000)
    expect(isEjected(130_999)).toBe(true)
    expect(isEjected(131_000)).toBe(false)
  })

  test("counts failures within fail_timeout of the first only", () => {
    expect(fail(100_000)).toBe(false)
    expect(fail(130_001)).toBe(false)
    expect(fail(160_001)).toBe(true)
  })

  test("counts from the first failure in the first seconds after boot, too", () => {
    expect(fail(29_000)).toBe(false)
    expect(fail(31_000)).toBe(true)
  })

  test("counts failures between successes: every second connect that fails is too many", () => {
    expect(fail(100_000)).toBe(false)
    board.recordSuccess(0, instant(100_001))
    expect(fail(100_002)).toBe(true)
  })

  test("is not undone by a connect that was under way at the ejection", () => {
    fail(100_000)
    fail(100_001)
    board.recordSuccess(0, instant(100_002))
    expect(isEjected(100_003)).toBe(true)
  })

  test("is undone by a check that brings the server back, not by one more success", () => {
    fail(100_000)
    fail(100_000)
    board.setHealth(0, "up")
    expect(isEjected(100_001)).toBe(true)
    board.setHealth(0, "down")
    expect(isEjected(100_002)).toBe(true)
    board.setHealth(0, "up")
    expect(isEjected(100_003)).toBe(false)
    expect(fail(100_004)).toBe(false)
  })

  test("ejects again at the first failure after an ejection, until a success", () => {
    fail(100_000)
    fail(100_000)
    expect(fail(131_000)).toBe(true)
    expect(isEjected(160_999)).toBe(true)
    board.recordSuccess(0, instant(161_000))
    expect(board.ejectedUntil(0)).toBe(0)
    expect(fail(162_000)).toBe(false)
    expect(fail(162_001)).toBe(true)
  })

  test("does not prolong an ejection by the failures of the last resort", () => {
    fail(100_000)
    fail(100_000)
    expect(fail(115_000)).toBe(false)
    expect(board.ejectedUntil(0)).toBe(130_000)
  })

  test("ejects at once when max_fails is 1, never when it is 0", () => {
    expect(fail(100_000, { ...LIMITS, maxFails: 1 })).toBe(true)
    board.reset(0, 1, "up")
    for (let at = 0; at < 100; at++) {
      expect(fail(100_000 + at, { ...LIMITS, maxFails: 0 })).toBe(false)
    }
    expect(isEjected(100_100)).toBe(false)
  })
})
