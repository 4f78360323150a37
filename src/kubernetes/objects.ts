/**
 * What Causeway keeps of the cluster's objects: only the fields it acts on, checked and typed once
 * when an object arrives (`decode.ts`), so that everything after it reads plain values, the mirror
 * of a large cluster stays small, and two states of an object can be compared by value.
 *
 * Names follow the API in camelCase; what the API leaves out has the API's default here. All of it
 * is plain data: it is written to disk and read back as JSON.
 */
import type { Address, Prefix } from "../net/address.ts"

/** `"namespace/name"`, or `"name"` of a cluster-wide object. */
export type ObjectKey = string

export interface ObjectMeta {
  /** "" of a cluster-wide object. */
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  /** Milliseconds since the epoch; 0 where the object has none. */
  readonly createdEpochMs: number
  /** Has a deletionTimestamp. */
  readonly isDeleting: boolean
  readonly labels: Labels
  /** Only those that some part of Causeway may read (`decode.ts` has the prefixes). */
  readonly annotations: Labels
}

export type Labels = Readonly<Record<string, string>>

export interface Service {
  readonly meta: ObjectMeta
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName"
  readonly ports: readonly ServicePort[]
  /** Without a selector somebody else writes its EndpointSlices. */
  readonly hasSelector: boolean
  /** "" where there is none. */
  readonly loadBalancerClass: string
  readonly loadBalancerIP: string
  readonly loadBalancerSourceRanges: readonly Prefix[]
  readonly sessionAffinity: "None" | "ClientIP"
  /** `sessionAffinityConfig.clientIP.timeoutSeconds`; 10800 is the API's default. */
  readonly sessionAffinitySeconds: number
  readonly ipFamilies: readonly ("IPv4" | "IPv6")[]
  readonly ipFamilyPolicy: "SingleStack" | "PreferDualStack" | "RequireDualStack"
  readonly allocateLoadBalancerNodePorts: boolean
  readonly externalTrafficPolicy: "Cluster" | "Local"
  readonly externalIPs: readonly Address[]
  /** `status.loadBalancer.ingress`. */
  readonly ingress: readonly LoadBalancerIngress[]
  readonly conditions: readonly Condition[]
}

export interface ServicePort {
  /** "" where there is none (a Service with one port). */
  readonly name: string
  readonly protocol: "TCP" | "UDP" | "SCTP"
  readonly port: number
  /** 0: none. */
  readonly nodePort: number
  readonly appProtocol: string
}

export interface LoadBalancerIngress {
  /** undefined: only a host name. */
  readonly ip: Address | undefined
  readonly hostname: string
  readonly ipMode: "VIP" | "Proxy" | undefined
}

export interface Condition {
  readonly type: string
  readonly status: string
  readonly reason: string
  readonly message: string
}

export interface EndpointSlice {
  readonly meta: ObjectMeta
  /** The label kubernetes.io/service-name; "" where there is none. */
  readonly service: string
  readonly addressType: "IPv4" | "IPv6" | "FQDN"
  readonly ports: readonly EndpointPort[]
  readonly endpoints: readonly SliceEndpoint[]
}

export interface EndpointPort {
  /** The name of the Service's port; "" where it has none. */
  readonly name: string
  readonly protocol: "TCP" | "UDP" | "SCTP"
  /** undefined: all ports (selectorless), which nobody can connect to. */
  readonly port: number | undefined
}

/** Conditions as the API reads them: a missing `ready` or `serving` is true (KEP-1672). */
export interface SliceEndpoint {
  readonly addresses: readonly Address[]
  readonly isReady: boolean
  readonly isServing: boolean
  readonly isTerminating: boolean
  /** Name of the pod; "" where it is something else. */
  readonly pod: string
  readonly node: string
}

export interface Node {
  readonly meta: ObjectMeta
  readonly isReady: boolean
  /** Of type InternalIP, in order. */
  readonly internalIPs: readonly Address[]
  readonly podCIDRs: readonly Prefix[]
}

/** crd.projectcalico.org/v1: a block of pod addresses that a node has taken. */
export interface BlockAffinity {
  readonly meta: ObjectMeta
  readonly node: string
  readonly cidr: Prefix
  /** "confirmed" or "pending" and others; deleted ones are not to be used. */
  readonly state: string
  readonly isDeleted: boolean
}

