/** What each data thread counts per server. Rows are slots of the `ServerBoard`. */
import { CounterTable, counterColumns, doublesIn } from "../metrics/counter-table.ts"
import { SERVER_SLOTS_MAX } from "./server-board.ts"

export type ServerColumn =
  | "connections"
  | "connectionsTotal"
  | "bytesToServer"
  | "bytesFromServer"
  | "connectFailures"
  | "connectMsTotal"

export const SERVER_COLUMNS = counterColumns<ServerColumn>(
  [
    "connections",
    "connectionsTotal",
    "bytesToServer",
    "bytesFromServer",
    "connectFailures",
    "connectMsTotal",
  ],
  ["connections"],
)

export type ServerCounters = CounterTable<ServerColumn>

export function allocateServerCounters(): SharedArrayBuffer {
  return CounterTable.allocate(SERVER_COLUMNS.width, SERVER_SLOTS_MAX)
}

export function serverCounters(buffer: SharedArrayBuffer): ServerCounters {
  return new CounterTable(SERVER_COLUMNS, doublesIn(buffer))
}
