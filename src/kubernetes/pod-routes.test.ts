import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address } from "../net/address.ts"
import { formatPrefix, prefixContains } from "../net/address.ts"
import { blockAffinity, ciliumNode, node, prefix } from "./fixtures/endpoint-objects.ts"
import type { BlockAffinity, CiliumNode, Node } from "./objects.ts"
import type { NetworksView } from "./pod-networks.ts"
import {
  diffRoutes,
  type HostNetwork,
  type OnLinkSubnet,
  type OwnRoute,
  type PodRoute,
  planPodRoutes,
  type RouteStep,
  withRefusals,
} from "./pod-routes.ts"

function view(
  nodes: readonly Node[],
  more: { blocks?: readonly BlockAffinity[]; cilium?: readonly CiliumNode[] } = {},
): NetworksView {
  const keyed = <Kind extends { readonly meta: { readonly name: string } }>(
    objects: readonly Kind[] = [],
  ) => new Map(objects.map((each) => [each.meta.name, each]))
  return {
    nodes: keyed(nodes),
    blockAffinities: keyed(more.blocks),
    ciliumNodes: keyed(more.cilium),
  }
}

const subnet = (text: string, rest: Partial<OnLinkSubnet> = {}): OnLinkSubnet => ({
  prefix: prefix(text),
  interface: "eth0",
  ifindex: 2,
  metric: 0,
  isConnected: true,
  ...rest,
})

/** An edge with 192.0.2.1/24 and 2001:db8::1/64 on eth0. */
const HOST: HostNetwork = {
  addresses: ["127.0.0.1", "::1", "192.0.2.1", "2001:db8::1"] as Address[],
  subnets: [subnet("192.0.2.0/24"), subnet("2001:db8::/64", { metric: 256 })],
  otherRoutes: new Set(["0.0.0.0/0"]),
}

/** Routes as `ip route` would name them, nodes as "name: state, reason". */
function plan(of: NetworksView, host: Partial<HostNetwork> = {}) {
  const { routes, nodes } = planPodRoutes(of, { ...HOST, ...host })
  return {
    routes: routes.map(
      ({ destination, gateway, interface: name }) =>
        `${formatPrefix(destination)} via ${gateway} dev ${name}`,
    ),
    nodes: nodes.map(({ node: name, state, reason }) => `${name}: ${state}, ${reason}`),
  }
}

const N1 = node("n1", { internalIPs: ["192.0.2.11"], podCIDRs: ["10.244.1.0/24"] })
const N2 = node("n2", { internalIPs: ["192.0.2.12"], podCIDRs: ["10.244.2.0/24"] })

