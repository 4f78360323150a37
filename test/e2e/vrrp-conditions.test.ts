/**
 * A network that is not as it should be: interfaces that are missing or bare when the edge starts,
 * another host that answers for the virtual address, a LAN that falls apart and heals. The edge
 * says so, goes on, and is right again when the network is.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startProbe } from "../lab/probe.ts"
import { report } from "../lab/report.ts"
import { StallWatch } from "../lab/stall-watch.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { overlaps, readAdverts, tenures } from "./adverts.ts"
import { fullStatus, nth } from "./stage.ts"
import { createPair, edgeToml, neighbour, type Pair, SERVICE, startPair, VIP } from "./vrrp-pair.ts"

const FAST = { interval: "100ms" } as const

let pair: Pair

beforeEach(async () => {
  pair = await createPair("conditions")
})

afterEach(() => pair.lab.close())

async function waitReason(edge: Edge, state: string, reason: string): Promise<void> {
  const matches = async () => {
    const router = nth((await fullStatus(edge)).vrrp, 0)
    return router.state === state && router.reason === reason
  }
  await eventually(matches, { what: `${state}: ${reason}` })
}

describe("an interface", () => {
  const toml = edgeToml({ priority: 100, ...FAST }).replace('"eth0"', '"eth1"')

  test("that is missing at start is a fault; the edge serves, and recovers when it is made", async () => {
    const edge = await startEdge(pair.a, toml)
    await waitReason(edge, "fault", "interface eth1 does not exist")
    expect(edge.process.output).toContain("interface eth1 does not exist")
    expect((await edge.command("check")).exitCode).toBe(0)
    const spare = await pair.lab.lan("spare")
    await spare.join(pair.a, { addresses: ["10.0.1.1/24"] })
    const joinedAtMs = epochMs()
    await edge.waitState("active")
    report("an interface appears, adverts 100 ms", { "active after ms": epochMs() - joinedAtMs })
    await pair.a.ip("link delete eth1")
    await waitReason(edge, "fault", "interface eth1 does not exist")
    await eventually(async () => !(await pair.a.holds(VIP)), { what: "the address to go" })
  })

  test("without an IPv4 address is a fault, until it has one", async () => {
    const spare = await pair.lab.lan("spare")
    await spare.join(pair.a)
    const edge = await startEdge(pair.a, toml)
    await waitReason(edge, "fault", "interface eth1 has no IPv4 address")
    await pair.a.ip("address add 10.0.1.1/24 dev eth1")
    await edge.waitState("active")
    await pair.a.ip("address del 10.0.1.1/24 dev eth1")
    await waitReason(edge, "fault", "interface eth1 has no IPv4 address")
    await eventually(async () => !(await pair.a.holds(VIP)), { what: "the address to go" })
  })
})

test("another host that answers for the address is named by its MAC, in status and log", async () => {
  await pair.server.ip(`address add ${VIP}/32 dev eth0`)
  const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST }))
  await edge.waitState("active")
  const activeAtMs = epochMs()
  const mac = await pair.server.mac("eth0")
  const warning = `${VIP} is also used by ${mac}`
  await eventually(async () => nth((await fullStatus(edge)).vrrp, 0).warnings.includes(warning), {
    what: warning,
  })
  report("another host uses the VIP", { "warned after ms": epochMs() - activeAtMs })
  const [line] = /warn +vrrp: Another host answers for .*/.exec(edge.process.output) ?? []
  expect(line).toContain(`address=${VIP}`)
  expect(line).toContain(mac)
})

test("a split LAN has two Actives; healed, one remains and the client's ARP entry points to it", async () => {
  const [first, second] = await startPair(pair, FAST)
  const probe = await startProbe(pair.client, SERVICE)
  await probe.successes(20)
  const capture = await pair.lan.capture({ filter: "ip proto 112" })
  const split = await pair.lan.partition(pair.a, pair.b)
  await second.waitState("active")
  const [macA, macB] = [await pair.a.mac("eth0"), await pair.b.mac("eth0")]
  // The client hears both; the one that has announced last has it.
  await eventually(async () => (await neighbour(pair.client)) === macB, {
    what: "the client to turn to the second",
  })
  await Bun.sleep(2_000)
  expect((await first.status()).vrrp[0]?.state).toBe("active")
  expect(await neighbour(pair.client)).toBe(macB)
  using stalls = new StallWatch()
  await split.heal()
  const healedAtMs = epochMs()
  await eventually(async () => (await neighbour(pair.client)) === macA, {
    what: "the client to turn back to the first",
    intervalMs: 5,
  })
  const learntMs = epochMs() - healedAtMs
  const stallMs = stalls.longestMs
  await second.waitState("backup", { intervalMs: 5 })
  await probe.successes(100)
  const { failed, longestGapMs } = await probe.stop()
  await capture.stop()
  const togetherMs = overlaps(tenures(await readAdverts(capture), 100)).map((overlap) =>
    overlap.first.toMs < overlap.second.toMs
      ? overlap.first.toMs - healedAtMs
      : overlap.second.toMs - healedAtMs,
  )
  report("a split LAN heals, adverts 100 ms", {
    "both spoke until ms after": Math.max(...togetherMs),
    "client's ARP entry right after ms": learntMs,
    "the machine stood still for ms": stallMs,
    "failed connects throughout": JSON.stringify(failed),
    "longest gap ms": longestGapMs,
  })
  await eventually(async () => !(await pair.b.holds(VIP)), { what: "the address to go" })
  expect(await neighbour(pair.client)).toBe(macA)
  // The first advert that gets through ends it, and the next packets tell the client.
  expect(togetherMs.length).toBe(1)
  expect(Math.max(...togetherMs)).toBeLessThanOrEqual(100)
  expect(learntMs).toBeLessThanOrEqual(200 + stallMs)
  expect(nth((await fullStatus(first)).vrrp, 0).transitions).toBe(2)
})
