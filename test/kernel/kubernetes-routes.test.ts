/**
 * Routes to pod networks in a real kernel: an edge and nodes on one LAN, and behind each node a LAN
 * of its own with a pod, of which the edge knows nothing but what the cluster's objects say.
 */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { blockAffinity, node } from "../../src/kubernetes/fixtures/endpoint-objects.ts"
import type { BlockAffinity, Node } from "../../src/kubernetes/objects.ts"
import type { NetworksView } from "../../src/kubernetes/pod-networks.ts"
import type { NodeRoutes } from "../../src/kubernetes/pod-routes.ts"
import { PodRoutes } from "../../src/kubernetes/shell/route-driver.ts"
import { leakedFds, traceFds } from "../../src/linux/fd.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"
import { inNamespace } from "./namespace.ts"

let lab: Lab
let lan: Lan
let edge: Host
let hostNumber = 0
let drivers: PodRoutes[] = []
let lines: string[] = []
let told: (readonly NodeRoutes[])[] = []

beforeAll(async () => {
  lab = await createLab("kubernetes-routes")
  lan = await lab.lan("lan")
  await addNode("n1", 11)
  await addNode("n2", 12)
})

afterAll(() => lab.close())

beforeEach(async () => {
  edge = await lab.host(`edge${hostNumber++}`)
  await lan.join(edge, { addresses: ["192.0.2.1/24", "2001:db8::1/64"] })
  lines = []
  told = []
  traceFds(true)
})