describe("planPodRoutes()", () => {
  test("leads to each Ready node's podCIDRs through its InternalIP", () => {
    expect(planPodRoutes(view([N2, N1]), HOST)).toEqual({
      routes: [
        {
          destination: prefix("10.244.1.0/24"),
          gateway: "192.0.2.11" as Address,
          ifindex: 2,
          interface: "eth0",
        },
        {
          destination: prefix("10.244.2.0/24"),
          gateway: "192.0.2.12" as Address,
          ifindex: 2,
          interface: "eth0",
        },
      ],
      nodes: [
        {
          node: "n1",
          state: "routed",
          reason: "via 192.0.2.11 on eth0",
          networks: [prefix("10.244.1.0/24")],
        },
        {
          node: "n2",
          state: "routed",
          reason: "via 192.0.2.12 on eth0",
          networks: [prefix("10.244.2.0/24")],
        },
      ],
    })
  })

  test("takes for each family the InternalIP of that family", () => {
    const dual = node("dual", {
      internalIPs: ["192.0.2.11", "2001:db8::11"],
      podCIDRs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    })
    expect(plan(view([dual]))).toEqual({
      routes: [
        "10.244.1.0/24 via 192.0.2.11 dev eth0",
        "fd00:10:244:1::/64 via 2001:db8::11 dev eth0",
      ],
      nodes: ["dual: routed, via 192.0.2.11 on eth0; via 2001:db8::11 on eth0"],
    })
    const half = node("half", {
      internalIPs: ["192.0.2.12"],
      podCIDRs: ["10.244.2.0/24", "fd00:10:244:2::/64"],
    })
    expect(plan(view([half]))).toEqual({
      routes: ["10.244.2.0/24 via 192.0.2.12 dev eth0"],
      nodes: ["half: no_address, it has no IPv6 InternalIP for fd00:10:244:2::/64"],
    })
  })

  test("clears host bits, and takes a network that is named twice once", () => {
    const odd = node("odd", {
      internalIPs: ["192.0.2.11"],
      podCIDRs: ["10.244.1.7/24", "10.244.1.0/24"],
    })
    expect(plan(view([odd])).routes).toEqual(["10.244.1.0/24 via 192.0.2.11 dev eth0"])
  })

  test("goes by Calico's confirmed blocks where there are any, and by no podCIDRs then", () => {
    const blocks = [
      blockAffinity("n1", "10.244.7.64/26"),
      blockAffinity("n1", "10.244.2.0/26"),
      blockAffinity("n1", "10.244.8.0/26", { state: "pending" }),
      blockAffinity("n2", "10.244.9.0/26", { isDeleted: true }),
    ]
    expect(plan(view([N1, N2], { blocks }))).toEqual({
      routes: ["10.244.2.0/26 via 192.0.2.11 dev eth0", "10.244.7.64/26 via 192.0.2.11 dev eth0"],
      nodes: ["n1: routed, via 192.0.2.11 on eth0", "n2: no_pod_networks, it has no BlockAffinity"],
    })
  })

  test("goes by CiliumNodes before podCIDRs, and by blocks before both", () => {
    const cilium = [ciliumNode("n1", ["10.0.0.0/24"]), ciliumNode("n2", ["10.0.1.0/24"])]
    expect(plan(view([N1, N2], { cilium })).routes).toEqual([
      "10.0.0.0/24 via 192.0.2.11 dev eth0",
      "10.0.1.0/24 via 192.0.2.12 dev eth0",
    ])
    const blocks = [blockAffinity("n2", "10.9.0.0/26")]
    expect(plan(view([N1, N2], { cilium, blocks })).routes).toEqual([
      "10.9.0.0/26 via 192.0.2.12 dev eth0",
    ])
    expect(plan(view([N1], { cilium: [ciliumNode("n1", [])] })).routes).toEqual([
      "10.244.1.0/24 via 192.0.2.11 dev eth0",
    ])
  })

  test("names the node that a block is for when there is no such Node", () => {
    const blocks = [blockAffinity("n1", "10.9.0.0/26"), blockAffinity("gone", "10.9.0.64/26")]
    expect(plan(view([N1], { blocks })).nodes).toEqual([
      "gone: unknown_node, a BlockAffinity names it, but there is no such Node",
      "n1: routed, via 192.0.2.11 on eth0",
    ])
  })

  test("takes the routes of a node away while it is not Ready", () => {
    const down = node("n1", {
      internalIPs: ["192.0.2.11"],
      podCIDRs: ["10.244.1.0/24"],
      isReady: false,
    })
    expect(plan(view([down, N2]))).toEqual({
      routes: ["10.244.2.0/24 via 192.0.2.12 dev eth0"],
      nodes: ["n1: not_ready, the Node is not Ready", "n2: routed, via 192.0.2.12 on eth0"],
    })
  })

  test("does not route to the node that this host is", () => {
    const self = node("self", { internalIPs: ["192.0.2.1"], podCIDRs: ["10.244.1.0/24"] })
    const subnets = [...HOST.subnets, subnet("10.244.1.0/24", { interface: "cni0", ifindex: 5 })]
    expect(plan(view([self, N2]), { subnets })).toEqual({
      routes: ["10.244.2.0/24 via 192.0.2.12 dev eth0"],
      nodes: ["n2: routed, via 192.0.2.12 on eth0", "self: this_host, this host has 192.0.2.1"],
    })
  })

  test("says which subnets there are when the node is on none of them", () => {
    const away = node("away", { internalIPs: ["198.51.100.5"], podCIDRs: ["10.244.1.0/24"] })
    expect(plan(view([away]))).toEqual({
      routes: [],
      nodes: [
        "away: not_on_subnet, 198.51.100.5 is on no subnet of this host, which has: 192.0.2.0/24 on eth0",
      ],
    })
    expect(plan(view([away]), { subnets: [] }).nodes).toEqual([
      "away: not_on_subnet, 198.51.100.5 is on no subnet of this host, which has: none",
    ])
  })

  test("takes the first InternalIP that is on a subnet, and its most specific subnet", () => {
    const multi = node("multi", {
      internalIPs: ["198.51.100.5", "192.0.2.11"],
      podCIDRs: ["10.244.1.0/24"],
    })
    const narrow = subnet("192.0.2.0/28", { interface: "eth1", ifindex: 3 })
    const second = subnet("192.0.2.0/28", { interface: "eth2", ifindex: 4, metric: 100 })
    const subnets = [second, ...HOST.subnets, narrow]
    expect(plan(view([multi]), { subnets }).routes).toEqual([
      "10.244.1.0/24 via 192.0.2.11 dev eth1",
    ])
  })

  test("leaves a network to another route that is there, but not the node's other networks", () => {
    const two = node("two", {
      internalIPs: ["192.0.2.11"],
      podCIDRs: ["10.244.1.0/24", "10.244.3.0/24"],
    })
    const otherRoutes = new Set(["10.244.1.0/24", "10.244.0.0/16"])
    expect(plan(view([two]), { otherRoutes })).toEqual({
      routes: ["10.244.3.0/24 via 192.0.2.11 dev eth0"],
      nodes: ["two: other_route, another route for 10.244.1.0/24 is there"],
    })
    const tunnel = subnet("10.244.1.0/24", { interface: "wg0", ifindex: 9, isConnected: false })
    const subnets = [...HOST.subnets, tunnel]
    expect(plan(view([two]), { otherRoutes, subnets }).nodes).toEqual([
      "two: other_route, another route for 10.244.1.0/24 is there",
    ])
  })

  const claims = (name: string, last: number, ...podCIDRs: string[]) =>
    node(name, { internalIPs: [`192.0.2.${last}`], podCIDRs })
  const conflicts: readonly [string, readonly Node[], Partial<HostNetwork>][] = [
    [
      "a: conflict, 10.244.1.0/24 is claimed by node b too",
      [claims("a", 11, "10.244.1.0/24"), claims("b", 12, "10.244.1.0/24")],
      {},
    ],
    [
      "a: conflict, 10.244.0.0/16 contains 10.244.1.0/24 of node b",
      [claims("a", 11, "10.244.0.0/16"), claims("b", 12, "10.244.1.0/24")],
      {},
    ],
    [
      "a: conflict, 10.244.1.0/24 is in 10.244.0.0/16 of node b",
      [claims("a", 11, "10.244.1.0/24"), claims("b", 12, "10.244.0.0/16")],
      {},
    ],
    [
      "a: conflict, 192.0.2.8/29 is in 192.0.2.0/24, which is on eth0",
      [claims("a", 11, "192.0.2.8/29")],
      {},
    ],
    [
      "a: conflict, 192.0.0.0/16 contains 192.0.2.0/24, which is on eth0",
      [claims("a", 11, "192.0.0.0/16")],
      {},
    ],
    [
      "a: conflict, 172.17.0.0/16 is also 172.17.0.0/16, which is on docker0",
      [claims("a", 11, "172.17.0.0/16")],
      { subnets: [...HOST.subnets, subnet("172.17.0.0/16", { interface: "docker0" })] },
    ],
    [
      "a: conflict, 10.0.0.0/8 contains 10.9.9.9, an address of this host",
      [claims("a", 11, "10.0.0.0/8")],
      { addresses: [...HOST.addresses, "10.9.9.9" as Address] },
    ],
    [
      "a: conflict, 0.0.0.0/0 contains 127.0.0.1, an address of this host",
      [claims("a", 11, "0.0.0.0/0")],
      {},
    ],
    [
      "a: conflict, 198.51.100.0/24 contains 198.51.100.5, the address of node far",
      [claims("a", 11, "198.51.100.0/24"), node("far", { internalIPs: ["198.51.100.5"] })],
      {},
    ],
    [
      "a: conflict, 192.0.2.11/32 is in 192.0.2.0/24, which is on eth0",
      [claims("a", 11, "192.0.2.11/32")],
      {},
    ],
  ]
  test.each(conflicts)("%s", (expected, nodes, host) => {
    const planned = plan(view(nodes), host)
    expect(planned.nodes[0]).toBe(expected)
    expect(planned.routes.filter((route) => route.includes("via 192.0.2.11 "))).toEqual([])
  })

  test("routes for neither of two nodes that claim one network, but for their other ones", () => {
    const nodes = [
      claims("a", 11, "10.244.1.0/24", "10.244.3.0/24"),
      claims("b", 12, "10.244.1.0/25"),
      claims("c", 13, "10.244.4.0/24"),
    ]
    expect(plan(view(nodes))).toEqual({
      routes: ["10.244.3.0/24 via 192.0.2.11 dev eth0", "10.244.4.0/24 via 192.0.2.13 dev eth0"],
      nodes: [
        "a: conflict, 10.244.1.0/24 contains 10.244.1.0/25 of node b",
        "b: conflict, 10.244.1.0/25 is in 10.244.1.0/24 of node a",
        "c: routed, via 192.0.2.13 on eth0",
      ],
    })
  })

  test("lets a node take over the network of one that is not Ready", () => {
    const down = node("a", {
      internalIPs: ["192.0.2.11"],
      podCIDRs: ["10.244.1.0/24"],
      isReady: false,
    })
    expect(plan(view([down, claims("b", 12, "10.244.1.0/24")])).routes).toEqual([
      "10.244.1.0/24 via 192.0.2.12 dev eth0",
    ])
  })

  test("allows nested networks of one node", () => {
    expect(plan(view([claims("a", 11, "10.244.0.0/16", "10.244.1.0/24")])).routes).toEqual([
      "10.244.0.0/16 via 192.0.2.11 dev eth0",
      "10.244.1.0/24 via 192.0.2.11 dev eth0",
    ])
  })

  test("plans the same whatever the order of the objects", () => {
    fc.assert(
      fc.property(arbitraryNodes, (nodes) => {
        expect(planPodRoutes(view([...nodes].reverse()), HOST)).toEqual(
          planPodRoutes(view(nodes), HOST),
        )
      }),
    )
  })

  test("never leads away the address of a node, of this host or of its subnets", () => {
    fc.assert(
      fc.property(arbitraryNodes, (nodes) => {
        const { routes } = planPodRoutes(view(nodes), HOST)
        const spared = [...HOST.addresses, ...nodes.flatMap(({ internalIPs }) => internalIPs)]
        for (const { destination } of routes) {
          expect(spared.filter((address) => prefixContains(destination, address))).toEqual([])
          for (const { prefix: own } of HOST.subnets) {
            expect(prefixContains(destination, own.address)).toBe(false)
            expect(prefixContains(own, destination.address)).toBe(false)
          }
        }
      }),
    )
  })

  test("never leads one address to two nodes", () => {
    fc.assert(
      fc.property(arbitraryNodes, (nodes) => {
        const { routes } = planPodRoutes(view(nodes), HOST)
        for (const left of routes) {
          for (const right of routes) {
            if (left.gateway === right.gateway) continue
            expect(prefixContains(left.destination, right.destination.address)).toBe(false)
          }
        }
      }),
    )
  })

  test("plans 5000 nodes without comparing each with each", () => {
    const nodes = Array.from({ length: 5000 }, (_, index) =>
      node(`node-${index}`, {
        internalIPs: [`172.16.${index >> 8}.${index & 255}`],
        podCIDRs: [`10.${index >> 8}.${index & 255}.0/24`],
      }),
    )
    const subnets = [subnet("172.16.0.0/12")]
    const startedAt = performance.now()
    expect(planPodRoutes(view(nodes), { ...HOST, subnets }).routes).toHaveLength(5000)
    expect(performance.now() - startedAt).toBeLessThan(4000)
  })
})

