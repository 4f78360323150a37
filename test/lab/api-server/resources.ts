/**
 * The kinds this server knows, as a table: what discovery lists, where objects live in the URL and
 * which of the registry's habits each kind has (kubernetes/pkg/registry: the strategies).
 */
import type { ResourceName } from "./status.ts"

export interface Resource extends ResourceName {
  readonly version: string
  readonly kind: string
  readonly singular: string
  readonly shortNames: readonly string[]
  readonly isNamespaced: boolean
  readonly hasStatus: boolean
  /** Does the server count `metadata.generation`? It does not for the oldest kinds. */
  readonly hasGeneration: boolean
  /** May a PUT come without a resourceVersion? */
  readonly allowsUnconditionalUpdate: boolean
  /** May a PUT make an object that is not there? */
  readonly allowsCreateOnUpdate: boolean
  /** Comes from a CustomResourceDefinition: items of lists name their kind, no strategic merge. */
  readonly isCustom: boolean
  /** Further fields a fieldSelector may name, as paths. */
  readonly selectableFields: readonly string[]
}

export type CustomSet = "metallb" | "calico" | "cilium"

/** Resources of a server with these CustomResourceDefinitions. */
export function resourcesWith(installed: ReadonlySet<CustomSet>): Resource[] {
  return [...BUILT_IN, ...[...installed].flatMap((set) => CUSTOM[set])]
}

export function apiVersionOf({ group, version }: Resource): string {
  return group === "" ? version : `${group}/${version}`
}

export const VERBS = [
  "create",
  "delete",
  "deletecollection",
  "get",
  "list",
  "patch",
  "update",
  "watch",
] as const

interface Habits {
  readonly shortNames?: readonly string[]
  readonly isClusterWide?: boolean
  readonly hasStatus?: boolean
  readonly hasGeneration?: boolean
  readonly needsResourceVersion?: boolean
  readonly allowsCreateOnUpdate?: boolean
  readonly selectableFields?: readonly string[]
}

function builtIn(apiVersion: string, kind: string, plural: string, habits: Habits = {}): Resource {
  const [group = "", version = ""] = apiVersion.includes("/")
    ? apiVersion.split("/")
    : ["", apiVersion]
  return {
    group,
    version,
    kind,
    plural,
    singular: kind.toLowerCase(),
    shortNames: habits.shortNames ?? [],
    isNamespaced: !(habits.isClusterWide ?? false),
    hasStatus: habits.hasStatus ?? false,
    hasGeneration: habits.hasGeneration ?? false,
    allowsUnconditionalUpdate: !(habits.needsResourceVersion ?? false),
    allowsCreateOnUpdate: habits.allowsCreateOnUpdate ?? false,
    isCustom: false,
    selectableFields: habits.selectableFields ?? [],
  }
}

function custom(apiVersion: string, kind: string, plural: string, habits: Habits = {}): Resource {
  const resource = builtIn(apiVersion, kind, plural, { ...habits, needsResourceVersion: true })
  return { ...resource, hasGeneration: true, isCustom: true }
}

const RBAC = "rbac.authorization.k8s.io/v1"
const ROLE_HABITS = { allowsCreateOnUpdate: true }

const BUILT_IN: readonly Resource[] = [
  builtIn("v1", "Namespace", "namespaces", {
    shortNames: ["ns"],
    isClusterWide: true,
    hasStatus: true,
    selectableFields: ["status.phase"],
  }),
  builtIn("v1", "Node", "nodes", {
    shortNames: ["no"],
    isClusterWide: true,
    hasStatus: true,
    selectableFields: ["spec.unschedulable"],
  }),
  builtIn("v1", "Service", "services", {
    shortNames: ["svc"],
    hasStatus: true,
    allowsCreateOnUpdate: true,
    selectableFields: ["spec.clusterIP", "spec.type"],
  }),
  builtIn("v1", "Secret", "secrets", { selectableFields: ["type"] }),
  builtIn("v1", "ConfigMap", "configmaps", { shortNames: ["cm"] }),
  builtIn("v1", "ServiceAccount", "serviceaccounts", { shortNames: ["sa"] }),
  builtIn("v1", "Pod", "pods", {
    shortNames: ["po"],
    hasStatus: true,
    selectableFields: ["spec.nodeName", "status.phase", "status.podIP"],
  }),
  builtIn("v1", "Event", "events", {
    shortNames: ["ev"],
    allowsCreateOnUpdate: true,
    selectableFields: [
      "involvedObject.kind",
      "involvedObject.namespace",
      "involvedObject.name",
      "involvedObject.uid",
      "involvedObject.apiVersion",
      "involvedObject.resourceVersion",
      "involvedObject.fieldPath",
      "reason",
      "reportingComponent",
      "source",
      "type",
    ],
  }),
  builtIn("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", { hasGeneration: true }),
  builtIn("networking.k8s.io/v1", "Ingress", "ingresses", {
    shortNames: ["ing"],
    hasStatus: true,
    hasGeneration: true,
  }),
  builtIn("networking.k8s.io/v1", "IngressClass", "ingressclasses", {
    isClusterWide: true,
    hasGeneration: true,
  }),
  builtIn("coordination.k8s.io/v1", "Lease", "leases", {
    needsResourceVersion: true,
    allowsCreateOnUpdate: true,
  }),
  builtIn(RBAC, "Role", "roles", ROLE_HABITS),
  builtIn(RBAC, "RoleBinding", "rolebindings", ROLE_HABITS),
  builtIn(RBAC, "ClusterRole", "clusterroles", { ...ROLE_HABITS, isClusterWide: true }),
  builtIn(RBAC, "ClusterRoleBinding", "clusterrolebindings", {
    ...ROLE_HABITS,
    isClusterWide: true,
  }),
]

const CUSTOM: Readonly<Record<CustomSet, readonly Resource[]>> = {
  metallb: [
    custom("metallb.io/v1beta1", "IPAddressPool", "ipaddresspools", { hasStatus: true }),
    custom("metallb.io/v1beta1", "L2Advertisement", "l2advertisements", { hasStatus: true }),
  ],
  calico: [
    custom("crd.projectcalico.org/v1", "BlockAffinity", "blockaffinities", {
      isClusterWide: true,
    }),
  ],
  cilium: [
    custom("cilium.io/v2", "CiliumNode", "ciliumnodes", {
      shortNames: ["cn", "ciliumn"],
      isClusterWide: true,
      hasStatus: true,
    }),
  ],
}
