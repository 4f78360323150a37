/** Failover of virtual routers on the real kernel: who holds the address, and for how long. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import type { AddressWatch, Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import {
  address,
  prefixes,
  type RouterProcess,
  routerConfig,
  startRouter,
} from "../lab/virtual-router.ts"
import { epochMs, eventually } from "../lab/wait.ts"

const VIP = "192.0.2.40"
const FAST = { advertisementIntervalMs: 100 }
/** Active_Down_Interval of priority 100 with FAST: 3 * 100 + 156 * 100 / 256. */
const FAST_DOWN_MS = 361
/** Two shared CPUs and a test that starts processes meanwhile. */
const SLACK_MS = 90

let lab: Lab
let lan: Lan
let a: Host
let b: Host
let client: Host

beforeEach(async () => {
  lab = await createLab("vrrp")
  lan = await lab.lan("lan")
  a = await lab.host("a")
  b = await lab.host("b")
  client = await lab.host("client")
  await lan.join(a, { addresses: ["192.0.2.1/24"] })
  await lan.join(b, { addresses: ["192.0.2.2/24"] })
  await lan.join(client, { addresses: ["192.0.2.9/24"] })
})

afterEach(() => lab.close())

/** `a` is active with priority 150, `b` its backup with 100. */
async function pair(change: Parameters<typeof routerConfig>[0] = FAST) {
  const first = await startRouter(a, [routerConfig({ ...change, priority: 150 })])
  await first.reaches("active")
  const second = await startRouter(b, [routerConfig(change)])
  await second.reaches("backup")
  return [first, second] as const
}

async function answers(): Promise<boolean> {
  await client.ip("neigh flush all")
  const { exitCode } = await client.run(["ping", "-c", "1", "-W", "1", VIP])
  return exitCode === 0
}

async function firstEvent(watch: AddressWatch, type: "added" | "removed"): Promise<number> {
  const find = () => watch.events(VIP).find((event) => event.type === type)
  const event = await eventually(find, { what: `${VIP} ${type}`, intervalMs: 5 })
  return event.atMs
}

