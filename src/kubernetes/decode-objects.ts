/**
 * From the API's objects to those of `objects.ts`, one function per kind. What the API leaves out
 * has its default; a field that no part of Causeway reads is dropped here, which is most of an
 * object.
 */
import {
  addressesOf,
  BadField,
  booleanAt,
  conditionsOf,
  type Fields,
  fieldsAt,
  isFields,
  labelsAt,
  listAt,
  loadBalancerIngress,
  numberAt,
  prefixesOf,
  selectorsAt,
  textAt,
  textsAt,
  wordAt,
} from "./decode-fields.ts"
import type {
  BlockAffinity,
  CiliumNode,
  EndpointSlice,
  Ingress,
  IngressBackend,
  IngressClass,
  IngressRule,
  L2Advertisement,
  MetalLbPool,
  MirroredKind,
  MirroredObjects,
  Node,
  ObjectMeta,
  PoolScope,
  Secret,
  Service,
  SliceEndpoint,
} from "./objects.ts"

type Decoder<Kind extends MirroredKind> = (
  object: Fields,
  meta: ObjectMeta,
) => MirroredObjects[Kind]

export const DECODERS: { readonly [Kind in MirroredKind]: Decoder<Kind> } = {
  services: service,
  endpointSlices: endpointSlice,
  nodes: node,
  namespaces: (_, meta) => ({ meta }),
  ingresses: ingress,
  ingressClasses: ingressClass,
  secrets: secret,
  metalLbPools: metalLbPool,
  l2Advertisements: l2Advertisement,
  blockAffinities: blockAffinity,
  ciliumNodes: ciliumNode,
}

function service(object: Fields, meta: ObjectMeta): Service {
  const spec = fieldsAt(object, "spec")
  const families = textsAt(spec, "ipFamilies").filter((each) => each === "IPv4" || each === "IPv6")
  const affinity = fieldsAt(fieldsAt(spec, "sessionAffinityConfig"), "clientIP")
  return {
    meta,
    type: wordAt(spec, "type", ["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"]),
    ports: listAt(spec, "ports").map((port) => ({
      name: textAt(port, "name"),
      protocol: wordAt(port, "protocol", ["TCP", "UDP", "SCTP"]),
      port: numberAt(port, "port"),
      nodePort: numberAt(port, "nodePort"),
      appProtocol: textAt(port, "appProtocol"),
    })),
    hasSelector: Object.keys(fieldsAt(spec, "selector")).length > 0,
    loadBalancerClass: textAt(spec, "loadBalancerClass"),
    loadBalancerIP: textAt(spec, "loadBalancerIP"),
    loadBalancerSourceRanges: prefixesOf(textsAt(spec, "loadBalancerSourceRanges")),
    sessionAffinity: wordAt(spec, "sessionAffinity", ["None", "ClientIP"]),
    sessionAffinitySeconds: numberAt(affinity, "timeoutSeconds", SESSION_AFFINITY_SECONDS),
    ipFamilies: families.length === 0 ? ["IPv4"] : families,
    ipFamilyPolicy: wordAt(spec, "ipFamilyPolicy", [
      "SingleStack",
      "PreferDualStack",
      "RequireDualStack",
    ]),
    allocateLoadBalancerNodePorts: booleanAt(spec, "allocateLoadBalancerNodePorts", true),
    externalTrafficPolicy: wordAt(spec, "externalTrafficPolicy", ["Cluster", "Local"]),
    externalIPs: addressesOf(textsAt(spec, "externalIPs")),
    ingress: loadBalancerIngress(object),
    conditions: conditionsOf(object),
  }
}

function endpointSlice(object: Fields, meta: ObjectMeta): EndpointSlice {
  const addressType = wordAt(object, "addressType", ["IPv4", "IPv6", "FQDN"])
  return {
    meta,
    service: meta.labels["kubernetes.io/service-name"] ?? "",
    addressType,
    ports: listAt(object, "ports").map((port) => ({
      name: textAt(port, "name"),
      protocol: wordAt(port, "protocol", ["TCP", "UDP", "SCTP"]),
      port: typeof port["port"] === "number" ? port["port"] : undefined,
    })),
    endpoints: listAt(object, "endpoints").flatMap((each) => sliceEndpoint(each)),
  }
}

