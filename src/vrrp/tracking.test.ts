import { expect, test } from "bun:test"
import type { TrackConfig } from "../config/config.ts"
import {
  combineTracking,
  evaluateTracking,
  type TrackedState,
  type Tracking,
  weightsNeverMatter,
} from "./tracking.ts"

const check = (weight?: number): TrackConfig => ({ type: "check", target: "api", weight })
const nic = (weight?: number): TrackConfig => ({ type: "interface", target: "eth1", weight })
const pool = (weight?: number): TrackConfig => ({ type: "pool", target: "web", weight })

const OK: Tracking = { settled: true, weightSum: 0, fault: undefined }

const TABLE: readonly [TrackConfig, TrackedState, Tracking][] = [
  [check(20), "up", { ...OK, weightSum: 20 }],
  [check(20), "down", OK],
  [check(20), "unknown", { ...OK, settled: false }],
  [check(-2), "up", OK],
  [check(-2), "down", { ...OK, weightSum: -2 }],
  [check(-2), "unknown", { ...OK, settled: false }],
  [check(), "up", OK],
  [check(), "down", { ...OK, fault: "check api is down" }],
  [check(), "unknown", { ...OK, settled: false }],
  [check(0), "down", { ...OK, fault: "check api is down" }],
  [nic(), "down", { ...OK, fault: "interface eth1 is down" }],
  [pool(), "down", { ...OK, fault: "pool web has no usable server" }],
]

for (const [tracked, state, expected] of TABLE) {
  test(`evaluateTracking() of ${tracked.type} ${state} with weight ${tracked.weight}`, () => {
    expect(evaluateTracking([tracked], () => state)).toEqual(expected)
  })
}

test("evaluateTracking() adds weights and names the first fault", () => {
  const states = { check: "down", interface: "up", pool: "down" } as const
  const track = [check(-10), nic(5), check(), pool()]
  expect(evaluateTracking(track, ({ type }) => states[type])).toEqual({
    settled: true,
    weightSum: -5,
    fault: "check api is down",
  })
})

test("evaluateTracking() is settled when nothing is tracked", () => {
  expect(evaluateTracking([], () => "unknown")).toEqual(OK)
})

test("combineTracking() is unsettled when one part is", () => {
  const parts = [
    { ...OK, weightSum: 3 },
    { ...OK, settled: false },
  ]
  expect(combineTracking(parts)).toEqual({ settled: false, weightSum: 3, fault: undefined })
})

const MATTERS: readonly [priority: number, TrackConfig[], peers: number[], why: string][] = [
  [101, [check(-2)], [100], "it falls below the peer"],
  [100, [check(5)], [102], "it rises above the peer"],
  [100, [check(-2)], [98], "it can tie"],
  [150, [check(-20)], [100, 140], "it matters against one of two peers"],
  [150, [], [100], "nothing is tracked"],
  [150, [check()], [100], "only a fault is tracked"],
  [150, [check(-20)], [], "no peer was heard"],
]

for (const [priority, track, peers, why] of MATTERS) {
  test(`weightsNeverMatter() is silent when ${why}`, () => {
    expect(weightsNeverMatter({ priority, track }, peers)).toBeUndefined()
  })
}

test("weightsNeverMatter() warns when the router always wins", () => {
  expect(weightsNeverMatter({ priority: 150, track: [check(-20), nic(-9)] }, [120, 100])).toBe(
    "tracked weights never change the winner: ours is 121 to 150, peers have 100, 120",
  )
})

test("weightsNeverMatter() warns when the router always loses", () => {
  expect(weightsNeverMatter({ priority: 250, track: [pool(50)] }, [255])).toBe(
    "tracked weights never change the winner: ours is 250 to 254, peers have 255",
  )
})