describe("an active router", () => {
  test("holds the address on a device of its own and answers for it", async () => {
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    expect(await a.addresses("cw-edge")).toEqual(["192.0.2.40/32"])
    expect(await answers()).toBe(true)
    expect(await a.ip("address show dev cw-edge")).toContain("192.0.2.40/32 scope host")
  })

  for (const placement of ["process", "interface"] as const) {
    test(`never makes the address a source address (placement ${placement})`, async () => {
      const other = await lab.lan("other")
      await other.join(a)
      await a.ip("route add 198.51.100.0/24 dev eth1")
      await a.ip("route add 198.18.0.0/24 dev eth0")
      await a.ip("route add default via 192.0.2.9")
      const router = await startRouter(a, [routerConfig({ ...FAST, placement })])
      await router.reaches("active")
      expect(await a.holds(VIP)).toBe(true)
      for (const target of [
        "192.0.2.9",
        "203.0.113.1",
        // Without a gateway, over an interface with an address and one without.
        "198.18.0.7",
        "198.51.100.7",
        "224.0.0.18 oif eth0",
        "239.1.2.3",
        "255.255.255.255 oif eth0",
      ])
        expect(await a.ip(`route get ${target}`)).toContain("src 192.0.2.1 ")
      expect(await answers()).toBe(true)
    })
  }

  test("with a prefix length that the interface has too, is a secondary address there", async () => {
    await a.ip("route add 198.18.0.0/24 dev eth0")
    const addresses = prefixes("192.0.2.40/24")
    const config = routerConfig({ ...FAST, placement: "interface", addresses })
    const router = await startRouter(a, [config])
    await router.reaches("active")
    expect(await a.ip("address show dev eth0")).toContain("192.0.2.40/24 scope global secondary")
    for (const target of ["192.0.2.9", "198.18.0.7", "239.1.2.3 oif eth0"])
      expect(await a.ip(`route get ${target}`)).toContain("src 192.0.2.1 ")
    expect(await answers()).toBe(true)
  })

  test("sends gratuitous ARP in both forms, five times, and five more after the delay", async () => {
    const capture = await lan.capture({ filter: "arp" })
    const announce = { count: 5, delayMs: 1000, refreshMs: 60_000 }
    const router = await startRouter(a, [routerConfig({ ...FAST, announce })])
    await router.reaches("active")
    const mac = await a.mac("eth0")
    const mine = `arp.src.proto_ipv4 == ${VIP} && arp.dst.proto_ipv4 == ${VIP}`
    const fields = ["frame.time_epoch", "arp.opcode", "arp.src.hw_mac", "eth.dst"]
    const rows = await eventually(async () => {
      const found = await capture.fields(fields, mine)
      return found.length >= 20 && found
    })
    expect(rows.map((row) => row[1])).toEqual(Array.from({ length: 10 }, () => ["1", "2"]).flat())
    expect(new Set(rows.map((row) => row[2]))).toEqual(new Set([mac]))
    expect(new Set(rows.map((row) => row[3]))).toEqual(new Set(["ff:ff:ff:ff:ff:ff"]))
    const at = rows.map((row) => Number(row[0]) * 1000)
    expect((at[10] ?? 0) - (at[0] ?? 0)).toBeGreaterThan(990)
    expect((at[10] ?? 0) - (at[0] ?? 0)).toBeLessThan(1100)
  }, 20_000)

  test("warns of a host that uses the address, naming its MAC", async () => {
    await client.ip(`address add ${VIP}/24 dev eth0`)
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    const warning = `${VIP} is also used by ${await client.mac("eth0")}`
    await router.shows(({ warnings }) => warnings.includes(warning), warning)
    const word = "warn: Another host answers for a virtual address"
    await eventually(() => router.logs().includes(word), { what: word })
  })

  test("warns when arp_ignore keeps the kernel from answering", async () => {
    await a.sysctl({ "net.ipv4.conf.eth0.arp_ignore": 1 })
    // Without announcements, from which the client could learn all the same.
    const announce = { count: 0, delayMs: 0, refreshMs: 0 }
    const router = await startRouter(a, [routerConfig({ ...FAST, announce })])
    await router.reaches("active")
    expect(router.latest().warnings).toEqual([
      "net.ipv4.conf.eth0.arp_ignore is 1: the kernel does not answer ARP for addresses of another " +
        'interface; set it to 0 or use placement = "interface"',
    ])
    expect(await answers()).toBe(false)
  })

  test("the address owner keeps its own address when it stops", async () => {
    const router = await startRouter(a, [
      routerConfig({ ...FAST, priority: 255, addresses: prefixes("192.0.2.1") }),
    ])
    await router.reaches("active", { timeoutMs: 300 })
    expect(await a.addresses("cw-edge")).toEqual(["192.0.2.1/32"])
    await router.process.stop()
    expect(await a.addresses("eth0")).toContain("192.0.2.1/24")
    expect((await client.run(["ping", "-c", "1", "-W", "1", "192.0.2.1"])).exitCode).toBe(0)
  })

  test("finds another device name when a second process has a router of that name", async () => {
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    const addresses = prefixes("192.0.2.41")
    const other = await startRouter(a, [routerConfig({ ...FAST, virtualRouterId: 52, addresses })])
    await other.reaches("active")
    expect(await a.addresses("cw-edge0")).toEqual(["192.0.2.41/32"])
    expect(await a.addresses("cw-edge")).toEqual(["192.0.2.40/32"])
  })

  test("puts back an address that somebody removed", async () => {
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    await a.ip(`address del ${VIP}/32 dev cw-edge`)
    await eventually(() => a.holds(VIP), { timeoutMs: 2000, what: "the address to be back" })
    expect(router.latest().transitions).toBe(2)
  })
})

