/**
 * Servers of a pool from the EndpointSlices of a Service (discovery.k8s.io/v1).
 *
 * A ready endpoint is a server. One that terminates but still serves (KEP-1672) is a backup: the
 * pool uses it only when nothing else is left, as kube-proxy does (KEP-1669). All others are left
 * out. A named target port may be another number in each slice. While the slice controller moves an
 * endpoint it may be in two slices for a moment; then the better word of the two counts.
 *
 * Zone hints are not for us: the edge stands in no zone of the cluster. Nor is a server made of an
 * address that would lead back to the edge itself: whoever may write slices must not reach what
 * listens on its loopback, nor lead connections in a circle, each of which would be two more.
 *
 * Equal states give equal lists, whatever the order in which slices and endpoints came.
 */
import type { ServerConfig } from "../config/config.ts"
import {
  type Address,
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
} from "../net/address.ts"
import type { EndpointSlice, Service, SliceEndpoint } from "./objects.ts"
import { findServicePort, quoted, type ServicePortRef } from "./service-port.ts"

export interface ServersQuery extends ServicePortRef {
  /** Only endpoints of these; both unless given. */
  readonly families?: readonly Family[]
  /** Where the edges themselves listen; nowhere unless given. */
  readonly isOwn?: ((endpoint: Endpoint) => boolean) | undefined
}

/** Why an endpoint, or a whole slice, gave no server. */
export type OmittedReason =
  /** Neither ready nor terminating and still serving. */
  | "not_ready"
  /** Of addressType FQDN: deprecated, and nothing to connect to. */
  | "fqdn_slice"
  /** The slice has other ports, or this one not for TCP. */
  | "other_port"
  /** The slice says "all ports", which is none to connect to. */
  | "any_port"
  | "no_address"
  /** Loopback, link-local, multicast and the like. */
  | "unusable_address"
  /** The edge listens there. */
  | "own_address"
  | "other_family"

export interface ServersFound {
  /** Sorted by address and port. */
  readonly servers: readonly ServerConfig[]
  /** Set when there is no server: a sentence without a full stop. */
  readonly whyEmpty: string | undefined
  /** Number of endpoints by reason; of slices for "fqdn_slice", "other_port" and "any_port". */
  readonly omitted: Readonly<Partial<Record<OmittedReason, number>>>
}

/** `slices` are all those of the Service, in any order. */
export function endpointServers(
  query: ServersQuery,
  service: Service | undefined,
  slices: readonly EndpointSlice[],
): ServersFound {
  const key = `${query.namespace}/${query.service}`
  const answer = findServicePort(query, service)
  if (!answer.ok) return noServers(answer.reason)
  if (slices.length === 0) return noServers(`no EndpointSlices for ${key}`)
  const { found, seen, omitted } = collect(slices, answer.name, query)
  const servers = named([...found.values()].sort(byEndpoint))
  if (servers.length > 0) return { servers, whyEmpty: undefined, omitted }
  const whyEmpty = whyNone({ query, name: answer.name, slices, seen, omitted })
  return { servers, whyEmpty, omitted }
}

export function noServers(whyEmpty: string): ServersFound {
  return { servers: [], whyEmpty, omitted: {} }
}

/** The number behind a port of the Service in one slice. */
export function slicePort(slice: EndpointSlice, name: string): number | OmittedReason {
  if (slice.addressType === "FQDN") return "fqdn_slice"
  const port = slice.ports.find((each) => each.name === name && each.protocol === "TCP")
  if (port === undefined) return "other_port"
  return port.port ?? "any_port"
}

/** The name by which the admin API, status and metrics know a server (`config/values.ts`). */
export function isServerName(name: string): boolean {
  return /^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}$/.test(name)
}

interface Found {
  readonly address: Address
  readonly port: number
  readonly pod: string
  readonly isReady: boolean
}

interface Collected {
  readonly found: Map<string, Found>
  /** Distinct endpoints of the slices that have the port, used or not. */
  readonly seen: number
  readonly omitted: Partial<Record<OmittedReason, number>>
}

