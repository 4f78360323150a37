/**
 * What a Service of type LoadBalancer asks for, read from its spec and its annotations.
 *
 * MetalLB's annotations mean what they mean there, under both of its prefixes; Causeway's own have
 * the same names and come first. A bad value is a problem with a name, never a guess: a Service
 * that asks for something unreadable keeps what it has and gets nothing new until it is mended.
 */
import type { KubernetesConfig } from "../../config/config.ts"
import { type Address, parseAddress } from "../../net/address.ts"
import type { Service } from "../objects.ts"
import { type IpFamily, ipFamilyOf } from "./address-set.ts"

export const ANNOTATION = {
  addresses: ["causeway.dev/load-balancer-ips", ...metalLb("loadBalancerIPs")],
  pool: ["causeway.dev/address-pool", ...metalLb("address-pool")],
  sharingKey: ["causeway.dev/allow-shared-ip", ...metalLb("allow-shared-ip")],
  proxyProtocol: ["causeway.dev/proxy-protocol"],
} as const

export interface AddressRequest {
  /** These and no others, at most one of each family; empty: any. */
  readonly addresses: readonly Address[]
  /** From this pool; "": from any that gives to this Service. */
  readonly pool: string
  /** "": shares its addresses with nobody. */
  readonly sharingKey: string
  /** One address of each is wanted. */
  readonly families: readonly IpFamily[]
  /** Takes one family where there is no address of the other (PreferDualStack). */
  readonly isPartialEnough: boolean
  readonly proxyProtocol: "off" | "v1" | "v2"
  readonly problems: readonly RequestProblem[]
}

export interface RequestProblem {
  readonly type:
    | "bad_address"
    | "too_many_addresses"
    | "contradiction"
    | "family_mismatch"
    | "bad_proxy_protocol"
  readonly message: string
}

/** Is the Service one that this edge serves? */
export function isOurs(
  { type, loadBalancerClass }: Service,
  config: Pick<KubernetesConfig, "loadBalancerClass" | "claimUnclassed">,
): boolean {
  if (type !== "LoadBalancer") return false
  if (loadBalancerClass === "") return config.claimUnclassed
  return loadBalancerClass === config.loadBalancerClass
}

export function requestOf(service: Service): AddressRequest {
  const problems: RequestProblem[] = []
  const addresses = requestedAddresses(service, problems)
  const families = addresses.length > 0 ? addresses.map(ipFamilyOf) : wantedFamilies(service)
  checkFamilies(service, addresses, problems)
  return {
    addresses,
    pool: annotation(service, ANNOTATION.pool)?.value ?? "",
    sharingKey: annotation(service, ANNOTATION.sharingKey)?.value ?? "",
    families,
    isPartialEnough: service.ipFamilyPolicy === "PreferDualStack",
    proxyProtocol: proxyProtocol(service, problems),
    problems,
  }
}

/** Does it stand in the way of giving out an address? */
export function isBlocking({ type }: RequestProblem): boolean {
  return type !== "bad_proxy_protocol"
}

function requestedAddresses(service: Service, problems: RequestProblem[]): Address[] {
  const noted = annotation(service, ANNOTATION.addresses)
  const listed = noted === undefined ? [] : noted.value.split(",")
  const field = service.loadBalancerIP === "" ? [] : [service.loadBalancerIP]
  const addresses = parseAll(listed, noted?.name ?? "", problems)
  const fromField = parseAll(field, "spec.loadBalancerIP", problems)
  if (addresses.length === 0) return fromField
  for (const address of fromField) {
    if (addresses.includes(address)) continue
    const message = `spec.loadBalancerIP asks for ${address} and ${noted?.name} does not`
    problems.push({ type: "contradiction", message })
  }
  return addresses
}

function parseAll(texts: readonly string[], where: string, problems: RequestProblem[]): Address[] {
  const addresses = texts.flatMap((text) => {
    const address = parseAddress(text.trim())
    if (address !== undefined) return [address]
    problems.push({ type: "bad_address", message: `${where}: "${text.trim()}" is not an address` })
    return []
  })
  return [...new Set(addresses)]
}

function wantedFamilies({ ipFamilies, ipFamilyPolicy }: Service): readonly IpFamily[] {
  if (ipFamilyPolicy === "RequireDualStack") return BOTH
  if (ipFamilies.length === 0) return ["IPv4"]
  return ipFamilyPolicy === "SingleStack" ? ipFamilies.slice(0, 1) : ipFamilies
}

function checkFamilies(
  { ipFamilies, ipFamilyPolicy }: Service,
  addresses: readonly Address[],
  problems: RequestProblem[],
): void {
  if (addresses.length === 0) return
  const families = addresses.map(ipFamilyOf)
  if (new Set(families).size < families.length) {
    const message = "it asks for several addresses of one family; one of each is the most"
    problems.push({ type: "too_many_addresses", message })
  }
  const stranger = addresses.find((address) => !ipFamilies.includes(ipFamilyOf(address)))
  if (ipFamilies.length > 0 && stranger !== undefined) {
    const message = `it asks for ${stranger}, but its ipFamilies are ${ipFamilies.join(", ")}`
    problems.push({ type: "family_mismatch", message })
  } else if (ipFamilyPolicy === "RequireDualStack" && families.length < 2) {
    const message = `it asks for ${addresses.join()} alone, but requires one of both families`
    problems.push({ type: "family_mismatch", message })
  }
}

function proxyProtocol(service: Service, problems: RequestProblem[]): "off" | "v1" | "v2" {
  const noted = annotation(service, ANNOTATION.proxyProtocol)
  const value = noted?.value ?? "off"
  if (value === "off" || value === "v1" || value === "v2") return value
  const message = `${noted?.name}: "${value}" is not "v1", "v2" or "off"; none is sent`
  problems.push({ type: "bad_proxy_protocol", message })
  return "off"
}

/** The first of the names that the Service has; an empty value counts as none. */
function annotation(
  { meta }: Service,
  names: readonly string[],
): { readonly name: string; readonly value: string } | undefined {
  for (const name of names) {
    const value = Object.hasOwn(meta.annotations, name) ? meta.annotations[name]?.trim() : ""
    if (value) return { name, value }
  }
  return undefined
}

function metalLb(name: string): readonly string[] {
  return [`metallb.io/${name}`, `metallb.universe.tf/${name}`]
}

const BOTH: readonly IpFamily[] = ["IPv4", "IPv6"]