describe("takeover", () => {
  test("after kill -9: gone within 50 ms, on the peer within Active_Down_Interval", async () => {
    const [first, second] = await pair()
    const [gone, here] = [await a.watchAddresses(), await b.watchAddresses()]
    const killedAt = epochMs()
    first.process.signal("SIGKILL")
    expect((await firstEvent(gone, "removed")) - killedAt).toBeLessThan(50)
    expect((await firstEvent(here, "added")) - killedAt).toBeLessThan(FAST_DOWN_MS + SLACK_MS)
    await second.reaches("active")
    expect(await answers()).toBe(true)
    expect(await a.ip("link show")).not.toContain("cw-edge")
  })

  test("after SIGTERM: within 150 ms, sessions reset first, never on both", async () => {
    const [first] = await pair()
    const [gone, here] = [await a.watchAddresses(), await b.watchAddresses()]
    const stoppedAt = epochMs()
    first.process.signal("SIGTERM")
    const addedAt = await firstEvent(here, "added")
    const removedAt = await firstEvent(gone, "removed")
    expect(addedAt - stoppedAt).toBeLessThan(150)
    expect(addedAt).toBeGreaterThan(removedAt)
    expect(await first.process.exited).toBe(0)
    const [leaving] = first.events().filter(({ message }) => message.type === "leaving")
    expect(leaving?.message).toEqual({ type: "leaving", addresses: [address(VIP)] })
  })

  test("waits at most 50 ms for sessions to be reset", async () => {
    const router = await startRouter(a, [routerConfig(FAST)], { leavingMs: 5000 })
    await router.reaches("active")
    const gone = await a.watchAddresses()
    const releasedAt = epochMs()
    await router.post({ type: "release", router: "edge" })
    const waitedMs = (await firstEvent(gone, "removed")) - releasedAt
    expect(waitedMs).toBeGreaterThan(40)
    expect(waitedMs).toBeLessThan(50 + SLACK_MS)
  })

  test("of a hung process: its address leaves with the lease; it steps back when it wakes", async () => {
    const [first, second] = await pair()
    const capture = await lan.capture({ filter: "ip proto 112 and src host 192.0.2.1" })
    const claims = await lan.capture({
      filter: `arp src ${VIP} and ether src ${await a.mac("eth0")}`,
    })
    const gone = await a.watchAddresses()
    const hungAt = epochMs()
    first.process.signal("SIGSTOP")
    await second.reaches("active")
    const goneAfterMs = (await firstEvent(gone, "removed")) - hungAt
    expect(goneAfterMs).toBeGreaterThan(1400)
    expect(goneAfterMs).toBeLessThan(2600)
    const wokenAt = epochMs()
    first.process.signal("SIGCONT")
    await first.reaches("backup")
    const { reason } = first.snapshots().find(({ state, atMs }) => {
      return state === "backup" && atMs > wokenAt
    }) ?? { reason: "" }
    expect(reason).toMatch(/^did not run for \d\.\d\d s; peers wait 0\.34 s$/)
    await first.reaches("active")
    const sent = await capture.fields(["frame.time_epoch"])
    const firstAfter = sent.map(([at]) => Number(at) * 1000).find((at) => at > wokenAt)
    // 3 * 100 + (256 - 150) * 100 / 256 = 341 ms as Backup before it preempts.
    expect((firstAfter ?? 0) - wokenAt).toBeGreaterThan(330)
    // Nor has it put the address back, or claimed it, before it was Active again.
    const back = gone.events(VIP).find(({ type, atMs }) => type === "added" && atMs > wokenAt)
    expect((back?.atMs ?? 0) - wokenAt).toBeGreaterThan(330)
    const claimed = (await claims.fields(["frame.time_epoch"])).map(([at]) => Number(at) * 1000)
    expect((claimed.find((at) => at > wokenAt) ?? 0) - wokenAt).toBeGreaterThan(330)
    await second.reaches("backup")
  }, 20_000)

  test("release hands over until resume", async () => {
    const [first, second] = await pair()
    await first.post({ type: "release", router: "edge" })
    await second.reaches("active", { timeoutMs: 300 })
    await first.shows(({ released, state }) => released && state === "backup", "released")
    await Bun.sleep(500)
    expect(second.latest().state).toBe("active")
    await first.post({ type: "resume", router: "edge" })
    await first.reaches("active")
    await second.reaches("backup")
  })
})

