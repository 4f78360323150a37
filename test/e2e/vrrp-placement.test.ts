/**
 * Where the virtual address sits: with placement = "interface" on the network card itself, with a
 * lease and a mark, so that it outlives a crash by the lease at most and each process takes away
 * its own leftovers and nobody else's. However it is placed, the host never speaks as it by
 * itself.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { addressMark } from "../../src/daemon/address-mark.ts"
import { type InterfaceAddress, SCOPE_HOST } from "../../src/linux/address-message.ts"
import { Rtnetlink } from "../../src/linux/rtnetlink.ts"
import { inNamespace } from "../kernel/namespace.ts"
import { type Edge, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { startCrowd } from "./crowd.ts"
import {
  addressEvent,
  createPair,
  edgeToml,
  type Pair,
  SERVICE,
  startPair,
  VIP,
} from "./vrrp-pair.ts"

const ON_INTERFACE = 'placement = "interface"'
const FOR_EVER = `${ON_INTERFACE}\nlease = "0s"`
const FAST = { interval: "100ms" } as const

let pair: Pair

beforeEach(async () => {
  pair = await createPair("placement")
})

afterEach(() => pair.lab.close())

/** As the kernel describes it; iproute2 shows the mark only from version 6.3 on. */
function placed(host: Host, address = VIP): InterfaceAddress | undefined {
  return inNamespace(host, () => {
    const rtnetlink = new Rtnetlink()
    try {
      return rtnetlink.addresses({ family: 4 }).find(({ prefix }) => prefix.address === address)
    } finally {
      rtnetlink.close()
    }
  })
}

describe('placement = "interface"', () => {
  test("kill -9: the address has a lease and leaves with it", async () => {
    const [first, second] = await startPair(pair, { vrrp: ON_INTERFACE })
    const address = placed(pair.a)
    expect(address).toMatchObject({
      prefix: { length: 32 },
      scope: SCOPE_HOST,
      protocol: addressMark(first.configPath),
    })
    expect(address?.validLifetimeS).toBeGreaterThanOrEqual(1)
    expect(address?.validLifetimeS).toBeLessThanOrEqual(2)
    expect(await pair.a.addresses("eth0")).toContain(`${VIP}/32`)
    const [gone, here] = [await pair.a.watchAddresses(), await pair.b.watchAddresses()]
    const killedAtMs = epochMs()
    await first.kill()
    const goneMs = (await addressEvent(gone, "removed", killedAtMs)).atMs - killedAtMs
    const hereMs = (await addressEvent(here, "added", killedAtMs)).atMs - killedAtMs
    report('kill -9 with placement = "interface", adverts 1 s', {
      "gone after ms": goneMs,
      "on the peer after ms": hereMs,
    })
    expect(goneMs).toBeLessThanOrEqual(2_500)
    expect(hereMs).toBeLessThanOrEqual(3_800)
    await second.waitState("active")
  })

  test("a restart takes its own leftovers away, and nobody else's", async () => {
    const [first, second] = await startPair(pair, { ...FAST, vrrp: FOR_EVER })
    const other = await startEdge(pair.a, OTHER_TOML)
    await other.waitState("active")
    await pair.a.ip("address add 10.0.0.50/32 dev eth0")
    await pair.a.ip("address add 10.0.0.51/24 dev eth0 valid_lft 600 preferred_lft 600")
    await first.kill()
    await second.waitState("active")
    await Bun.sleep(2_600)
    expect(await pair.a.holds(VIP)).toBe(true)
    const watch = await pair.a.watchAddresses()
    const startedAtMs = epochMs()
    first.start()
    const removed = await addressEvent(watch, "removed", startedAtMs)
    await first.waitReady()
    await first.waitState("active")
    const added = await addressEvent(watch, "added", removed.atMs)
    report("restart with a leftover", {
      "removed after ms": removed.atMs - startedAtMs,
      "active again after ms": added.atMs - startedAtMs,
    })
    expect(first.process.output).toContain("Removed addresses that a previous run left behind")
    const others = ["10.0.0.1", "10.0.0.50", "10.0.0.51", "10.0.0.60"]
    expect(watch.all().filter(({ address }) => others.includes(bare(address)))).toEqual([])
    for (const address of others) expect(await pair.a.holds(address)).toBe(true)
    expect(placed(pair.a, "10.0.0.60")?.protocol).toBe(addressMark(other.configPath))
    expect(placed(pair.a)?.protocol).toBe(addressMark(first.configPath))
    await first.stop()
    expect(await pair.a.holds(VIP)).toBe(false)
    expect(await pair.a.holds("10.0.0.60")).toBe(true)
  })

  test("an address that is somebody else's stays theirs", async () => {
    await pair.a.ip(`address add ${VIP}/32 dev eth0`)
    const before = placed(pair.a)
    const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST, vrrp: ON_INTERFACE }))
    await edge.waitState("active")
    expect(placed(pair.a)).toEqual(before)
    await edge.stop()
    expect(placed(pair.a)).toEqual(before)
  })
})

describe.each(["process", "interface"])('with placement = "%s"', (placement) => {
  test("the host never speaks as the virtual address by itself", async () => {
    await pair.lab.lan("spare").then((spare) => spare.join(pair.a))
    await pair.a.ip("route add 198.51.100.0/24 dev eth1")
    await pair.a.ip("route add 198.18.0.0/24 dev eth0")
    await pair.a.ip("route add default via 10.0.0.9")
    const vrrp = `placement = "${placement}"`
    const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST, vrrp }))
    await edge.waitState("active")
    expect(await pair.a.holds(VIP)).toBe(true)
    for (const target of TARGETS) {
      expect(`${target}: ${await pair.a.ip(`route get ${target}`)}`).toContain("src 10.0.0.1 ")
    }
    await expectServersSee(edge, "10.0.0.1")
  })

  async function expectServersSee(edge: Edge, source: string): Promise<void> {
    const crowd = await startCrowd(pair.client, SERVICE, { connections: 8 })
    await eventually(async () => (await edge.status()).streams[0]?.connections === 8)
    const established = await pair.server.exec(["ss", "-Htn", "sport = :4000"])
    const peers = established.trim().split("\n")
    const addresses = peers.map((line) => line.split(/\s+/)[4]?.split(":")[0])
    expect(addresses).toEqual(Array(8).fill(source))
    await crowd.stop()
  }
})

/** Beside the first edge on the same host, as `causeway@.service` runs them. */
const OTHER_TOML = `
[[vrrp]]
name = "other"
interface = "eth0"
virtual_router_id = 60
priority = 100
advertisement_interval = "100ms"
addresses = ["10.0.0.60"]
${FOR_EVER}
`

const TARGETS = [
  "10.0.0.9",
  "203.0.113.1",
  // Routes without a gateway, over an interface with an address and one without.
  "198.18.0.7",
  "198.51.100.7",
  "224.0.0.18 oif eth0",
  "239.1.2.3",
  "255.255.255.255 oif eth0",
]

function bare(prefix: string): string {
  return prefix.split("/")[0] ?? ""
}
