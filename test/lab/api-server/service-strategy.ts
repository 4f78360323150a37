/**
 * What the server does to a Service beside keeping it: defaults, cluster addresses and node ports,
 * the fields that go when the type changes, and the checks (pkg/apis/core/v1/defaults.go,
 * pkg/registry/core/service, pkg/apis/core/validation).
 */
import { isIP } from "node:net"
import { labelNameErrors, subdomainErrors } from "./metadata.ts"
import {
  type ApiObject,
  at,
  type JsonObject,
  listAt,
  recordAt,
  recordsAt,
  textAt,
  textsAt,
} from "./object.ts"
import {
  duplicateValue,
  type FieldError,
  forbiddenField,
  invalidValue,
  notSupported,
  required,
} from "./status.ts"

export type IpFamily = "IPv4" | "IPv6"

/** Addresses and node ports in use; asked and told by the registry. */
export class ServiceAllocator {
  readonly #families: readonly IpFamily[]
  readonly #addresses = new Set<string>()
  readonly #nodePorts = new Set<number>()
  #nextAddress = 10
  #nextNodePort = NODE_PORT_FIRST

  constructor(families: readonly IpFamily[]) {
    this.#families = families
  }

  /** Families that the cluster has, the first one by default. */
  get families(): readonly IpFamily[] {
    return this.#families
  }