describe("start-up", () => {
  test("sends nothing before it is ready and settled", async () => {
    const capture = await lan.capture({ filter: "ip proto 112" })
    const track = [{ type: "check", target: "api", weight: -2 }] as const
    const config = routerConfig({ ...FAST, priority: 255, track })
    const router = await startRouter(a, [config], { ready: false })
    await Bun.sleep(300)
    const tracking = { settled: true, weightSum: 0, fault: undefined }
    await router.post({
      type: "tracking",
      router: "edge",
      tracking: { ...tracking, settled: false },
    })
    await router.post({ type: "ready" })
    await Bun.sleep(300)
    expect(router.latest().state).toBe("initialize")
    expect(await capture.fields(["ip.src"])).toEqual([])
    await router.post({ type: "tracking", router: "edge", tracking })
    await router.reaches("active", { timeoutMs: 200 })
  })

  test("removes what a killed run left on the interface, and nobody else's", async () => {
    const config = routerConfig({ ...FAST, placement: "interface", leaseMs: 0 })
    const first = await startRouter(a, [config])
    await first.reaches("active")
    expect(await a.ip("address show dev eth0")).toContain("192.0.2.40/32 scope host")
    await first.process.stop({ signal: "SIGKILL" })
    await a.ip("address add 192.0.2.41/32 dev eth0")
    expect(await a.holds(VIP)).toBe(true)
    const other = routerConfig({ ...FAST, addresses: prefixes("192.0.2.77"), priority: 1 })
    const second = await startRouter(a, [other])
    await eventually(async () => !(await a.holds(VIP)), { what: "the leftover to go" })
    expect(await a.addresses("eth0")).toEqual(
      expect.arrayContaining(["192.0.2.1/24", "192.0.2.41/32"]),
    )
    const word = "info: Removed addresses that a previous run left behind"
    await eventually(() => second.logs().includes(word), { what: word })
  })

  test("an address that is there without our mark stays as it is", async () => {
    await a.ip(`address add ${VIP}/32 dev eth0`)
    const router = await startRouter(a, [routerConfig({ ...FAST, placement: "interface" })])
    await router.reaches("active")
    await router.process.stop()
    expect(await a.ip("address show dev eth0")).toMatch(/192\.0\.2\.40\/32 scope global eth0/)
  })

  test("says which capability is missing", async () => {
    for (const [capability, name] of [
      ["net_admin", "CAP_NET_ADMIN"],
      ["net_raw", "CAP_NET_RAW"],
    ] as const) {
      const drop = ["--bounding-set", `-${capability}`, "--inh-caps", `-${capability}`]
      const wrapper = ["setpriv", ...drop]
      const router = await startRouter(a, [routerConfig(FAST)], { wrapper })
      await router.reaches("fault")
      expect(router.latest().reason).toContain(`EPERM (needs ${name})`)
      await router.process.stop()
    }
  })
})

describe("the interface", () => {
  const reason = (router: RouterProcess) => router.latest().reason

  test("missing, without address, down, unplugged, made anew: fault and recovery", async () => {
    const router = await startRouter(a, [routerConfig({ ...FAST, interface: "eth1" })])
    await router.reaches("fault")
    expect(reason(router)).toBe("interface eth1 does not exist")
    const other = await lab.lan("other")
    await other.join(a)
    await router.shows(() => reason(router) === "interface eth1 has no IPv4 address", "no address")
    await a.ip("address add 198.51.100.1/24 dev eth1")
    await router.reaches("active")
    await a.linkDown("eth1")
    await router.shows(() => reason(router) === "interface eth1 is down", "down")
    // Up to 50 ms later: its sessions are reset first.
    await eventually(async () => !(await a.holds(VIP)), { what: "the address to go" })
    await a.linkUp("eth1")
    await router.reaches("active")
    await other.unplug(a)
    await router.shows(() => reason(router) === "interface eth1 has no carrier", "no carrier")
    await other.plug(a)
    await router.reaches("active")
    await a.ip("link delete eth1")
    await router.shows(() => reason(router) === "interface eth1 does not exist", "deleted")
    const another = await lab.lan("another")
    await another.join(a, { interface: "eth1", addresses: ["198.51.100.1/24"] })
    const capture = await another.capture({ filter: "ip proto 112" })
    await router.reaches("active")
    await eventually(async () => (await capture.fields(["ip.src"])).length > 2, {
      what: "adverts on the new interface",
    })
  }, 20_000)

  test("tracked: fault without weight, a lower priority with", async () => {
    const other = await lab.lan("other")
    await other.join(a)
    const track = (weight: number | undefined) =>
      [{ type: "interface", target: "eth1", weight }] as const
    const router = await startRouter(a, [routerConfig({ ...FAST, track: track(undefined) })])
    await router.reaches("active")
    await other.unplug(a)
    await router.reaches("fault")
    expect(reason(router)).toBe("interface eth1 is down")
    await router.post({
      type: "configure",
      routers: [routerConfig({ ...FAST, track: track(-30) })],
    })
    await router.reaches("active")
    await router.shows(({ effectivePriority }) => effectivePriority === 70, "priority 70")
    await other.plug(a)
    await router.shows(({ effectivePriority }) => effectivePriority === 100, "priority 100")
    expect(router.latest().state).toBe("active")
  })
})