/** cilium.io/v2; named like its node. */
export interface CiliumNode {
  readonly meta: ObjectMeta
  readonly podCIDRs: readonly Prefix[]
}

export interface Namespace {
  readonly meta: ObjectMeta
}

export interface Ingress {
  readonly meta: ObjectMeta
  /** `spec.ingressClassName`; undefined: not given. */
  readonly className: string | undefined
  readonly defaultBackend: IngressBackend | undefined
  readonly rules: readonly IngressRule[]
  readonly tls: readonly IngressTls[]
  /** `status.loadBalancer.ingress`. */
  readonly ingress: readonly LoadBalancerIngress[]
}

export interface IngressRule {
  /** "" = every host. */
  readonly host: string
  readonly paths: readonly IngressPath[]
}

export interface IngressPath {
  /** "" only with ImplementationSpecific. */
  readonly path: string
  readonly pathType: "Exact" | "Prefix" | "ImplementationSpecific"
  readonly backend: IngressBackend
}

export type IngressBackend =
  | { readonly type: "service"; readonly service: string; readonly port: string | number }
  /** A custom resource: nobody here can serve it. */
  | { readonly type: "resource"; readonly description: string }

export interface IngressTls {
  readonly hosts: readonly string[]
  /** "" where there is none: the default certificate. */
  readonly secretName: string
}

export interface IngressClass {
  readonly meta: ObjectMeta
  readonly controller: string
  /** The annotation ingressclass.kubernetes.io/is-default-class. */
  readonly isDefault: boolean
}

/**
 * Decoded text of the keys that are read: `tls.crt`, `tls.key`, `ca.crt`, `auth` and, of
 * auth-map Secrets, every key. Never logged.
 */
export interface Secret {
  readonly meta: ObjectMeta
  readonly type: string
  readonly data: Readonly<Record<string, string>>
}

/** metallb.io/v1beta1. */
export interface MetalLbPool {
  readonly meta: ObjectMeta
  /** Ranges and CIDRs as written. */
  readonly addresses: readonly string[]
  readonly autoAssign: boolean
  readonly avoidBuggyIPs: boolean
  readonly allocateTo: PoolScope | undefined
}

/** Who may use a pool (`spec.serviceAllocation`). Low priority numbers win; 0: none given, last. */
export interface PoolScope {
  readonly priority: number
  readonly namespaces: readonly string[]
  readonly namespaceSelectors: readonly LabelSelector[]
  readonly serviceSelectors: readonly LabelSelector[]
}

export interface LabelSelector {
  readonly matchLabels: Labels
  readonly matchExpressions: readonly LabelExpression[]
}

export interface LabelExpression {
  readonly key: string
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist"
  readonly values: readonly string[]
}

export interface L2Advertisement {
  readonly meta: ObjectMeta
  readonly pools: readonly string[]
  readonly poolSelectors: readonly LabelSelector[]
  readonly nodeSelectors: readonly LabelSelector[]
  /** Empty: all. */
  readonly interfaces: readonly string[]
}

/** Every kind that is mirrored, by the name its maps have. */
export interface MirroredObjects {
  readonly services: Service
  readonly endpointSlices: EndpointSlice
  readonly nodes: Node
  readonly namespaces: Namespace
  readonly ingresses: Ingress
  readonly ingressClasses: IngressClass
  readonly secrets: Secret
  readonly metalLbPools: MetalLbPool
  readonly l2Advertisements: L2Advertisement
  readonly blockAffinities: BlockAffinity
  readonly ciliumNodes: CiliumNode
}

export type MirroredKind = keyof MirroredObjects

/** What is known of the cluster now. Maps are by `ObjectKey`. */
export type ClusterView = {
  readonly [Kind in MirroredKind]: ReadonlyMap<ObjectKey, MirroredObjects[Kind]>
}

export function keyOf(meta: Pick<ObjectMeta, "namespace" | "name">): ObjectKey {
  return meta.namespace === "" ? meta.name : `${meta.namespace}/${meta.name}`
}

/** `"namespace/name"` of the Service that a slice belongs to. */
export function serviceKeyOf(slice: EndpointSlice): ObjectKey {
  return `${slice.meta.namespace}/${slice.service}`
}
