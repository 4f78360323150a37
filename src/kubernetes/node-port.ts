/**
 * Servers of a pool with `reach = "node_port"`: the nodes' InternalIPs at the Service's nodePort,
 * for edges to which the pods' networks cannot be routed. From there kube-proxy goes on.
 *
 * A node counts while it is Ready. Cordoning (`spec.unschedulable`) keeps new pods away, not
 * traffic, so it changes nothing here, as in the service controllers of the clouds (KEP-3458). A
 * node that is being deleted still forwards what it can: a backup. Its label
 * node.kubernetes.io/exclude-from-external-load-balancers takes a node out.
 *
 * With `externalTrafficPolicy: Local` a node passes connections to its own pods only, so only nodes
 * with a ready endpoint count; one whose endpoints all terminate is a backup (KEP-1669).
 */
import type { ServerConfig } from "../config/config.ts"
import { type Address, type Family, familyOf, formatEndpoint } from "../net/address.ts"
import {
  isServerName,
  noServers,
  type ServersFound,
  type ServersQuery,
  slicePort,
} from "./endpoints.ts"
import type { EndpointSlice, Node, ServicePort } from "./objects.ts"
import { keyOf, type Service } from "./objects.ts"
import { findServicePort, quoted } from "./service-port.ts"

/** KEP-1143. Its value means nothing. */
const EXCLUDED = "node.kubernetes.io/exclude-from-external-load-balancers"

export interface NodePortView {
  readonly service: Service | undefined
  readonly nodes: Iterable<Node>
  /** All those of the Service; read only where its externalTrafficPolicy is Local. */
  readonly slices: readonly EndpointSlice[]
}

/** `omitted.not_ready` counts the nodes left out, for whatever reason but their family. */
export function nodePortServers(query: ServersQuery, view: NodePortView): ServersFound {
  const answer = findServicePort(query, view.service)
  if (!answer.ok) return noServers(answer.reason)
  const { service } = view
  if (service === undefined || answer.port === undefined) {
    return noServers(`no Service ${query.namespace}/${query.service}`)
  }
  if (answer.port.nodePort === 0) {
    const port = quoted(query.port)
    return noServers(`port ${port} of ${keyOf(service.meta)} has no nodePort (${service.type})`)
  }
  return serversOf(query, { ...view, service }, answer.port)
}

interface KnownService extends NodePortView {
  readonly service: Service
}

function serversOf(query: ServersQuery, view: KnownService, port: ServicePort): ServersFound {
  const nodes = [...view.nodes]
  const usable = nodes.filter(isUsable)
  const local = localNodes(view, port.name)
  const carriers = usable.filter(({ meta }) => local === undefined || local.has(meta.name))
  const families = familiesOf(view.service, query.families)
  const found = carriers.flatMap((node) => {
    const isBackup = node.meta.isDeleting || local?.get(node.meta.name) === false
    return nodeAddresses(node, families).map((address) => ({
      node: node.meta.name,
      address,
      isBackup,
    }))
  })
  const servers = named(found.sort(byAddress), port.nodePort)
  const omitted = nodes.length - carriers.length
  return {
    servers,
    whyEmpty: servers.length > 0 ? undefined : whyNone({ view, nodes, usable, carriers, families }),
    omitted: omitted > 0 ? { not_ready: omitted } : {},
  }
}

function isUsable({ isReady, meta }: Node): boolean {
  return isReady && meta.labels[EXCLUDED] === undefined
}

/** By name: has a ready endpoint (true), or only terminating ones. Undefined: any node will do. */
function localNodes(
  { service, slices }: KnownService,
  portName: string,
): ReadonlyMap<string, boolean> | undefined {
  if (service.externalTrafficPolicy !== "Local") return undefined
  const nodes = new Map<string, boolean>()
  for (const slice of slices) {
    if (typeof slicePort(slice, portName) !== "number") continue
    for (const { node, isReady, isServing, isTerminating } of slice.endpoints) {
      if (isReady) nodes.set(node, true)
      else if (isServing && isTerminating && !nodes.has(node)) nodes.set(node, false)
    }
  }
  return nodes
}

/** kube-proxy opens a nodePort in the Service's own families only. */
function familiesOf(service: Service, asked: readonly Family[] = [4, 6]): Family[] {
  const own = service.ipFamilies.map((family): Family => (family === "IPv4" ? 4 : 6))
  return asked.filter((family) => own.length === 0 || own.includes(family))
}

/** The first of each family: further ones are the same node once more. */
function nodeAddresses({ internalIPs }: Node, families: readonly Family[]): Address[] {
  return families.flatMap(
    (family) => internalIPs.find((address) => familyOf(address) === family) ?? [],
  )
}

interface FoundNode {
  readonly node: string
  readonly address: Address
  readonly isBackup: boolean
}

function named(found: readonly FoundNode[], port: number): ServerConfig[] {
  const uses = new Map<string, number>()
  for (const { node } of found) uses.set(node, (uses.get(node) ?? 0) + 1)
  return found.map(({ node, address, isBackup }) => ({
    name: uses.get(node) === 1 && isServerName(node) ? node : formatEndpoint({ address, port }),
    endpoint: { address, port },
    weight: 1,
    backup: isBackup,
    maxConnections: 0,
  }))
}

function byAddress(left: FoundNode, right: FoundNode): number {
  if (left.address === right.address) return left.node < right.node ? -1 : 1
  return left.address < right.address ? -1 : 1
}

interface Emptiness {
  readonly view: KnownService
  readonly nodes: readonly Node[]
  readonly usable: readonly Node[]
  readonly carriers: readonly Node[]
  readonly families: readonly Family[]
}

function whyNone({ view, nodes, usable, carriers, families }: Emptiness): string {
  const key = keyOf(view.service.meta)
  if (nodes.length === 0) return "no Nodes are known"
  if (usable.length === 0) return `0 of ${nodes.length} Nodes ready`
  if (carriers.length === 0) {
    return `no Ready Node has an endpoint of ${key} (externalTrafficPolicy Local)`
  }
  const named = families.map((family) => `IPv${family}`).join(" or ")
  return `no Ready Node has an InternalIP of ${named === "" ? "a usable family" : named}`
}
