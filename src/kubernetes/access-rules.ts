/**
 * What the API must allow for what is configured: one table, from which `causeway check
 * --kubernetes` asks the API, and with which a test compares config/kubernetes/rbac.yaml, so that
 * the manifest grants what is used and nothing else.
 *
 * Everything is read with list and watch alone. Nothing is written but the status of Services and
 * Ingresses, Events, one Lease, and what `[[publish]]` makes.
 */
import type { Config } from "../config/config.ts"

export type Feature = "pools" | "node_ports" | "pod_routes" | "services" | "ingress" | "publish"

export interface AccessRule {
  /** "" for the core group. */
  readonly group: string
  readonly resource: string
  /** "" or "status". */
  readonly subresource: string
  readonly verbs: readonly string[]
  /** "": everywhere, in a ClusterRole bound by a ClusterRoleBinding. */
  readonly namespace: string
  /** Only the object of this name; "": all. */
  readonly name: string
  /** Of the configured ones, those that need it. */
  readonly features: readonly Feature[]
  /** The API of an add-on, which a cluster need not have; nothing is lost where it has not. */
  readonly isOptional: boolean
}

export type AccessConfig = Pick<Config, "pools" | "http" | "addressPools" | "publish" | "vrrp"> & {
  readonly kubernetes: NonNullable<Config["kubernetes"]>
}

export const FEATURES: Readonly<Record<Feature, string>> = {
  pools: "[pool.kubernetes]",
  node_ports: '[pool.kubernetes] with reach = "node_port"',
  pod_routes: 'pod_routes = "auto"',
  services: "Services of type LoadBalancer",
  ingress: "ingress = true",
  publish: "[[publish]]",
}

export function featuresOf(config: AccessConfig): Feature[] {
  const reaches = config.pools.flatMap(({ kubernetes }) => kubernetes?.reach ?? [])
  const uses: Readonly<Record<Feature, boolean>> = {
    pools: reaches.length > 0,
    node_ports: reaches.includes("node_port"),
    pod_routes: config.kubernetes.podRoutes === "auto",
    services: servesServices(config),
    ingress: config.http.some(({ ingress }) => ingress),
    publish: config.publish.length > 0,
  }
  return (Object.keys(uses) as Feature[]).filter((feature) => uses[feature])
}

/** Something has to be written, which only the holder of the Lease does. */
export function needsLease(config: AccessConfig): boolean {
  return featuresOf(config).some((feature) => WRITING.includes(feature))
}

/** Pools may also come from MetalLB's objects; somebody has to carry their addresses. */
function servesServices({ addressPools, vrrp, kubernetes }: AccessConfig): boolean {
  if (addressPools.length > 0) return true
  return vrrp.length > 0 && (kubernetes.claimUnclassed || kubernetes.loadBalancerClass !== "")
}

/** In the order of the table; one rule for each namespace it is needed in. */
export function neededRules(config: AccessConfig): AccessRule[] {
  const features = featuresOf(config)
  return TABLE.flatMap((row) => {
    const needing = row.features.filter((feature) => features.includes(feature))
    if (needing.length === 0) return []
    const [resource = "", subresource = ""] = row.path.split("/")
    return namespacesOf(row.where, config).map((namespace) => ({
      ...{ group: row.group, resource, subresource, verbs: row.verbs, namespace },
      name: row.isNamed ? config.kubernetes.lease.name : "",
      features: needing,
      isOptional: row.isOptional ?? false,
    }))
  })
}

/** As an item of `rules` in a Role or ClusterRole. */
export function formatRule({ group, resource, subresource, verbs, name }: AccessRule): string[] {
  const path = subresource === "" ? resource : `${resource}/${subresource}`
  const words = (list: readonly string[]) => list.map((word) => JSON.stringify(word)).join(", ")
  return [
    `- apiGroups: [${words([group])}]`,
    `  resources: [${words([path])}]`,
    ...(name === "" ? [] : [`  resourceNames: [${words([name])}]`]),
    `  verbs: [${words(verbs)}]`,
  ]
}

