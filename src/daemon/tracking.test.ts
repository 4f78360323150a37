import { beforeEach, expect, test } from "bun:test"
import type { ServerConfig, TrackConfig, VrrpConfig } from "../config/config.ts"
import type { Address } from "../net/address.ts"
import { type AdminState, type Health, ServerBoard } from "../pool/server-board.ts"
import type { TrackedState } from "../vrrp/tracking.ts"
import type { RegisteredServer } from "./server-registry.ts"
import { poolState, Trackers } from "./tracking.ts"

const CONFIG: ServerConfig = {
  name: "a",
  endpoint: { address: "192.0.2.1" as Address, port: 80 },
  weight: 1,
  backup: false,
  maxConnections: 0,
}

test.each([
  [[["up", "ready"]], "up"],
  [[["unchecked", "ready"]], "up"],
  [
    [
      ["down", "ready"],
      ["up", "ready"],
    ],
    "up",
  ],
  [
    [
      ["down", "ready"],
      ["unknown", "ready"],
    ],
    "unknown",
  ],
  [
    [
      ["down", "ready"],
      ["down", "ready"],
    ],
    "down",
  ],
  [[["up", "drain"]], "down"],
  [
    [
      ["up", "maintenance"],
      ["unknown", "ready"],
    ],
    "unknown",
  ],
  [[], "down"],
] as [[Health, AdminState][], TrackedState][])("poolState() of %j is %s", (states, expected) => {
  const board = new ServerBoard(ServerBoard.allocate())
  const servers = states.map(([health, admin], slot): RegisteredServer => {
    board.reset(slot, 1, health)
    board.setAdmin(slot, admin)
    return { pool: "p", config: CONFIG, slot, checkId: String(slot), sinceEpochMs: 0 }
  })
  expect(poolState(servers, board)).toBe(expected)
})

let states: Map<string, TrackedState>
let sent: string[]
let trackers: Trackers

beforeEach(() => {
  states = new Map([
    ["apiserver", "unknown"],
    ["db", "up"],
  ])
  sent = []
  trackers = new Trackers(
    ({ target }) => states.get(target) ?? "down",
    (router, { settled, weightSum, fault }) =>
      sent.push(`${router} ${settled} ${weightSum} ${fault ?? "-"}`),
  )
})

function router(name: string, track: readonly TrackConfig[]): VrrpConfig {
  return { name, track } as VrrpConfig // what Trackers reads of it
}

const CHECK: TrackConfig = { type: "check", target: "apiserver", weight: -2 }
const POOL: TrackConfig = { type: "pool", target: "db", weight: undefined }
const INTERFACE: TrackConfig = { type: "interface", target: "eth1", weight: undefined }

test("Trackers tells each router its verdict at once, and again only when it changes", () => {
  trackers.configure([router("a", [CHECK]), router("b", [POOL, INTERFACE])])
  expect(sent.splice(0)).toEqual(["a false 0 -", "b true 0 -"])
  trackers.update()
  expect(sent.splice(0)).toEqual([])
  states.set("apiserver", "down")
  trackers.update()
  expect(sent.splice(0)).toEqual(["a true -2 -"])
  states.set("db", "down")
  trackers.update()
  expect(sent.splice(0)).toEqual(["b true 0 pool db has no usable server"])
})

test("Trackers tells a router that comes back, and not one whose tracking did not change", () => {
  trackers.configure([router("a", [POOL]), router("b", [POOL])])
  sent.length = 0
  trackers.configure([router("b", [POOL])])
  expect(sent.splice(0)).toEqual([])
  trackers.configure([router("a", [POOL]), router("b", [CHECK])])
  expect(sent.splice(0)).toEqual(["a true 0 -", "b false 0 -"])
})

test("Trackers.standLast() takes every router's priority away, and gives it back", () => {
  trackers.configure([router("a", []), router("b", [POOL])])
  sent.length = 0
  trackers.standLast(true)
  expect(sent.splice(0)).toEqual(["a true -512 -", "b true -512 -"])
  trackers.standLast(false)
  expect(sent.splice(0)).toEqual(["a true 0 -", "b true 0 -"])
})
