/**
 * Keeps the kernel's routes to the pods as `pod-routes.ts` wants them, on the control thread.
 *
 * Only routes of our protocol number are ever changed or removed (`ip route show proto 203`). What
 * a process left that was killed is found by that number and taken over: what is still wanted stays
 * untouched, the rest goes as soon as the cluster has been seen. A route that somebody deletes, or
 * that went with its link, comes back: changes of the kernel are looked for twice a second, since
 * Bun's event loop cannot wait for our own descriptors.
 *
 * What these routes are for, and what else is needed:
 * - The proxy connects from this host, so nothing is forwarded: neither net.ipv4.ip_forward nor its
 *   like for IPv6 is needed here, nor does anybody's router have to know of the pods. A machine
 *   outside reaches pods through the addresses and ports the edge listens on.
 * - The nodes forward to their pods already. Their answers come straight back, because this host's
 *   address is on their own subnet (which is why only such nodes are routed).
 * - The CNI must take packets to pods that come from outside the cluster and without its tunnel, as
 *   flannel, Calico and Cilium do; a NetworkPolicy that names sources must name the edge.
 * - Only who wants to use this host as a *router* to the pods needs ip_forward, and routes on those
 *   machines. Causeway neither needs nor sets that.
 * - CAP_NET_ADMIN, which the service has for its virtual addresses.
 *
 * Two processes of one host that follow different clusters must have different protocol numbers.
 */
import { monotonicNow } from "../../linux/clock.ts"
import { ROUTE_TABLE_MAIN, type Route, type RouteSpec } from "../../linux/route-message.ts"
import { Rtnetlink } from "../../linux/rtnetlink.ts"
import { type RtnetlinkEvent, RtnetlinkMonitor } from "../../linux/rtnetlink-monitor.ts"
import type { Logger } from "../../log/logger.ts"
import { formatPrefix } from "../../net/address.ts"
import { after, type Instant } from "../../net/time.ts"
import type { NetworksView } from "../pod-networks.ts"
import {
  diffRoutes,
  type NodeRoutes,
  type OwnRoute,
  POD_ROUTE_METRIC,
  POD_ROUTE_PROTOCOL,
  type PodRoute,
  planPodRoutes,
  type RouteStep,
  withRefusals,
} from "../pod-routes.ts"
import {
  addressKey,
  isOnLink,
  listOwnRoutes,
  type ObservedNetwork,
  observeNetwork,
} from "./host-network.ts"

export interface PodRoutesOptions {
  readonly log: Pick<Logger, "info" | "warn">
  /** Called when the state of a node has changed, with all of them. Must not throw. */
  readonly onState: (nodes: readonly NodeRoutes[]) => void
  /** Mark of our routes, 4–255; `POD_ROUTE_PROTOCOL` unless given. */
  readonly protocol?: number
}

const POLL_MS = 500
/** In a cluster that is starting, every Node changes; once in so long is soon enough. */
const RECONCILE_EVERY_MS_MIN = 100
/** After a route that the kernel did not take. */
const RETRY_MS = 5_000
/** Lines about single nodes per pass; a large cluster behind a router would fill the log. */
const NODE_LINES_MAX = 20

