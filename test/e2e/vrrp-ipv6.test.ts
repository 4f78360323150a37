/**
 * An IPv6 address on a virtual router over IPv4, with a stream behind it: connections through it,
 * a hand-over that resets them, a takeover after a crash, and a reload that removes it.
 */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startProbe } from "../lab/probe.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { fullStatus, nth } from "./stage.ts"
import { createPair, edgeToml, neighbour, type Pair, startPair } from "./vrrp-pair.ts"

const VIP6 = "2001:db8::40"
const SERVICE6 = `[${VIP6}]:3306`
const SETTINGS = {
  interval: "100ms",
  vrrp: `unadvertised_addresses = ["${VIP6}"]`,
  tables: `
[[stream]]
name = "db6"
bind = ["${SERVICE6}"]
pool = "db"
`,
} as const

let pair: Pair

beforeEach(async () => {
  pair = await createPair("ipv6")
  for (const [host, lastByte] of [
    [pair.a, 1],
    [pair.b, 2],
    [pair.client, 9],
  ] as const)
    await host.ip(`address add 2001:db8::${lastByte}/64 dev eth0 nodad`)
})

afterEach(() => pair.lab.close())

test("kill -9: clients are served by the peer as soon as over IPv4", async () => {
  const [first, second] = await startPair(pair, SETTINGS)
  const probe = await startProbe(pair.client, SERVICE6, { gapMsMin: 25 })
  await probe.successes(20)
  expect(await neighbour(pair.client, VIP6)).toBe(await pair.a.mac("eth0"))
  first.process.signal("SIGKILL")
  await second.waitState("active")
  await probe.successes(20)
  expect(await neighbour(pair.client, VIP6)).toBe(await pair.b.mac("eth0"))
  const { longestGapMs } = await probe.stop()
  expect(longestGapMs).toBeLessThan(600)
}, 30_000)

test("a session through it is reset when it is handed over", async () => {
  const [first, second] = await startPair(pair, SETTINGS)
  const talk = pair.client.spawn(["python3", "-c", TALK, VIP6, "3306"], { name: "talk" })
  await talk.waitFor("connected")
  const releasedAtMs = epochMs()
  await first.command("release", "edge")
  await talk.waitFor("ConnectionResetError")
  expect(epochMs() - releasedAtMs).toBeLessThan(500)
  await second.waitState("active")
}, 30_000)

test("a reload that removes it resets its sessions alone, and the router stays active", async () => {
  const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...SETTINGS }))
  await edge.waitState("active")
  const six = pair.client.spawn(["python3", "-c", TALK, VIP6, "3306"], { name: "six" })
  const four = pair.client.spawn(["python3", "-c", TALK, "10.0.0.40", "3306"], { name: "four" })
  await Promise.all([six.waitFor("connected"), four.waitFor("connected")])
  const before = await transitions(edge)
  edge.writeConfig(edgeToml({ priority: 100, interval: "100ms", tables: SETTINGS.tables }))
  expect((await edge.command("reload")).exitCode).toBe(0)
  await six.waitFor("ConnectionResetError")
  await eventually(async () => !(await pair.a.holds(VIP6)), { what: "the address to go" })
  expect(await transitions(edge)).toBe(before)
  expect(four.running).toBe(true)
}, 30_000)

async function transitions(edge: Edge): Promise<number> {
  return nth((await fullStatus(edge)).vrrp, 0).transitions
}

/** Connects and waits for the end; a reset is an exception. */
const TALK = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
s.settimeout(None)
print("connected", flush=True)
while s.recv(1000): pass
`