function sliceEndpoint(endpoint: Fields): SliceEndpoint[] {
  const addresses = addressesOf(textsAt(endpoint, "addresses"))
  if (addresses.length === 0) return [] // a host name, which nobody here resolves
  const conditions = fieldsAt(endpoint, "conditions")
  const target = fieldsAt(endpoint, "targetRef")
  return [
    {
      addresses,
      isReady: booleanAt(conditions, "ready", true),
      isServing: booleanAt(conditions, "serving", true),
      isTerminating: booleanAt(conditions, "terminating", false),
      pod: target["kind"] === "Pod" ? textAt(target, "name") : "",
      node: textAt(endpoint, "nodeName"),
    },
  ]
}

function node(object: Fields, meta: ObjectMeta): Node {
  const status = fieldsAt(object, "status")
  const spec = fieldsAt(object, "spec")
  const addresses = listAt(status, "addresses").filter((each) => each["type"] === "InternalIP")
  const cidrs = textsAt(spec, "podCIDRs")
  const only = textAt(spec, "podCIDR")
  return {
    meta,
    isReady: conditionsOf(object).some(({ type, status }) => type === "Ready" && status === "True"),
    internalIPs: addressesOf(addresses.map((each) => textAt(each, "address"))),
    podCIDRs: prefixesOf(cidrs.length === 0 && only !== "" ? [only] : cidrs),
  }
}

function blockAffinity(object: Fields, meta: ObjectMeta): BlockAffinity {
  const spec = fieldsAt(object, "spec")
  const [cidr] = prefixesOf([textAt(spec, "cidr")])
  if (cidr === undefined) throw new BadField("there is no cidr")
  return {
    meta,
    node: textAt(spec, "node"),
    cidr,
    state: textAt(spec, "state"),
    // Calico writes a text.
    isDeleted: spec["deleted"] === "true" || spec["deleted"] === true,
  }
}

function ciliumNode(object: Fields, meta: ObjectMeta): CiliumNode {
  const ipam = fieldsAt(fieldsAt(object, "spec"), "ipam")
  const allocated = listAt(fieldsAt(ipam, "pools"), "allocated") // multi-pool IPAM
  const cidrs = allocated.flatMap((pool) => textsAt(pool, "cidrs"))
  return { meta, podCIDRs: prefixesOf([...textsAt(ipam, "podCIDRs"), ...cidrs]) }
}

function ingress(object: Fields, meta: ObjectMeta): Ingress {
  const spec = fieldsAt(object, "spec")
  const className = spec["ingressClassName"]
  return {
    meta,
    className: typeof className === "string" ? className : undefined,
    defaultBackend: isFields(spec["defaultBackend"]) ? backend(spec["defaultBackend"]) : undefined,
    rules: listAt(spec, "rules").map(ingressRule),
    tls: listAt(spec, "tls").map((each) => ({
      hosts: textsAt(each, "hosts"),
      secretName: textAt(each, "secretName"),
    })),
    ingress: loadBalancerIngress(object),
  }
}

function ingressRule(rule: Fields): IngressRule {
  const paths = listAt(fieldsAt(rule, "http"), "paths")
  return {
    host: textAt(rule, "host"),
    paths: paths.map((path) => ({
      path: textAt(path, "path"),
      pathType: wordAt(path, "pathType", ["ImplementationSpecific", "Exact", "Prefix"]),
      backend: backend(fieldsAt(path, "backend")),
    })),
  }
}

function backend(fields: Fields): IngressBackend {
  const resource = fieldsAt(fields, "resource")
  if (isFields(fields["resource"])) {
    const names = [textAt(resource, "apiGroup"), textAt(resource, "kind"), textAt(resource, "name")]
    return { type: "resource", description: names.filter((each) => each !== "").join("/") }
  }
  const target = fieldsAt(fields, "service")
  const port = fieldsAt(target, "port")
  return {
    type: "service",
    service: textAt(target, "name"),
    port: textAt(port, "name") || numberAt(port, "number"),
  }
}

