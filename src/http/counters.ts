/**
 * What each data thread counts per `[[http]]` listener and per route; rows are handed out by the
 * control thread. Durations are a histogram with fixed bounds, so that edges can be added up.
 */
import { CounterTable, counterColumns, type SharedDoubles } from "../metrics/counter-table.ts"

/** 131 072 rows × 41 columns × 8 bytes = 41 MiB of address space a thread, touched as used. */
export const HTTP_ROWS_MAX = 131_072

/** Upper bounds of the duration histogram, milliseconds; one more column counts the rest. */
export const DURATION_BOUNDS_MS = [
  1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000,
] as const

export const HTTP_END_REASONS = [
  "finished",
  "bad_request",
  "client_aborted",
  "client_timeout",
  "no_server",
  "connect_failed",
  "server_timeout",
  "server_aborted",
  "bad_response",
  "denied",
  "bad_proxy_header",
  "handshake_failed",
  "exhausted",
  "address_released",
  "stopped",
  "internal_error",
] as const
export type HttpEndReason = (typeof HTTP_END_REASONS)[number]

type DurationColumn = "duration0" | "duration1" | DurationRest
type DurationRest = `duration${2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12}`

export type HttpColumn =
  | "connections"
  | "connectionsTotal"
  | "requests"
  | "retries"
  | "bytesIn"
  | "bytesOut"
  | "status1xx"
  | "status2xx"
  | "status3xx"
  | "status4xx"
  | "status5xx"
  | "durationMsTotal"
  | DurationColumn
  | HttpEndReason

/** Histogram columns, in the order of the bounds. */
export const DURATION_COLUMNS: readonly DurationColumn[] = Array.from(
  { length: DURATION_BOUNDS_MS.length + 1 },
  (_, index) => `duration${index}` as DurationColumn,
)

export const HTTP_COLUMNS = counterColumns<HttpColumn>(
  [
    "connections",
    "connectionsTotal",
    "requests",
    "retries",
    "bytesIn",
    "bytesOut",
    "status1xx",
    "status2xx",
    "status3xx",
    "status4xx",
    "status5xx",
    "durationMsTotal",
    ...DURATION_COLUMNS,
    ...HTTP_END_REASONS,
  ],
  ["connections"],
)

export type HttpCounters = CounterTable<HttpColumn>

/** Of one thread's table. */
export const HTTP_COUNTERS_BYTES =
  HTTP_COLUMNS.width * HTTP_ROWS_MAX * Float64Array.BYTES_PER_ELEMENT

export function httpCounters(memory: SharedDoubles): HttpCounters {
  return new CounterTable(HTTP_COLUMNS, memory)
}

const FIRST_DURATION = HTTP_COLUMNS.index.duration0
const FIRST_STATUS = HTTP_COLUMNS.index.status1xx

/** Counts one finished request in its row. */
export function countRequest(
  table: HttpCounters,
  row: number,
  request: { readonly status: number; readonly durationMs: number },
): void {
  const { columns } = table
  const cells = table.cells(row)
  const base = table.baseOf(row)
  const { status, durationMs } = request
  add(cells, base + columns.index.requests, 1)
  // Beyond 599 there are none; a server that says 999 has failed (RFC 9110 §15).
  if (status >= 100) add(cells, base + FIRST_STATUS + Math.min(Math.floor(status / 100), 5) - 1, 1)
  add(cells, base + columns.index.durationMsTotal, durationMs)
  let bucket = 0
  while (
    bucket < DURATION_BOUNDS_MS.length &&
    durationMs > (DURATION_BOUNDS_MS[bucket] as number)
  ) {
    bucket++
  }
  add(cells, base + FIRST_DURATION + bucket, 1)
}

function add(cells: Float64Array, at: number, amount: number): void {
  cells[at] = (cells[at] as number) + amount
}