describe("configure", () => {
  const configure = (router: RouterProcess, routers: readonly ReturnType<typeof routerConfig>[]) =>
    router.post({ type: "configure", routers })

  test("an unchanged router keeps everything; another comes and goes beside it", async () => {
    const config = routerConfig(FAST)
    const router = await startRouter(a, [config])
    await router.reaches("active")
    const watch = await a.watchAddresses()
    const second = routerConfig({
      ...FAST,
      name: "two",
      virtualRouterId: 52,
      addresses: prefixes("192.0.2.52"),
    })
    await configure(router, [config, second])
    await eventually(() => router.latest("two").state === "active")
    expect(await a.addresses("cw-two")).toEqual(["192.0.2.52/32"])
    await configure(router, [config])
    await eventually(async () => !(await a.holds("192.0.2.52")))
    expect(await a.ip("link show")).not.toContain("cw-two")
    expect(router.latest().transitions).toBe(2)
    expect(watch.events(VIP).filter(({ type }) => type === "removed")).toEqual([])
  })

  test("changed addresses: the new one comes, the old one goes after its sessions", async () => {
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    const addresses = prefixes("192.0.2.41", "192.0.2.42")
    await configure(router, [routerConfig({ ...FAST, addresses, priority: 120 })])
    await eventually(async () => !(await a.holds(VIP)))
    expect(await a.addresses("cw-edge")).toEqual(["192.0.2.41/32", "192.0.2.42/32"])
    const leaving = router
      .events()
      .flatMap(({ message }) => (message.type === "leaving" ? message : []))
    expect(leaving.map((message) => message.addresses)).toEqual([[address(VIP)]])
    expect(router.latest().transitions).toBe(2)
    expect(router.latest().effectivePriority).toBe(120)
  })

  test("another VRID makes another router of the same name", async () => {
    const router = await startRouter(a, [routerConfig(FAST)])
    await router.reaches("active")
    await configure(router, [routerConfig({ ...FAST, virtualRouterId: 99 })])
    await router.shows(
      ({ virtualRouterId, state }) => virtualRouterId === 99 && state === "active",
      "VRID 99 to be active",
    )
    expect(await a.addresses("cw-edge")).toEqual(["192.0.2.40/32"])
  })
})

test("a packet that is not for us is counted by reason", async () => {
  const password = (text: string) => ({ type: "pass", password: text }) as const
  const v2 = { version: 2, advertisementIntervalMs: 1000 } as const
  const first = await startRouter(a, [routerConfig({ ...v2, authentication: password("42") })])
  const other = routerConfig({ ...v2, priority: 255, authentication: password("43") })
  const stranger = routerConfig({ ...FAST, priority: 255, name: "x", virtualRouterId: 7 })
  await startRouter(b, [other, { ...stranger, addresses: prefixes("192.0.2.7") }])
  await first.shows(
    ({ dropped: { authentication = 0 } }) => authentication > 0,
    "authentication counted",
  )
  await first.shows(({ dropped: { vrid = 0 } }) => vrid > 0, "vrid counted")
  expect(first.latest().advertsReceived).toBe(0)
})