  clusterIP(family: IpFamily): string {
    for (;;) {
      this.#nextAddress += 1
      const [high, low] = [this.#nextAddress >> 8, this.#nextAddress & 255]
      const address =
        family === "IPv4" ? `10.96.${high}.${low}` : `fd00:10:96::${this.#nextAddress.toString(16)}`
      if (!this.#addresses.has(address)) return address
    }
  }

  nodePort(): number {
    for (;;) {
      this.#nextNodePort += 1
      if (this.#nextNodePort > NODE_PORT_LAST) this.#nextNodePort = NODE_PORT_FIRST
      if (!this.#nodePorts.has(this.#nextNodePort)) return this.#nextNodePort
    }
  }

  hasAddress(address: string): boolean {
    return this.#addresses.has(address)
  }

  hasNodePort(port: number): boolean {
    return this.#nodePorts.has(port)
  }

  take(service: ApiObject | undefined): void {
    for (const address of addressesOf(service)) this.#addresses.add(address)
    for (const port of nodePortsOf(service)) this.#nodePorts.add(port)
  }

  release(service: ApiObject | undefined): void {
    for (const address of addressesOf(service)) this.#addresses.delete(address)
    for (const port of nodePortsOf(service)) this.#nodePorts.delete(port)
  }
}

/** Fills in what was left out; `service` is changed. */
export function prepareService(
  service: ApiObject,
  before: ApiObject | undefined,
  allocator: ServiceAllocator,
): void {
  service.spec ??= {}
  const spec = specOf(service)
  setDefaults(spec)
  if (before !== undefined) keepAllocated(spec, specOf(before))
  dropOtherTypesFields(service, spec, before)
  setTypeDefaults(spec)
  allocateAddresses(spec, allocator)
  allocateNodePorts(spec, allocator)
}

export function prepareServiceStatus(service: ApiObject): void {
  const list: LoadBalancerEntry[] = recordsAt(service, "status", "loadBalancer", "ingress")
  dropEmptyStatus(recordAt(service, "status"))
  for (const ingress of list) {
    // A default of the API since 1.30, as the field is always there for an address.
    if (textAt(ingress, "ip") !== "" && textAt(service, "spec", "type") === "LoadBalancer") {
      ingress.ipMode ??= "VIP"
    }
  }
}

/** Go leaves out empty lists. */
function dropEmptyStatus(status: { conditions?: unknown; loadBalancer?: unknown }): void {
  if (listAt(status, "conditions").length === 0) delete status.conditions
  if (listAt(status, "loadBalancer", "ingress").length === 0) status.loadBalancer = {}
}

export function serviceErrors(
  service: ApiObject,
  before: ApiObject | undefined,
  allocator: ServiceAllocator,
): FieldError[] {
  const spec = specOf(service)
  return [
    ...portErrors(spec),
    ...choiceErrors(spec),
    ...loadBalancerErrors(spec, before),
    ...addressErrors(spec, before, allocator),
    ...nodePortErrors(spec, before, allocator),
  ]
}

/** `status.loadBalancer`, in the words of ValidateLoadBalancerStatus. */
export function serviceStatusErrors(service: ApiObject): FieldError[] {
  const field = "status.loadBalancer.ingress"
  const list = recordsAt(service, "status", "loadBalancer", "ingress")
  if (list.length > 0 && textAt(service, "spec", "type") !== "LoadBalancer") {
    return [forbiddenField(field, 'may only be used when `spec.type` is "LoadBalancer"')]
  }
  return list.flatMap((each, index) => [
    ...ingressPointErrors(`${field}[${index}]`, each),
    ...ipModeErrors(`${field}[${index}].ipMode`, each),
  ])
}

/** Shared with Ingress, whose status has the same entries without ipMode. */
export function ingressPointErrors(field: string, entry: JsonObject): FieldError[] {
  const ip = textAt(entry, "ip")
  const hostname = textAt(entry, "hostname")
  return [
    ...(ip !== "" && isIP(ip) === 0
      ? [invalidValue(`${field}.ip`, ip, "must be a valid IP address")]
      : []),
    ...(hostname === "" ? [] : subdomainErrors(`${field}.hostname`, hostname)),
    ...(isIP(hostname) === 0
      ? []
      : [invalidValue(`${field}.hostname`, hostname, "must be a DNS name, not an IP address")]),
  ]
}

function ipModeErrors(field: string, entry: LoadBalancerEntry): FieldError[] {
  const hasIP = textAt(entry, "ip") !== ""
  const mode = entry.ipMode
  if (mode === undefined)
    return hasIP ? [required(field, "must be specified when `ip` is set")] : []
  if (!hasIP) return [forbiddenField(field, "may not be specified when `ip` is not set")]
  return ["Proxy", "VIP"].includes(String(mode))
    ? []
    : [notSupported(field, mode, ["Proxy", "VIP"])]
}

function setDefaults(spec: ServiceSpec): void {
  spec.type ??= "ClusterIP"
  spec.sessionAffinity ??= "None"
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig
  if (spec.sessionAffinity === "ClientIP") {
    const seconds = at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds") ?? 10_800
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: seconds } }
  }
  for (const port of portsOf(spec)) {
    port.protocol ??= "TCP"
    if (port.targetPort === undefined || port.targetPort === 0) {
      port.targetPort = port.port
    }
    if (port.nodePort === 0) delete port.nodePort
  }
}

function setTypeDefaults(spec: ServiceSpec): void {
  if (spec.type === "ExternalName") return
  spec.internalTrafficPolicy ??= "Cluster"
  if (spec.type === "LoadBalancer") spec.allocateLoadBalancerNodePorts ??= true
  if (isExternallyAccessible(spec)) spec.externalTrafficPolicy ??= "Cluster"
}

/** What was given out stays, when an update leaves it out. */
function keepAllocated(spec: ServiceSpec, old: ServiceSpec): void {
  if (spec.type !== "ExternalName" && old.type !== "ExternalName") {
    if ((spec.clusterIP ?? "") === "" && textsAt(spec, "clusterIPs").length === 0) {
      for (const field of ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]) {
        spec[field] ??= old[field]
        if (spec[field] === "") spec[field] = old[field]
      }
    } else for (const field of ["ipFamilies", "ipFamilyPolicy"]) spec[field] ??= old[field]
  }
  if (!wantsNodePorts(spec) || !["NodePort", "LoadBalancer"].includes(textAt(old, "type"))) return
  for (const port of portsOf(spec)) {
    const same = portsOf(old).find(
      (each) => each.port === port.port && each.protocol === port.protocol,
    )
    if (same?.nodePort !== undefined) port.nodePort ??= same.nodePort
  }
}

/** dropTypeDependentFields: what the user did not change goes with the type that needed it. */
function dropOtherTypesFields(
  service: ApiObject,
  spec: ServiceSpec,
  before: ApiObject | undefined,
): void {
  if (before === undefined) return
  const old = specOf(before)
  const isUnchanged = (field: string) => Bun.deepEquals(spec[field], old[field])
  if (spec.type === "ExternalName" && old.type !== "ExternalName") {
    const fields = ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"]
    for (const field of fields) if (isUnchanged(field)) delete spec[field]
  }
  if (spec.type !== "NodePort" && spec.type !== "LoadBalancer") {
    for (const [index, port] of portsOf(spec).entries()) {
      if (port.nodePort === at(old, "ports", index, "nodePort")) delete port.nodePort
    }
  }
  if (spec.type !== "LoadBalancer") {
    for (const field of ["allocateLoadBalancerNodePorts", "loadBalancerClass"]) {
      if (isUnchanged(field)) delete spec[field]
    }
    service.status = { ...recordAt(service, "status"), loadBalancer: {} }
  }
  if (!isExternallyAccessible(spec) && isUnchanged("externalTrafficPolicy")) {
    delete spec.externalTrafficPolicy
  }
}

function allocateAddresses(spec: ServiceSpec, allocator: ServiceAllocator): void {
  if (spec.type === "ExternalName") return
  const given = textsAt(spec, "clusterIPs")
  const first = given[0] ?? (textAt(spec, "clusterIP") || undefined)
  const isHeadless = first === "None"
  chooseFamilies(spec, first, isHeadless, allocator)
  if (isHeadless) {
    spec.clusterIP = "None"
    spec.clusterIPs = ["None"]
    return
  }
  const addresses = textsAt(spec, "ipFamilies").map((family, index) => {
    const wanted = index === 0 ? first : given[index]
    return wanted ?? allocator.clusterIP(family === "IPv6" ? "IPv6" : "IPv4")
  })
  spec.clusterIP = addresses[0]
  spec.clusterIPs = addresses
}

function chooseFamilies(
  spec: ServiceSpec,
  first: string | undefined,
  isHeadless: boolean,
  allocator: ServiceAllocator,
): void {
  const isSelectorless = Object.keys(recordAt(spec, "selector")).length === 0
  // Nobody but its owner knows which addresses such a Service will have.
  if (isHeadless && isSelectorless) spec.ipFamilyPolicy ??= "RequireDualStack"
  const both: IpFamily[] = allocator.families[0] === "IPv6" ? ["IPv6", "IPv4"] : ["IPv4", "IPv6"]
  const given = textsAt(spec, "ipFamilies")
  spec.ipFamilyPolicy ??= given.length > 1 ? "RequireDualStack" : "SingleStack"
  const primary =
    given[0] ??
    (first === undefined || isHeadless ? both[0] : first.includes(":") ? "IPv6" : "IPv4")
  const second = both.find((family) => family !== primary)
  const policy = spec.ipFamilyPolicy
  const isDual =
    policy === "RequireDualStack" || (policy === "PreferDualStack" && allocator.families.length > 1)
  spec.ipFamilies = isDual ? [primary, given[1] ?? second] : [primary]
}

function allocateNodePorts(spec: ServiceSpec, allocator: ServiceAllocator): void {
  if (!wantsNodePorts(spec)) return
  for (const port of portsOf(spec)) port.nodePort ??= allocator.nodePort()
  const isLocal = spec.externalTrafficPolicy === "Local" && spec.type === "LoadBalancer"
  if (isLocal) spec.healthCheckNodePort ??= allocator.nodePort()
}

function wantsNodePorts(spec: ServiceSpec): boolean {
  if (spec.type === "NodePort") return true
  return spec.type === "LoadBalancer" && spec.allocateLoadBalancerNodePorts !== false
}

function isExternallyAccessible(spec: ServiceSpec): boolean {
  if (spec.type === "NodePort" || spec.type === "LoadBalancer") return true
  return spec.type === "ClusterIP" && textsAt(spec, "externalIPs").length > 0
}

function portErrors(spec: ServiceSpec): FieldError[] {
  const ports = portsOf(spec)
  const isHeadless = spec.clusterIP === "None"
  if (ports.length === 0 && !isHeadless && spec.type !== "ExternalName") {
    return [required("spec.ports")]
  }
  const names = new Set<string>()
  const pairs = new Set<string>()
  return ports.flatMap((port, index) => {
    const field = `spec.ports[${index}]`
    const name = textAt(port, "name")
    const pair = `${port.protocol}/${port.port}`
    const errors = [
      ...(name === "" && ports.length > 1 ? [required(`${field}.name`)] : []),
      ...(name === "" ? [] : labelNameErrors(`${field}.name`, name)),
      ...(names.has(name) && name !== "" ? [duplicateValue(`${field}.name`, name)] : []),
      ...numberErrors(`${field}.port`, port.port, 1, 65_535),
      ...protocolErrors(`${field}.protocol`, port.protocol),
      ...(typeof port.targetPort === "number"
        ? numberErrors(`${field}.targetPort`, port.targetPort, 1, 65_535)
        : []),
      ...(pairs.has(pair)
        ? [duplicateValue(field, { port: port.port, protocol: port.protocol })]
        : []),
    ]
    names.add(name)
    pairs.add(pair)
    return errors
  })
}

export function protocolErrors(field: string, protocol: unknown): FieldError[] {
  const supported = ["SCTP", "TCP", "UDP"]
  return supported.includes(String(protocol)) ? [] : [notSupported(field, protocol, supported)]
}

function numberErrors(field: string, value: unknown, least: number, most: number): FieldError[] {
  const number = typeof value === "number" ? value : 0
  if (number >= least && number <= most) return []
  return [invalidValue(field, number, `must be between ${least} and ${most}, inclusive`)]
}

function choiceErrors(spec: ServiceSpec): FieldError[] {
  const choice = (field: string, supported: readonly string[]) => {
    const value = spec[field]
    if (value === undefined || supported.includes(String(value))) return []
    return [notSupported(`spec.${field}`, value, supported)]
  }
  const seconds = at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds")
  return [
    ...choice("type", ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]),
    ...choice("sessionAffinity", ["ClientIP", "None"]),
    ...choice("externalTrafficPolicy", ["Cluster", "Local"]),
    ...choice("internalTrafficPolicy", ["Cluster", "Local"]),
    ...choice("ipFamilyPolicy", ["PreferDualStack", "RequireDualStack", "SingleStack"]),
    ...(seconds === undefined
      ? []
      : numberErrors(
          "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
          seconds,
          1,
          24 * 60 * 60,
        ).map((error) => ({
          ...error,
          message: error.message.replace("between 1", "greater than 0 and less than 86400"),
        }))),
    ...(spec.type === "ExternalName" && textAt(spec, "externalName") === ""
      ? [required("spec.externalName")]
      : []),
  ]
}

