/** Decoders of what Kubernetes calls things: names of objects, classes, ports, the API's URL. */
import { type AddressRange, parseAddressRange } from "../net/address-range.ts"
import type { KubernetesConfig } from "./config.ts"
import { type Decoder, INVALID, scalar } from "./decode.ts"
import { integer, matching, network, textOf } from "./values.ts"

const LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
const DNS_LABEL = new RegExp(`^${LABEL}$`)
const SUBDOMAIN = new RegExp(`^(?=.{1,253}$)${LABEL}(\\.${LABEL})*$`)
/** Beginning with a letter (RFC 1035 §2.3.1), which the API asks of Services alone. */
const SERVICE_NAME = /^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$/
/** A name, or a DNS subdomain, "/" and a name: as the API checks classes and label keys. */
const QUALIFIED_NAME = new RegExp(
  `^((?=[^/]{1,253}/)${LABEL}(\\.${LABEL})*/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`,
)

/** A DNS label (RFC 1123 §2.1). */
export const namespaceName: Decoder<string> = dnsName("the name of a namespace", DNS_LABEL)

export const serviceName: Decoder<string> = dnsName("the name of a Service", SERVICE_NAME)

export const ingressClassName: Decoder<string> = dnsName("the name of an IngressClass", SUBDOMAIN)

export const loadBalancerClassName: Decoder<string> = scalar(
  'a load balancer class such as "causeway.dev/edge"',
  (node) => (textOf(node) === "" ? "" : matching(node, QUALIFIED_NAME)),
)

/** The name of a Service's port is a DNS label; a number is the port itself. */
export const servicePort: Decoder<string | number> = (node, context) => {
  return node.type === "string" ? portName(node, context) : integer(1, 65_535)(node, context)
}

const portName = scalar(
  "the name or number of a port of the Service",
  (node) => (/^\d+$/.test(textOf(node) ?? "") ? undefined : matching(node, DNS_LABEL)),
  (node) => (/^\d+$/.test(textOf(node) ?? "") ? "Write it without quotes" : lowerCaseHint(node)),
)

export const leaseKey: Decoder<KubernetesConfig["lease"]> = scalar(
  'a namespace and a name such as "kube-system/causeway"',
  (node) => {
    const [namespace = "", name = "", ...rest] = (textOf(node) ?? "").split("/")
    const valid = DNS_LABEL.test(namespace) && SUBDOMAIN.test(name) && rest.length === 0
    return valid ? { namespace, name } : undefined
  },
)

/**
 * As in a kubeconfig: without "http" beyond this host, where everybody could read the token.
 * "http://127.0.0.1:8001" is `kubectl proxy`.
 */
export const apiServerUrl: Decoder<string> = scalar(
  'the URL of the API server such as "https://192.0.2.10:6443"',
  (node) => (textOf(node) === "" ? "" : readApiServer(textOf(node) ?? "")),
  (node) => {
    const value = textOf(node) ?? ""
    if (value.startsWith("http://")) return "Only https keeps the token secret"
    const isBare = value !== "" && !value.includes("://")
    return isBare && readApiServer(`https://${value}`) ? `Write "https://${value}"` : ""
  },
)

function readApiServer(value: string): string | undefined {
  if (!/^https?:\/\/[^\s\p{C}]+$/u.test(value) || !URL.canParse(value)) return undefined
  const url = new URL(value)
  const isPlain = `${url.username}${url.password}${url.search}${url.hash}` === ""
  const isSafe = url.protocol === "https:" || isLoopbackHost(url.hostname)
  return isPlain && isSafe ? value.replace(/\/+$/, "") : undefined
}

function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "[::1]" || host.startsWith("127.")
}

/** A range of addresses; of a network, all of them. */
export const addressRange: Decoder<AddressRange> = (node, context) => {
  if (textOf(node)?.includes("/") && network(node, context) === INVALID) return INVALID
  return rangeOrAddress(node, context)
}

const rangeOrAddress = scalar(
  'a range such as "192.0.2.10-192.0.2.20", a network or an address',
  (node) => parseAddressRange(textOf(node) ?? ""),
  (node) => {
    const [first = "", last = ""] = (textOf(node) ?? "").split("-")
    if (/^\d{1,3}$/.test(last)) {
      return `Write both ends in full: "${first}-${first.replace(/\d+$/, last)}"`
    }
    return parseAddressRange(`${last}-${first}`) ? "Write the lower address first" : ""
  },
)

function dnsName(expected: string, pattern: RegExp): Decoder<string> {
  return scalar(
    `${expected} (lower-case letters, digits and "-")`,
    (node) => matching(node, pattern),
    lowerCaseHint,
  )
}

function lowerCaseHint(node: Parameters<typeof textOf>[0]): string {
  const value = textOf(node) ?? ""
  const lower = value.toLowerCase().replaceAll("_", "-")
  return lower !== value && SUBDOMAIN.test(lower) ? `Did you mean "${lower}"?` : ""
}
