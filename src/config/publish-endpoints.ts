/** Where pods reach a stream that is published: its bind, or every virtual address. */
import type { Endpoint } from "../net/address.ts"
import { reachableEndpoints } from "../net/reachable.ts"
import type { VrrpConfig } from "./config.ts"

type Router = Pick<VrrpConfig, "addresses" | "unadvertisedAddresses">

export function publishEndpoints(
  bind: readonly Endpoint[],
  routers: readonly Router[],
): readonly Endpoint[] {
  const virtual = routers.flatMap(({ addresses, unadvertisedAddresses }) => {
    return [...addresses, ...unadvertisedAddresses].map(({ address }) => address)
  })
  return reachableEndpoints(bind, virtual)
}