function loadBalancerErrors(spec: ServiceSpec, before: ApiObject | undefined): FieldError[] {
  const old = specOf(before)
  const isBalancer = spec.type === "LoadBalancer"
  const loadBalancerClass = spec.loadBalancerClass
  const isClassMoved =
    isBalancer && old.type === "LoadBalancer" && old.loadBalancerClass !== loadBalancerClass
  return [
    ...(isClassMoved
      ? [invalidValue("spec.loadBalancerClass", loadBalancerClass, "may not change once set")]
      : []),
    ...(!isBalancer && loadBalancerClass !== undefined
      ? [forbiddenField("spec.loadBalancerClass", "may only be used when `type` is 'LoadBalancer'")]
      : []),
    ...(!isBalancer && spec.allocateLoadBalancerNodePorts !== undefined
      ? [
          forbiddenField(
            "spec.allocateLoadBalancerNodePorts",
            "may only be used when `type` is 'LoadBalancer'",
          ),
        ]
      : []),
    ...(!isBalancer && textsAt(spec, "loadBalancerSourceRanges").length > 0
      ? [
          forbiddenField(
            "spec.LoadBalancerSourceRanges",
            "may only be used when `type` is 'LoadBalancer'",
          ),
        ]
      : []),
    ...(isBalancer && spec.allocateLoadBalancerNodePorts === undefined
      ? [required("spec.allocateLoadBalancerNodePorts")]
      : []),
  ]
}

