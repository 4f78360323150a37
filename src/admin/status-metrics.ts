/**
 * The status as metrics: `/metrics` shows the same numbers as `/v1/status`, under names that say
 * unit and kind (Prometheus naming practices: base units, `_total` for what only grows).
 *
 * A state is one series per possible value, 1 for the one that holds: that can be graphed and
 * alerted on without knowing an order of numbers.
 */
import type { MetricFamily, Sample } from "../metrics/exposition.ts"
import type {
  CertificateStatus,
  CheckStatusEntry,
  HttpStatus,
  ListenerStatus,
  RouteStatus,
  ServerStatus,
  Status,
  VrrpStatus,
} from "./backend.ts"
import { kubernetesMetrics } from "./kubernetes-metrics.ts"
import { byLabel, flag, type Metric, stateSet, tabulate, withLabels } from "./metric-table.ts"

export function statusMetrics(status: Status): MetricFamily[] {
  return [
    buildInfo(status),
    ...tabulate(DAEMON_METRICS, [{ thing: status, labels: {} }]),
    ...tabulate(VRRP_METRICS, status.vrrp.map(withLabels(({ name }) => ({ vrrp: name })))),
    ...tabulate(CHECK_METRICS, status.checks.map(withLabels(({ name }) => ({ check: name })))),
    ...tabulate(SERVER_METRICS, status.pools.flatMap(labelledServers)),
    ...listenerMetrics("stream", status.streams),
    ...listenerMetrics("http", status.http),
    ...tabulate(CERTIFICATE_METRICS, status.http.flatMap(labelledCertificates)),
    ...tabulate(ROUTE_METRICS, status.http.flatMap(labelledRoutes)),
    ...(status.kubernetes === null ? [] : kubernetesMetrics(status.kubernetes)),
  ]
}

function labelledServers({ name: pool, servers }: Status["pools"][number]) {
  return servers.map(withLabels((server: ServerStatus) => ({ pool, server: server.name })))
}

function buildInfo({ version, node }: Status): MetricFamily {
  const labels = { version, node, bun: Bun.version, arch: process.arch }
  const help = "What is running, and where; always 1"
  return { name: "causeway_build_info", type: "gauge", help, samples: [{ labels, value: 1 }] }
}

const DAEMON_METRICS: readonly Metric<Status>[] = [
  [
    "ready",
    "gauge",
    "Whether the configuration is applied, every listener bound and the cluster known",
    ({ ready }) => flag(ready),
  ],
  ["uptime_seconds", "gauge", "Time since the start", ({ uptime_seconds }) => uptime_seconds],
  [
    "config_generation",
    "gauge",
    "Configurations applied since the start",
    ({ config }) => config.generation,
  ],
  [
    "config_last_reload_successful",
    "gauge",
    "0 while the file on disk was refused and an older configuration runs",
    ({ config }) => flag(config.last_error === null),
  ],
  [
    "config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the running configuration was applied, since the epoch",
    ({ config }) => Date.parse(config.loaded_at) / 1000,
  ],
  ["sessions", "gauge", "Open sessions of all listeners", ({ threads }) => threads.sessions],
  [
    "sessions_max",
    "gauge",
    "Sessions that the limit of file descriptors allows",
    ({ threads }) => threads.sessions_max,
  ],
  ["data_threads", "gauge", "Data threads", ({ threads }) => threads.data],
  [
    "data_thread_restarts_total",
    "counter",
    "Data threads replaced because they died or hung",
    ({ threads }) => threads.data_restarts,
  ],
]

const VRRP_STATES = ["initialize", "backup", "active", "fault"]

const VRRP_METRICS: readonly Metric<VrrpStatus>[] = [
  [
    "vrrp_state",
    "gauge",
    "State of the virtual router (RFC 9568 section 6.4, and fault); 1 for the one it is in",
    ({ state }) => stateSet("state", VRRP_STATES, state),
  ],
  [
    "vrrp_released",
    "gauge",
    "Whether the operator keeps it from becoming active",
    ({ released }) => flag(released),
  ],
  ["vrrp_priority", "gauge", "Configured priority", ({ priority }) => priority],
  [
    "vrrp_effective_priority",
    "gauge",
    "Priority with the weights of what it tracks",
    ({ effective_priority }) => effective_priority,
  ],
  ["vrrp_peers", "gauge", "Other routers heard lately", ({ peers }) => peers.length],
  ["vrrp_transitions_total", "counter", "Changes of state", ({ transitions }) => transitions],
  ["vrrp_adverts_sent_total", "counter", "Advertisements sent", ({ adverts_sent }) => adverts_sent],
  [
    "vrrp_adverts_received_total",
    "counter",
    "Advertisements received and accepted",
    ({ adverts_received }) => adverts_received,
  ],
  [
    "vrrp_packets_dropped_total",
    "counter",
    "Packets received and not accepted",
    ({ dropped }) => byLabel("reason", dropped),
  ],
]

