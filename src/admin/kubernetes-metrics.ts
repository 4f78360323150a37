/** The cluster's part of the metrics; there is none without `[kubernetes]`. */
import type { MetricFamily, Sample } from "../metrics/exposition.ts"
import type { KubernetesStatus } from "./backend.ts"
import { byLabel, flag, type Metric, tabulate } from "./metric-table.ts"

export function kubernetesMetrics(status: KubernetesStatus): MetricFamily[] {
  return tabulate(METRICS, [{ thing: status, labels: {} }])
}

const METRICS: readonly Metric<KubernetesStatus>[] = [
  [
    "kubernetes_connected",
    "gauge",
    "Whether everything that is wanted of the API server is being followed",
    ({ connected }) => flag(connected),
  ],
  [
    "kubernetes_synced",
    "gauge",
    "Whether the API server has told the whole state since the start",
    ({ synced }) => flag(synced),
  ],
  [
    "kubernetes_restored",
    "gauge",
    "1 while what is served is what the disk has kept",
    ({ restored }) => flag(restored),
  ],
  [
    "kubernetes_state_age_seconds",
    "gauge",
    "How old the served state may be; 0 while it is followed",
    ({ age_seconds }) => age_seconds,
  ],
  [
    "kubernetes_objects",
    "gauge",
    "Objects mirrored, by resource",
    byResource(({ objects }) => objects),
  ],
  [
    "kubernetes_relists_total",
    "counter",
    "Whole states taken over, by resource",
    byResource(({ relists }) => relists),
  ],
  [
    "kubernetes_watches_total",
    "counter",
    "Watches begun, by resource",
    byResource(({ watches }) => watches),
  ],
  [
    "kubernetes_unreadable_total",
    "counter",
    "Objects and events left out because they could not be read, by resource",
    byResource(({ unreadable }) => unreadable),
  ],
  [
    "kubernetes_writer",
    "gauge",
    "Whether this edge holds the Lease and writes to the API",
    ({ writer }) => flag(writer.active),
  ],
  [
    "kubernetes_writes_total",
    "counter",
    "Writes that the API server took",
    ({ writer }) => writer.writes,
  ],
  [
    "kubernetes_writes_refused_total",
    "counter",
    "Writes that the API server refused",
    ({ writer }) => writer.refused,
  ],
  [
    "kubernetes_services",
    "gauge",
    "Services of type LoadBalancer, by state",
    ({ services }) => counts(services, SERVICE_STATES),
  ],
  ["kubernetes_address_pool_used", "gauge", "Addresses given out", byPool(({ used }) => used)],
  ["kubernetes_address_pool_size", "gauge", "Addresses there are", byPool(({ size }) => size)],
  [
    "kubernetes_nodes",
    "gauge",
    "Nodes, by the state of the routes to their pods",
    ({ nodes }) => counts(nodes, NODE_STATES),
  ],
  ["kubernetes_ingresses", "gauge", "Ingresses that are ours", ({ ingresses }) => ingresses],
  [
    "kubernetes_ingress_problems",
    "gauge",
    "What is wrong with Ingresses; a notice needs no action",
    ({ problems }) =>
      counts(
        problems
          .filter(({ object }) => object.startsWith("Ingress "))
          .map(({ severity: state }) => ({ state })),
        SEVERITIES,
        "severity",
      ),
  ],
  [
    "kubernetes_empty_pools",
    "gauge",
    "Pools that name a Service and have no server",
    ({ pools }) => pools.filter(({ servers }) => servers === 0).length,
  ],
  [
    "kubernetes_published",
    "gauge",
    "Services of [[publish]], by state",
    ({ published }) => counts(published, PUBLISH_STATES),
  ],
]

function byResource(numberOf: (resource: KubernetesStatus["resources"][number]) => number) {
  return ({ resources }: KubernetesStatus): Sample[] =>
    resources.map((each) => ({ labels: { resource: each.name }, value: numberOf(each) }))
}

function byPool(numberOf: (pool: KubernetesStatus["address_pools"][number]) => number) {
  return ({ address_pools }: KubernetesStatus): Sample[] =>
    address_pools.map((each) => ({ labels: { pool: each.name }, value: numberOf(each) }))
}

/** Also the states that nothing is in: an alert needs the 0 before the 1. */
function counts(
  things: readonly { readonly state: string }[],
  states: readonly string[],
  label = "state",
) {
  const found: Record<string, number> = Object.fromEntries(states.map((state) => [state, 0]))
  for (const { state } of things) found[state] = (found[state] ?? 0) + 1
  return byLabel(label, found)
}

const SEVERITIES = ["warning", "notice"]
const SERVICE_STATES = ["served", "degraded", "pending"]
const NODE_STATES = ["routed", "not_ready", "not_on_subnet", "conflict", "refused"]
const PUBLISH_STATES = ["published", "pending", "empty", "conflict", "failed"]
