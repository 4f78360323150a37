/** The picture that `/v1/status` shows, put together from those who know each part of it. */
import type {
  CheckStatusEntry,
  HttpStatus,
  ListenerStatus,
  PoolStatus,
  RouteStatus,
  ServerStatus,
  VrrpStatus,
} from "../admin/backend.ts"
import type { Config, StreamConfig } from "../config/config.ts"
import type { DataHttpService } from "../dataplane/messages.ts"
import type { CheckSnapshot, HealthChecker } from "../health/driver.ts"
import {
  DURATION_BOUNDS_MS,
  DURATION_COLUMNS,
  HTTP_END_REASONS,
  type HttpCounters,
} from "../http/counters.ts"
import { monotonicNow } from "../linux/clock.ts"
import type { CounterTable } from "../metrics/counter-table.ts"
import { formatEndpoint, formatPrefix } from "../net/address.ts"
import { END_REASONS } from "../stream/end-reason.ts"
import { expiryDays } from "../tls/expiry.ts"
import type { CertificateFacts } from "../tls/shell/certificate-files.ts"
import type { VirtualRouterSnapshot } from "../vrrp/messages.ts"
import type { DataThreads } from "./data-threads.ts"
import type { RegisteredServer, ServerRegistry } from "./server-registry.ts"

export function vrrpStatus(snapshot: VirtualRouterSnapshot): VrrpStatus {
  return {
    name: snapshot.name,
    interface: snapshot.interface,
    virtual_router_id: snapshot.virtualRouterId,
    version: snapshot.version,
    state: snapshot.state,
    released: snapshot.released,
    reason: snapshot.reason,
    priority: snapshot.priority,
    effective_priority: snapshot.effectivePriority,
    addresses: snapshot.addresses.map(formatPrefix),
    since: rfc3339(snapshot.sinceEpochMs),
    peers: snapshot.peers.map(({ address, priority, heardAtEpochMs }) => ({
      address,
      priority,
      heard_at: rfc3339(heardAtEpochMs),
    })),
    warnings: snapshot.warnings,
    transitions: snapshot.transitions,
    adverts_sent: snapshot.advertsSent,
    adverts_received: snapshot.advertsReceived,
    dropped: snapshot.dropped,
  }
}

export function namedCheckStatus(config: Config, checker: HealthChecker): CheckStatusEntry[] {
  return config.checks.flatMap(({ name }) => {
    const snapshot = checker.get(namedCheckId(name))
    if (snapshot === undefined) return []
    return [
      {
        name,
        health: snapshot.state,
        reason: snapshot.reason,
        since: rfc3339(snapshot.sinceEpochMs),
        duration_ms: snapshot.lastResult?.durationMs ?? 0,
        checks_total: snapshot.checks,
        checks_failed: snapshot.failed,
      },
    ]
  })
}

/** Names a `[[check]]` to the health checker; a server's check id always has a "/" elsewhere. */
export function namedCheckId(name: string): string {
  return `check ${name}`
}

export function poolStatus(
  registry: ServerRegistry,
  sources: { readonly threads: DataThreads; readonly checker: HealthChecker },
): PoolStatus[] {
  return registry.pools().map(({ config, servers }) => ({
    name: config.name,
    balance: config.balance,
    servers: servers.map((server) =>
      serverStatus(server, sources.threads, sources.checker.get(server.checkId)),
    ),
  }))
}

function serverStatus(
  server: RegisteredServer,
  threads: DataThreads,
  check: CheckSnapshot | undefined,
): ServerStatus {
  const { board, serverCounters: tables } = threads
  const { slot, config } = server
  const ejectedForMs = board.ejectedUntil(slot) - monotonicNow()
  return {
    name: config.name,
    address: formatEndpoint(config.endpoint),
    weight: board.weight(slot),
    backup: config.backup,
    admin: board.admin(slot),
    health: check?.state ?? "unknown",
    ejected: ejectedForMs > 0,
    reason:
      ejectedForMs > 0
        ? `failed connects, tried again in ${Math.ceil(ejectedForMs / 1000)} s`
        : (check?.reason ?? "no check"),
    connections: total(tables, slot, "connections"),
    connections_total: total(tables, slot, "connectionsTotal"),
    bytes_to_server: total(tables, slot, "bytesToServer"),
    bytes_from_server: total(tables, slot, "bytesFromServer"),
    connect_failures: total(tables, slot, "connectFailures"),
    check_duration_ms: check?.lastResult?.durationMs ?? 0,
    checks_total: check?.checks ?? 0,
    checks_failed: check?.failed ?? 0,
    since: rfc3339(server.sinceEpochMs),
  }
}

export function streamStatus(
  stream: StreamConfig,
  row: number,
  threads: DataThreads,
): ListenerStatus {
  const tables = threads.listenerCounters
  const ended = END_REASONS.map((reason) => [reason, total(tables, row, reason)] as const)
  return {
    name: stream.name,
    bind: stream.bind.map(formatEndpoint),
    pool: stream.pool,
    connections: total(tables, row, "connections"),
    total: total(tables, row, "connectionsTotal"),
    bytes_in: total(tables, row, "bytesIn"),
    bytes_out: total(tables, row, "bytesOut"),
    retries: total(tables, row, "retries"),
    ended: Object.fromEntries(ended),
  }
}

export function httpStatus(
  { config, row, routeRows }: DataHttpService,
  sources: {
    readonly tables: readonly HttpCounters[]
    readonly certificates: readonly CertificateFacts[]
  },
): HttpStatus {
  const { tables, certificates } = sources
  const ended = HTTP_END_REASONS.map((reason) => [reason, total(tables, row, reason)] as const)
  return {
    name: config.name,
    bind: config.bind.map(({ endpoint, tls }) => formatEndpoint(endpoint) + (tls ? " tls" : "")),
    connections: total(tables, row, "connections"),
    total: total(tables, row, "connectionsTotal"),
    requests: total(tables, row, "requests"),
    retries: total(tables, row, "retries"),
    bytes_in: total(tables, row, "bytesIn"),
    bytes_out: total(tables, row, "bytesOut"),
    ended: Object.fromEntries(ended),
    certificates: certificates.map((facts) => ({
      file: facts.file,
      names: facts.names,
      key_type: facts.keyType,
      not_after: rfc3339(facts.notAfter),
      expires_in_days: Math.floor(expiryDays(facts, Date.now())),
    })),
    routes: config.routes.map(({ name }, index) =>
      routeStatus(name, routeRows[index] ?? 0, tables),
    ),
  }
}

function routeStatus(name: string, row: number, tables: readonly HttpCounters[]): RouteStatus {
  let sum = 0
  const buckets = DURATION_COLUMNS.map((column, index) => {
    sum += total(tables, row, column)
    return [String(DURATION_BOUNDS_MS[index] ?? "+Inf"), sum] as const
  })
  const responses = STATUS_CLASSES.map(
    (name) => [name, total(tables, row, `status${name}`)] as const,
  )
  return {
    name,
    requests: total(tables, row, "requests"),
    responses: Object.fromEntries(responses),
    duration_ms_total: total(tables, row, "durationMsTotal"),
    duration_ms_buckets: Object.fromEntries(buckets),
  }
}

const STATUS_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const

function total<Column extends string>(
  tables: readonly CounterTable<Column>[],
  row: number,
  column: Column,
): number {
  return tables.reduce((sum, table) => sum + table.get(row, column), 0)
}

export function rfc3339(epochMs: number): string {
  return new Date(epochMs).toISOString()
}
