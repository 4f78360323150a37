import { expect, test } from "bun:test"
import type { VrrpConfig } from "../config/config.ts"
import type { Address } from "../net/address.ts"
import {
  advertisementOf,
  expectationOf,
  heldAddresses,
  heldPrefixes,
  isSameRouter,
  machineConfig,
} from "./translate.ts"

const VIP = { address: "192.0.2.40" as Address, length: 32 }
const HIDDEN = { address: "192.0.2.41" as Address, length: 24 }
const CONFIG: VrrpConfig = {
  name: "edge",
  interface: "eth0",
  virtualRouterId: 51,
  priority: 100,
  version: 3,
  advertisementIntervalMs: 1500,
  preempt: true,
  preemptDelayMs: 5000,
  unicastPeers: [],
  authentication: undefined,
  virtualMac: false,
  addresses: [VIP],
  unadvertisedAddresses: [HIDDEN],
  placement: "process",
  leaseMs: "auto",
  track: [],
  syncGroup: "",
  announce: { count: 5, delayMs: 5000, refreshMs: 60_000 },
  notify: "",
}
const V2: VrrpConfig = {
  ...CONFIG,
  version: 2,
  advertisementIntervalMs: 3000,
  authentication: { type: "pass", password: "42" },
}

test("machineConfig() takes times and preemption over", () => {
  expect(machineConfig(CONFIG)).toEqual({
    version: 3,
    priority: 100,
    intervalMs: 1500,
    preempt: true,
    preemptDelayMs: 5000,
  })
})

test("advertisementOf() counts centiseconds in version 3 and leaves unadvertised ones out", () => {
  expect(advertisementOf(CONFIG, 99)).toEqual({
    version: 3,
    virtualRouterId: 51,
    priority: 99,
    maxAdvertiseIntervalCs: 150,
    addresses: ["192.0.2.40" as Address],
  })
})

test("advertisementOf() counts seconds in version 2 and carries the password", () => {
  expect(advertisementOf(V2, 0)).toEqual({
    version: 2,
    virtualRouterId: 51,
    priority: 0,
    advertisementIntervalS: 3,
    addresses: ["192.0.2.40" as Address],
    authentication: { type: "pass", password: "42" },
  })
})

test("expectationOf() expects what advertisementOf() sends", () => {
  const own = "192.0.2.2" as Address
  expect(expectationOf(V2, own)).toEqual({
    version: 2,
    virtualRouterId: 51,
    intervalMs: 3000,
    authentication: { type: "pass", password: "42" },
    addresses: ["192.0.2.40" as Address],
    unicastPeers: [],
    primaryAddress: own,
  })
  expect(expectationOf(CONFIG, own).authentication).toEqual({ type: "none" })
})

test("heldAddresses() are hosts, but for IPv4 on the interface", () => {
  const addresses = [{ address: "192.0.2.40" as Address, length: 24 }]
  const unadvertisedAddresses = [{ address: "2001:db8::40" as Address, length: 64 }]
  const config = { ...CONFIG, addresses, unadvertisedAddresses }
  const six = { prefix: { address: "2001:db8::40" as Address, length: 128 }, isAdvertised: false }
  expect(heldAddresses({ ...config, placement: "process" })).toEqual([
    { prefix: { address: "192.0.2.40" as Address, length: 32 }, isAdvertised: true },
    six,
  ])
  expect(heldAddresses({ ...config, placement: "interface" })).toEqual([
    { prefix: { address: "192.0.2.40" as Address, length: 24 }, isAdvertised: true },
    six,
  ])
})

test("heldPrefixes() has advertised and unadvertised addresses", () => {
  expect(heldPrefixes(CONFIG)).toEqual([VIP, HIDDEN])
})

test("isSameRouter() holds when only what can change at run time changed", () => {
  const changed = { priority: 9, addresses: [], leaseMs: 0, advertisementIntervalMs: 1000 }
  expect(isSameRouter(CONFIG, { ...CONFIG, ...changed })).toBe(true)
})

for (const change of [
  { interface: "eth1" },
  { virtualRouterId: 52 },
  { version: 2 as const },
  { placement: "interface" as const },
]) {
  test(`isSameRouter() fails when ${Object.keys(change)[0]} changed`, () => {
    expect(isSameRouter(CONFIG, { ...CONFIG, ...change })).toBe(false)
  })
}
