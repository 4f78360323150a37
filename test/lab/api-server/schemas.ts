/**
 * The fields of the kinds that clients here write, and their types. The real server decodes into
 * typed structs: what it does not know it drops (with a warning to the client, or 400 when asked to
 * be strict), and a wrong type it refuses. A client's typing mistake would otherwise pass here and
 * fail there.
 */
import { isRecord, type JsonObject } from "./object.ts"

export type Decoded =
  | { readonly ok: true; readonly value: JsonObject; readonly unknown: readonly string[] }
  | { readonly ok: false; readonly reason: string }

/** The object without unknown fields; kinds that are not in the table pass as they are. */
export function decoded(kind: string, object: JsonObject): Decoded {
  const unknown: string[] = []
  const schema: Fields = { ...HEAD, ...(KINDS[kind] ?? { "*": ANY }) }
  try {
    const value = decodedFields(schema, object, { path: "", struct: kind, unknown })
    return { ok: true, value, unknown }
  } catch (error) {
    if (error instanceof WrongType) return { ok: false, reason: error.message }
    throw error
  }
}

/** Text, whole number, truth; "quantity" = text or number; "any" = not looked at. */
type Schema = "string" | "int32" | "int64" | "bool" | "quantity" | "any" | ListOf | MapOf | Fields

/** Field → its type; "*" = every other one. */
interface Fields {
  readonly [field: string]: Schema
}

class ListOf {
  readonly item: Schema

  constructor(item: Schema) {
    this.item = item
  }
}

/** From any key. */
class MapOf {
  readonly value: Schema

  constructor(value: Schema) {
    this.value = value
  }
}

interface Where {
  readonly path: string
  /** Of the kind, for messages. */
  readonly struct: string
  readonly unknown: string[]
}

class WrongType extends Error {}

function decodedFields(fields: Fields, object: JsonObject, where: Where): JsonObject {
  const result: JsonObject = {}
  for (const [field, value] of Object.entries(object)) {
    const path = where.path === "" ? field : `${where.path}.${field}`
    const schema = fields[field] ?? fields["*"]
    if (schema === undefined) where.unknown.push(path)
    // What is null is not there.
    else if (value !== null) result[field] = decodedValue(schema, value, { ...where, path })
    else if (NULLS_KEPT.includes(path)) result[field] = null
  }
  return result
}

function decodedValue(schema: Schema, value: unknown, where: Where): unknown {
  if (schema === "any") return value
  if (typeof schema === "string") {
    if (isOfType(schema, value)) return value
    throw wrongType(value, GO_TYPES[schema] ?? schema, where)
  }
  if (schema instanceof ListOf) {
    if (!Array.isArray(value)) throw wrongType(value, "slice", where)
    return value.map((each, index) =>
      decodedValue(schema.item, each, { ...where, path: `${where.path}[${index}]` }),
    )
  }
  if (!isRecord(value)) throw wrongType(value, "struct", where)
  if (!(schema instanceof MapOf)) return decodedFields(schema, value, where)
  const entries = Object.entries(value).map(([key, each]) => {
    return [key, decodedValue(schema.value, each, where)] as const
  })
  return Object.fromEntries(entries)
}

function isOfType(type: string, value: unknown): boolean {
  switch (type) {
    case "string":
      return typeof value === "string"
    case "bool":
      return typeof value === "boolean"
    case "quantity":
      return typeof value === "string" || Number.isInteger(value)
    default:
      return Number.isInteger(value)
  }
}

function wrongType(value: unknown, type: string, { path, struct }: Where): WrongType {
  const found = Array.isArray(value) ? "array" : typeof value
  const name = found === "boolean" ? "bool" : found
  const field = path.replaceAll(/\[\d+\]/g, "")
  return new WrongType(
    `json: cannot unmarshal ${name} into Go struct field ${struct}.${field} of type ${type}`,
  )
}

const GO_TYPES: Readonly<Record<string, string>> = { quantity: "intstr.IntOrString" }

/** Fields that print null when they are empty. */
const NULLS_KEPT = [
  "endpoints",
  "ports",
  "eventTime",
  "firstTimestamp",
  "lastTimestamp",
  "metadata.creationTimestamp",
]

const ANY: Schema = "any"
const TEXTS = new MapOf("string")
const CONDITIONS: Schema = new ListOf({
  type: "string",
  status: "string",
  observedGeneration: "int64",
  lastTransitionTime: "string",
  reason: "string",
  message: "string",
})
const PORT_STATUS: Schema = new ListOf({ port: "int32", protocol: "string", error: "string" })
const REFERENCE: Schema = {
  kind: "string",
  namespace: "string",
  name: "string",
  uid: "string",
  apiVersion: "string",
  resourceVersion: "string",
  fieldPath: "string",
}