afterEach(async () => {
  for (const driver of drivers) driver.stop()
  drivers = []
  await lan.unplug(edge)
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

/** A node 192.0.2.LAST that forwards to one pod: 10.244.LAST.5 and fd00:10:244:LAST::5. */
async function addNode(name: string, last: number): Promise<void> {
  const host = await lab.host(name)
  const pod = await lab.host(`${name}-pod`)
  const pods = await lab.lan(`${name}-pods`)
  await lan.join(host, { addresses: [`192.0.2.${last}/24`, `2001:db8::${last}/64`] })
  await pods.join(host, { addresses: [`10.244.${last}.1/24`, `fd00:10:244:${last}::1/64`] })
  await pods.join(pod, { addresses: [`10.244.${last}.5/24`, `fd00:10:244:${last}::5/64`] })
  await pod.ip(`route add default via 10.244.${last}.1`)
  await pod.ip(`-6 route add default via fd00:10:244:${last}::1`)
  await host.sysctl({ "net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1 })
}

function startDriver(protocol?: number): PodRoutes {
  const line = (level: string) => (component: string, message: string, fields?: object) => {
    lines.push([level, component, message, ...Object.values(fields ?? {})].join(" "))
  }
  const driver = inNamespace(
    edge,
    () =>
      new PodRoutes({
        log: { info: line("info"), warn: line("warn") },
        onState: (nodes) => told.push(nodes),
        ...(protocol === undefined ? {} : { protocol }),
      }),
  )
  drivers.push(driver)
  return driver
}

function view(nodes: readonly Node[], blocks: readonly BlockAffinity[] = []): NetworksView {
  return {
    nodes: new Map(nodes.map((each) => [each.meta.name, each])),
    blockAffinities: new Map(blocks.map((each) => [each.meta.name, each])),
    ciliumNodes: new Map(),
  }
}

/** "10.244.11.0/24 via 192.0.2.11 dev eth0", of one protocol, both families. */
async function routes(protocol = "203"): Promise<string[]> {
  const read = async (family: string): Promise<RouteJson[]> =>
    JSON.parse(await edge.ip(`-json ${family} route show proto ${protocol}`))
  return [...(await read("-4")), ...(await read("-6"))].map(
    ({ dst, gateway, dev }) => `${dst} via ${gateway} dev ${dev}`,
  )
}

/** `ip monitor route`, seen to be listening. */
async function watchRoutes(): Promise<ManagedProcess> {
  const monitor = edge.spawn(["ip", "monitor", "route"], { name: "ip-monitor" })
  await eventually(async () => {
    await edge.ip("route add 198.18.0.0/15 dev eth0")
    await edge.ip("route del 198.18.0.0/15 dev eth0")
    return monitor.stdout.includes("198.18.0.0/15")
  })
  return monitor
}

interface RouteJson {
  readonly dst: string
  readonly gateway?: string
  readonly dev?: string
}

async function canReach(address: string): Promise<boolean> {
  const { exitCode } = await edge.run(["ping", "-c", "1", "-W", "2", address])
  return exitCode === 0
}

const states = (driver: PodRoutes) =>
  driver.status().map(({ node: name, state, reason }) => `${name}: ${state}, ${reason}`)

const N1 = node("n1", {
  internalIPs: ["192.0.2.11", "2001:db8::11"],
  podCIDRs: ["10.244.11.0/24", "fd00:10:244:11::/64"],
})
const N2 = node("n2", { internalIPs: ["192.0.2.12"], podCIDRs: ["10.244.12.0/24"] })
const ROUTES_OF_N1 = [
  "10.244.11.0/24 via 192.0.2.11 dev eth0",
  "fd00:10:244:11::/64 via 2001:db8::11 dev eth0",
]
const ROUTE_OF_N2 = "10.244.12.0/24 via 192.0.2.12 dev eth0"

describe("PodRoutes", () => {
  test("makes pods reachable that no router knows of, over IPv4 and IPv6", async () => {
    expect(await canReach("10.244.11.5")).toBe(false)
    const driver = startDriver()
    driver.update(view([N1, N2]), true)
    expect(await routes()).toEqual([ROUTES_OF_N1[0], ROUTE_OF_N2, ROUTES_OF_N1[1]] as string[])
    expect(await canReach("10.244.11.5")).toBe(true)
    expect(await canReach("fd00:10:244:11::5")).toBe(true)
    expect(await canReach("10.244.12.5")).toBe(true)
    expect(await edge.exec(["sysctl", "-n", "net.ipv4.ip_forward"])).toBe("0\n")
    driver.stop()
    expect(await routes()).toEqual([])
    expect(await canReach("10.244.11.5")).toBe(false)
  })

  test("follows the nodes", async () => {
    const driver = startDriver()
    driver.update(view([N1]), true)
    expect(states(driver)).toEqual(["n1: routed, via 192.0.2.11 on eth0; via 2001:db8::11 on eth0"])
    expect(told).toEqual([driver.status()])
    driver.update(view([{ ...N1, isReady: false }, N2]), true)
    await eventually(async () => (await routes()).join() === ROUTE_OF_N2)
    expect(states(driver)).toEqual([
      "n1: not_ready, the Node is not Ready",
      "n2: routed, via 192.0.2.12 on eth0",
    ])
    const blocks = [blockAffinity("n2", "10.244.11.0/26"), blockAffinity("n2", "10.244.12.0/24")]
    driver.update(view([N1, N2], blocks), true)
    await eventually(async () => (await routes()).length === 2)
    expect(await routes()).toEqual(["10.244.11.0/26 via 192.0.2.12 dev eth0", ROUTE_OF_N2])
    driver.update(view([]), true)
    await eventually(async () => (await routes()).length === 0)
    expect(driver.status()).toEqual([])
  })

  test("moves a network to another node without a moment between", async () => {
    const driver = startDriver()
    driver.update(view([N1]), true)
    const moved = node("n2", {
      internalIPs: ["192.0.2.12", "2001:db8::12"],
      podCIDRs: ["10.244.11.0/24", "fd00:10:244:11::/64"],
    })
    const monitor = await watchRoutes()
    driver.update(view([moved]), true)
    await eventually(() => monitor.stdout.includes("via 2001:db8::12"))
    expect(await routes()).toEqual([
      "10.244.11.0/24 via 192.0.2.12 dev eth0",
      "fd00:10:244:11::/64 via 2001:db8::12 dev eth0",
    ])
    expect(monitor.stdout).not.toContain("Deleted 10.244.11.0/24")
    expect(monitor.stdout).not.toContain("Deleted fd00:10:244:11::/64")
    await monitor.stop()
  })

  test("says that a node is on no subnet, and installs nothing", async () => {
    const driver = startDriver()
    const away = node("away", { internalIPs: ["198.51.100.5"], podCIDRs: ["10.244.11.0/24"] })
    driver.update(view([away]), true)
    expect(await routes()).toEqual([])
    expect(states(driver)).toEqual([
      "away: not_on_subnet, 198.51.100.5 is on no subnet of this host, which has: 192.0.2.0/24 on eth0",
    ])
    await edge.ip("address add 198.51.100.1/24 dev eth0")
    await eventually(async () => (await routes()).length === 1)
    expect(await routes()).toEqual(["10.244.11.0/24 via 198.51.100.5 dev eth0"])
    await edge.ip("address del 198.51.100.1/24 dev eth0")
    await eventually(() => driver.status()[0]?.state === "not_on_subnet")
  })

  test("takes a subnet without an address of its own, but no route through a gateway", async () => {
    const nodes = [
      node("behind", { internalIPs: ["198.51.100.5"], podCIDRs: ["10.244.11.0/24"] }),
      node("beside", { internalIPs: ["203.0.113.5"], podCIDRs: ["10.244.12.0/24"] }),
    ]
    await edge.ip("route add 198.51.100.0/24 via inet6 2001:db8::11 dev eth0")
    await edge.ip("route add 203.0.113.0/24 dev eth0")
    const driver = startDriver()
    driver.update(view(nodes), true)
    expect(await routes()).toEqual(["10.244.12.0/24 via 203.0.113.5 dev eth0"])
    expect(driver.status()[0]?.state).toBe("not_on_subnet")
  })

  test("never installs what would lead other packets astray", async () => {
    const driver = startDriver()
    const greedy = node("greedy", { internalIPs: ["192.0.2.11"], podCIDRs: ["192.0.0.0/16"] })
    driver.update(view([greedy]), true)
    expect(await routes()).toEqual([])
    expect(driver.status()).toMatchObject([{ node: "greedy", state: "conflict" }])
    expect(lines).toEqual([
      "warn kubernetes the pods of a node are not routed greedy conflict 192.0.0.0/16 contains 192.0.2.0/24, which is on eth0",
    ])
  })

  test("leaves foreign routes alone, and takes their place when they go", async () => {
    await edge.ip("route add 10.244.11.0/24 via 192.0.2.99 proto static")
    await edge.ip("-6 route add fd00:10:244:11::/64 via 2001:db8::99 proto static")
    await edge.ip("route add 10.244.0.0/16 via 192.0.2.98 proto bird")
    const driver = startDriver()
    driver.update(view([N1, N2]), true)
    expect(await routes()).toEqual([ROUTE_OF_N2])
    expect(states(driver)[0]).toBe(
      "n1: other_route, another route for 10.244.11.0/24 is there; another route for fd00:10:244:11::/64 is there",
    )
    await edge.ip("route del 10.244.11.0/24 via 192.0.2.99")
    await edge.ip("-6 route del fd00:10:244:11::/64 via 2001:db8::99")
    await eventually(async () => (await routes()).length === 3)
    expect(driver.status()[0]?.state).toBe("routed")
    driver.stop()
    expect(await routes("bird")).toEqual(["10.244.0.0/16 via 192.0.2.98 dev eth0"])
  })

  test("makes room for a route that somebody adds later", async () => {
    const driver = startDriver()
    driver.update(view([N1]), true)
    await edge.ip("route add 10.244.11.0/24 via 192.0.2.99")
    await edge.ip("-6 route add fd00:10:244:11::/64 via 2001:db8::99")
    await eventually(async () => (await routes()).length === 0)
    expect(await routes("boot")).toEqual([
      "10.244.11.0/24 via 192.0.2.99 dev eth0",
      "fd00:10:244:11::/64 via 2001:db8::99 dev eth0",
    ])
  })

  test("puts back what somebody deletes or changes", async () => {
    const driver = startDriver()
    driver.update(view([N1]), true)
    await edge.ip("route del 10.244.11.0/24 proto 203")
    await edge.ip("-6 route del fd00:10:244:11::/64 proto 203")
    await eventually(async () => (await routes()).join() === ROUTES_OF_N1.join())
    await edge.ip("route replace 10.244.11.0/24 via 192.0.2.12 proto 203 metric 2048")
    await eventually(async () => (await routes()).join() === ROUTES_OF_N1.join())
    await edge.ip("route add 10.99.0.0/16 via 192.0.2.12 proto 203")
    await eventually(async () => (await routes()).join() === ROUTES_OF_N1.join())
  })

  test("comes back after its link was down", async () => {
    const driver = startDriver()
    driver.update(view([N1, N2]), true)
    await edge.linkDown("eth0")
    expect(await routes()).toEqual([])
    await eventually(() => driver.status()[0]?.state === "not_on_subnet")
    await edge.linkUp("eth0")
    await eventually(async () => (await routes()).includes(ROUTE_OF_N2))
    // The kernel has forgotten the IPv6 address with the link.
    expect(states(driver)[1]).toBe("n2: routed, via 192.0.2.12 on eth0")
    await edge.ip("address add 2001:db8::1/64 dev eth0 nodad")
    await eventually(async () => (await routes()).length === 3)
  })

  test("takes over after a crash, and removes the rest once the cluster was seen", async () => {
    await edge.ip("route add 10.244.11.0/24 via 192.0.2.11 proto 203 metric 2048")
    await edge.ip("route add 10.244.12.0/24 via 192.0.2.11 proto 203 metric 2048")
    await edge.ip("route add 10.244.99.0/24 via 192.0.2.12 proto 203 metric 2048")
    await edge.ip("-6 route add fd00:99::/64 via 2001:db8::12 proto 203 metric 2048")
    const monitor = await watchRoutes()
    const driver = startDriver()
    expect(await routes()).toHaveLength(4)
    driver.update(view([N1, N2]), false)
    expect(await routes()).toEqual([
      "10.244.11.0/24 via 192.0.2.11 dev eth0",
      "10.244.12.0/24 via 192.0.2.11 dev eth0",
      "10.244.99.0/24 via 192.0.2.12 dev eth0",
      "fd00:10:244:11::/64 via 2001:db8::11 dev eth0",
      "fd00:99::/64 via 2001:db8::12 dev eth0",
    ])
    driver.update(view([N1, N2]), true)
    await eventually(async () => (await routes()).length === 3)
    expect(await routes()).toEqual([ROUTES_OF_N1[0], ROUTE_OF_N2, ROUTES_OF_N1[1]] as string[])
    await eventually(() => monitor.stdout.includes("Deleted fd00:99::/64"))
    // The one that was right has not been touched.
    expect(monitor.stdout).not.toContain("10.244.11.0/24")
    await monitor.stop()
  })

  test("knows its own routes from those of another protocol number", async () => {
    const one = startDriver()
    const other = startDriver(204)
    one.update(view([N1]), true)
    other.update(view([N2]), true)
    one.stop()
    drivers = [other]
    expect(await routes("203")).toEqual([])
    expect(await routes("204")).toEqual([ROUTE_OF_N2])
  })

  test("has nothing to do twice, and nothing while the kernel is busy with others", async () => {
    const driver = startDriver()
    driver.update(view([N1, N2]), true)
    const before = lines.length
    for (let index = 0; index < 20; index++) driver.update(view([N1, N2]), true)
    await edge.ip("route add 203.0.113.0/24 via 192.0.2.99")
    await edge.ip("address change 192.0.2.1/24 dev eth0")
    driver.poll()
    expect(lines).toHaveLength(before)
    expect(told).toHaveLength(1)
  })

  test("says what the kernel refused, once", async () => {
    const driver = startDriver()
    // Of all that a kernel may refuse, a gateway that is the subnet's broadcast address is easy.
    const broadcast = node("odd", { internalIPs: ["192.0.2.255"], podCIDRs: ["10.244.13.0/24"] })
    driver.update(view([broadcast, N2]), true)
    expect(await routes()).toEqual([ROUTE_OF_N2])
    expect(states(driver)).toEqual([
      "n2: routed, via 192.0.2.12 on eth0",
      "odd: refused, Cannot add route 10.244.13.0/24 via 192.0.2.255: EINVAL (Nexthop has invalid gateway)",
    ])
    const refused = () => lines.filter((line) => line.includes("was refused"))
    expect(refused()).toEqual([
      "warn kubernetes a route to pods was refused 10.244.13.0/24 Cannot add route 10.244.13.0/24 via 192.0.2.255: EINVAL (Nexthop has invalid gateway)",
    ])
    driver.update(view([broadcast, N1]), true)
    await eventually(() => driver.status().some(({ node: name }) => name === "n1"))
    expect(refused()).toHaveLength(1)
  })
})