describe("diffRoutes()", () => {
  const wanted = (destination: string, gateway = "192.0.2.11"): PodRoute => ({
    destination: prefix(destination),
    gateway: gateway as Address,
    ifindex: 2,
    interface: "eth0",
  })
  const present = (destination: string, rest: Partial<OwnRoute> = {}): OwnRoute => ({
    destination: prefix(destination),
    gateway: "192.0.2.11" as Address,
    ifindex: 2,
    metric: 2048,
    ...rest,
  })
  const steps = (...[to, from, options]: Parameters<typeof diffRoutes>) =>
    diffRoutes(to, from, options).map(
      ({ type, route }: RouteStep) =>
        `${type} ${formatPrefix(route.destination)} via ${route.gateway}`,
    )
  const SYNCED = { isSynced: true }

  test("adds, replaces and then removes", () => {
    const from = [
      present("10.244.1.0/24"),
      present("10.244.2.0/24"),
      present("10.244.9.0/24", { gateway: undefined }),
    ]
    const to = [
      wanted("10.244.1.0/24"),
      wanted("10.244.2.0/24", "192.0.2.12"),
      wanted("10.244.3.0/24"),
    ]
    expect(steps(to, from, SYNCED)).toEqual([
      "replace 10.244.2.0/24 via 192.0.2.12",
      "add 10.244.3.0/24 via 192.0.2.11",
      "remove 10.244.9.0/24 via undefined",
    ])
    expect(
      steps(
        to,
        to.map((route) => ({ ...route, metric: 2048 })),
        SYNCED,
      ),
    ).toEqual([])
  })

  test("only adds while the cluster has not been seen", () => {
    const from = [present("10.244.2.0/24"), present("10.244.9.0/24")]
    const to = [wanted("10.244.2.0/24", "192.0.2.12"), wanted("10.244.3.0/24")]
    expect(steps(to, from, { isSynced: false })).toEqual(["add 10.244.3.0/24 via 192.0.2.11"])
  })

  test("puts a route of another metric or interface right", () => {
    const to = [wanted("10.244.1.0/24")]
    expect(steps(to, [present("10.244.1.0/24", { metric: 0 })], SYNCED)).toEqual([
      "add 10.244.1.0/24 via 192.0.2.11",
      "remove 10.244.1.0/24 via 192.0.2.11",
    ])
    expect(steps(to, [present("10.244.1.0/24", { ifindex: 3 })], SYNCED)).toEqual([
      "replace 10.244.1.0/24 via 192.0.2.11",
    ])
  })
})

