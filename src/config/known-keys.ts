/** The key list of every table, and what to say about a key that is not in one of them. */

import { keysOf, type TableSchema } from "./decode.ts"
import { nearest } from "./nearest.ts"
import {
  adminSchema,
  logSchema,
  nodeSchema,
  poolSchema,
  poolTlsSchema,
  serverSchema,
  streamSchema,
} from "./schema.ts"
import { CHECK_KEYS, NAMED_CHECK_KEYS } from "./schema-check.ts"
import { bindSchema, certificateSchema, httpSchema, ROUTES_KEY, tlsSchema } from "./schema-http.ts"
import {
  addressPoolSchema,
  kubernetesSchema,
  poolKubernetesSchema,
  publishSchema,
} from "./schema-kubernetes.ts"
import { routeSchema } from "./schema-route.ts"
import { redirectSchema, respondSchema, splitSchema } from "./schema-route-action.ts"
import {
  basicAuthSchema,
  corsSchema,
  forwardAuthSchema,
  rateLimitSchema,
  retrySchema,
  stickySchema,
} from "./schema-route-policy.ts"
import { announceSchema, authenticationSchema, trackSchema, vrrpSchema } from "./schema-vrrp.ts"
import { patternSchema } from "./values-http.ts"

export const ROOT_KEYS = [
  "include",
  "node",
  "admin",
  "log",
  "vrrp",
  "check",
  "pool",
  "stream",
  "http",
  "kubernetes",
  "address_pool",
  "publish",
]

/** Keys by the table's title. */
export const KNOWN_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ["the file", ROOT_KEYS],
  keysBySchema(nodeSchema),
  keysBySchema(adminSchema),
  keysBySchema(logSchema),
  keysBySchema(vrrpSchema),
  keysBySchema(authenticationSchema),
  keysBySchema(announceSchema),
  keysBySchema(trackSchema),
  keysBySchema(poolSchema),
  keysBySchema(poolTlsSchema),
  keysBySchema(poolKubernetesSchema),
  keysBySchema(serverSchema),
  keysBySchema(streamSchema),
  ["[[http]]", [...keysOf(httpSchema.fields), ROUTES_KEY]],
  keysBySchema(bindSchema),
  keysBySchema(tlsSchema),
  keysBySchema(certificateSchema),
  keysBySchema(routeSchema),
  keysBySchema(redirectSchema),
  keysBySchema(respondSchema),
  keysBySchema(splitSchema),
  keysBySchema(patternSchema),
  keysBySchema(retrySchema),
  keysBySchema(stickySchema),
  keysBySchema(rateLimitSchema),
  keysBySchema(basicAuthSchema),
  keysBySchema(forwardAuthSchema),
  keysBySchema(corsSchema),
  keysBySchema(kubernetesSchema),
  keysBySchema(addressPoolSchema),
  keysBySchema(publishSchema),
  ["[[check]]", NAMED_CHECK_KEYS],
  ...Object.entries(CHECK_KEYS).map(([type, keys]) => [`checks of type "${type}"`, keys] as const),
])

/** The name it has here, the tables it belongs to, a near one, or the keys there are. */
export function adviseKey(key: string, { known }: { readonly known: readonly string[] }): string {
  const renamed = RENAMED.get(key)?.find((name) => known.includes(name))
  if (renamed !== undefined) return `It is called "${renamed}" here`
  const homes = homesOf(key)
  if (homes.length > 0) return `It is a key of ${homes.join(" and ")}`
  const similar = nearest(key, known)
  if (similar !== undefined) return `Did you mean "${similar}"?`
  return `Known keys: ${known.join(", ")}`
}

/** Tables that have this key; those that stand inline only where no others do. */
function homesOf(key: string): string[] {
  const homes = [...KNOWN_KEYS].filter(([, keys]) => keys.includes(key)).map(([title]) => title)
  const tables = homes.filter((title) => /^\[|^checks/.test(title))
  return tables.length > 0 ? tables : homes
}

function keysBySchema<T>({ title, fields }: TableSchema<T>): readonly [string, readonly string[]] {
  return [title, keysOf(fields)]
}

/** What keepalived, HAProxy and nginx call it. */
const RENAMED: ReadonlyMap<string, readonly string[]> = new Map([
  ["vrid", ["virtual_router_id"]],
  ["advert_int", ["advertisement_interval"]],
  ["virtual_ipaddress", ["addresses"]],
  ["virtual_ipaddress_excluded", ["unadvertised_addresses"]],
  ["vip", ["addresses"]],
  ["address", ["bind", "addresses"]],
  ["nopreempt", ["preempt"]],
  ["auth_type", ["authentication"]],
  ["auth_pass", ["authentication"]],
  ["track_script", ["track"]],
  ["track_interface", ["track"]],
  ["unicast_peer", ["unicast_peers"]],
  ["vrrp_instance", ["vrrp"]],
  ["vrrp_script", ["check"]],
  ["lb_algo", ["balance"]],
  ["algorithm", ["balance"]],
  ["backend", ["pool"]],
  ["upstream", ["pool"]],
  ["proxy_pass", ["pool"]],
  ["frontend", ["stream", "http"]],
  ["listener", ["stream"]],
  ["listen", ["bind", "stream"]],
  ["maxconn", ["max_connections"]],
  ["max_conns", ["max_connections"]],
  ["inter", ["interval"]],
  ["script", ["command"]],
  ["uri", ["path"]],
  ["server_name", ["host"]],
  ["hostname", ["host"]],
  ["location", ["path", "route"]],
  ["routes", ["route"]],
  ["path_type", ["match"]],
  ["return", ["respond", "redirect"]],
  ["proxy_set_header", ["set_headers"]],
  ["add_header", ["set_response_headers"]],
  ["proxy_read_timeout", ["timeout"]],
  ["keepalive_timeout", ["idle_timeout"]],
  ["client_header_timeout", ["head_timeout"]],
  ["client_max_body_size", ["max_body"]],
  ["limit_req", ["rate_limit"]],
  ["auth_basic", ["basic_auth"]],
  ["auth_request", ["forward_auth"]],
  ["set_real_ip_from", ["trusted_proxies"]],
  ["ssl_certificate", ["certificates", "tls"]],
  ["weights", ["split"]],
  ["server", ["api_server"]],
  ["certificate_authority", ["ca_file"]],
  ["token", ["token_file"]],
  ["ipaddresspool", ["address_pool"]],
  ["ranges", ["addresses"]],
  ["routers", ["vrrp"]],
  ["svc", ["service"]],
])
