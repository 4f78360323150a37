/**
 * Which virtual router carries an address.
 *
 * The annotation `causeway.dev/virtual-router` of the Services that have the address says so, and
 * nothing else, so that both edges agree without talking to each other: the writer records its
 * choice there *before* the address appears in any status. Whoever reads a Service without it (an
 * address that MetalLB gave out, a router that is no longer configured) computes the same fallback
 * from the address, and the writer then records just that: what carries traffic is not moved.
 *
 * The value is the name of a router, for all addresses of the Service, or "ADDRESS=ROUTER" pairs
 * separated by commas where they differ. A person may write it too, to say which router it is to be.
 */
import type { Address } from "../../net/address.ts"
import { hashText } from "../../pool/hash.ts"
import type { Service } from "../objects.ts"
import type { AddressPool } from "./pools.ts"

export const VIRTUAL_ROUTER = "causeway.dev/virtual-router"

/** The router that a Service's annotation names for an address, valid or not. */
export function recordedRouter({ meta }: Service, address: Address): string | undefined {
  const text = meta.annotations[VIRTUAL_ROUTER]
  if (text === undefined) return undefined
  const parts = text.split(",").map((part) => part.trim())
  const own = parts.find((part) => part.startsWith(`${address}=`))
  return own?.slice(address.length + 1) ?? parts.find((part) => part !== "" && !part.includes("="))
}

/** The annotation's value for these routers by address. */
export function formatRouters(routers: ReadonlyMap<Address, string>): string {
  const names = new Set(routers.values())
  const [only] = names
  if (names.size === 1 && only !== undefined) return only
  return [...routers].map(([address, router]) => `${address}=${router}`).join(",")
}

/**
 * @param users Services that have the address, oldest first: the first valid word counts.
 * @returns undefined when the pool has no virtual router.
 */
export function carrierOf(
  address: Address,
  users: readonly Service[],
  pool: Pick<AddressPool, "virtualRouters">,
): string | undefined {
  const { virtualRouters } = pool
  for (const service of users) {
    const recorded = recordedRouter(service, address)
    if (recorded !== undefined && virtualRouters.includes(recorded)) return recorded
  }
  return virtualRouters[hashText(address) % Math.max(1, virtualRouters.length)]
}

/** The pool's router with the fewest addresses, the first of equals. */
export function leastLoaded(
  { virtualRouters }: Pick<AddressPool, "virtualRouters">,
  counts: ReadonlyMap<string, number>,
): string | undefined {
  let best: string | undefined
  for (const router of virtualRouters) {
    if (best === undefined || (counts.get(router) ?? 0) < (counts.get(best) ?? 0)) best = router
  }
  return best
}