function ingressClass(object: Fields, meta: ObjectMeta): IngressClass {
  return {
    meta,
    controller: textAt(fieldsAt(object, "spec"), "controller"),
    isDefault: meta.annotations["ingressclass.kubernetes.io/is-default-class"] === "true",
  }
}

/** Of a TLS Secret what TLS needs; of another, which is mirrored only when asked for, all. */
function secret(object: Fields, meta: ObjectMeta): Secret {
  const type = textAt(object, "type", "Opaque")
  const data: Record<string, string> = {}
  for (const [key, value] of Object.entries(fieldsAt(object, "data"))) {
    if (typeof value !== "string" || (type === TLS_SECRET && !TLS_KEYS.includes(key))) continue
    if (value.length > SECRET_VALUE_CHARACTERS_MAX)
      throw new BadField(`its key ${key} is too large`)
    data[key] = Buffer.from(value, "base64").toString("utf8")
  }
  return { meta, type, data }
}

function metalLbPool(object: Fields, meta: ObjectMeta): MetalLbPool {
  const spec = fieldsAt(object, "spec")
  const scope = spec["serviceAllocation"]
  return {
    meta,
    addresses: textsAt(spec, "addresses"),
    autoAssign: booleanAt(spec, "autoAssign", true),
    avoidBuggyIPs: booleanAt(spec, "avoidBuggyIPs", false),
    allocateTo: isFields(scope) ? poolScope(scope) : undefined,
  }
}

function poolScope(scope: Fields): PoolScope {
  return {
    priority: numberAt(scope, "priority"),
    namespaces: textsAt(scope, "namespaces"),
    namespaceSelectors: selectorsAt(scope, "namespaceSelectors"),
    serviceSelectors: selectorsAt(scope, "serviceSelectors"),
  }
}

function l2Advertisement(object: Fields, meta: ObjectMeta): L2Advertisement {
  const spec = fieldsAt(object, "spec")
  return {
    meta,
    pools: textsAt(spec, "ipAddressPools"),
    poolSelectors: selectorsAt(spec, "ipAddressPoolSelectors"),
    nodeSelectors: selectorsAt(spec, "nodeSelectors"),
    interfaces: textsAt(spec, "interfaces"),
  }
}

/** `metadata` of any kind; undefined: not even a name. */
export function metaOf(
  object: Fields,
  isLabelKept: (key: string) => boolean,
): ObjectMeta | undefined {
  const metadata = fieldsAt(object, "metadata")
  const name = textAt(metadata, "name")
  if (name === "") return undefined
  const created = Date.parse(textAt(metadata, "creationTimestamp"))
  return {
    namespace: textAt(metadata, "namespace"),
    name,
    uid: textAt(metadata, "uid"),
    resourceVersion: textAt(metadata, "resourceVersion"),
    createdEpochMs: Number.isNaN(created) ? 0 : created,
    isDeleting: textAt(metadata, "deletionTimestamp") !== "",
    labels: labelsAt(metadata, "labels", isLabelKept),
    annotations: labelsAt(metadata, "annotations", isAnnotationKept),
  }
}

/** The rest (kubectl's last-applied-configuration above all) can be larger than the object. */
function isAnnotationKept(key: string): boolean {
  return ANNOTATIONS.some((prefix) => key.startsWith(prefix))
}

const ANNOTATIONS = [
  "causeway.dev/",
  "metallb.io/",
  "metallb.universe.tf/",
  "kubernetes.io/ingress.class",
  "nginx.ingress.kubernetes.io/",
  "ingress.kubernetes.io/",
  "ingressclass.kubernetes.io/",
  "service.beta.kubernetes.io/load-balancer-source-ranges",
]

export const TLS_SECRET = "kubernetes.io/tls"
const TLS_KEYS = ["tls.crt", "tls.key", "ca.crt"]
/** etcd takes no object above 1.5 MiB, which the API enforces with 1 MiB a Secret. */
const SECRET_VALUE_CHARACTERS_MAX = 2 * 1024 * 1024
/** The API's default of sessionAffinityConfig.clientIP.timeoutSeconds. */
const SESSION_AFFINITY_SECONDS = 10_800
