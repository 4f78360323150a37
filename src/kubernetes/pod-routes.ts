/**
 * Which kernel routes lead to the pods: for each pod network of each Ready node one, through the
 * node's InternalIP, and for each node a word on how it stands.
 *
 * A route is wanted only if it is surely right: the node's address must be on a subnet of this host
 * (through a router further away the packet would lose its way), nobody else may claim the network
 * (`pod-route-conflicts.ts`), and no other route for the same network may be there: whoever put it
 * (an administrator, BIRD, the CNI itself when this host is a node) knows better. A network that
 * cannot be routed does not keep the others of its node from being routed.
 *
 * A node that is not Ready loses its routes, although its pods may still run: its endpoints are not
 * ready any more, so nothing new would be sent there, and a route to a host that is gone makes
 * connections hang where without it they may fail at once. It also is what frees the addresses of a
 * node that died for the one that takes them over. Sessions that survive a kubelet's pause break.
 *
 * What is installed is told from everything else by its protocol number alone.
 */
import { type Address, type Family, familyOf, formatPrefix, type Prefix } from "../net/address.ts"
import {
  compareNetworks,
  covers,
  familyOfNetwork,
  hostNetwork,
  type Network,
  networkOf,
} from "../net/network.ts"
import type { Node } from "./objects.ts"
import { type NetworksView, type PodNetworks, podNetworks } from "./pod-networks.ts"
import { type Claim, routeConflicts } from "./pod-route-conflicts.ts"

/**
 * Marks our routes: `ip route show proto 203`. Free in rt_protos of iproute2 (up to 192), FRR
 * (186–197) and BIRD (12).
 */
export const POD_ROUTE_PROTOCOL = 203
/**
 * Higher than what people, daemons and the kernel (1024 for IPv6) give: a route of theirs for the
 * same network wins at once, and is never merged with ours into one of two next hops.
 */
export const POD_ROUTE_METRIC = 2048

/** This host's network, as far as routes to pods have to do with it. */
export interface HostNetwork {
  /** All addresses of all interfaces. */
  readonly addresses: readonly Address[]
  readonly subnets: readonly OnLinkSubnet[]
  /** Destinations of routes that are not ours and not of `isConnected` subnets, as text. */
  readonly otherRoutes: ReadonlySet<string>
}

/** What is reached through an interface without a gateway. */
export interface OnLinkSubnet {
  readonly prefix: Prefix
  readonly interface: string
  readonly ifindex: number
  readonly metric: number
  /** Belongs to an address of the interface; false: somebody's route. */
  readonly isConnected: boolean
}

export interface PodRoute {
  /** Host bits clear. */
  readonly destination: Prefix
  readonly gateway: Address
  readonly ifindex: number
  readonly interface: string
}

export type NodeRouteState =
  | "routed"
  /** This host is the node: its pods are here. */
  | "this_host"
  | "not_ready"
  | "no_pod_networks"
  /** It has no InternalIP of the family of its pod network. */
  | "no_address"
  | "not_on_subnet"
  /** To route the network would lead other packets astray. */
  | "conflict"
  /** Somebody else's route for the network is there, and in use. */
  | "other_route"
  /** The kernel did not take the route. */
  | "refused"
  /** Calico or Cilium speak of it, but there is no such Node. */
  | "unknown_node"

/** When its networks differ, the gravest of their states. */
export interface NodeRoutes {
  readonly node: string
  readonly state: NodeRouteState
  /** For a person, without a full stop; says of each network that is not routed why. */
  readonly reason: string
  /** Of its pods, routed or not. */
  readonly networks: readonly Prefix[]
}

export interface RoutePlan {
  /** Sorted by destination, each once. */
  readonly routes: readonly PodRoute[]
  /** Sorted by name. */
  readonly nodes: readonly NodeRoutes[]
}

export function planPodRoutes(view: NetworksView, host: HostNetwork): RoutePlan {
  const planner = new Planner(view, host)
  const planned = [...view.nodes.values()].sort(byName).map((node) => planner.node(node))
  const nodes = [...planned.map(({ routes: _, ...node }) => node), ...planner.unknownNodes()]
  const routes = planned.flatMap((each) => each.routes)
  return { routes: routes.sort(byDestination), nodes: nodes.sort(byNodeName) }
}

interface PlannedNode extends NodeRoutes {
  readonly routes: readonly PodRoute[]
}

type Verdict =
  | { readonly state: "routed"; readonly route: PodRoute }
  | { readonly state: Exclude<NodeRouteState, "routed">; readonly reason: string }

interface SubnetNetwork extends OnLinkSubnet {
  readonly network: Network
}

