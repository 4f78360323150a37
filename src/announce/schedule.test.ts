import { expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { type Instant, instant } from "../net/time.ts"
import { type AnnounceConfig, AnnounceSchedule } from "./schedule.ts"

const CONFIG: AnnounceConfig = { count: 5, delayMs: 5000, refreshMs: 60_000 }
const VIP = "192.0.2.40" as Address
const OTHER = "192.0.2.41" as Address

function started(config: Partial<AnnounceConfig> = {}, addresses: readonly Address[] = [VIP]) {
  const schedule = new AnnounceSchedule({ ...CONFIG, ...config })
  const first = schedule.handle({ type: "start", addresses }, instant(0))
  return { schedule, first }
}

/** [instant, how many addresses] of everything sent after the start, up to `endMs`. */
function timeline(schedule: AnnounceSchedule, endMs: number): [number, number][] {
  const sent: [number, number][] = []
  for (;;) {
    const at: Instant | undefined = schedule.deadline()
    if (at === undefined || at > endMs) return sent
    sent.push([at, schedule.handle({ type: "timeout" }, at).length])
  }
}

test("AnnounceSchedule.handle() sends 5 rounds now, 5 after 5 s, then one a minute", () => {
  const { schedule, first } = started()
  expect(first).toEqual([VIP])
  expect(timeline(schedule, 120_000)).toEqual([
    [20, 1],
    [40, 1],
    [60, 1],
    [80, 1],
    [5000, 1],
    [5020, 1],
    [5040, 1],
    [5060, 1],
    [5080, 1],
    [60_000, 1],
    [120_000, 1],
  ])
})

test("AnnounceSchedule.handle() sends nothing when count is 0 or there are no addresses", () => {
  expect(started({ count: 0 }).first).toEqual([])
  expect(started({ count: 0 }).schedule.deadline()).toBeUndefined()
  expect(started({}, []).schedule.deadline()).toBeUndefined()
})

test("AnnounceSchedule.handle() has no second burst when delay is 0 and no refresh when 0", () => {
  const { schedule } = started({ delayMs: 0, refreshMs: 0, count: 2 })
  expect(timeline(schedule, 1e9)).toEqual([[20, 1]])
})

test("AnnounceSchedule.handle() stops at once", () => {
  const { schedule } = started()
  schedule.handle({ type: "stop" }, instant(10))
  expect(schedule.deadline()).toBeUndefined()
  expect(schedule.handle({ type: "timeout" }, instant(20))).toEqual([])
  expect(schedule.handle({ type: "again" }, instant(20))).toEqual([])
})

test("AnnounceSchedule.handle() paces 70 addresses by 32 a millisecond", () => {
  const addresses = Array.from({ length: 70 }, (_, host) => `198.18.0.${host}` as Address)
  const { schedule, first } = started({ count: 2 }, addresses)
  expect(first).toEqual(addresses.slice(0, 32))
  expect(timeline(schedule, 100)).toEqual([
    [1, 32],
    [2, 6],
    [22, 32],
    [23, 32],
    [24, 6],
  ])
})

test("AnnounceSchedule.handle() starts over when the addresses have changed", () => {
  const { schedule } = started()
  timeline(schedule, 80)
  expect(schedule.handle({ type: "start", addresses: [VIP, OTHER] }, instant(1000))).toEqual([
    VIP,
    OTHER,
  ])
  expect(timeline(schedule, 1080).length).toBe(4)
})

test("AnnounceSchedule.handle() announces again at once a second after the last burst", () => {
  const { schedule } = started({ delayMs: 0, refreshMs: 0, count: 2 })
  timeline(schedule, 100)
  expect(schedule.handle({ type: "again" }, instant(1000))).toEqual([VIP])
  expect(timeline(schedule, 2000)).toEqual([[1020, 1]])
})

test("AnnounceSchedule.handle() merges what asks again within the second", () => {
  const { schedule } = started({ delayMs: 0, refreshMs: 0, count: 2 })
  timeline(schedule, 100)
  for (const ms of [100, 200, 300])
    expect(schedule.handle({ type: "again" }, instant(ms))).toEqual([])
  expect(timeline(schedule, 5000)).toEqual([
    [1000, 1],
    [1020, 1],
  ])
})

test("AnnounceSchedule.handle() sends once when a timeout is handled late", () => {
  const { schedule } = started()
  expect(schedule.handle({ type: "timeout" }, instant(130_000))).toEqual([VIP])
  expect(schedule.deadline()).toBe(instant(130_020))
})

test("AnnounceSchedule.handle() announces only what a change adds, at once and after the delay", () => {
  const { schedule } = started()
  timeline(schedule, 80)
  const change = { type: "change", addresses: [VIP, OTHER], added: [OTHER] } as const
  expect(schedule.handle(change, instant(1000))).toEqual([OTHER])
  expect(timeline(schedule, 60_000)).toEqual([
    ...[1020, 1040, 1060, 1080].map((at): [number, number] => [at, 1]),
    ...[5000, 5020, 5040, 5060, 5080].map((at): [number, number] => [at, 1]),
    ...[6000, 6020, 6040, 6060, 6080].map((at): [number, number] => [at, 1]),
    [60_000, 2],
  ])
})

test("AnnounceSchedule.handle() does not announce what a change has removed", () => {
  const { schedule } = started({}, [VIP, OTHER])
  expect(schedule.handle({ type: "change", addresses: [VIP], added: [] }, instant(10))).toEqual([])
  expect(schedule.handle({ type: "timeout" }, instant(20))).toEqual([VIP])
  timeline(schedule, 4999)
  expect(schedule.handle({ type: "timeout" }, instant(5000))).toEqual([VIP])
})

test("AnnounceSchedule.handle() lets an added address go ahead of a burst of thousands", () => {
  const addresses = Array.from({ length: 2000 }, (_, i) => `198.18.${i >> 8}.${i & 255}` as Address)
  const { schedule } = started({ count: 1, delayMs: 0, refreshMs: 0 }, addresses)
  const change = { type: "change", addresses: [...addresses, VIP], added: [VIP] } as const
  expect(schedule.handle(change, instant(0.5))).toEqual([])
  expect(schedule.handle({ type: "timeout" }, instant(1))[0]).toBe(VIP)
  expect(timeline(schedule, 1000).at(-1)?.[0]).toBe(62)
})

test("AnnounceSchedule.handle() starts with a change when there were no addresses", () => {
  const { schedule } = started({}, [])
  const change = { type: "change", addresses: [VIP], added: [VIP] } as const
  expect(schedule.handle(change, instant(7))).toEqual([VIP])
})

test("AnnounceSchedule.handle() refreshes on time though addresses are added all the time", () => {
  const { schedule } = started({ refreshMs: 1000 })
  const addresses = [VIP]
  for (let ms = 150; ms < 1000; ms += 100) {
    const added = `198.18.0.${ms / 10}` as Address
    addresses.push(added)
    schedule.handle({ type: "change", addresses: [...addresses], added: [added] }, instant(ms))
    timeline(schedule, ms + 49)
  }
  expect(schedule.handle({ type: "timeout" }, instant(1000))).toContain(VIP)
})
