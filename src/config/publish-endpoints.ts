/**
 * Where pods reach a stream that is published: the addresses it is bound to, and for a wildcard the
 * virtual addresses, since those of one host alone would not survive it. What the API would refuse
 * in an EndpointSlice (loopback, link-local) is left out.
 */
import {
  type Address,
  ANY_IPV4,
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  type Prefix,
  prefixContains,
} from "../net/address.ts"
import type { VrrpConfig } from "./config.ts"
import { isWildcard } from "./values.ts"

type Router = Partial<Pick<VrrpConfig, "addresses" | "unadvertisedAddresses">>

/** In the order of the file, each once. */
export function publishEndpoints(
  bind: readonly Endpoint[],
  routers: readonly Router[],
): readonly Endpoint[] {
  const virtual = routers.flatMap(({ addresses = [], unadvertisedAddresses = [] }) => {
    return [...addresses, ...unadvertisedAddresses].map(({ address }) => address)
  })
  const endpoints = bind.flatMap((endpoint) => {
    if (!isWildcard(endpoint.address)) return [endpoint]
    const families = familiesOf(endpoint.address)
    const reached = virtual.filter((address) => families.includes(familyOf(address)))
    return reached.map((address) => ({ address, port: endpoint.port }))
  })
  const unique = new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint]))
  return [...unique.values()].filter(({ address }) => isReachable(address))
}

/** May the address stand in an EndpointSlice, for pods on other hosts? */
export function isReachable(address: Address): boolean {
  return !isWildcard(address) && !UNREACHABLE.some((prefix) => prefixContains(prefix, address))
}

/** `::` is bound for both families. */
function familiesOf(wildcard: Address): readonly Family[] {
  return wildcard === ANY_IPV4 ? [4] : [4, 6]
}

/** As ValidateEndpointIP of the API server has it. */
const UNREACHABLE: readonly Prefix[] = (
  [
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["224.0.0.0", 24],
    ["::1", 128],
    ["fe80::", 10],
    ["ff02::", 16],
  ] as const
).map(([address, length]) => ({ address: address as Address, length }))