function addressErrors(
  spec: ServiceSpec,
  before: ApiObject | undefined,
  allocator: ServiceAllocator,
): FieldError[] {
  const field = "spec.clusterIPs"
  const now = textsAt(spec, "clusterIPs")
  const old = textsAt(before, "spec", "clusterIPs")
  const first = now[0]
  const families = textsAt(spec, "ipFamilies")
  const missing = families.filter((family) => !allocator.families.some((has) => has === family))
  if (missing.length > 0 && first !== "None") {
    const detail = `not configured on this cluster`
    return [invalidValue("spec.ipFamilies[0]", missing[0], detail)]
  }
  if (old[0] !== undefined && first !== undefined && old[0] !== first) {
    return [invalidValue(`${field}[0]`, now, "may not change once set")]
  }
  return now.flatMap((address, index) => {
    if (address === "None" || old[index] === address) return []
    if (isIP(address) === 0) {
      return [invalidValue(`${field}[${index}]`, address, "must be a valid IP address")]
    }
    if (!/^10\.96\.|^fd00:10:96:/.test(address)) {
      const range = address.includes(":") ? "fd00:10:96::/112" : "10.96.0.0/16"
      const detail =
        `failed to allocate IP ${address}: the provided IP (${address}) is not in the valid ` +
        `range. The range of valid IPs is ${range}`
      return [invalidValue(field, now, detail)]
    }
    if (!allocator.hasAddress(address)) return []
    const detail = `failed to allocate IP ${address}: provided IP is already allocated`
    return [invalidValue(field, now, detail)]
  })
}

