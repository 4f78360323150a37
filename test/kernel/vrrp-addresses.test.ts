/**
 * A virtual router with thousands of addresses that come and go, as those of Services do: how soon
 * they are there and gone, what is announced, what a change leaves alone, what keeping them costs.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { Prefix } from "../../src/net/address.ts"
import type { Host } from "../lab/host.ts"
import { keepalivedConfig, startKeepalived } from "../lab/keepalived.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { StallWatch } from "../lab/stall-watch.ts"
import { prefixes, type RouterProcess, routerConfig, startRouter } from "../lab/virtual-router.ts"
import { epochMs, eventually } from "../lab/wait.ts"

const VIP = "192.0.2.40"
const FAST = { advertisementIntervalMs: 100 }
/** Two shared CPUs, and tcpdump writes thousands of frames meanwhile. */
const SLACK_MS = 250

let lab: Lab
let lan: Lan
let a: Host
let b: Host
let client: Host

beforeEach(async () => {
  lab = await createLab("addresses")
  lan = await lab.lan("lan")
  a = await lab.host("a")
  b = await lab.host("b")
  client = await lab.host("client")
  await lan.join(a, { addresses: ["192.0.2.1/24"] })
  await lan.join(b, { addresses: ["192.0.2.2/24"] })
  await lan.join(client, { addresses: ["192.0.2.9/24"] })
  await client.ip("route add 198.18.0.0/15 dev eth0")
})

afterEach(() => lab.close())

/** 198.18.0.0 and on. */
function services(count: number, first = 0): Prefix[] {
  return prefixes(
    ...Array.from({ length: count }, (_, offset) => {
      const index = first + offset
      return `198.18.${index >> 8}.${index & 255}`
    }),
  )
}

async function held(host: Host, device = "cw-edge"): Promise<string[]> {
  const all = await host.addresses(device)
  return all.filter((each) => each.startsWith("198.18.")).map((each) => each.split("/")[0] ?? "")
}

async function pings(target: string): Promise<boolean> {
  const { exitCode } = await client.run(["ping", "-c", "1", "-W", "1", target])
  return exitCode === 0
}

function leavings(router: RouterProcess): string[][] {
  return router.events().flatMap(({ message }) => {
    return message.type === "leaving" ? [[...message.addresses]] : []
  })
}