const CHECK_METRICS: readonly Metric<CheckStatusEntry>[] = [
  [
    "check_up",
    "gauge",
    "Whether a named check is up; 0 until its first result",
    ({ health }) => flag(health === "up"),
  ],
  [
    "check_duration_seconds",
    "gauge",
    "How long the last check took",
    ({ duration_ms }) => duration_ms / 1000,
  ],
  ["check_runs_total", "counter", "Checks made", ({ checks_total }) => checks_total],
  ["check_failures_total", "counter", "Checks that failed", ({ checks_failed }) => checks_failed],
]

const HEALTHS = ["up", "down", "unknown"]
const ADMIN_STATES = ["ready", "drain", "maintenance"]

const SERVER_METRICS: readonly Metric<ServerStatus>[] = [
  [
    "server_up",
    "gauge",
    "Whether a server may be used: not down by its check, not ejected, not taken out",
    ({ health, ejected, admin }) => flag(health !== "down" && !ejected && admin === "ready"),
  ],
  [
    "server_health",
    "gauge",
    "What the check says; unknown before its first result, and where there is no check",
    ({ health }) => stateSet("health", HEALTHS, health),
  ],
  [
    "server_admin",
    "gauge",
    "What the operator wants of it",
    ({ admin }) => stateSet("state", ADMIN_STATES, admin),
  ],
  [
    "server_ejected",
    "gauge",
    "Whether failed connects of live traffic have taken it out for a while",
    ({ ejected }) => flag(ejected),
  ],
  ["server_weight", "gauge", "Weight in use", ({ weight }) => weight],
  ["server_connections", "gauge", "Open connections", ({ connections }) => connections],
  [
    "server_connections_total",
    "counter",
    "Connections made",
    ({ connections_total }) => connections_total,
  ],
  [
    "server_bytes_total",
    "counter",
    "Payload by direction",
    ({ bytes_to_server: sent, bytes_from_server: received }) =>
      byLabel("direction", { to_server: sent, from_server: received }),
  ],
  [
    "server_connect_failures_total",
    "counter",
    "Connects of live traffic that failed",
    ({ connect_failures }) => connect_failures,
  ],
  [
    "server_check_duration_seconds",
    "gauge",
    "How long the last check took",
    ({ check_duration_ms }) => check_duration_ms / 1000,
  ],
  ["server_check_runs_total", "counter", "Checks made", ({ checks_total }) => checks_total],
  [
    "server_check_failures_total",
    "counter",
    "Checks that failed",
    ({ checks_failed }) => checks_failed,
  ],
]

type ListenerCounts = Pick<
  ListenerStatus,
  "name" | "connections" | "total" | "bytes_in" | "bytes_out" | "retries" | "ended"
>

function labelledCertificates({ name: http, certificates }: HttpStatus) {
  return certificates.map(withLabels(({ file }: CertificateStatus) => ({ http, file })))
}

function labelledRoutes({ name: http, routes }: HttpStatus) {
  return routes.map(withLabels(({ name: route }: RouteStatus) => ({ http, route })))
}

/** Streams and HTTP listeners count the same things. */
function listenerMetrics(kind: "stream" | "http", listeners: readonly ListenerCounts[]) {
  const metrics = LISTENER_METRICS.map(
    ([name, ...rest]): Metric<ListenerCounts> => [`${kind}_${name}`, ...rest],
  )
  const labelled = listeners.map(withLabels(({ name }: ListenerCounts) => ({ [kind]: name })))
  return tabulate(metrics, labelled)
}

const LISTENER_METRICS: readonly Metric<ListenerCounts>[] = [
  ["connections", "gauge", "Open client connections", ({ connections }) => connections],
  ["connections_total", "counter", "Client connections accepted", ({ total }) => total],
  [
    "bytes_total",
    "counter",
    "Payload by direction, as the client sees it: in is what it sent",
    ({ bytes_in, bytes_out }) => byLabel("direction", { in: bytes_in, out: bytes_out }),
  ],
  ["retries_total", "counter", "Connects repeated at another server", ({ retries }) => retries],
  [
    "ended_total",
    "counter",
    "Connections ended, by reason",
    ({ ended }) => byLabel("reason", ended),
  ],
]

const CERTIFICATE_METRICS: readonly Metric<CertificateStatus>[] = [
  [
    "tls_certificate_expiry_days",
    "gauge",
    "Whole days a served certificate still lasts",
    ({ expires_in_days }) => expires_in_days,
  ],
]

const ROUTE_METRICS: readonly Metric<RouteStatus>[] = [
  [
    "http_requests_total",
    "counter",
    "Requests answered, by class of status code",
    ({ responses }) => byLabel("code", responses),
  ],
  [
    "http_request_duration_seconds",
    "histogram",
    "From the request's head to the end of its response",
    durationSamples,
  ],
]

function durationSamples({
  duration_ms_buckets: buckets,
  duration_ms_total: totalMs,
  requests,
}: RouteStatus): Sample[] {
  return [
    ...Object.entries(buckets).map(([boundMs, value]) => {
      const le = boundMs === "+Inf" ? boundMs : String(Number(boundMs) / 1000)
      return { suffix: "_bucket", labels: { le }, value }
    }),
    { suffix: "_sum", value: totalMs / 1000 },
    { suffix: "_count", value: requests },
  ]
}
