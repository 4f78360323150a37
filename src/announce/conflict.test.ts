import { expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { BROADCAST_MAC, type Mac } from "../net/mac.ts"
import { instant } from "../net/time.ts"
import { type Arp, gratuitousArp } from "../wire/arp.ts"
import { type ConflictAction, ConflictWatch } from "./conflict.ts"

const OWN = "02:00:00:00:00:01" as Mac
const THIEF = "02:00:00:00:00:66" as Mac
const VIP = "192.0.2.40" as Address
const OTHER_VIP = "192.0.2.41" as Address

function watching(): ConflictWatch {
  const watch = new ConflictWatch()
  watch.handle({ type: "start", addresses: [VIP, OTHER_VIP] }, instant(0))
  return watch
}

function hears(watch: ConflictWatch, ms: number, arp: Arp): ConflictAction[] {
  const claim = { address: arp.senderAddress, mac: arp.senderMac }
  return watch.handle({ type: "claim", claim, isOwn: arp.senderMac === OWN }, instant(ms))
}

test("RFC5227-2.4: another MAC as sender of our address is a conflict", () => {
  const watch = watching()
  const conflict = { address: VIP, mac: THIEF, heardAt: instant(10) }
  expect(hears(watch, 10, gratuitousArp("reply", THIEF, VIP))).toEqual([
    { type: "conflict", conflict, isNew: true },
  ])
  expect(watch.conflicts(instant(11))).toEqual([conflict])
})

test("ConflictWatch.handle() knows a conflict again, and forgets it after five minutes", () => {
  const watch = watching()
  const arp = gratuitousArp("request", THIEF, VIP)
  hears(watch, 0, arp)
  expect(hears(watch, 299_999, arp)).toMatchObject([{ isNew: false }])
  expect(watch.conflicts(instant(599_998)).length).toBe(1)
  expect(watch.conflicts(instant(599_999))).toEqual([])
  expect(hears(watch, 599_999, arp)).toMatchObject([{ isNew: true }])
})

const HARMLESS: readonly [why: string, arp: Arp][] = [
  ["our own announcement", gratuitousArp("request", OWN, VIP)],
  ["an address that is not ours", gratuitousArp("request", THIEF, "192.0.2.9" as Address)],
  [
    "a question for our address",
    {
      operation: "request",
      senderMac: THIEF,
      senderAddress: "192.0.2.9" as Address,
      targetMac: BROADCAST_MAC,
      targetAddress: VIP,
    },
  ],
  [
    "another host's probe, which the kernel answers",
    {
      operation: "request",
      senderMac: THIEF,
      senderAddress: "0.0.0.0" as Address,
      targetMac: BROADCAST_MAC,
      targetAddress: VIP,
    },
  ],
]

for (const [why, arp] of HARMLESS) {
  test(`ConflictWatch.handle() is silent when it hears ${why}`, () => {
    expect(hears(watching(), 10, arp)).toEqual([])
  })
}

test("ConflictWatch.handle() hears and remembers nothing once stopped", () => {
  const watch = watching()
  hears(watch, 10, gratuitousArp("reply", THIEF, VIP))
  watch.handle({ type: "stop" }, instant(20))
  expect(watch.conflicts(instant(21))).toEqual([])
  expect(hears(watch, 30, gratuitousArp("reply", THIEF, VIP))).toEqual([])
  expect(watch.deadline()).toBeUndefined()
})

test("RFC5227-2.1.1: three probes of every address, 2 s apart, from 2 s after the start", () => {
  const watch = watching()
  expect(watch.handle({ type: "timeout" }, instant(1999))).toEqual([])
  for (const ms of [2000, 4000, 6000]) {
    expect(watch.deadline()).toBe(instant(ms))
    expect(watch.handle({ type: "timeout" }, instant(ms))).toEqual([
      { type: "probe", address: VIP },
      { type: "probe", address: OTHER_VIP },
    ])
  }
  expect(watch.deadline()).toBeUndefined()
})

test("ConflictWatch.handle() remembers at most 64 conflicts", () => {
  const watch = watching()
  for (let host = 0; host < 65; host++) {
    const mac = `02:00:00:00:01:${host.toString(16).padStart(2, "0")}` as Mac
    hears(watch, host, gratuitousArp("reply", mac, VIP))
  }
  const macs = watch.conflicts(instant(65)).map((conflict) => conflict.mac as string)
  expect(macs.length).toBe(64)
  expect(macs).not.toContain("02:00:00:00:01:00")
})

test("ConflictWatch.handle() probes only what a change adds, and forgets what it removes", () => {
  const watch = watching()
  for (const ms of [2000, 4000, 6000]) watch.handle({ type: "timeout" }, instant(ms))
  hears(watch, 6000, gratuitousArp("reply", THIEF, VIP))
  const added = "192.0.2.42" as Address
  const change = { type: "change", addresses: [OTHER_VIP, added], added: [added] } as const
  expect(watch.handle(change, instant(7000))).toEqual([])
  expect(watch.conflicts(instant(7000))).toEqual([])
  expect(hears(watch, 7001, gratuitousArp("reply", THIEF, VIP))).toEqual([])
  expect(watch.handle({ type: "timeout" }, instant(9000))).toEqual([
    { type: "probe", address: added },
  ])
})

test("ConflictWatch.handle() probes thousands in steps of 32", () => {
  const addresses = Array.from({ length: 2000 }, (_, i) => `198.18.${i >> 8}.${i & 255}` as Address)
  const watch = new ConflictWatch()
  watch.handle({ type: "start", addresses }, instant(0))
  expect(watch.handle({ type: "timeout" }, instant(2000)).length).toBe(32)
  expect(watch.deadline()).toBe(instant(2001))
})