/** CPU time of the whole process, milliseconds. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

describe("2,000 unadvertised addresses", () => {
  const config = (change = {}) =>
    routerConfig({ ...FAST, unadvertisedAddresses: services(2000), ...change })

  test("are announced within a second, at most 64 frames a millisecond, and answered for", async () => {
    const capture = await lan.capture({ filter: "arp and ether src not 00:00:00:00:00:00" })
    const router = await startRouter(a, [
      config({ announce: { ...routerConfig().announce, count: 1 } }),
    ])
    await router.reaches("active")
    const mine = "arp.opcode == 2 && arp.src.proto_ipv4 == arp.dst.proto_ipv4"
    const rows = await eventually(
      async () => {
        const found = await capture.fields(["frame.time_epoch", "arp.src.proto_ipv4"], mine)
        return new Set(found.map(([, source]) => source)).size >= 2001 && found
      },
      { what: "2,001 addresses to be announced", intervalMs: 200, timeoutMs: 10_000 },
    )
    const at = rows.map(([time]) => Number(time) * 1000).sort((x, y) => x - y)
    expect((at[2000] ?? 0) - (at[0] ?? 0)).toBeLessThan(1000)
    // One reply of the pair each: 32 a step.
    for (const [index, time] of at.slice(0, 2000 - 64).entries())
      expect((at[index + 64] ?? 0) - time).toBeGreaterThan(0.9)
    expect((await held(a)).length).toBe(2000)
    expect(await pings("198.18.7.207")).toBe(true)
  }, 30_000)

  test("are taken over like one, and released like one", async () => {
    const first = await startRouter(a, [config({ priority: 150 })])
    await first.reaches("active")
    const second = await startRouter(b, [config()])
    await second.reaches("backup")
    const watch = await b.watchAddresses()
    const killedAt = epochMs()
    first.process.signal("SIGKILL")
    await second.reaches("active")
    const last = await eventually(() => watch.events("198.18.7.207").at(-1), { intervalMs: 5 })
    // 3 * 100 + 156 * 100 / 256, and 200 ms for the addresses.
    expect(last.atMs - killedAt).toBeLessThan(361 + 200 + SLACK_MS)
    expect(await pings("198.18.7.207")).toBe(true)
    const stoppedAt = epochMs()
    second.process.signal("SIGTERM")
    const gone = await eventually(
      () => watch.events("198.18.7.207").find(({ type }) => type === "removed"),
      { intervalMs: 5 },
    )
    expect(gone.atMs - stoppedAt).toBeLessThan(150 + SLACK_MS)
    expect(await second.process.exited).toBe(0)
  }, 30_000)

  test("go with one lease when the process hangs, and are back when it wakes", async () => {
    const router = await startRouter(a, [config()])
    await router.reaches("active")
    await eventually(async () => (await held(a)).length === 2000)
    const watch = await a.watchAddresses()
    const hungAt = epochMs()
    router.process.signal("SIGSTOP")
    const gone = await eventually(
      () => watch.events("198.18.7.207").find(({ type }) => type === "removed"),
      { timeoutMs: 5000 },
    )
    expect(gone.atMs - hungAt).toBeLessThan(2600 + SLACK_MS)
    expect(await held(a)).toEqual([])
    router.process.signal("SIGCONT")
    await eventually(async () => (await held(a)).length === 2000, { timeoutMs: 10_000 })
  }, 30_000)

  test("cost next to nothing to keep", async () => {
    const announce = { count: 1, delayMs: 0, refreshMs: 0 }
    const router = await startRouter(a, [config({ announce })])
    const pid = router.process.pid
    await router.reaches("active")
    await Bun.sleep(7000) // probes for conflicts end after 6 s
    const before = cpuMs(pid)
    await Bun.sleep(3000)
    expect(cpuMs(pid) - before).toBeLessThan(240)
  }, 30_000)

  test("have a lease each where promote_secondaries of all interfaces is on", async () => {
    await a.sysctl({ "net.ipv4.conf.all.promote_secondaries": 1 })
    const router = await startRouter(a, [config({ unadvertisedAddresses: services(40) })])
    await router.reaches("active")
    await eventually(async () => (await held(a)).length === 40)
    await Bun.sleep(2500)
    expect((await held(a)).length).toBe(40)
    router.process.signal("SIGSTOP")
    await eventually(async () => (await held(a)).length === 0, { timeoutMs: 5000 })
  }, 20_000)
})

describe("addresses that change", () => {
  const config = (unadvertisedAddresses: readonly Prefix[], change = {}) =>
    routerConfig({ ...FAST, unadvertisedAddresses, ...change })

  test("an active router stays active, misses no advert, and touches only what has changed", async () => {
    // No second burst of all, which would be taken for one of ours.
    const announce = { count: 5, delayMs: 0, refreshMs: 0 }
    const router = await startRouter(a, [config(services(1000), { announce })])
    await router.reaches("active")
    await eventually(async () => (await held(a)).length === 1000)
    await Bun.sleep(1000)
    const [adverts, arps] = [
      await lan.capture({ filter: "ip proto 112" }),
      await lan.capture({ filter: `arp and ether src ${await a.mac("eth0")}` }),
    ]
    const watch = await a.watchAddresses()
    using stalls = new StallWatch()
    for (let step = 1; step <= 20; step += 1) {
      await router.post({
        type: "configure",
        routers: [config(services(1000, step), { announce })],
      })
      await Bun.sleep(100)
    }
    await eventually(async () => (await held(a)).length === 1000)
    expect(await held(a)).toContain("198.18.3.251")
    expect(router.latest().transitions).toBe(2)
    expect(leavings(router)).toEqual(
      Array.from({ length: 20 }, (_, index) => [`198.18.0.${index}`]),
    )
    const times = (await adverts.fields(["frame.time_epoch"])).map(([at]) => Number(at) * 1000)
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(Math.max(...gaps)).toBeLessThan(100 + SLACK_MS + stalls.longestMs)
    const announced = "arp.opcode == 2 && arp.src.proto_ipv4 == arp.dst.proto_ipv4"
    const sources = (await arps.fields(["arp.src.proto_ipv4"], announced)).map(([source]) => source)
    expect([...new Set(sources)].toSorted()).toEqual(
      Array.from({ length: 20 }, (_, index) => `198.18.3.${232 + index}`),
    )
    const touched = watch.all().map(({ address }) => address.split("/")[0] ?? "")
    expect(touched.filter((each) => each === "198.18.2.0").length).toBeLessThan(2)
    expect(watch.events(VIP).filter(({ type }) => type === "removed")).toEqual([])
  }, 30_000)

  test("a backup whose addresses change all the time still takes over", async () => {
    const first = await startRouter(a, [config([], { priority: 150 })])
    await first.reaches("active")
    const second = await startRouter(b, [config([])])
    await second.reaches("backup")
    let isOver = false
    const changes = (async () => {
      for (let step = 1; !isOver; step += 1) {
        await second.post({ type: "configure", routers: [config(services(3, step))] })
        await Bun.sleep(50)
      }
    })()
    await Bun.sleep(300)
    const killedAt = epochMs()
    first.process.signal("SIGKILL")
    await second.reaches("active")
    expect(epochMs() - killedAt).toBeLessThan(361 + SLACK_MS)
    isOver = true
    await changes
    await eventually(async () => (await held(b)).length === 3)
  }, 20_000)

  test("an address waits for its own sessions, not for those of one that left before", async () => {
    const router = await startRouter(a, [config(services(3))], { leavingMs: 35 })
    await router.reaches("active")
    await eventually(async () => (await held(a)).length === 3)
    const watch = await a.watchAddresses()
    await router.post({ type: "configure", routers: [config(services(2, 1))] })
    await Bun.sleep(20)
    await router.post({ type: "configure", routers: [config(services(1, 2))] })
    const gone = await eventually(() => watch.events("198.18.0.1").at(-1), { intervalMs: 5 })
    const asked = router.events().filter(({ message }) => message.type === "leaving")
    expect(leavings(router)).toEqual([["198.18.0.0"], ["198.18.0.1"]])
    expect(gone.atMs - (asked[1]?.atMs ?? 0)).toBeGreaterThan(30)
    expect(await held(a)).toEqual(["198.18.0.2"])
  }, 20_000)

  test("an address that becomes an advertised one stays", async () => {
    const [moved] = prefixes("198.18.0.5")
    if (moved === undefined) throw new Error("no prefix")
    const router = await startRouter(a, [config(services(10))])
    await router.reaches("active")
    const others = services(10).filter(({ address }) => address !== moved.address)
    const addresses = [...prefixes(VIP), moved]
    await router.post({ type: "configure", routers: [config(others, { addresses })] })
    await eventually(async () =>
      (await a.ip("address show dev cw-edge")).includes("198.18.0.5/32 scope"),
    )
    expect(leavings(router)).toEqual([])
    await router.process.stop()
    expect(await a.ip("route show table local")).not.toContain("198.18.0.5")
  }, 20_000)
})

test("on the interface: 1,000 with leases that last longer, cleared away after a crash", async () => {
  const unadvertisedAddresses = services(1000)
  const config = routerConfig({ ...FAST, placement: "interface", unadvertisedAddresses })
  const first = await startRouter(a, [config])
  await first.reaches("active")
  await eventually(async () => (await held(a, "eth0")).length === 1000)
  await Bun.sleep(5000)
  expect((await held(a, "eth0")).length).toBe(1000)
  await first.process.stop({ signal: "SIGKILL" })
  const startedAt = epochMs()
  const second = await startRouter(a, [routerConfig({ ...FAST, priority: 1 })], { ready: false })
  await eventually(async () => (await held(a, "eth0")).length === 0, { timeoutMs: 3000 })
  expect(epochMs() - startedAt).toBeLessThan(3000)
  const word = "info: Removed addresses that a previous run left behind"
  await eventually(() => second.logs().includes(word), { what: word })
}, 30_000)

test("keepalived, which knows none of the 1,000, stays a content peer and backs the router up", async () => {
  const config = routerConfig({ priority: 150, ...FAST, unadvertisedAddresses: services(1000) })
  const router = await startRouter(a, [config])
  await router.reaches("active")
  const keepalived = await startKeepalived(
    b,
    keepalivedConfig({
      interface: "eth0",
      virtualRouterId: 51,
      priority: 100,
      advertInterval: 0.1,
      addresses: [`${VIP}/32`],
      extra: `virtual_ipaddress_excluded {
        198.18.0.0/32
        198.18.3.231/32
      }`,
    }),
  )
  await Bun.sleep(1500)
  expect(keepalived.state).toBe("BACKUP")
  await router.process.stop()
  await eventually(() => keepalived.state === "MASTER", { what: "keepalived to be MASTER" })
  await eventually(() => pings("198.18.3.231"), { what: "keepalived to answer" })
  expect(keepalived.process.output).not.toMatch(/[Ii]nvalid|mismatch|wrong|expected/)
}, 30_000)

describe("IPv6 addresses of a virtual router over IPv4", () => {
  const VIP6 = "2001:db8:5::40"
  const config = (change = {}) =>
    routerConfig({ ...FAST, unadvertisedAddresses: prefixes(VIP6), ...change })

  beforeEach(async () => {
    await a.ip("address add 2001:db8::1/64 dev eth0 nodad")
    await b.ip("address add 2001:db8::2/64 dev eth0 nodad")
    await client.ip("address add 2001:db8::9/64 dev eth0 nodad")
    await client.ip("route add 2001:db8:5::/48 dev eth0")
  })

  async function pings6(): Promise<boolean> {
    const { exitCode } = await client.run(["ping", "-6", "-c", "1", "-W", "1", VIP6])
    return exitCode === 0
  }

  async function neighbor(): Promise<string> {
    const line = await client.ip(`-6 neigh show ${VIP6}`)
    return /lladdr (\S+)/.exec(line)?.[1] ?? ""
  }

  for (const placement of ["process", "interface"] as const) {
    test(`are answered for, and never a source (placement ${placement})`, async () => {
      await a.ip("route add default via 2001:db8::9")
      const router = await startRouter(a, [config({ placement })])
      await router.reaches("active")
      const device = placement === "process" ? "cw-edge" : "eth0"
      await eventually(() => a.holds(VIP6))
      expect(await a.ip(`-6 address show dev ${device}`)).toMatch(
        /2001:db8:5::40\/128 scope global .*deprecated/,
      )
      await client.ip("-6 neigh flush all")
      // The kernel's own answer to a first solicitation may take a moment; ours must not.
      expect(await eventually(pings6, { timeoutMs: 3000 })).toBe(true)
      expect(await neighbor()).toBe(await a.mac("eth0"))
      for (const target of ["2001:db8::9", "2001:db8:77::1", "ff02::1 oif eth0"])
        expect(await a.ip(`-6 route get ${target}`)).not.toContain(`src ${VIP6}`)
      await router.process.stop()
      expect(await a.holds(VIP6)).toBe(false)
    }, 20_000)
  }

  test("are gone with a killed process; the peer has them, and the client's cache, in time", async () => {
    const first = await startRouter(a, [config({ priority: 150 })])
    await first.reaches("active")
    const second = await startRouter(b, [config()])
    await second.reaches("backup")
    expect(await eventually(pings6, { timeoutMs: 3000 })).toBe(true)
    expect(await neighbor()).toBe(await a.mac("eth0"))
    const theirs = await b.mac("eth0")
    const gone = await a.watchAddresses()
    const killedAt = epochMs()
    first.process.signal("SIGKILL")
    await eventually(async () => (await neighbor()) === theirs, { intervalMs: 5 })
    expect(epochMs() - killedAt).toBeLessThan(361 + SLACK_MS)
    expect(await pings6()).toBe(true)
    const removed = gone.events(VIP6).find(({ type }) => type === "removed")
    expect((removed?.atMs ?? Number.POSITIVE_INFINITY) - killedAt).toBeLessThan(50 + SLACK_MS)
  }, 20_000)

  test("carry connections within the time of IPv4 after a takeover", async () => {
    const config6 = { unadvertisedAddresses: prefixes(VIP6) }
    const first = await startRouter(a, [config({ ...config6, priority: 150 })])
    await first.reaches("active")
    const second = await startRouter(b, [config(config6)])
    await second.reaches("backup")
    const serve =
      "import http.server as h,socket as s\nclass S(h.HTTPServer):address_family=s.AF_INET6\nS(('::',8080),h.SimpleHTTPRequestHandler).serve_forever()"
    for (const host of [a, b]) host.spawn(["python3", "-c", serve], { name: "http" })
    const curl = async () => {
      const url = `http://[${VIP6}]:8080/`
      const argv = ["curl", "-so", "/dev/null", "--connect-timeout", "0.1", url]
      return (await client.run(argv)).exitCode === 0
    }
    await eventually(curl, { what: "the first server to answer" })
    const killedAt = epochMs()
    first.process.signal("SIGKILL")
    await Bun.sleep(50)
    await eventually(curl, { intervalMs: 5 })
    expect(epochMs() - killedAt).toBeLessThan(361 + 100 + SLACK_MS)
  }, 20_000)

  test("a released router answers no more; a host that uses the address is named", async () => {
    const capture = await lan.capture({ filter: "icmp6 and ip6[40] == 136" })
    await client.ip(`address add ${VIP6}/128 dev eth0 nodad`)
    const router = await startRouter(a, [config()])
    await router.reaches("active")
    const warning = `${VIP6} is also used by ${await client.mac("eth0")}`
    await router.shows(({ warnings }) => warnings.includes(warning), warning)
    await router.post({ type: "release", router: "edge" })
    await router.reaches("backup")
    await client.ip(`address del ${VIP6}/128 dev eth0`)
    expect(await pings6()).toBe(false)
    const fields = [
      "icmpv6.nd.na.flag.o",
      "icmpv6.nd.na.flag.s",
      "ipv6.dst",
      "icmpv6.checksum.status",
    ]
    const own = `icmpv6.nd.na.target_address == ${VIP6} && eth.src == ${await a.mac("eth0")}`
    const rows = (await capture.fields(fields, own)).map((row) =>
      // tshark 4.2 and later write flags out.
      row.map((field) => ({ True: "1", False: "0" })[field] ?? field),
    )
    expect(rows.slice(0, 5)).toEqual(Array.from({ length: 5 }, () => ["1", "0", "ff02::1", "1"]))
  }, 20_000)

  test("hundreds on an Ethernet interface, which take a while, delay no advert", async () => {
    const many = prefixes(
      ...Array.from({ length: 700 }, (_, index) => `2001:db8:5::${(index + 0x100).toString(16)}`),
    )
    const adverts = await lan.capture({ filter: "ip proto 112" })
    using stalls = new StallWatch()
    const router = await startRouter(a, [
      config({ placement: "interface", unadvertisedAddresses: many }),
    ])
    await router.reaches("active")
    const held6 = async () =>
      (await a.addresses("eth0")).filter((each) => each.startsWith("2001:db8:5:")).length
    await eventually(async () => (await held6()) === 700, { timeoutMs: 5000 })
    await Bun.sleep(4000)
    expect(await held6()).toBe(700)
    const times = (await adverts.fields(["frame.time_epoch"])).map(([at]) => Number(at) * 1000)
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(Math.max(...gaps)).toBeLessThan(100 + SLACK_MS + stalls.longestMs)
    expect(router.latest().transitions).toBe(2)
  }, 20_000)

  test("2,000 of them come and go with the router", async () => {
    const many = prefixes(
      ...Array.from({ length: 2000 }, (_, index) => `2001:db8:5::${(index + 0x100).toString(16)}`),
    )
    const router = await startRouter(a, [config({ unadvertisedAddresses: many })])
    await router.reaches("active")
    await eventually(async () => (await a.addresses("cw-edge")).length === 2001, {
      timeoutMs: 2000,
    })
    const { exitCode } = await client.run(["ping", "-6", "-c", "1", "-W", "1", "2001:db8:5::8cf"])
    expect(exitCode).toBe(0)
    const stoppedAt = epochMs()
    await router.post({ type: "release", router: "edge" })
    await eventually(async () => (await a.addresses("cw-edge")).length === 0, { intervalMs: 5 })
    expect(epochMs() - stoppedAt).toBeLessThan(200 + SLACK_MS)
    expect(router.latest().transitions).toBe(3)
    expect(router.latest().warnings).toEqual([])
  }, 20_000)
})