/** Where an object lives that a rule is about. */
type Where =
  /** Everywhere; objects without a namespace. */
  | "cluster"
  /** The namespaces of `[kubernetes]`, or everywhere. */
  | "watched"
  /** The namespaces that `[[publish]]` names. */
  | "published"
  | "lease"

function namespacesOf(where: Where, { kubernetes, publish }: AccessConfig): readonly string[] {
  switch (where) {
    case "cluster":
      return [""]
    case "watched":
      return kubernetes.namespaces.length === 0 ? [""] : kubernetes.namespaces
    case "published":
      return [...new Set(publish.map(({ namespace }) => namespace))]
    case "lease":
      return [kubernetes.lease.namespace]
  }
}

interface TableRule {
  readonly group: string
  /** "services" or "services/status". */
  readonly path: string
  readonly verbs: readonly string[]
  readonly where: Where
  readonly features: readonly Feature[]
  readonly isOptional?: true
  /** Only the Lease itself. */
  readonly isNamed?: true
}

const READ = ["list", "watch"]

/** All that need the other side of a Service. */
const FOUND: readonly Feature[] = ["pools", "node_ports", "services", "ingress", "publish"]
/** All that write. */
const WRITING: readonly Feature[] = ["services", "ingress", "publish"]

const CORE = ""
const SLICES = { group: "discovery.k8s.io", path: "endpointslices" } as const
const LEASES = { group: "coordination.k8s.io", path: "leases", where: "lease" } as const
const METALLB = { group: "metallb.io", verbs: READ, where: "cluster", isOptional: true } as const
const NETWORKING = "networking.k8s.io"

const TABLE: readonly TableRule[] = [
  { group: CORE, path: "services", verbs: READ, where: "watched", features: FOUND },
  { ...SLICES, verbs: READ, where: "watched", features: FOUND },
  {
    ...{ group: CORE, path: "nodes", verbs: READ, where: "cluster" },
    features: ["node_ports", "pod_routes"],
  },
  {
    ...{ group: "crd.projectcalico.org", path: "blockaffinities", verbs: READ, where: "cluster" },
    ...{ features: ["pod_routes"], isOptional: true },
  },
  {
    ...{ group: "cilium.io", path: "ciliumnodes", verbs: READ, where: "cluster" },
    ...{ features: ["pod_routes"], isOptional: true },
  },
  {
    ...{ group: CORE, path: "namespaces", verbs: READ, where: "cluster" },
    features: ["services", "publish"],
  },
  { ...METALLB, path: "ipaddresspools", features: ["services"] },
  { ...METALLB, path: "l2advertisements", features: ["services"] },
  {
    ...{ group: CORE, path: "services/status", verbs: ["patch"], where: "watched" },
    features: ["services"],
  },
  { group: NETWORKING, path: "ingresses", verbs: READ, where: "watched", features: ["ingress"] },
  {
    ...{ group: NETWORKING, path: "ingressclasses", verbs: READ, where: "cluster" },
    features: ["ingress"],
  },
  { group: CORE, path: "secrets", verbs: READ, where: "watched", features: ["ingress"] },
  {
    ...{ group: NETWORKING, path: "ingresses/status", verbs: ["patch"], where: "watched" },
    features: ["ingress"],
  },
  {
    ...{ group: CORE, path: "events", verbs: ["create", "patch"], where: "watched" },
    features: WRITING,
  },
  // A name is of no use to create: the object is not there yet.
  { ...LEASES, verbs: ["create"], features: WRITING },
  { ...LEASES, verbs: ["get", "patch"], features: WRITING, isNamed: true },
  {
    ...{ group: CORE, path: "services", verbs: ["create", "patch", "delete"], where: "published" },
    features: ["publish"],
  },
  { ...SLICES, verbs: ["create", "patch", "delete"], where: "published", features: ["publish"] },
]