function nodePortErrors(
  spec: ServiceSpec,
  before: ApiObject | undefined,
  allocator: ServiceAllocator,
): FieldError[] {
  const old = new Set(nodePortsOf(before))
  return portsOf(spec).flatMap((port, index) => {
    const field = `spec.ports[${index}].nodePort`
    const nodePort = port.nodePort
    if (typeof nodePort !== "number" || old.has(nodePort)) return []
    if (spec.type !== "NodePort" && spec.type !== "LoadBalancer") {
      return [forbiddenField(field, "may not be used when `type` is 'ClusterIP'")]
    }
    if (nodePort < NODE_PORT_FIRST || nodePort > NODE_PORT_LAST) {
      const detail =
        "provided port is not in the valid range. The range of valid ports is 30000-32767"
      return [invalidValue(field, nodePort, detail)]
    }
    return allocator.hasNodePort(nodePort)
      ? [invalidValue(field, nodePort, "provided port is already allocated")]
      : []
  })
}

function addressesOf(service: ApiObject | undefined): string[] {
  return textsAt(service, "spec", "clusterIPs").filter((address) => address !== "None")
}

function nodePortsOf(service: ApiObject | undefined): number[] {
  const ports = portsOf(specOf(service)).map((port) => port.nodePort)
  return [...ports, at(service, "spec", "healthCheckNodePort")].filter(
    (port) => typeof port === "number",
  )
}

/** The spec itself, to be changed; of nothing, an empty one. */
function specOf(object: ApiObject | undefined): ServiceSpec {
  return recordAt(object, "spec")
}

function portsOf(spec: ServiceSpec): ServicePort[] {
  return recordsAt(spec, "ports")
}

/** Fields that the rules here speak of, unchecked. */
interface ServiceSpec extends JsonObject {
  type?: unknown
  ports?: unknown
  clusterIP?: unknown
  clusterIPs?: unknown
  ipFamilies?: unknown
  ipFamilyPolicy?: unknown
  sessionAffinity?: unknown
  sessionAffinityConfig?: unknown
  internalTrafficPolicy?: unknown
  externalTrafficPolicy?: unknown
  allocateLoadBalancerNodePorts?: unknown
  loadBalancerClass?: unknown
  healthCheckNodePort?: unknown
}

interface ServicePort extends JsonObject {
  port?: unknown
  targetPort?: unknown
  nodePort?: unknown
  protocol?: unknown
}

interface LoadBalancerEntry extends JsonObject {
  ipMode?: unknown
}

const NODE_PORT_FIRST = 30_000
const NODE_PORT_LAST = 32_767
