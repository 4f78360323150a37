/**
 * Which virtual router carries an address.
 *
 * The condition `causeway.dev/VirtualRouter` of the Services that have the address says so, so that
 * both edges agree without talking to each other: the writer records its choice in the same write
 * that puts the address into the status. Whoever reads a Service without it (an address that
 * MetalLB gave out, a router that is no longer configured) computes the same fallback from the
 * address, and the writer then records just that: what carries traffic is not moved.
 *
 * A condition and not an annotation, because it is written atomically with the address and with no
 * more rights than the status needs. The annotation `causeway.dev/virtual-router` is the user's, to
 * say which router it is to be, and comes first.
 *
 * Either names a router, for all addresses of the Service, or "ADDRESS=ROUTER" pairs separated by
 * commas where they differ.
 */
import type { Address } from "../../net/address.ts"
import { hashText } from "../../pool/hash.ts"
import type { Service } from "../objects.ts"
import type { AddressPool } from "./pools.ts"

const WISH = "causeway.dev/virtual-router"
export const VIRTUAL_ROUTER = "causeway.dev/VirtualRouter"

/** What the condition says, valid or not. */
export function recordedRouter({ conditions }: Service, address: Address): string | undefined {
  const record = conditions.find(({ type }) => type === VIRTUAL_ROUTER)
  return record && routerIn(record.message, address)
}

/** By the user's word, then by the record, if the pool has such a router. */
export function namedRouter(
  service: Service,
  address: Address,
  { virtualRouters }: Pick<AddressPool, "virtualRouters">,
): string | undefined {
  const wished = routerIn(service.meta.annotations[WISH] ?? "", address)
  if (wished !== undefined && virtualRouters.includes(wished)) return wished
  const recorded = recordedRouter(service, address)
  return recorded !== undefined && virtualRouters.includes(recorded) ? recorded : undefined
}

function routerIn(text: string, address: Address): string | undefined {
  const parts = text.split(",").map((part) => part.trim())
  const own = parts.find((part) => part.startsWith(`${address}=`))
  return own?.slice(address.length + 1) ?? parts.find((part) => part !== "" && !part.includes("="))
}

/** The condition's message for these routers by address. */
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
    const named = namedRouter(service, address, pool)
    if (named !== undefined) return named
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
