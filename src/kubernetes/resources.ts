/**
 * Which resources are mirrored, where the API has them, and for what they are needed: nothing is
 * read that the configuration gives no use for. The access for it is in `access-rules.ts`.
 *
 * Secrets. Of these, one watch brings the TLS ones (a field selector on the type, so that no other
 * secret ever reaches this process), and each of the few that must be of another type (basic-auth
 * Secrets are Opaque) is watched by its name. Both need list and watch and not get, and a Role may
 * name single Secrets: where the watch of all TLS ones is forbidden, those that Ingresses name are
 * watched by name as well.
 */
import type { Feature } from "./access-rules.ts"
import type { MirroredKind, ObjectKey } from "./objects.ts"

/** One list and watch: a resource, everywhere or in one namespace. */
export interface Source {
  /** Unique, and the same from one start to the next: "endpointSlices", "secrets/shop/admin". */
  readonly id: string
  readonly kind: MirroredKind
  /** "v1" or "networking.k8s.io/v1". */
  readonly groupVersion: string
  readonly resource: string
  /** "": everywhere. */
  readonly namespace: string
  /** "": none. */
  readonly fieldSelector: string
  /** The API of an add-on, which a cluster need not have. */
  readonly isOptional: boolean
}

/** @param namespaces Empty: all. */
export function wantedResources(
  features: readonly Feature[],
  namespaces: readonly string[],
): Source[] {
  return TABLE.filter((row) => row.features.some((feature) => features.includes(feature))).flatMap(
    ({ isNamespaced, features: _, ...row }) => {
      const places = isNamespaced && namespaces.length > 0 ? [...new Set(namespaces)] : [""]
      return places.map((namespace) => ({
        ...row,
        id: namespace === "" ? row.kind : `${row.kind}/${namespace}`,
        namespace,
        fieldSelector: row.fieldSelector ?? "",
        isOptional: row.isOptional ?? false,
      }))
    },
  )
}

/**
 * At most `most` of these objects, sorted: the first of each namespace, then the second of each, so
 * that nobody who names many takes the places of all others.
 */
export function fairShare(keys: Iterable<ObjectKey>, most: number): ReadonlySet<ObjectKey> {
  const taken = new Map<string, number>()
  const ranked = [...new Set(keys)].sort().map((key) => {
    const namespace = key.slice(0, key.indexOf("/"))
    const rank = taken.get(namespace) ?? 0
    taken.set(namespace, rank + 1)
    return { key, rank }
  })
  ranked.sort((left, right) => left.rank - right.rank)
  const chosen = ranked.slice(0, most).map(({ key }) => key)
  return new Set(chosen.sort())
}

/** One Secret, of whatever type. */
export function namedSecret(key: ObjectKey): Source {
  const slash = key.indexOf("/")
  return {
    id: `secrets/${key}`,
    kind: "secrets",
    groupVersion: "v1",
    resource: "secrets",
    namespace: key.slice(0, slash),
    fieldSelector: `metadata.name=${key.slice(slash + 1)}`,
    isOptional: false,
  }
}

interface Row {
  readonly kind: MirroredKind
  readonly groupVersion: string
  readonly resource: string
  /** Asked for in the configured namespaces only. */
  readonly isNamespaced: boolean
  readonly isOptional?: true
  readonly fieldSelector?: string
  readonly features: readonly Feature[]
}

/** All that need the other side of a Service. */
const FOUND: readonly Feature[] = ["pools", "node_ports", "services", "ingress", "publish"]
const CLUSTER_WIDE = { isNamespaced: false } as const
const METALLB = { ...CLUSTER_WIDE, groupVersion: "metallb.io/v1beta1", isOptional: true } as const
const NETWORKING = { groupVersion: "networking.k8s.io/v1", features: ["ingress"] } as const
const POD_NETWORK = { ...CLUSTER_WIDE, isOptional: true, features: ["pod_routes"] } as const

const TABLE: readonly Row[] = [
  {
    ...{ kind: "services", groupVersion: "v1", resource: "services" },
    ...{ isNamespaced: true, features: FOUND },
  },
  {
    ...{ kind: "endpointSlices", groupVersion: "discovery.k8s.io/v1", resource: "endpointslices" },
    ...{ isNamespaced: true, features: FOUND },
  },
  {
    ...{ kind: "nodes", groupVersion: "v1", resource: "nodes", ...CLUSTER_WIDE },
    features: ["node_ports", "pod_routes"],
  },
  {
    ...{ kind: "namespaces", groupVersion: "v1", resource: "namespaces", ...CLUSTER_WIDE },
    features: ["services", "publish"],
  },
  { ...NETWORKING, kind: "ingresses", resource: "ingresses", isNamespaced: true },
  { ...NETWORKING, kind: "ingressClasses", resource: "ingressclasses", ...CLUSTER_WIDE },
  {
    ...{ kind: "secrets", groupVersion: "v1", resource: "secrets", isNamespaced: true },
    ...{ fieldSelector: "type=kubernetes.io/tls", features: ["ingress"] },
  },
  { ...METALLB, kind: "metalLbPools", resource: "ipaddresspools", features: ["services"] },
  { ...METALLB, kind: "l2Advertisements", resource: "l2advertisements", features: ["services"] },
  {
    ...{ kind: "blockAffinities", groupVersion: "crd.projectcalico.org/v1" },
    ...{ resource: "blockaffinities", ...POD_NETWORK },
  },
  {
    ...{ kind: "ciliumNodes", groupVersion: "cilium.io/v2", resource: "ciliumnodes" },
    ...POD_NETWORK,
  },
]
