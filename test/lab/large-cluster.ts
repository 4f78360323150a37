/**
 * A cluster of a given size, as plain objects for the lab's API server: Services, each with one
 * EndpointSlice, some of them LoadBalancers that have their addresses in status already, the others
 * named by the paths of Ingresses; and nodes with networks for the pods.
 *
 * Every pod's address says whose it is (`serviceOf`), so that an answer proves where it came from.
 * The pods are one web server on all addresses of `POD_NETWORK`: its host takes the network for its
 * own (`startPods`), which costs one route instead of 20,000 addresses.
 */
import type { ApiObject } from "./api-server/object.ts"
import type { Host } from "./host.ts"
import { startNginx } from "./nginx.ts"
import type { ManagedProcess } from "./process.ts"

export interface ClusterSize {
  /** At most 4,096. */
  readonly services: number
  /** At most 16: half of the addresses that a Service's pods take in turn. */
  readonly endpoints: number
  /** How many of the Services are LoadBalancers: the first ones. */
  readonly balancers: number
  /** Paths over all Ingresses, `PATHS_PER_HOST` on a host each. */
  readonly paths: number
  readonly nodes: number
}

/** The size that is promised. */
export const FULL_CLUSTER: ClusterSize = {
  services: 2_000,
  endpoints: 10,
  balancers: 200,
  paths: 5_000,
  nodes: 50,
}

export const NAMESPACE = "scale"
export const POD_PORT = 8080
export const POD_NETWORK = "10.64.0.0/15"
export const BALANCER_POOL = "10.20.0.0/20"
const PATHS_PER_HOST = 10
/** Pod number = turn × SERVICES_MAX + Service; a node has every so many blocks of BLOCK of them. */
const SERVICES_MAX = 4_096
const TURNS = 32
const BLOCK = 1_024

/** In the order in which they can be created. `nodeAddress`: of node 0, 1, … */
export function clusterObjects(
  size: ClusterSize,
  nodeAddress: (node: number) => string,
): ApiObject[] {
  const services = Array.from({ length: size.services }, (_, index) => index)
  const hosts = Array.from({ length: Math.ceil(size.paths / PATHS_PER_HOST) }, (_, index) => index)
  const nodes = Array.from({ length: size.nodes }, (_, index) => index)
  return [
    ...nodes.map((index) => node(index, size.nodes, nodeAddress(index))),
    ingressClass(),
    ...services.map((index) => service(index, size)),
    ...services.map((index) => endpointSlice(index, size)),
    ...hosts.map((index) => ingress(index, size)),
  ]
}

function serviceName(index: number): string {
  return `service-${index}`
}

/** Of a LoadBalancer. */
export function balancerAddress(index: number): string {
  return `10.20.${index >> 8}.${index & 255}`
}

/** The Service whose pod has this address. */
export function serviceOf(address: string): number {
  const [, , third = 0, fourth = 0] = address.split(".").map(Number)
  return ((third << 8) + fourth) % SERVICES_MAX
}

export interface ClusterPath {
  readonly host: string
  readonly path: string
  /** Where it leads. */
  readonly service: number
}

export function clusterPaths(size: ClusterSize): ClusterPath[] {
  return Array.from({ length: size.paths }, (_, index) => pathAt(index, size))
}

/**
 * The endpoints of a Service after so many changes: each replaces one pod by another, in turn, with
 * an address that was not used for as long as can be.
 */
