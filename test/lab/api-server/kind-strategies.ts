/**
 * Defaults and checks of the other kinds: enough of each that a client which writes something the
 * real server refuses is refused here in the same words.
 */
import { isIP, isIPv4, isIPv6 } from "node:net"
import { isQualifiedName, labelNameErrors, subdomainErrors } from "./metadata.ts"
import {
  type ApiObject,
  at,
  type JsonObject,
  recordAt,
  recordsAt,
  textAt,
  textsAt,
} from "./object.ts"
import { ingressPointErrors, protocolErrors } from "./service-strategy.ts"
import {
  duplicateValue,
  type FieldError,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
  tooMany,
} from "./status.ts"

/** Fills in what was left out; `object` is changed. */
export function prepareKind(object: ApiObject): void {
  switch (object.kind) {
    case "EndpointSlice":
      for (const port of recordsAt(object, "ports")) {
        Object.assign(port, { name: "", protocol: "TCP", ...port })
      }
      object.endpoints ??= null
      object.ports ??= null
      return
    case "Secret":
      prepareSecret(object)
      return
    case "Namespace":
      object.spec ??= { finalizers: ["kubernetes"] }
      object.status ??= { phase: "Active" }
      object.metadata.labels = {
        ...object.metadata.labels,
        "kubernetes.io/metadata.name": object.metadata.name,
      }
      return
    case "Event":
      for (const field of ["reportingComponent", "reportingInstance"]) object[field] ??= ""
      object.source ??= {}
      object.firstTimestamp ??= null
      object.lastTimestamp ??= null
      object.eventTime ??= null
      return
    case "BlockAffinity":
    case "CiliumNode":
      return
    default:
  }
}

export function kindErrors(object: ApiObject, before: ApiObject | undefined): FieldError[] {
  switch (object.kind) {
    case "EndpointSlice":
      return sliceErrors(object, before)
    case "Ingress":
      return ingressErrors(object, before)
    case "IngressClass":
      return ingressClassErrors(object, before)
    case "Event":
      return eventErrors(object)
    case "Lease":
      return leaseErrors(object)
    case "Secret":
      return secretErrors(object, before)
    case "RoleBinding":
    case "ClusterRoleBinding":
      return bindingErrors(object, before)
    default:
      return []
  }
}

export function ingressStatusErrors(ingress: ApiObject): FieldError[] {
  const field = "status.loadBalancer.ingress"
  return recordsAt(ingress, "status", "loadBalancer", "ingress").flatMap((each, index) =>
    ingressPointErrors(`${field}[${index}]`, each),
  )
}

function prepareSecret(secret: ApiObject): void {
  secret.type ??= "Opaque"
  const plain = Object.entries(recordAt(secret, "stringData"))
  if (plain.length === 0) return
  const encoded = plain.map(([key, value]) => [
    key,
    btoa(unescape(encodeURIComponent(String(value)))),
  ])
  secret.data = { ...recordAt(secret, "data"), ...Object.fromEntries(encoded) }
  delete secret.stringData
}

function sliceErrors(slice: ApiObject, before: ApiObject | undefined): FieldError[] {
  const addressType = slice.addressType
  const endpoints = recordsAt(slice, "endpoints")
  return [
    ...addressTypeErrors(addressType, before),
    ...(endpoints.length > ENDPOINTS_MAX
      ? [tooMany("endpoints", endpoints.length, ENDPOINTS_MAX)]
      : endpoints.flatMap((each, index) =>
          endpointErrors(each, `endpoints[${index}]`, addressType),
        )),
    ...slicePortErrors(recordsAt(slice, "ports")),
  ]
}

function addressTypeErrors(addressType: unknown, before: ApiObject | undefined): FieldError[] {
  const supported = ["FQDN", "IPv4", "IPv6"]
  if (addressType === undefined || addressType === "") return [required("addressType")]
  if (!supported.includes(String(addressType))) {
    return [notSupported("addressType", addressType, supported)]
  }
  if (before === undefined || before.addressType === addressType) return []
  return [invalidValue("addressType", addressType, "field is immutable")]
}

function endpointErrors(endpoint: JsonObject, field: string, addressType: unknown): FieldError[] {
  const addresses = textsAt(endpoint, "addresses")
  if (addresses.length === 0)
    return [required(`${field}.addresses`, "must contain at least 1 address")]
  if (addresses.length > ENDPOINT_ADDRESSES_MAX) {
    return [tooMany(`${field}.addresses`, addresses.length, ENDPOINT_ADDRESSES_MAX)]
  }
  return [
    ...addresses.flatMap((address, index) =>
      endpointAddressErrors(`${field}.addresses[${index}]`, address, addressType),
    ),
    ...(textAt(endpoint, "nodeName") === ""
      ? []
      : subdomainErrors(`${field}.nodeName`, textAt(endpoint, "nodeName"))),
  ]
}

