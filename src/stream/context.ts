/**
 * What the connections of one data thread share. `dataplane/` makes it; `stream/` only uses it.
 */

import type { ServerPool } from "../connection/server-pool.ts"
import type { SessionBudget } from "../connection/session-budget.ts"
import type { FdLedger } from "../linux/fd-ledger.ts"
import type { PipePool } from "../linux/pipe.ts"
import type { Reactor } from "../linux/reactor.ts"
import type { Endpoint } from "../net/address.ts"
import type { ServerBoard } from "../pool/server-board.ts"
import type { ServerCounters } from "../pool/server-counters.ts"
import type { EndReason } from "./end-reason.ts"
import type { ListenerCounters } from "./listener-counters.ts"

export interface StreamContext {
  readonly reactor: Reactor
  readonly pipes: PipePool
  readonly ledger: FdLedger
  /** This thread's number in the ledger. */
  readonly owner: number
  readonly board: ServerBoard
  readonly serverCounters: ServerCounters
  /** Those of all data threads: a server's connections are counted over the process. */
  readonly allServerCounters: readonly ServerCounters[]
  readonly listenerCounters: ListenerCounters
  /** The listener tables of all data threads, for limits that hold for the process. */
  readonly allListenerCounters: readonly ListenerCounters[]
  readonly pools: ReadonlyMap<string, ServerPool>
  readonly budget: SessionBudget
  /** Called at the end of each connection while an access log is kept. */
  accessLog: ((record: StreamRecord) => void) | undefined
  log(level: "debug" | "info" | "warn" | "error", message: string, fields: LogFields): void
}

export type LogFields = Readonly<Record<string, string | number | boolean>>

/** One finished connection, for the access log. Times are milliseconds. */
export interface StreamRecord {
  readonly stream: string
  readonly client: Endpoint
  readonly listen: Endpoint
  readonly pool: string
  /** Empty when no server was reached. */
  readonly server: string
  readonly connectMs: number
  readonly durationMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly retries: number
  readonly reason: EndReason
}

/** The part of a listener that a session needs; replaced as a whole on reload. */
export interface ListenerSettings {
  readonly stream: string
  readonly row: number
  readonly endpoint: Endpoint
  readonly pool: string
  readonly idleTimeoutMs: number
  readonly maxConnections: number
}