export class PodRoutes {
  readonly #options: PodRoutesOptions
  readonly #protocol: number
  /** Opened before the first listing, so that nothing falls between. */
  readonly #monitor = new RtnetlinkMonitor([
    "link",
    "ipv4-address",
    "ipv6-address",
    "ipv4-route",
    "ipv6-route",
  ])
  readonly #rtnetlink = new Rtnetlink()
  readonly #poll: ReturnType<typeof setInterval>
  #pending: ReturnType<typeof setTimeout> | undefined
  #notBefore: Instant | undefined
  #retryAt: Instant | undefined
  #view: NetworksView | undefined
  #isStopped = false
  #isSynced = false
  #observed: ObservedNetwork | undefined
  /** By destination as text: what the last pass left in the kernel. */
  #wanted: ReadonlyMap<string, PodRoute> = new Map()
  #networks: ReadonlySet<string> = new Set()
  /** Why a step of the last pass failed, by destination. */
  #refusals: ReadonlyMap<string, string> = new Map()
  #nodes: readonly NodeRoutes[] = []

  /** Throws `SystemError` when the kernel gives no netlink socket. */
  constructor(options: PodRoutesOptions) {
    this.#options = options
    this.#protocol = options.protocol ?? POD_ROUTE_PROTOCOL
    this.#poll = setInterval(() => this.poll(), POLL_MS)
    this.#poll.unref()
  }

  /**
   * What is known of the cluster now. It must be whole: all that was listed, or all that was kept
   * on disk; half a listing would look like a cluster of another kind. `isSynced`: it comes from
   * the API server; until then nothing that is there is changed or removed; later it stays true.
   */
  update(view: NetworksView, isSynced: boolean): void {
    if (this.#isStopped) return
    this.#view = view
    this.#isSynced ||= isSynced
    const now = monotonicNow()
    if (this.#notBefore === undefined || now >= this.#notBefore) return this.#reconcile()
    if (this.#pending !== undefined) return
    this.#pending = setTimeout(() => this.#reconcile(), Math.ceil(this.#notBefore - now))
    this.#pending.unref()
  }

  /** Every node with its networks and how they stand; empty before the first `update`. */
  status(): readonly NodeRoutes[] {
    return this.#nodes
  }

  /** Looks whether the kernel's state has changed, and puts it right. Runs by itself too. */
  poll(): void {
    const events = this.#attempt("follow routes", () => this.#monitor.read()) ?? []
    const isDue = this.#retryAt !== undefined && monotonicNow() >= this.#retryAt
    if (isDue || events.some((event) => this.#concerns(event))) this.#reconcile()
  }

  /** Removes all of our routes, also those that another process left. */
  stop(): void {
    if (this.#isStopped) return
    this.#isStopped = true
    clearInterval(this.#poll)
    clearTimeout(this.#pending)
    this.#pending = undefined
    this.#view = undefined
    this.#attempt("remove routes to pods", () => {
      const routes = listOwnRoutes(this.#rtnetlink, this.#protocol)
      for (const route of routes) {
        this.#attempt("remove a route to pods", () => {
          this.#rtnetlink.deleteRoute(this.#specOfOwn(route))
        })
      }
      if (routes.length > 0) this.#info("routes to pods removed", { routes: routes.length })
    })
    this.#monitor.close()
    this.#rtnetlink.close()
  }

  #reconcile(): void {
    clearTimeout(this.#pending)
    this.#pending = undefined
    const view = this.#view
    if (view === undefined) return
    const now = monotonicNow()
    this.#notBefore = after(now, RECONCILE_EVERY_MS_MIN)
    this.#retryAt = after(now, RETRY_MS)
    const observed = this.#attempt("list routes", () =>
      observeNetwork(this.#rtnetlink, this.#protocol),
    )
    if (observed === undefined) return
    const { routes, nodes } = planPodRoutes(view, observed)
    this.#observed = observed
    this.#wanted = new Map(routes.map((route) => [formatPrefix(route.destination), route]))
    this.#networks = new Set(nodes.flatMap(({ networks }) => networks.map(formatPrefix)))
    const steps = diffRoutes(routes, observed.ownRoutes, { isSynced: this.#isSynced })
    const before = this.#refusals
    this.#refusals = this.#carryOut(steps)
    if (this.#refusals.size === 0) this.#retryAt = undefined
    for (const [destination, reason] of this.#refusals) {
      // Every few seconds the same: once is enough for the log.
      if (before.get(destination) === reason) continue
      this.#options.log.warn(COMPONENT, "a route to pods was refused", { destination, reason })
    }
    this.#tell(withRefusals(nodes, this.#refusals))
  }

  /** Returns the reasons of what failed, by destination. */
  #carryOut(steps: readonly RouteStep[]): Map<string, string> {
    const refusals = new Map<string, string>()
    const done = { add: 0, replace: 0, remove: 0 }
    for (const step of steps) {
      try {
        this.#step(step)
        done[step.type]++
      } catch (error) {
        refusals.set(formatPrefix(step.route.destination), messageOf(error))
      }
    }
    if (done.add + done.replace + done.remove > 0) {
      const { add: added, replace: replaced, remove: removed } = done
      this.#info("routes to pods changed", { added, replaced, removed, proto: this.#protocol })
    }
    return refusals
  }

  #step(step: RouteStep): void {
    switch (step.type) {
      case "add":
        return this.#rtnetlink.addRoute(this.#specOf(step.route))
      case "replace":
        return this.#rtnetlink.replaceRoute(this.#specOf(step.route))
      case "remove":
        this.#rtnetlink.deleteRoute(this.#specOfOwn(step.route))
    }
  }

  #specOf({ destination, gateway, ifindex }: PodRoute): RouteSpec {
    const { protocol, table } = this.#mark
    return { prefix: destination, gateway, ifindex, protocol, table, metric: POD_ROUTE_METRIC }
  }

  /** With the protocol, which the kernel then insists on. */
  #specOfOwn({ destination, gateway, ifindex, metric }: OwnRoute): RouteSpec {
    return {
      prefix: destination,
      metric,
      ...this.#mark,
      ...(gateway === undefined ? {} : { gateway }),
      ...(ifindex === undefined ? {} : { ifindex }),
    }
  }

  get #mark() {
    return { protocol: this.#protocol, table: ROUTE_TABLE_MAIN }
  }

  /** Much happens in a kernel that is nothing to us; a listing costs more than this look. */
  #concerns(event: RtnetlinkEvent): boolean {
    const observed = this.#observed
    if (observed === undefined) return false
    switch (event.type) {
      case "link": {
        const isUp = event.change === "set" && event.link.up
        return isUp !== observed.linksUp.has(event.link.index)
      }
      case "address": {
        const { ifindex, prefix } = event.address
        const isThere = observed.addressKeys.has(addressKey(ifindex, prefix.address))
        return isThere !== (event.change === "set")
      }
      case "route":
        return this.#concernsRoute(event.change, event.route)
      case "overrun":
      case "malformed":
        return true
    }
  }

  #concernsRoute(change: "set" | "removed", route: Route): boolean {
    if (route.table !== ROUTE_TABLE_MAIN) return false
    const key = formatPrefix(route.prefix)
    if (route.protocol !== this.#protocol) return this.#networks.has(key) || isOnLink(route)
    const wanted = this.#wanted.get(key)
    const isWanted =
      wanted !== undefined &&
      route.gateway === wanted.gateway &&
      route.ifindex === wanted.ifindex &&
      route.metric === POD_ROUTE_METRIC
    return isWanted !== (change === "set")
  }

  #tell(nodes: readonly NodeRoutes[]): void {
    const before = new Map(this.#nodes.map((each) => [each.node, each]))
    const changed = nodes.filter((each) => !Bun.deepEquals(each, before.get(each.node)))
    const isSame = changed.length === 0 && nodes.length === this.#nodes.length
    this.#nodes = nodes
    if (isSame) return
    const news = changed.filter(({ node, state, reason }) => {
      const old = before.get(node)
      return old?.state !== state || old.reason !== reason
    })
    for (const each of news.slice(0, NODE_LINES_MAX)) this.#logNode(each)
    if (news.length > NODE_LINES_MAX) {
      this.#info("states of further nodes changed", { nodes: news.length - NODE_LINES_MAX })
    }
    this.#options.onState(nodes)
  }

  #logNode({ node, state, reason }: NodeRoutes): void {
    const fields = { node, state, reason }
    if (state === "refused") return // logged by route
    if (QUIET_STATES.includes(state)) this.#info("routes to the pods of a node", fields)
    else this.#options.log.warn(COMPONENT, "the pods of a node are not routed", fields)
  }

  #info(message: string, fields: Record<string, string | number>): void {
    this.#options.log.info(COMPONENT, message, fields)
  }

  #attempt<Value>(what: string, action: () => Value): Value | undefined {
    try {
      return action()
    } catch (error) {
      this.#options.log.warn(COMPONENT, `cannot ${what}`, { reason: messageOf(error) })
      return undefined
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

const COMPONENT = "kubernetes"
const QUIET_STATES: readonly NodeRoutes["state"][] = [
  "routed",
  "this_host",
  "not_ready",
  "no_pod_networks",
  "other_route",
]