class Planner {
  readonly #view: NetworksView
  readonly #host: HostNetwork
  readonly #networks: PodNetworks
  readonly #conflicts: ReadonlyMap<string, string>
  readonly #ownAddresses: ReadonlySet<Address>
  readonly #subnets: readonly SubnetNetwork[]

  constructor(view: NetworksView, host: HostNetwork) {
    this.#view = view
    this.#host = host
    this.#networks = podNetworks(view)
    this.#ownAddresses = new Set(host.addresses)
    this.#subnets = host.subnets
      .map((subnet) => ({ ...subnet, network: networkOf(subnet.prefix) }))
      .sort(byPreference)
    this.#conflicts = this.#findConflicts()
  }

  node(node: Node): PlannedNode {
    const { name } = node.meta
    const networks = this.#networksOf(name)
    const whole = this.#stateOfAll(node, networks)
    const verdicts =
      whole === undefined ? networks.map((network) => this.#verdict(node, network)) : [whole]
    const routes = verdicts.flatMap((each) => (each.state === "routed" ? [each.route] : []))
    return {
      node: name,
      ...summary(verdicts),
      networks: networks.map(({ prefix }) => prefix),
      routes,
    }
  }

  unknownNodes(): NodeRoutes[] {
    const known = new Set([...this.#view.nodes.values()].map(({ meta }) => meta.name))
    const unknown = [...this.#networks.byNode].filter(([name]) => !known.has(name))
    return unknown.map(([node, networks]) => ({
      node,
      state: "unknown_node",
      reason: `a ${this.#networks.source} names it, but there is no such Node`,
      networks: networks.map(({ prefix }) => prefix),
    }))
  }

  /** What holds for the node whatever its networks; undefined: that depends on them. */
  #stateOfAll(node: Node, networks: readonly Network[]): Verdict | undefined {
    const own = node.internalIPs.find((address) => this.#ownAddresses.has(address))
    if (own !== undefined) return { state: "this_host", reason: `this host has ${own}` }
    if (!node.isReady) return { state: "not_ready", reason: "the Node is not Ready" }
    if (networks.length > 0) return undefined
    const { source } = this.#networks
    const missing = source === "podCIDRs" ? "it has no podCIDRs" : `it has no ${source}`
    return { state: "no_pod_networks", reason: missing }
  }

  #verdict(node: Node, network: Network): Verdict {
    const conflict = this.#conflicts.get(claimKey(node.meta.name, network))
    if (conflict !== undefined) return { state: "conflict", reason: conflict }
    if (this.#host.otherRoutes.has(network.text)) {
      return { state: "other_route", reason: `another route for ${network.text} is there` }
    }
    const family = familyOfNetwork(network)
    const addresses = node.internalIPs.filter((address) => familyOf(address) === family)
    if (addresses.length === 0) {
      return {
        state: "no_address",
        reason: `it has no IPv${family} InternalIP for ${network.text}`,
      }
    }
    for (const gateway of addresses) {
      const subnet = this.#subnetOf(gateway)
      if (subnet === undefined) continue
      const { ifindex, interface: name } = subnet
      const route = { destination: network.prefix, gateway, ifindex, interface: name }
      return { state: "routed", route }
    }
    return { state: "not_on_subnet", reason: this.#offSubnet(addresses, family) }
  }

  /** As the kernel would choose. */
  #subnetOf(gateway: Address): OnLinkSubnet | undefined {
    const host = hostNetwork(gateway)
    return this.#subnets.find(({ network }) => covers(network, host))
  }

  #offSubnet(addresses: readonly Address[], family: Family): string {
    const subnets = this.#subnets
      .filter(({ network, isConnected }) => isConnected && familyOfNetwork(network) === family)
      .map(({ network, interface: name }) => `${network.text} on ${name}`)
    const named = subnets.slice(0, SUBNETS_NAMED_MAX).join(", ")
    const has = subnets.length > SUBNETS_NAMED_MAX ? `${named} and others` : named || "none"
    return `${addresses.join(", ")} is on no subnet of this host, which has: ${has}`
  }

  #networksOf(name: string): readonly Network[] {
    return this.#networks.byNode.get(name) ?? []
  }

  #findConflicts(): Map<string, string> {
    const nodes = [...this.#view.nodes.values()].sort(byName)
    const claims = nodes
      .filter(({ isReady }) => isReady)
      .flatMap(({ meta: { name } }) =>
        this.#networksOf(name).map((network): Claim => ({ node: name, network })),
      )
    const claimed = new Set(claims.map(({ network }) => network.text))
    // A route of somebody for exactly a pod network is no conflict, but another way to go there.
    const ownSubnets = this.#subnets.filter(
      ({ network, isConnected }) => isConnected || !claimed.has(network.text),
    )
    const conflicts = routeConflicts({
      claims,
      nodeAddresses: nodes.flatMap(({ meta: { name: node }, internalIPs }) =>
        internalIPs.map((address) => ({ node, address })),
      ),
      ownAddresses: this.#host.addresses,
      ownSubnets,
    })
    return new Map(
      [...conflicts].map(([{ node, network }, reason]) => [claimKey(node, network), reason]),
    )
  }
}

