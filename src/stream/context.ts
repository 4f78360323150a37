/**
 * What the connections of one data thread share. `dataplane/` makes it; `stream/` only uses it.
 */

import type { NativeBytes } from "../linux/bytes.ts"
import type { FdLedger } from "../linux/fd-ledger.ts"
import type { PipePool } from "../linux/pipe.ts"
import type { Reactor } from "../linux/reactor.ts"
import type { Endpoint, Family } from "../net/address.ts"
import type { Pool, PoolServer } from "../pool/pool.ts"
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
  readonly pools: ReadonlyMap<string, StreamPool>
  readonly budget: SessionBudget
  /** Called at the end of each connection while an access log is kept. */
  accessLog: ((record: StreamRecord) => void) | undefined
  log(level: "debug" | "info" | "warn" | "error", message: string, fields: LogFields): void
}

export type LogFields = Readonly<Record<string, string | number | boolean>>

/** A pool with what connecting to its servers needs. */
export interface StreamPool {
  readonly pool: Pool
  readonly connectTimeoutMs: number
  readonly connectRetries: number
  readonly maxFails: number
  readonly failTimeoutMs: number
  readonly closeOnDown: boolean
  /** The servers' addresses as the kernel wants them. */
  readonly sockaddrs: ReadonlyMap<PoolServer, NativeBytes>
  /** Whether the policy looks at the client at all. */
  readonly usesClientHash: boolean
  /** Local addresses to connect from, in turn, by family; empty: the kernel chooses. */
  readonly sources: Readonly<Record<Family, readonly NativeBytes[]>>
}

/** Open sessions of all threads against what the descriptor limit allows. */
export class SessionBudget {
  readonly #open: Int32Array
  readonly sessionsMax: number

  constructor(buffer: SharedArrayBuffer, sessionsMax: number) {
    this.#open = new Int32Array(buffer)
    this.sessionsMax = sessionsMax
  }

  static allocate(): SharedArrayBuffer {
    return new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)
  }

  get open(): number {
    return Atomics.load(this.#open, 0)
  }

  /** Whether there was room; then the caller owes a `release`. */
  take(): boolean {
    if (Atomics.add(this.#open, 0, 1) < this.sessionsMax) return true
    this.release(1)
    return false
  }

  release(sessions: number): void {
    Atomics.sub(this.#open, 0, sessions)
  }
}

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
