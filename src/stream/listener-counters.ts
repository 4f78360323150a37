/** What each data thread counts per stream; rows are handed out by the control thread. */
import { CounterTable, counterColumns, doublesIn } from "../metrics/counter-table.ts"
import { END_REASONS, type EndReason } from "./end-reason.ts"

export const LISTENER_ROWS_MAX = 16_384

export type ListenerColumn =
  | "connections"
  | "connectionsTotal"
  | "bytesIn"
  | "bytesOut"
  | "retries"
  | EndReason

export const LISTENER_COLUMNS = counterColumns<ListenerColumn>(
  ["connections", "connectionsTotal", "bytesIn", "bytesOut", "retries", ...END_REASONS],
  ["connections"],
)

export type ListenerCounters = CounterTable<ListenerColumn>

export function allocateListenerCounters(): SharedArrayBuffer {
  return CounterTable.allocate(LISTENER_COLUMNS.width, LISTENER_ROWS_MAX)
}

export function listenerCounters(buffer: SharedArrayBuffer): ListenerCounters {
  return new CounterTable(LISTENER_COLUMNS, doublesIn(buffer))
}