/** The gravest state, and every distinct reason; of a node that is routed, the way. */
function summary(verdicts: readonly Verdict[]): Pick<NodeRoutes, "state" | "reason"> {
  const states = verdicts.map(({ state }) => state)
  const state = GRAVEST_FIRST.find((each) => states.includes(each)) ?? "routed"
  const reasons = verdicts.flatMap((each) => {
    if (each.state !== "routed") return [each.reason]
    return state === "routed" ? [`via ${each.route.gateway} on ${each.route.interface}`] : []
  })
  return { state, reason: [...new Set(reasons)].join("; ") }
}

/** Says of nodes that the kernel refused their routes; `refusals` are by destination as text. */
export function withRefusals(
  nodes: readonly NodeRoutes[],
  refusals: ReadonlyMap<string, string>,
): NodeRoutes[] {
  return nodes.map((node) => {
    const reasons = node.networks.flatMap((network) => refusals.get(formatPrefix(network)) ?? [])
    if (node.state !== "routed" || reasons.length === 0) return node
    return { ...node, state: "refused", reason: [...new Set(reasons)].join("; ") }
  })
}

/** A route that bears our mark. */
export interface OwnRoute {
  readonly destination: Prefix
  readonly gateway: Address | undefined
  readonly ifindex: number | undefined
  readonly metric: number
}

export type RouteStep =
  | { readonly type: "add"; readonly route: PodRoute }
  /** One of ours for this destination, of `POD_ROUTE_METRIC`, is there and leads elsewhere. */
  | { readonly type: "replace"; readonly route: PodRoute }
  | { readonly type: "remove"; readonly route: OwnRoute }

/**
 * The steps from what is there to what is wanted. Until the cluster has been seen once
 * (`isSynced` false) routes are only added: those that are there were put there by a process that
 * had seen it, later than whatever the wish is made of.
 */
export function diffRoutes(
  wanted: readonly PodRoute[],
  present: readonly OwnRoute[],
  { isSynced }: { readonly isSynced: boolean },
): RouteStep[] {
  const byText = new Map<string, OwnRoute[]>()
  for (const route of present) {
    const key = formatPrefix(route.destination)
    byText.set(key, [...(byText.get(key) ?? []), route])
  }
  const steps: RouteStep[] = []
  const kept = new Set<OwnRoute>()
  for (const route of wanted) {
    const there = byText.get(formatPrefix(route.destination)) ?? []
    const same = there.find((each) => isSame(each, route))
    const replaced = same ?? there.find(({ metric }) => metric === POD_ROUTE_METRIC)
    if (replaced !== undefined) kept.add(replaced)
    if (same !== undefined) continue
    if (there.length === 0) steps.push({ type: "add", route })
    else if (isSynced) {
      steps.push({ type: replaced === undefined ? "add" : "replace", route })
    }
  }
  if (!isSynced) return steps
  // Last, so that a network is not unreachable between two steps.
  const removed = present.filter((route) => !kept.has(route))
  return [...steps, ...removed.map((route): RouteStep => ({ type: "remove", route }))]
}

function isSame(present: OwnRoute, wanted: PodRoute): boolean {
  const { gateway, ifindex, metric } = present
  return gateway === wanted.gateway && ifindex === wanted.ifindex && metric === POD_ROUTE_METRIC
}

const SUBNETS_NAMED_MAX = 8

const GRAVEST_FIRST: readonly NodeRouteState[] = [
  "conflict",
  "not_on_subnet",
  "no_address",
  "other_route",
  "this_host",
  "not_ready",
  "no_pod_networks",
]

function claimKey(node: string, network: Network): string {
  return `${node} ${network.text}`
}

/** The longest prefix first, then the lowest metric. */
function byPreference(left: OnLinkSubnet, right: OnLinkSubnet): number {
  return (
    right.prefix.length - left.prefix.length ||
    left.metric - right.metric ||
    left.ifindex - right.ifindex
  )
}

function byDestination(left: PodRoute, right: PodRoute): number {
  return compareNetworks(networkOf(left.destination), networkOf(right.destination))
}

function byName(left: Node, right: Node): number {
  return left.meta.name < right.meta.name ? -1 : 1
}

function byNodeName(left: NodeRoutes, right: NodeRoutes): number {
  return left.node < right.node ? -1 : 1
}
