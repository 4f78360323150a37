/**
 * A LoadBalancer Service as streams: one for each TCP port, bound to all of the Service's
 * addresses, with a pool whose servers are the pods behind that port.
 *
 * The pool is a template: it names the Service's port in `kubernetes` and has no servers; whoever
 * keeps pools filled from EndpointSlices (`endpoints.ts`) fills it too. The way goes straight to
 * the pods, so neither node ports (`allocateLoadBalancerNodePorts`) nor externalTrafficPolicy
 * matter.
 *
 * Each problem is said, none is fatal to the other ports: a protocol that is not served yet, a port
 * of an address that the file or an older Service has already.
 */
import type { PoolConfig, StreamConfig } from "../config/config.ts"
import type { Address, Endpoint } from "../net/address.ts"
import { formatEndpoint } from "../net/address.ts"
import type { AddressRequest } from "./addresses/requests.ts"
import { keyOf, type Service, type ServicePort } from "./objects.ts"
import { SERVICE_POOL } from "./service-pool.ts"

export interface ServiceListeners {
  readonly streams: readonly StreamConfig[]
  readonly pools: readonly PoolConfig[]
  readonly problems: readonly PortProblem[]
}

export interface PortProblem {
  readonly type: "ProtocolNotServed" | "PortInUse"
  readonly message: string
}

export interface ListenersQuery {
  readonly service: Service
  readonly request: Pick<AddressRequest, "proxyProtocol">
  /** Those that are served. */
  readonly addresses: readonly Address[]
  /** Who else listens there, such as `stream "mysql"`; undefined: nobody. */
  readonly ownerOf: (endpoint: Endpoint) => string | undefined
}

export function serviceListeners(query: ListenersQuery): ServiceListeners {
  const { service, addresses } = query
  const problems: PortProblem[] = []
  const streams: StreamConfig[] = []
  const pools: PoolConfig[] = []
  for (const port of service.ports) {
    if (port.protocol !== "TCP") {
      const which = `${port.port}/${port.protocol}`
      const message = `port ${which} is not served: only TCP is, in this version`
      problems.push({ type: "ProtocolNotServed", message })
      continue
    }
    const bind = addresses
      .map((address) => ({ address, port: port.port }))
      .filter((endpoint) => isFree(endpoint, query, problems))
    if (bind.length === 0) continue
    streams.push(streamOf(query, port, bind))
    pools.push(poolOf(query, port))
  }
  return { streams, pools, problems }
}

/** "NAMESPACE/SERVICE:PORT", the port by its name where it has one. No name in a file has a "/". */
export function listenerName({ meta }: Service, port: Pick<ServicePort, "name" | "port">): string {
  return `${keyOf(meta)}:${portRef(port)}`
}

function isFree(endpoint: Endpoint, query: ListenersQuery, problems: PortProblem[]): boolean {
  const owner = query.ownerOf(endpoint)
  if (owner === undefined) return true
  const message = `${formatEndpoint(endpoint)} is used by ${owner}, which keeps it`
  problems.push({ type: "PortInUse", message })
  return false
}

function streamOf(
  query: ListenersQuery,
  port: ServicePort,
  bind: readonly Endpoint[],
): StreamConfig {
  const { service } = query
  return {
    name: listenerName(service, port),
    bind,
    pool: poolName(query, port),
    idleTimeoutMs: 600_000,
    maxConnections: 16_384,
    acceptProxyProtocol: [],
    allow: service.loadBalancerSourceRanges,
    deny: [],
  }
}

function poolOf({ service, request }: ListenersQuery, port: ServicePort): PoolConfig {
  const { namespace, name } = service.meta
  return {
    ...SERVICE_POOL,
    name: poolName({ service, request }, port),
    // By the client's address, so that it also holds on the other edge and after a restart.
    balance: service.sessionAffinity === "ClientIP" ? "source" : "round_robin",
    kubernetes: { namespace, service: name, port: portRef(port), reach: "pod" },
    proxyProtocol: request.proxyProtocol,
  }
}

/** A Service may also stand behind an Ingress: what is not as usual has a name of its own. */
function poolName(
  { service, request }: Pick<ListenersQuery, "service" | "request">,
  port: ServicePort,
): string {
  const { proxyProtocol } = request
  const affinity = service.sessionAffinity === "ClientIP" ? "+source" : ""
  const proxy = proxyProtocol === "off" ? "" : `+proxy=${proxyProtocol}`
  return `${listenerName(service, port)}${affinity}${proxy}`
}

function portRef({ name, port }: Pick<ServicePort, "name" | "port">): string | number {
  return name === "" ? port : name
}