const HEAD: Fields = {
  apiVersion: "string",
  kind: "string",
  metadata: {
    name: "string",
    generateName: "string",
    namespace: "string",
    selfLink: "string",
    uid: "string",
    resourceVersion: "string",
    generation: "int64",
    creationTimestamp: "string",
    deletionTimestamp: "string",
    deletionGracePeriodSeconds: "int64",
    labels: TEXTS,
    annotations: TEXTS,
    finalizers: new ListOf("string"),
    ownerReferences: new ListOf({
      apiVersion: "string",
      kind: "string",
      name: "string",
      uid: "string",
      controller: "bool",
      blockOwnerDeletion: "bool",
    }),
    managedFields: ANY,
  },
}

const SERVICE: Fields = {
  spec: {
    ports: new ListOf({
      name: "string",
      protocol: "string",
      appProtocol: "string",
      port: "int32",
      targetPort: "quantity",
      nodePort: "int32",
    }),
    selector: TEXTS,
    clusterIP: "string",
    clusterIPs: new ListOf("string"),
    type: "string",
    externalIPs: new ListOf("string"),
    sessionAffinity: "string",
    loadBalancerIP: "string",
    loadBalancerSourceRanges: new ListOf("string"),
    externalName: "string",
    externalTrafficPolicy: "string",
    healthCheckNodePort: "int32",
    publishNotReadyAddresses: "bool",
    sessionAffinityConfig: { clientIP: { timeoutSeconds: "int32" } },
    ipFamilies: new ListOf("string"),
    ipFamilyPolicy: "string",
    allocateLoadBalancerNodePorts: "bool",
    loadBalancerClass: "string",
    internalTrafficPolicy: "string",
    trafficDistribution: "string",
  },
  status: {
    loadBalancer: {
      ingress: new ListOf({
        ip: "string",
        hostname: "string",
        ipMode: "string",
        ports: PORT_STATUS,
      }),
    },
    conditions: CONDITIONS,
  },
}

const ENDPOINT_SLICE: Fields = {
  addressType: "string",
  endpoints: new ListOf({
    addresses: new ListOf("string"),
    conditions: { ready: "bool", serving: "bool", terminating: "bool" },
    hostname: "string",
    targetRef: REFERENCE,
    deprecatedTopology: TEXTS,
    nodeName: "string",
    zone: "string",
    hints: { forZones: new ListOf({ name: "string" }) },
  }),
  ports: new ListOf({ name: "string", protocol: "string", port: "int32", appProtocol: "string" }),
}

const BACKEND: Schema = {
  service: { name: "string", port: { name: "string", number: "int32" } },
  resource: { apiGroup: "string", kind: "string", name: "string" },
}

const INGRESS: Fields = {
  spec: {
    ingressClassName: "string",
    defaultBackend: BACKEND,
    tls: new ListOf({ hosts: new ListOf("string"), secretName: "string" }),
    rules: new ListOf({
      host: "string",
      http: { paths: new ListOf({ path: "string", pathType: "string", backend: BACKEND }) },
    }),
  },
  status: {
    loadBalancer: { ingress: new ListOf({ ip: "string", hostname: "string", ports: PORT_STATUS }) },
  },
}

const EVENT: Fields = {
  involvedObject: REFERENCE,
  reason: "string",
  message: "string",
  source: { component: "string", host: "string" },
  firstTimestamp: "string",
  lastTimestamp: "string",
  count: "int32",
  type: "string",
  eventTime: "string",
  series: { count: "int32", lastObservedTime: "string" },
  action: "string",
  related: REFERENCE,
  reportingComponent: "string",
  reportingInstance: "string",
}

const KINDS: Readonly<Record<string, Fields | undefined>> = {
  Service: SERVICE,
  EndpointSlice: ENDPOINT_SLICE,
  Ingress: INGRESS,
  IngressClass: { spec: { controller: "string", parameters: ANY } },
  Event: EVENT,
  Lease: {
    spec: {
      holderIdentity: "string",
      leaseDurationSeconds: "int32",
      acquireTime: "string",
      renewTime: "string",
      leaseTransitions: "int32",
      strategy: "string",
      preferredHolder: "string",
    },
  },
  Secret: { type: "string", data: TEXTS, stringData: TEXTS, immutable: "bool" },
  ConfigMap: { data: TEXTS, binaryData: TEXTS, immutable: "bool" },
}
