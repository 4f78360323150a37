/** Links, addresses and routes against the real kernel, compared with what iproute2 sees. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { join } from "node:path"
import type { InterfaceAddress } from "../../src/linux/address-message.ts"
import { SCOPE_HOST, SCOPE_LINK } from "../../src/linux/address-message.ts"
import { EPOLLIN, Epoll } from "../../src/linux/epoll.ts"
import { leakedFds, traceFds } from "../../src/linux/fd.ts"
import type { Link } from "../../src/linux/link-message.ts"
import { Rtnetlink } from "../../src/linux/rtnetlink.ts"
import { type RtnetlinkEvent, RtnetlinkMonitor } from "../../src/linux/rtnetlink-monitor.ts"
import { type Address, type Prefix, parsePrefix } from "../../src/net/address.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { inNamespace } from "./namespace.ts"

const MARK = 0xc0
const BLOCKED_WORKER = join(import.meta.dir, "programs/blocked-worker.ts")

let lab: Lab
let lan: Lan
let edge: Host
let rtnetlink: Rtnetlink
let eth0: Link

beforeAll(async () => {
  lab = await createLab("rtnetlink")
  lan = await lab.lan("lan")
})

afterAll(() => lab.close())

let hostNumber = 0

beforeEach(async () => {
  edge = await lab.host(`edge${hostNumber++}`)
  await lan.join(edge, { addresses: ["10.0.0.1/24"] })
  traceFds(true)
  rtnetlink = inNamespace(edge, () => new Rtnetlink())
  eth0 = linkNamed("eth0")
})

afterEach(() => {
  rtnetlink.close()
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

function linkNamed(name: string): Link {
  const link = rtnetlink.link(name)
  if (link === undefined) throw new Error(`no link ${name}`)
  return link
}

function prefix(text: string): Prefix {
  const parsed = parsePrefix(text)
  if (parsed === undefined) throw new Error(text)
  return parsed
}

async function ipJson<Row>(command: string): Promise<Row[]> {
  return JSON.parse(await edge.ip(`-json -details ${command}`))
}

describe("links", () => {
  interface LinkJson {
    ifindex: number
    ifname: string
    address: string
    mtu: number
    flags: string[]
    linkinfo?: { info_kind?: string }
    master?: string
  }

  test("links() lists what `ip link` lists", async () => {
    await edge.ip("link add br5 type bridge")
    await edge.ip("link add eth5 mtu 1400 type veth peer name eth6")
    await edge.ip("link set eth5 master br5 up")
    await edge.ip("link add mac5 link eth0 address 00:00:5e:00:01:33 type macvlan")
    const expected = (await ipJson<LinkJson>("link show")).map((link) => ({
      index: link.ifindex,
      name: link.ifname,
      mac: link.address,
      mtu: link.mtu,
      kind: link.linkinfo?.info_kind,
      master: link.master === undefined ? undefined : linkNamed(link.master).index,
      up: link.flags.includes("UP"),
      carrier: link.flags.includes("LOWER_UP"),
      loopback: link.flags.includes("LOOPBACK"),
      noArp: link.flags.includes("NOARP"),
    }))
    expect(expected.length).toBeGreaterThanOrEqual(6)
    expect(rtnetlink.links().map(({ running: _, ...link }) => link)).toEqual(
      expected as Omit<Link, "running">[],
    )
  })

  test("link() finds by name and by alternative name, and is undefined when there is none", async () => {
    await edge.ip("link property add dev eth0 altname the-uplink-to-the-lan")
    expect(rtnetlink.link("eth0")?.index).toBe(eth0.index)
    expect(rtnetlink.link("the-uplink-to-the-lan")?.index).toBe(eth0.index)
    expect(rtnetlink.link("eth9")).toBeUndefined()
    expect(rtnetlink.link("another-name-that-is-too-long")).toBeUndefined()
    expect(rtnetlink.link("x".repeat(200))).toBeUndefined()
    expect(rtnetlink.link("")).toBeUndefined()
  })

  test("changeLink() sets state and MTU", () => {
    rtnetlink.changeLink(eth0, { up: false, mtu: 1400 })
    expect(linkNamed("eth0")).toMatchObject({ up: false, running: false, mtu: 1400 })
    rtnetlink.changeLink(eth0, { up: true })
    expect(linkNamed("eth0")).toMatchObject({ up: true })
  })

  test("link() shows that the cable was pulled", async () => {
    expect(linkNamed("eth0")).toMatchObject({ up: true, running: true, carrier: true })
    await lan.unplug(edge)
    expect(linkNamed("eth0")).toMatchObject({ up: true, running: false, carrier: false })
  })

  test("changeLink() fails with the kernel's reason", () => {
    expect(() => rtnetlink.changeLink(eth0, { mtu: 10 })).toThrow(
      "Cannot set MTU 10 of interface eth0: EINVAL (mtu less than device minimum)",
    )
  })
})

describe("addresses", () => {
  interface AddressJson {
    addr_info: { local: string; valid_life_time: number; preferred_life_time: number }[]
  }

  const onEth0 = () => rtnetlink.addresses({ ifindex: eth0.index })
  const held = (address: string) => onEth0().find((each) => each.prefix.address === address)

  test("addAddress() puts on what `ip address` then shows", async () => {
    rtnetlink.addAddress(eth0, {
      prefix: prefix("192.0.2.40/32"),
      scope: SCOPE_LINK,
      label: "eth0:vip",
      validLifetimeS: 90,
      protocol: MARK,
      noPrefixRoute: true,
    })
    rtnetlink.addAddress(eth0, {
      prefix: prefix("2001:db8::40/128"),
      validLifetimeS: 90,
      preferredLifetimeS: 0,
      noDad: true,
    })
    const [shown] = await ipJson<AddressJson>("address show dev eth0")
    const info = (address: string) => shown?.addr_info.find(({ local }) => local === address)
    expect(info("192.0.2.40")).toMatchObject({
      prefixlen: 32,
      scope: "link",
      label: "eth0:vip",
      noprefixroute: true,
      dynamic: true,
    })
    expect(info("192.0.2.40")?.valid_life_time).toBeWithin(88, 91)
    expect(info("192.0.2.40")?.preferred_life_time).toBeWithin(88, 91)
    expect(info("2001:db8::40")).toMatchObject({
      prefixlen: 128,
      deprecated: true,
      nodad: true,
      preferred_life_time: 0,
    })
  })

  test("addresses() reads back the mark, the scope and the lifetimes", () => {
    rtnetlink.addAddress(eth0, {
      prefix: prefix("192.0.2.40/32"),
      scope: SCOPE_LINK,
      validLifetimeS: 90,
      protocol: MARK,
    })
    expect(held("192.0.2.40")).toMatchObject({
      ifindex: eth0.index,
      scope: SCOPE_LINK,
      label: "eth0",
      protocol: MARK,
      permanent: false,
    })
    expect(held("192.0.2.40")?.validLifetimeS).toBeWithin(88, 91)
    expect(held("10.0.0.1")).toMatchObject({
      prefix: prefix("10.0.0.1/24"),
      protocol: 0,
      permanent: true,
      validLifetimeS: Number.POSITIVE_INFINITY,
    })
  })

  test("addresses() filters by interface and family", () => {
    const families = (addresses: InterfaceAddress[]) =>
      addresses.map(({ prefix: { address }, ifindex }) => [ifindex, address.includes(":")])
    const v4 = families(rtnetlink.addresses({ family: 4 }))
    expect(v4).toEqual([
      [1, false],
      [eth0.index, false],
    ])
    expect(families(rtnetlink.addresses({ ifindex: 1 }))).toEqual([
      [1, false],
      [1, true],
    ])
    expect(families(rtnetlink.addresses({ ifindex: 1, family: 6 }))).toEqual([[1, true]])
  })

  test("replaceAddress() adds, then renews the lease of the same address", () => {
    const spec = { prefix: prefix("192.0.2.40/32"), scope: SCOPE_LINK, protocol: MARK }
    rtnetlink.replaceAddress(eth0, { ...spec, validLifetimeS: 10 })
    rtnetlink.replaceAddress(eth0, { ...spec, validLifetimeS: 1000 })
    expect(held("192.0.2.40")?.validLifetimeS).toBeWithin(990, 1001)
    expect(held("192.0.2.40")).toMatchObject({ scope: SCOPE_LINK, protocol: MARK })
    expect(onEth0().filter(({ prefix: { address } }) => address === "192.0.2.40")).toHaveLength(1)
  })

  test("replaceAddress() leaves the scope of an IPv4 address that is there", () => {
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.40/32"), scope: SCOPE_HOST })
    rtnetlink.replaceAddress(eth0, { prefix: prefix("192.0.2.40/32"), scope: SCOPE_LINK })
    expect(held("192.0.2.40")?.scope).toBe(SCOPE_HOST)
  })

  test("addAddress() fails when the address is there, or makes no sense", () => {
    const add = (text: string) => () => rtnetlink.addAddress(eth0, { prefix: prefix(text) })
    expect(add("10.0.0.1/24")).toThrow("Cannot add 10.0.0.1/24 to eth0: EEXIST")
    expect(add("ff02::1/128")).toThrow("Cannot add ff02::1/128 to eth0: EADDRNOTAVAIL")
    const gone = { index: 4711, name: "eth7" }
    expect(() => rtnetlink.addAddress(gone, { prefix: prefix("192.0.2.40/32") })).toThrow(
      "Cannot add 192.0.2.40/32 to eth7: ENODEV",
    )
  })

  test("deleteAddress() says whether there was anything to delete", async () => {
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.40/32") })
    expect(rtnetlink.deleteAddress(eth0, prefix("192.0.2.40/24"))).toBe(false)
    expect(rtnetlink.deleteAddress(eth0, prefix("192.0.2.40/32"))).toBe(true)
    expect(rtnetlink.deleteAddress(eth0, prefix("192.0.2.40/32"))).toBe(false)
    expect(rtnetlink.deleteAddress(eth0, prefix("2001:db8::40/128"))).toBe(false)
    expect(await edge.holds("10.0.0.1")).toBe(true)
    await edge.ip("link del eth0")
    expect(rtnetlink.deleteAddress(eth0, prefix("10.0.0.1/24"))).toBe(false)
  })

  test("replaceAddresses() and deleteAddresses() do thousands, and say what was refused", async () => {
    const specs = Array.from({ length: 2000 }, (_, index) => ({
      prefix: prefix(`198.18.${index >> 8}.${index & 255}/32`),
      scope: SCOPE_HOST,
      protocol: MARK,
    }))
    const nonsense = { prefix: { ...prefix("198.18.99.1/32"), length: 33 } }
    const mixed = [...specs.slice(0, 150), nonsense, ...specs.slice(150)]
    const refused = rtnetlink.replaceAddresses(eth0, mixed)
    expect([...refused].map(([index, error]) => [index, error.message])).toEqual([
      [150, "Cannot set 198.18.99.1/33 on eth0: EINVAL (ipv4: Invalid prefix length)"],
    ])
    expect(rtnetlink.addresses({ ifindex: eth0.index, family: 4 })).toHaveLength(2001)
    expect(rtnetlink.replaceAddresses(eth0, specs)).toEqual(new Map())
    rtnetlink.deleteAddress(eth0, prefix("198.18.0.7/32"))
    expect(rtnetlink.deleteAddresses(eth0, specs)).toEqual(new Map())
    expect(await edge.addresses("eth0")).toEqual(["10.0.0.1/24", expect.stringMatching(/^fe80/)])
  })

  test("addresses whose peer has a lease go with it, when secondaries are not promoted", () => {
    rtnetlink.changeLink(eth0, { promoteSecondaries: false })
    const [guard, vip] = [prefix("127.202.0.1/32"), prefix("198.18.0.1/32")]
    rtnetlink.replaceAddress(eth0, { prefix: guard, scope: SCOPE_HOST, validLifetimeS: 1 })
    rtnetlink.replaceAddress(eth0, { prefix: vip, peer: guard.address, scope: SCOPE_HOST })
    const found = () => rtnetlink.addresses({ ifindex: eth0.index, family: 4 })
    expect(found().find(({ secondary }) => secondary)).toMatchObject({
      prefix: vip,
      peer: guard.address,
      permanent: true,
    })
    const endsAt = performance.now() + 5000
    while (found().length > 1 && performance.now() < endsAt) Bun.sleepSync(50)
    expect(found().map((each) => each.prefix.address as string)).toEqual(["10.0.0.1"])
  })

  test("an address whose lease is not renewed expires by itself", () => {
    const monitor = inNamespace(edge, () => new RtnetlinkMonitor(["ipv4-address"]))
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.40/32"), validLifetimeS: 1 })
    const startedAt = performance.now()
    const removed = waitForEvent(monitor, 3000, ({ type, ...event }) => {
      return type === "address" && "change" in event && event.change === "removed"
    })
    // The kernel checks leases with the slack of its timers.
    expect(performance.now() - startedAt).toBeWithin(900, 2500)
    expect(removed).toMatchObject({ address: { prefix: prefix("192.0.2.40/32") } })
    expect(held("192.0.2.40")).toBeUndefined()
    monitor.close()
  })
})

describe("routes", () => {
  interface RouteJson {
    dst: string
    gateway?: string
    dev?: string
    table?: string
    protocol?: string
    metric?: number
    prefsrc?: string
  }

  test("replaceRoute() puts in what `ip route` then shows, and deleteRoute() takes it out", async () => {
    const spec = {
      prefix: prefix("198.51.100.0/24"),
      gateway: "10.0.0.254" as Address,
      ifindex: eth0.index,
      source: "10.0.0.1" as Address,
      table: 1234,
      protocol: 177,
      metric: 7,
    }
    rtnetlink.replaceRoute(spec)
    rtnetlink.replaceRoute({ ...spec, gateway: "10.0.0.253" as Address })
    expect(await ipJson<RouteJson>("route show table 1234")).toMatchObject([
      {
        dst: "198.51.100.0/24",
        gateway: "10.0.0.253",
        dev: "eth0",
        protocol: "177",
        prefsrc: "10.0.0.1",
        metric: 7,
      },
    ])
    expect(rtnetlink.routes({ family: 4, table: 1234 })).toMatchObject([
      { ...spec, gateway: "10.0.0.253" as Address, type: "unicast", nextHops: [] },
    ])
    const named = { prefix: spec.prefix, table: 1234 }
    expect(rtnetlink.deleteRoute({ ...named, protocol: 178 })).toBe(false)
    expect(rtnetlink.deleteRoute({ ...named, protocol: 177 })).toBe(true)
    expect(rtnetlink.deleteRoute({ ...named, protocol: 177 })).toBe(false)
    expect(rtnetlink.routes({ family: 4, table: 1234 })).toEqual([])
  })

  test("IPv6 routes come and go alike", async () => {
    await edge.ip("address add fd00::1/64 dev eth0 nodad")
    const spec = {
      prefix: prefix("2001:db8:1::/48"),
      gateway: "fd00::254" as Address,
      protocol: 177,
    }
    rtnetlink.addRoute(spec)
    expect(await ipJson<RouteJson>("-6 route show 2001:db8:1::/48")).toMatchObject([
      { dst: "2001:db8:1::/48", gateway: "fd00::254", dev: "eth0", protocol: "177", metric: 1024 },
    ])
    expect(rtnetlink.routes({ family: 6, protocol: 177 })).toMatchObject([
      { prefix: spec.prefix, gateway: spec.gateway, ifindex: eth0.index, metric: 1024, table: 254 },
    ])
    expect(rtnetlink.deleteRoute(spec)).toBe(true)
    expect(rtnetlink.routes({ family: 6, protocol: 177 })).toEqual([])
  })

  test("routes() lists as many as `ip route show table all`, default and blackhole among them", async () => {
    await edge.ip("route add default via 10.0.0.254")
    await edge.ip("route add blackhole 203.0.113.0/24")
    const expected = (await ipJson<RouteJson>("-4 route show table all")).length
    const routes = rtnetlink.routes({ family: 4 })
    expect(routes).toHaveLength(expected)
    expect(routes.find((route) => route.type === "blackhole")?.prefix).toEqual(
      prefix("203.0.113.0/24"),
    )
    expect(routes.find(({ prefix: { length } }) => length === 0)).toMatchObject({
      prefix: prefix("0.0.0.0/0"),
      gateway: "10.0.0.254",
    })
  })

  test("routes() reads a table that takes many datagrams", async () => {
    const lines = Array.from({ length: 5000 }, (_, index) => {
      return `route add 198.${18 + (index >> 16)}.${(index >> 8) & 255}.${index & 255} dev eth0 table 77\n`
    })
    await edge.exec(["ip", "-batch", "-"], { stdin: lines.join("") })
    const routes = rtnetlink.routes({ family: 4, table: 77 })
    expect(routes).toHaveLength(5000)
    expect(new Set(routes.map((route) => route.prefix.address)).size).toBe(5000)
  })

  test("addRoute() fails with the kernel's reason", () => {
    const unreachable = { prefix: prefix("198.51.100.0/24"), gateway: "172.16.0.1" as Address }
    expect(() => rtnetlink.addRoute(unreachable)).toThrow(
      "Cannot add route 198.51.100.0/24 via 172.16.0.1: ENETUNREACH (Nexthop has invalid gateway)",
    )
    const foreign = { ...unreachable, gateway: "10.0.0.254" as Address, table: 1234 }
    expect(() => rtnetlink.addRoute({ ...foreign, source: "10.0.0.9" as Address })).toThrow(
      "Cannot add route 198.51.100.0/24 via 10.0.0.254 in table 1234: EINVAL (Invalid prefsrc address)",
    )
    rtnetlink.addRoute(foreign)
    expect(() => rtnetlink.addRoute(foreign)).toThrow("EEXIST")
  })
})

describe("monitor", () => {
  let monitor: RtnetlinkMonitor

  beforeEach(() => {
    monitor = inNamespace(
      edge,
      () => new RtnetlinkMonitor(["link", "ipv4-address", "ipv6-address"]),
    )
  })

  afterEach(() => monitor.close())

  test("read() is empty when nothing has happened", () => {
    expect(monitor.read()).toEqual([])
  })

  test("read() tells of the cable, both ways", async () => {
    const carrier = (event: RtnetlinkEvent) =>
      event.type === "link" && event.link.name === "eth0" ? event.link.carrier : undefined
    await lan.unplug(edge)
    expect(waitForEvent(monitor, 2000, (event) => carrier(event) === false)).toMatchObject({
      change: "set",
      link: { index: eth0.index, up: true, running: false },
    })
    await lan.plug(edge)
    expect(waitForEvent(monitor, 2000, (event) => carrier(event) === true)).toBeDefined()
  })

  test("read() tells of addresses of both families", () => {
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.40/32"), protocol: MARK })
    rtnetlink.deleteAddress(eth0, prefix("192.0.2.40/32"))
    rtnetlink.addAddress(eth0, { prefix: prefix("2001:db8::40/128"), noDad: true })
    const events = waitForEvents(monitor, 3)
    expect(events.map(({ change, address }) => [change, address.prefix.address])).toEqual([
      ["set", "192.0.2.40" as Address],
      ["removed", "192.0.2.40" as Address],
      ["set", "2001:db8::40" as Address],
    ])
    expect(events[0]?.address).toMatchObject({ ifindex: eth0.index, protocol: MARK })
  })

  test("read() tells of an interface that was removed and made again with another index", async () => {
    await edge.ip("link add eth5 type bridge")
    await edge.ip("link del eth5")
    await edge.ip("link add eth5 type bridge")
    const changes = monitor
      .read()
      .filter((event) => event.type === "link" && event.link.name === "eth5")
      .map((event) => (event.type === "link" ? [event.change, event.link.index] : []))
    const first = changes[0]?.[1]
    expect(changes.map(([change]) => change)).toEqual(["set", "removed", "set"])
    expect(changes[1]).toEqual(["removed", first as number])
    expect(changes[2]).not.toEqual(["set", first as number])
  })

  test("read() does not take an interface for removed when it leaves a bridge", async () => {
    await edge.ip("link add br5 type bridge")
    await edge.ip("link set eth0 master br5")
    await edge.ip("link set eth0 nomaster")
    const events = monitor.read().filter((event) => event.type === "link")
    const ofEth0 = events.filter(({ link }) => link.name === "eth0")
    expect(ofEth0.length).toBeGreaterThan(0)
    expect(ofEth0.filter(({ change }) => change === "removed")).toEqual([])
  })

  test("read() is silent about set addresses of a mark that is to be ignored", () => {
    const deaf = inNamespace(edge, () => new RtnetlinkMonitor(["ipv4-address"], MARK))
    const [ours, other, bare] = ["10.1.0.1/32", "10.1.0.2/32", "10.1.0.3/32"].map(prefix)
    for (const [address, protocol] of [
      [ours, MARK],
      [other, MARK + 1],
      [bare, undefined],
    ] as const) {
      if (address === undefined) throw new Error("no prefix")
      rtnetlink.addAddress(eth0, { prefix: address, ...(protocol ? { protocol } : {}) })
    }
    rtnetlink.deleteAddress(eth0, prefix("10.1.0.1/32"))
    const told = deaf.read().flatMap((event) => (event.type === "address" ? [event] : []))
    deaf.close()
    expect(told.map(({ change, address }) => [change, address.prefix.address as string])).toEqual([
      ["set", "10.1.0.2"],
      ["set", "10.1.0.3"],
      ["removed", "10.1.0.1"],
    ])
  })

  test("read() asks for a new listing when events were lost, and goes on", () => {
    for (let change = 0; change < 3000; change++) {
      rtnetlink.changeLink(eth0, { mtu: 1300 + (change % 2) })
    }
    const seen = readAll(monitor)
    expect(seen.filter((event) => event.type === "overrun").length).toBeGreaterThan(0)
    expect(seen.length).toBeLessThan(3000)
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.41/32") })
    expect(monitor.read()).toMatchObject([{ type: "address", change: "set" }])
  })
})

describe("in a Worker", () => {
  test("events reach a thread that does nothing but block in epoll", async () => {
    const worker = edge.spawn([process.execPath, BLOCKED_WORKER])
    await worker.waitFor("watching")
    rtnetlink.addAddress(eth0, { prefix: prefix("192.0.2.40/32") })
    await worker.waitFor("set 192.0.2.40")
    rtnetlink.deleteAddress(eth0, prefix("192.0.2.40/32"))
    await worker.waitFor("removed 192.0.2.40")
    await worker.stop({ signal: "SIGKILL" })
  })
})

function readAll(monitor: RtnetlinkMonitor): RtnetlinkEvent[] {
  const all: RtnetlinkEvent[] = []
  for (;;) {
    const events = monitor.read()
    if (events.length === 0) return all
    all.push(...events)
  }
}

/** Blocks until `count` events of addresses have come. */
function waitForEvents(monitor: RtnetlinkMonitor, count: number) {
  const events: Extract<RtnetlinkEvent, { type: "address" }>[] = []
  waitForEvent(monitor, 2000, (event) => {
    if (event.type === "address") events.push(event)
    return events.length === count
  })
  return events
}

/** Blocks in epoll, as the vrrp thread does, until an event matches. */
function waitForEvent(
  monitor: RtnetlinkMonitor,
  timeoutMs: number,
  matches: (event: RtnetlinkEvent) => boolean,
): RtnetlinkEvent | undefined {
  const epoll = new Epoll(4)
  epoll.add(monitor.fd, EPOLLIN)
  const giveUpAt = performance.now() + timeoutMs
  try {
    while (performance.now() < giveUpAt) {
      if (epoll.wait(Math.max(1, giveUpAt - performance.now())) === 0) continue
      const found = monitor.read().find(matches)
      if (found !== undefined) return found
    }
    return undefined
  } finally {
    epoll.close()
  }
}