function endpointAddressErrors(field: string, address: string, addressType: unknown): FieldError[] {
  if (addressType === "FQDN") return subdomainErrors(field, address)
  if (addressType === "IPv4" && !isIPv4(address)) {
    return [invalidValue(field, address, "must be a valid IPv4 address")]
  }
  if (addressType === "IPv6" && !isIPv6(address)) {
    return [invalidValue(field, address, "must be a valid IPv6 address")]
  }
  return SPECIAL_ADDRESSES.filter(({ pattern }) => pattern.test(address)).map(({ detail }) =>
    invalidValue(field, address, detail),
  )
}

/** What no endpoint can be (ValidateNonSpecialIP). */
const SPECIAL_ADDRESSES = [
  { pattern: /^(0\.0\.0\.0|::)$/, detail: "may not be unspecified (0.0.0.0 or ::)" },
  { pattern: /^(127\.|::1$)/, detail: "may not be in the loopback range (127.0.0.0/8, ::1/128)" },
  {
    pattern: /^(169\.254\.|fe80:)/i,
    detail: "may not be in the link-local range (169.254.0.0/16, fe80::/10)",
  },
  {
    pattern: /^(224\.0\.0\.|ff02:)/i,
    detail: "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
  },
]

function slicePortErrors(ports: readonly JsonObject[]): FieldError[] {
  const names = new Set<string>()
  return ports.flatMap((port, index) => {
    const field = `ports[${index}]`
    const name = textAt(port, "name")
    const isDuplicate = names.has(name)
    names.add(name)
    return [
      ...(isDuplicate ? [duplicateValue(`${field}.name`, name)] : []),
      ...(name === "" ? [] : labelNameErrors(`${field}.name`, name)),
      ...protocolErrors(`${field}.protocol`, at(port, "protocol")),
    ]
  })
}

function ingressErrors(ingress: ApiObject, before: ApiObject | undefined): FieldError[] {
  const spec = recordAt(ingress, "spec")
  const rules = recordsAt(spec, "rules")
  const annotation = ingress.metadata.annotations?.["kubernetes.io/ingress.class"]
  if (
    before === undefined &&
    annotation !== undefined &&
    at(spec, "ingressClassName") !== undefined
  ) {
    return [
      invalidValue(
        "annotations.kubernetes.io/ingress.class",
        annotation,
        "can not be set when the class field is also set",
      ),
    ]
  }
  if (rules.length === 0 && at(spec, "defaultBackend") === undefined) {
    return [
      {
        type: "FieldValueInvalid",
        field: "spec",
        message: "Invalid value: []: either `defaultBackend` or `rules` must be specified",
      },
    ]
  }
  return [
    ...(at(spec, "defaultBackend") === undefined
      ? []
      : backendErrors(recordAt(spec, "defaultBackend"), "spec.defaultBackend")),
    ...rules.flatMap((rule, index) => [
      ...hostErrors(textAt(rule, "host"), `spec.rules[${index}].host`),
      ...recordsAt(rule, "http", "paths").flatMap((path, number) =>
        pathErrors(path, `spec.rules[${index}].http.paths[${number}]`),
      ),
    ]),
    ...recordsAt(spec, "tls").flatMap((tls, index) =>
      textsAt(tls, "hosts").flatMap((host, number) =>
        hostErrors(host, `spec.tls[${index}].hosts[${number}]`),
      ),
    ),
  ]
}

