/**
 * Where others reach what is bound here: the addresses of a bind, and for a wildcard the virtual
 * ones, since those of one host alone would not survive it.
 */
import {
  type Address,
  ANY_IPV4,
  ANY_IPV6,
  type Endpoint,
  type Family,
  familyOf,
  formatEndpoint,
  type Prefix,
  prefixContains,
} from "./address.ts"

/** In the order given, each once; what other hosts cannot reach is left out. */
export function reachableEndpoints(
  bind: readonly Endpoint[],
  virtualAddresses: readonly Address[],
): readonly Endpoint[] {
  const endpoints = bind.flatMap(({ address, port }) => {
    const families = familiesOf(address)
    if (families.length === 0) return [{ address, port }]
    const reached = virtualAddresses.filter((each) => families.includes(familyOf(each)))
    return reached.map((each) => ({ address: each, port }))
  })
  const unique = new Map(endpoints.map((endpoint) => [formatEndpoint(endpoint), endpoint]))
  return [...unique.values()].filter(({ address }) => isReachable(address))
}

/** May it stand in an EndpointSlice? No loopback, link-local or wildcard address may. */
export function isReachable(address: Address): boolean {
  return !UNREACHABLE.some((prefix) => prefixContains(prefix, address))
}

/** Of a wildcard; `::` is bound for both. */
function familiesOf(address: Address): readonly Family[] {
  if (address === ANY_IPV4) return [4]
  return address === ANY_IPV6 ? [4, 6] : []
}

/** As ValidateEndpointIP of the API server has it. */
const UNREACHABLE: readonly Prefix[] = (
  [
    [ANY_IPV4, 32],
    ["127.0.0.0", 8],
    ["169.254.0.0", 16],
    ["224.0.0.0", 24],
    [ANY_IPV6, 128],
    ["::1", 128],
    ["fe80::", 10],
    ["ff02::", 16],
  ] as const
).map(([address, length]) => ({ address: address as Address, length }))