function endpointsOf(index: number, { endpoints, nodes }: ClusterSize, changes = 0) {
  return Array.from({ length: endpoints }, (_, place) => {
    const generation = Math.floor((changes + endpoints - 1 - place) / endpoints)
    const number = ((place + generation * endpoints) % TURNS) * SERVICES_MAX + index
    const pod = `${serviceName(index)}-5d4f9c7b6-${number.toString(36).padStart(5, "0")}`
    return {
      addresses: [podAddress(number)],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${Math.floor(number / BLOCK) % nodes}`,
      targetRef: { kind: "Pod", name: pod, namespace: NAMESPACE, uid: uidOf(number) },
      zone: `zone-${number % 3}`,
    }
  })
}

/** At the end of a path: all pods answer alike. */
export const SAME_PATH = "/same"

/** All of `POD_NETWORK` on a host that answers requests with the address they came to. */
export async function startPods(host: Host): Promise<ManagedProcess> {
  await host.ip(`route add local ${POD_NETWORK} dev lo`)
  return await startNginx(host, {
    http: `
      server {
        listen ${POD_PORT} backlog=4096;
        default_type text/plain;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
        location / { return 200 "$server_addr\\n"; }
        location ~ ${SAME_PATH}$ { return 200 "ok\\n"; }
      }`,
    workerConnections: 19_000,
  })
}

function service(index: number, { balancers }: ClusterSize): ApiObject {
  const name = serviceName(index)
  const isBalancer = index < balancers
  const ip = balancerAddress(index)
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name,
      namespace: NAMESPACE,
      labels: labelsOf(index),
      annotations: { "meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": "scale" },
    },
    spec: {
      type: isBalancer ? "LoadBalancer" : "ClusterIP",
      selector: { "app.kubernetes.io/name": name },
      ports: [{ name: "http", port: 80, targetPort: POD_PORT, protocol: "TCP" }],
    },
    ...(isBalancer ? { status: { loadBalancer: { ingress: [{ ip, ipMode: "Proxy" }] } } } : {}),
  }
}

/** The slice of a Service after so many changes (`endpointsOf`). */
export function endpointSlice(index: number, size: ClusterSize, changes = 0): ApiObject {
  const service = serviceName(index)
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${service}-x7k2p`,
      namespace: NAMESPACE,
      generateName: `${service}-`,
      labels: {
        ...labelsOf(index),
        "kubernetes.io/service-name": service,
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
      },
    },
    addressType: "IPv4",
    endpoints: endpointsOf(index, size, changes),
    ports: [{ name: "http", port: POD_PORT, protocol: "TCP" }],
  }
}

function ingress(host: number, size: ClusterSize): ApiObject {
  const first = host * PATHS_PER_HOST
  const count = Math.min(PATHS_PER_HOST, size.paths - first)
  const paths = Array.from({ length: count }, (_, index) => pathAt(first + index, size))
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "Ingress",
    metadata: { name: `site-${host}`, namespace: NAMESPACE, labels: labelsOf(host) },
    spec: {
      ingressClassName: CLASS,
      rules: [
        {
          host: hostName(host),
          http: {
            paths: paths.map(({ path, service: index }) => ({
              path,
              pathType: "Prefix",
              backend: { service: { name: serviceName(index), port: { name: "http" } } },
            })),
          },
        },
      ],
    },
  }
}

/** Leads to the Services that are no LoadBalancers, in turn. */
function pathAt(index: number, { services, balancers }: ClusterSize): ClusterPath {
  const host = hostName(Math.floor(index / PATHS_PER_HOST))
  const path = `/api/v1/part-${index % PATHS_PER_HOST}`
  return { host, path, service: balancers + (index % (services - balancers)) }
}

function hostName(host: number): string {
  return `site-${host}.example.com`
}

function node(index: number, count: number, address: string): ApiObject {
  const podCIDRs: string[] = []
  for (let first = index * BLOCK; first < TURNS * SERVICES_MAX; first += count * BLOCK) {
    podCIDRs.push(`${podAddress(first)}/22`)
  }
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${index}` },
    spec: { podCIDRs },
    status: {
      addresses: [{ type: "InternalIP", address }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  }
}

function podAddress(number: number): string {
  return `10.${64 + (number >> 16)}.${(number >> 8) & 255}.${number & 255}`
}

function ingressClass(): ApiObject {
  const controller = "causeway.dev/ingress-controller"
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "IngressClass",
    metadata: { name: CLASS },
    spec: { controller },
  }
}

function labelsOf(index: number): Record<string, string> {
  const name = serviceName(index)
  return {
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/instance": name,
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "web-1.2.3",
  }
}

function uidOf(number: number): string {
  return `6f1c1f2e-0000-4000-8000-${number.toString(16).padStart(12, "0")}`
}

const CLASS = "causeway"