function hostErrors(host: string, field: string): FieldError[] {
  if (host === "") return []
  if (isIP(host) !== 0) return [invalidValue(field, host, "must be a DNS name, not an IP address")]
  if (!host.includes("*")) return subdomainErrors(field, host)
  if (/^\*\.[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(host)) return []
  return [
    invalidValue(
      field,
      host,
      "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, " +
        "which must consist of lower case alphanumeric characters, '-' or '.' and end with an " +
        "alphanumeric character (e.g. '*.example.com', regex used for validation is " +
        "'\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
    ),
  ]
}

function pathErrors(entry: JsonObject, field: string): FieldError[] {
  const path = textAt(entry, "path")
  const pathType = at(entry, "pathType")
  const supported = ["Exact", "ImplementationSpecific", "Prefix"]
  const errors: FieldError[] = []
  if (pathType === undefined)
    errors.push(required(`${field}.pathType`, "pathType must be specified"))
  else if (!supported.includes(String(pathType))) {
    errors.push(notSupported(`${field}.pathType`, pathType, supported))
  } else if (pathType !== "ImplementationSpecific") {
    if (!path.startsWith("/")) {
      errors.push(invalidValue(`${field}.path`, path, "must be an absolute path"))
    }
    for (const part of ["//", "/./", "/../", "%2f", "%2F"]) {
      if (path.includes(part)) {
        errors.push(invalidValue(`${field}.path`, path, `must not contain '${part}'`))
      }
    }
  } else if (path !== "" && !path.startsWith("/")) {
    errors.push(invalidValue(`${field}.path`, path, "must be an absolute path"))
  }
  return [...errors, ...backendErrors(recordAt(entry, "backend"), `${field}.backend`)]
}

function backendErrors(backend: JsonObject, field: string): FieldError[] {
  const hasService = at(backend, "service") !== undefined
  const hasResource = at(backend, "resource") !== undefined
  if (hasService && hasResource) {
    return [invalidValue(field, "", "cannot set both resource and service backends")]
  }
  if (hasResource) return []
  if (!hasService) return [required(field, "resource or service backend is required")]
  const port = recordAt(backend, "service", "port")
  const number = at(port, "number")
  const hasNumber = typeof number === "number" && number !== 0
  const hasName = textAt(port, "name") !== ""
  return [
    ...(textAt(backend, "service", "name") === "" ? [required(`${field}.service.name`)] : []),
    ...(hasNumber && hasName
      ? [invalidValue(field, "", "cannot set both port name & port number")]
      : []),
    ...(hasNumber || hasName ? [] : [required(field, "port name or number is required")]),
  ]
}

function ingressClassErrors(one: ApiObject, before: ApiObject | undefined): FieldError[] {
  const controller = textAt(one, "spec", "controller")
  if (before !== undefined && textAt(before, "spec", "controller") !== controller) {
    return [invalidValue("spec.controller", controller, "field is immutable")]
  }
  if (/^[a-z0-9.-]+\/[\w./:~-]+$/.test(controller)) return []
  const detail = 'must be a domain-prefixed path (such as "acme.io/foo")'
  return controller === ""
    ? [required("spec.controller")]
    : [invalidValue("spec.controller", controller, detail)]
}

/** The old rules for core/v1 Events, and the new ones as soon as there is an eventTime. */
function eventErrors(event: ApiObject): FieldError[] {
  const field = "involvedObject.namespace"
  const about = textAt(event, "involvedObject", "namespace")
  const home = event.metadata.namespace ?? ""
  const isHome = about === "" ? home === "default" : home === about
  return [
    ...(isHome ? [] : [invalidValue(field, about, "does not match event.namespace")]),
    ...(typeof event.eventTime === "string" ? newEventErrors(event) : []),
  ]
}

function newEventErrors(event: ApiObject): FieldError[] {
  const component = textAt(event, "reportingComponent")
  const limited = (field: string) => {
    const text = textAt(event, field)
    if (text === "") return [required(field)]
    if (text.length <= 128) return []
    return [invalidValue(field, "", "can have at most 128 characters")]
  }
  return [
    ...(component === "" ? [required("reportingComponent")] : []),
    ...(component === "" || isQualifiedName(component)
      ? []
      : [invalidValue("reportingComponent", component, "must be a qualified name")]),
    ...limited("reportingInstance"),
    ...limited("action"),
    ...limited("reason"),
    ...(textAt(event, "message").length > 1024
      ? [invalidValue("message", "", "can have at most 1024 characters")]
      : []),
  ]
}

function leaseErrors(lease: ApiObject): FieldError[] {
  const seconds = at(lease, "spec", "leaseDurationSeconds")
  const transitions = at(lease, "spec", "leaseTransitions")
  return [
    ...(typeof seconds === "number" && seconds <= 0
      ? [invalidValue("spec.leaseDurationSeconds", seconds, "must be greater than 0")]
      : []),
    ...(typeof transitions === "number" && transitions < 0
      ? [invalidValue("spec.leaseTransitions", transitions, "must be greater than or equal to 0")]
      : []),
  ]
}

function secretErrors(secret: ApiObject, before: ApiObject | undefined): FieldError[] {
  const data = recordAt(secret, "data")
  const isMoved = before !== undefined && before.type !== secret.type
  const needed = secret.type === "kubernetes.io/tls" ? ["tls.crt", "tls.key"] : []
  return [
    ...(isMoved ? [invalidValue("type", secret.type, "field is immutable")] : []),
    ...(before?.immutable === true && !Bun.deepEquals(before.data, secret.data)
      ? [forbiddenField("data", "field is immutable when `immutable` is set")]
      : []),
    ...needed.filter((key) => !Object.hasOwn(data, key)).map((key) => required(`data[${key}]`)),
  ]
}

function bindingErrors(binding: ApiObject, before: ApiObject | undefined): FieldError[] {
  const isMoved = before !== undefined && !Bun.deepEquals(before.roleRef, binding.roleRef)
  return isMoved
    ? [invalidValue("roleRef", binding.roleRef, "cannot change roleRef")]
    : textAt(binding, "roleRef", "name") === ""
      ? [required("roleRef.name", "name is required")]
      : []
}

const ENDPOINTS_MAX = 1000
const ENDPOINT_ADDRESSES_MAX = 100
