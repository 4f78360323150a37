/**
 * The configuration that runs: what the file says, and what the cluster adds to it. Applied like a
 * configuration from a file, so that there is one way in which anything comes to be served.
 *
 * What did not change stays the same object: the daemon passes over it without comparing.
 */
import type { Config, VrrpConfig } from "../../config/config.ts"
import type { HttpConfig, RouteConfig } from "../../config/http-config.ts"
import type { ClusterContribution } from "../../kubernetes/cluster-model.ts"
import type { Prefix } from "../../net/address.ts"

export class EffectiveConfig {
  #http = new Map<string, { from: HttpConfig; routes: readonly RouteConfig[]; to: HttpConfig }>()

  of(file: Config, cluster: ClusterContribution): Config {
    const pools = new Map(file.pools.map((pool) => [pool.name, pool]))
    for (const pool of cluster.pools) pools.set(pool.name, pool)
    return {
      ...file,
      pools: [...pools.values()],
      streams: [...file.streams, ...cluster.streams],
      vrrp: file.vrrp.map((router) => withAddresses(router, cluster.addresses.get(router.name))),
      http: file.http.map((http) => (http.ingress ? this.#withRoutes(http, cluster.routes) : http)),
    }
  }

  #withRoutes(from: HttpConfig, routes: readonly RouteConfig[]): HttpConfig {
    const known = this.#http.get(from.name)
    if (known?.from === from && known.routes === routes) return known.to
    const to = { ...from, routes: [...from.routes, ...routes] }
    this.#http.set(from.name, { from, routes, to })
    return to
  }
}

/** Not listed in adverts: a packet counts at most 255, and peers that do not know them need not. */
function withAddresses(router: VrrpConfig, added: readonly Prefix[] | undefined): VrrpConfig {
  if (added === undefined || added.length === 0) return router
  return { ...router, unadvertisedAddresses: [...router.unadvertisedAddresses, ...added] }
}
