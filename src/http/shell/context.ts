/**
 * What the HTTP connections of one data thread share. `dataplane/` makes it; `http/` only uses it.
 */

import type { ServerPool } from "../../connection/server-pool.ts"
import type { SessionBudget } from "../../connection/session-budget.ts"
import { NativeBytes } from "../../linux/bytes.ts"
import type { FdLedger } from "../../linux/fd-ledger.ts"
import type { PipePool } from "../../linux/pipe.ts"
import type { Reactor } from "../../linux/reactor.ts"
import type { Address, Endpoint } from "../../net/address.ts"
import type { ServerBoard } from "../../pool/server-board.ts"
import type { ServerCounters } from "../../pool/server-counters.ts"
import type { HttpCounters, HttpEndReason } from "../counters.ts"
import type { HeadLimits } from "../head.ts"
import type { PasswordVerdict, Routes } from "../route.ts"
import type { DateField } from "./date-field.ts"
import type { UpstreamConnections } from "./upstream-connections.ts"

export interface HttpContext {
  readonly reactor: Reactor
  readonly pipes: PipePool
  readonly ledger: FdLedger
  /** This thread's number in the ledger. */
  readonly owner: number
  readonly board: ServerBoard
  readonly serverCounters: ServerCounters
  readonly counters: HttpCounters
  /** The tables of all data threads, for limits that hold for the process. */
  readonly allCounters: readonly HttpCounters[]
  readonly pools: ReadonlyMap<string, ServerPool>
  readonly upstreams: UpstreamConnections
  readonly budget: SessionBudget
  /** Asks the control thread; returns what cancels the asking. */
  verifyPassword(
    asked: { readonly password: string; readonly hash: string },
    answer: (verdict: PasswordVerdict) => void,
  ): () => void
  /** For answers of the edge's own. */
  readonly date: DateField
  accessLog: ((record: HttpRecord) => void) | undefined
  log(
    level: "debug" | "info" | "warn" | "error",
    message: string,
    fields: Readonly<Record<string, string | number | boolean>>,
  ): void
}

/** A listener's settings; replaced as a whole on reload. */
export interface HttpSettings {
  readonly name: string
  readonly row: number
  readonly endpoint: Endpoint
  readonly isTls: boolean
  readonly routes: Routes
  readonly limits: HeadLimits
  readonly timeouts: {
    readonly headMs: number
    readonly bodyMs: number
    readonly idleMs: number
    readonly betweenBytesMs: number
    readonly tunnelMs: number
  }
  readonly trusts: (client: Address) => boolean
  readonly maxConnections: number
}

/** One finished request, for the access log. Times are milliseconds; -1: did not come to it. */
export interface HttpRecord {
  readonly listener: string
  readonly client: Address
  readonly method: string
  readonly host: string
  readonly target: string
  readonly version: string
  readonly status: number
  readonly route: string
  readonly pool: string
  readonly server: string
  readonly bytesIn: number
  readonly bytesOut: number
  readonly connectMs: number
  readonly firstByteMs: number
  readonly durationMs: number
  readonly retries: number
  readonly referer: string
  readonly userAgent: string
  readonly tlsVersion: string
  readonly reason: HttpEndReason
}

/** Bytes one read takes. */
export const READ_BYTES = 256 * 1024
/** Held bytes that precede them: at most a head. */
const HELD_BYTES_MAX = 256 * 1024
/** A head that is being written; larger than any that is accepted, for what is added to it. */
export const HEAD_ROOM_BYTES = 288 * 1024

/** Every read of the thread goes here, and every head written; nothing stays between two events. */
export const inbound: NativeBytes = new NativeBytes(HELD_BYTES_MAX + READ_BYTES)
export const outbound: NativeBytes = new NativeBytes(HEAD_ROOM_BYTES + HELD_BYTES_MAX + READ_BYTES)
export const inboundBuffer: Buffer = Buffer.from(inbound.bytes.buffer)
export const outboundBuffer: Buffer = Buffer.from(outbound.bytes.buffer)
