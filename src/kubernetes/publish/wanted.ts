/**
 * What `[[publish]]` asks for, as objects: a Service without selector for each table, and
 * EndpointSlices behind it, one for each family and port (a slice has one list of ports for all its
 * endpoints, and one address type).
 *
 * Names follow from the configuration alone, so both edges of a pair mean the same objects and
 * either can go on with what the other made.
 */
import type { PublishConfig } from "../../config/config.ts"
import { type Address, type Endpoint, familyOf } from "../../net/address.ts"
import type { ObjectKey } from "../objects.ts"
import type { Json } from "../writes.ts"

export interface WantedService {
  readonly key: ObjectKey
  readonly namespace: string
  readonly name: string
  readonly port: number
  /** In the order of the endpoints; empty: nobody to lead to, so any will do. */
  readonly families: readonly IpFamily[]
  readonly slices: readonly WantedSlice[]
}

export interface WantedSlice {
  readonly key: ObjectKey
  readonly namespace: string
  readonly name: string
  readonly service: string
  readonly addressType: IpFamily
  readonly port: number
  /** Sorted by address; at most `ENDPOINTS_MAX`. */
  readonly endpoints: readonly WantedEndpoint[]
}

export interface WantedEndpoint {
  readonly address: Address
  /** Undefined: not known yet; what is published stays, and a new one is ready. */
  readonly isReady: boolean | undefined
}

/** A server of a pool as pods may use it. */
export interface PublishedServer {
  readonly endpoint: Endpoint
  /** Takes new connections now; undefined: its checks have not said yet. */
  readonly isReady: boolean | undefined
}

export type IpFamily = "IPv4" | "IPv6"

/** `servers`: those of the stream's pool that pods can reach. Only used when `direct`. */
export function wantedService(
  publish: PublishConfig,
  servers: readonly PublishedServer[],
): WantedService {
  const { namespace, service: name, port } = publish
  const targets = publish.direct ? servers : publish.endpoints.map(alwaysReady)
  const slices = [...Map.groupBy(targets, groupOf).values()].flatMap((group) => {
    return slicesOf(publish, group)
  })
  const families = [...new Set(slices.map(({ addressType }) => addressType))]
  return { key: `${namespace}/${name}`, namespace, name, port, families, slices }
}

/** What stands in the object; what the API server or other people add is theirs. */
export function serviceObject(wanted: WantedService, owner: string): Json {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: wanted.namespace,
      name: wanted.name,
      labels: SERVICE_LABELS,
      annotations: { [OWNER_ANNOTATION]: owner },
    },
    spec: {
      ...serviceSpec(wanted),
      ...(wanted.families.length === 1 ? { ipFamilies: wanted.families } : {}),
    },
  }
}

/** The part of a Service that may change. */
export function serviceSpec({ port, families }: WantedService): { readonly [key: string]: Json } {
  return {
    type: "ClusterIP",
    ports: [{ name: PORT_NAME, protocol: "TCP", port, targetPort: port }],
    ...(families.length === 0 ? {} : { ipFamilyPolicy: policyOf(families) }),
  }
}

/** "Prefer": a cluster of one family takes it too, and serves what it can. */
export function policyOf(families: readonly IpFamily[]): "SingleStack" | "PreferDualStack" {
  return families.length > 1 ? "PreferDualStack" : "SingleStack"
}

export function sliceObject(wanted: WantedSlice, owner: string): Json {
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: wanted.namespace,
      name: wanted.name,
      labels: sliceLabels(wanted),
      annotations: { [OWNER_ANNOTATION]: owner },
    },
    addressType: wanted.addressType,
    ...sliceContent(wanted),
  }
}

/** The part of a slice that may change. */
export function sliceContent({ port, endpoints }: WantedSlice): { readonly [key: string]: Json } {
  return {
    ports: [{ name: PORT_NAME, protocol: "TCP", port }],
    endpoints: endpoints.map(({ address, isReady = true }) => ({
      addresses: [address],
      conditions: { ready: isReady, serving: isReady, terminating: false },
    })),
  }
}

export function sliceLabels({ service }: Pick<WantedSlice, "service">): Record<string, string> {
  return { ...SLICE_LABELS, "kubernetes.io/service-name": service }
}

function slicesOf(
  { namespace, service }: PublishConfig,
  group: readonly PublishedServer[],
): WantedSlice[] {
  const [first] = group
  if (first === undefined) return []
  const { address, port } = first.endpoint
  const addressType = ipFamilyOf(address)
  const name = `${service}-${addressType.toLowerCase()}-${port}`
  return chunksOf(endpointsOf(group), ENDPOINTS_MAX).map((endpoints, index) => {
    const part = index === 0 ? name : `${name}-${index + 1}`
    const key = `${namespace}/${part}`
    return { key, namespace, name: part, service, addressType, port, endpoints }
  })
}

/** Two servers of a pool may be one address and port: ready when one of them is. */
function endpointsOf(group: readonly PublishedServer[]): WantedEndpoint[] {
  const ready = new Map<Address, boolean | undefined>()
  for (const { endpoint, isReady } of group) {
    ready.set(endpoint.address, isReady === true || (ready.get(endpoint.address) ?? isReady))
  }
  return [...ready]
    .map(([address, isReady]) => ({ address, isReady }))
    .sort((left, right) => (left.address < right.address ? -1 : 1))
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  const chunks = Math.ceil(items.length / size)
  return Array.from({ length: chunks }, (_, index) => items.slice(index * size, (index + 1) * size))
}

function alwaysReady(endpoint: Endpoint): PublishedServer {
  return { endpoint, isReady: true }
}

function groupOf({ endpoint }: PublishedServer): string {
  return `${familyOf(endpoint.address)} ${endpoint.port}`
}

function ipFamilyOf(address: Address): IpFamily {
  return familyOf(address) === 4 ? "IPv4" : "IPv6"
}

/** Says whose an object is: the Lease of the pair of edges that made it. */
export const OWNER_ANNOTATION = "causeway.dev/published-by"

export const SERVICE_LABELS: Readonly<Record<string, string>> = {
  "app.kubernetes.io/managed-by": "causeway",
}

export const SLICE_LABELS: Readonly<Record<string, string>> = {
  "app.kubernetes.io/managed-by": "causeway",
  // Slices with another value than its own are nothing to the controller of the cluster.
  "endpointslice.kubernetes.io/managed-by": "causeway.dev",
}

/** A port of a Service and of a slice belong together by name. */
export const PORT_NAME = "tcp"

/** The API refuses slices with more (discovery.k8s.io/v1, EndpointSlice.endpoints). */
const ENDPOINTS_MAX = 1000