test("withRefusals() gives the kernel's reason to the nodes that are concerned", () => {
  const { nodes } = planPodRoutes(view([N1, N2]), HOST)
  const refusals = new Map([["10.244.2.0/24", "Cannot add it: EPERM"]])
  expect(withRefusals(nodes, refusals).map(({ state, reason }) => [state, reason])).toEqual([
    ["routed", "via 192.0.2.11 on eth0"],
    ["refused", "Cannot add it: EPERM"],
  ])
})

const arbitraryPrefix = fc
  .record({
    first: fc.constantFrom("10.244.1", "10.244.2", "192.0.2", "192.0.3", "198.51.100"),
    last: fc.constantFrom(0, 11, 64, 128),
    length: fc.constantFrom(0, 8, 15, 16, 23, 24, 25, 26, 32),
  })
  .map(({ first, last, length }) => `${first}.${last}/${length}`)

const arbitraryNodes = fc
  .uniqueArray(
    fc.record({
      name: fc.constantFrom("a", "b", "c", "d"),
      address: fc.constantFrom("192.0.2.11", "192.0.2.12", "192.0.2.1", "198.51.100.5"),
      podCIDRs: fc.array(arbitraryPrefix, { maxLength: 3 }),
      isReady: fc.boolean(),
    }),
    { selector: ({ name }) => name },
  )
  .map((all) =>
    all.map(({ name, address, ...rest }) => node(name, { ...rest, internalIPs: [address] })),
  )