function collect(
  slices: readonly EndpointSlice[],
  name: string,
  { families = [4, 6], isOwn }: ServersQuery,
): Collected {
  const found = new Map<string, Found>()
  const rejected = new Map<string, OmittedReason>()
  const omitted: Partial<Record<OmittedReason, number>> = {}
  const count = (reason: OmittedReason) => {
    omitted[reason] = (omitted[reason] ?? 0) + 1
  }
  for (const slice of slices) {
    const port = slicePort(slice, name)
    if (typeof port !== "number") {
      count(port)
      continue
    }
    for (const endpoint of slice.endpoints) {
      // Several addresses are fungible by the API's words; consumers use the first.
      const [address] = endpoint.addresses
      const key = address === undefined ? endpoint.pod : formatEndpoint({ address, port })
      const use = useOf(endpoint, families)
      if (typeof use === "string") rejected.set(key, use)
      else if (isOwn?.({ address: use.address, port })) rejected.set(key, "own_address")
      else found.set(key, preferred({ ...use, port, pod: endpoint.pod }, found.get(key)))
    }
  }
  for (const [key, reason] of rejected) if (!found.has(key)) count(reason)
  const seen = new Set([...found.keys(), ...rejected.keys()]).size
  return { found, seen, omitted }
}

/** Of two words on one endpoint the ready one; then, so that order is nothing, the lesser pod. */
function preferred(next: Found, known: Found | undefined): Found {
  if (known === undefined) return next
  if (known.isReady !== next.isReady) return known.isReady ? known : next
  if (known.pod === "" || next.pod === "") return known.pod === "" ? next : known
  return known.pod <= next.pod ? known : next
}

function useOf(
  { addresses, isReady, isServing, isTerminating }: SliceEndpoint,
  families: readonly Family[],
): { readonly address: Address; readonly isReady: boolean } | OmittedReason {
  const [address] = addresses
  if (address === undefined) return "no_address"
  if (UNUSABLE_IPV4.test(address) || UNUSABLE_IPV6.test(address)) return "unusable_address"
  if (!families.includes(familyOf(address))) return "other_family"
  if (!isReady && !(isTerminating && isServing)) return "not_ready"
  return { address, isReady }
}

function named(found: readonly Found[]): ServerConfig[] {
  const uses = new Map<string, number>()
  for (const { pod } of found) uses.set(pod, (uses.get(pod) ?? 0) + 1)
  return found.map(({ address, port, pod, isReady }) => ({
    name: uses.get(pod) === 1 && isServerName(pod) ? pod : formatEndpoint({ address, port }),
    endpoint: { address, port },
    weight: 1,
    backup: !isReady,
    maxConnections: 0,
  }))
}

/** Any total order will do; as text it costs no parsing. */
function byEndpoint(left: Found, right: Found): number {
  if (left.address !== right.address) return left.address < right.address ? -1 : 1
  return left.port - right.port
}

interface Emptiness {
  readonly query: ServersQuery
  readonly name: string
  readonly slices: readonly EndpointSlice[]
  readonly seen: number
  readonly omitted: ServersFound["omitted"]
}

function whyNone({ query, name, slices, seen, omitted }: Emptiness): string {
  const key = `${query.namespace}/${query.service}`
  const usable = slices.filter((slice) => slice.addressType !== "FQDN")
  if (usable.length === 0) return `the EndpointSlices of ${key} hold host names, not addresses`
  if (usable.every((slice) => slicePort(slice, name) === "any_port")) {
    return `the EndpointSlices of ${key} name no port number`
  }
  if (usable.every((slice) => typeof slicePort(slice, name) !== "number")) {
    const ports = new Set(usable.flatMap((slice) => slice.ports.map((port) => port.name)))
    const has = [...ports].map((each) => (each === "" ? "one without a name" : each)).sort()
    const list = has.length === 0 ? "none" : has.join(", ")
    return `port ${quoted(query.port)} is in no EndpointSlice of ${key}; they have: ${list}`
  }
  if (seen === 0) return `the EndpointSlices of ${key} are empty`
  const elsewhere = omitted.other_family ?? 0
  if (elsewhere === seen) return `no endpoint of ${key} has an address of a usable family`
  if (omitted.own_address === seen) return `the endpoints of ${key} lead back to the edge itself`
  return `0 of ${seen} endpoints of ${key} ready`
}

/**
 * What the API refuses in endpoints too: this host, loopback, link-local, multicast, broadcast, and
 * IPv4 in IPv6's clothes. Addresses are canonical text.
 */
const UNUSABLE_IPV4 = /^(?:0|127|169\.254|22[4-9]|2[34]\d|25[0-5])\./
const UNUSABLE_IPV6 = /^(?:::1?$|::ffff:|fe[89ab][0-9a-f]:|ff[0-9a-f]{2}:)/
