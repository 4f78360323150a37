/**
 * What the control thread and a data thread say to each other. All of it is plain data.
 *
 * Control → thread goes through `linux/mailbox.ts`; thread → control is `postMessage`. Changes are
 * incremental and named, so that one pool of thousands can change without the others being touched.
 * Health, operator states and weights are not messages: they are cells of the `ServerBoard`.
 */

import type { HttpConfig, RouteConfig } from "../config/http-config.ts"
import type { PasswordVerdict } from "../http/route.ts"
import type { HttpRecord } from "../http/shell/context.ts"
import type { MailboxAddress } from "../linux/mailbox.ts"
import type { SharedMemoryAddress } from "../linux/shared-memory.ts"
import type { Address, Endpoint } from "../net/address.ts"
import type { PoolSpec } from "../pool/pool.ts"
import type { StreamRecord } from "../stream/context.ts"
import type { StreamListenerSpec } from "../stream/driver.ts"
import type { ClientTlsSpec, ServerTlsSpec } from "../tls/tls-spec.ts"
import type { ProxyVersion } from "../wire/proxy-protocol.ts"

export interface DataPoolSpec extends PoolSpec {
  readonly connectTimeoutMs: number
  readonly connectRetries: number
  readonly maxFails: number
  readonly failTimeoutMs: number
  readonly closeOnDown: boolean
  readonly source: readonly Address[]
  readonly proxyProtocol: ProxyVersion | undefined
  /** Towards the servers; may hold a private key. */
  readonly tls: ClientTlsSpec | undefined
}

/** A listening socket that is this thread's; control opened it and will close it. */
export type DataListenerSpec = (DataStreamSpec | DataHttpSpec) & {
  /** Stays the same while the socket does. */
  readonly id: string
  readonly fd: number
}

export interface DataStreamSpec extends StreamListenerSpec {
  readonly kind: "stream"
}

/** One endpoint of an HTTP service. */
export interface DataHttpSpec {
  readonly kind: "http"
  /** Names a `DataHttpService` that was set before or with it. */
  readonly service: string
  readonly endpoint: Endpoint
  readonly isTls: boolean
}

/** What the endpoints of one `[[http]]` share. */
export interface DataHttpService {
  readonly config: HttpConfig
  /** Row of the listener, and of each of its routes in their order, in the `HttpCounters`. */
  readonly row: number
  readonly routeRows: readonly number[]
  /** Of the endpoints with TLS; undefined when there are none. Holds private keys. */
  readonly tls: ServerTlsSpec | undefined
}

/**
 * The same on its way to a thread, which has been told the routes before, those that it does not
 * know yet: each thread compiles its own table, and thousands of routes at once would keep it from
 * everything else.
 */
export interface DataHttpServiceUpdate extends Omit<DataHttpService, "routeRows"> {
  /** Without routes. */
  readonly config: HttpConfig
  /** Of its routes, in their order (`routeKeys`). */
  readonly routeKeys: readonly number[]
}

export type ToDataThread =
  /** The first of many pools that a `configure` sets. */
  | { readonly type: "pools"; readonly set: readonly DataPoolSpec[] }
  /**
   * Routes of a service, to be made ready for the `configure` that follows. With `isFresh` those
   * known so far do not count any more.
   */
  | {
      readonly type: "routes"
      /** Without routes. */
      readonly http: HttpConfig
      readonly isFresh: boolean
      readonly keys: readonly number[]
      readonly routes: readonly RouteConfig[]
    }
  | {
      readonly type: "configure"
      /** Answered by `done` with the same number, after which removed sockets may be closed. */
      readonly id: number
      readonly pools: { readonly set: readonly DataPoolSpec[]; readonly remove: readonly string[] }
      readonly services: {
        readonly set: readonly DataHttpServiceUpdate[]
        readonly remove: readonly string[]
      }
      readonly listeners: {
        readonly set: readonly DataListenerSpec[]
        readonly remove: readonly string[]
      }
      readonly accessLog: boolean
      /** Whether debug records are wanted: there may be one for each connection. */
      readonly debugLog: boolean
    }
  /** Reset, on both sides, every connection that came through one of the addresses. */
  | { readonly type: "reset"; readonly id: number; readonly addresses: readonly Address[] }
  /** Servers that went down: close their connections where the pool asks for it. */
  | { readonly type: "servers-down"; readonly slots: readonly number[] }
  /** Answer to `verify-password`. */
  | { readonly type: "password"; readonly id: number; readonly verdict: PasswordVerdict }
  /** Reset what is still open and end. */
  | { readonly type: "stop" }
  /** Fault injection for the tests, refused unless the process was started with it enabled. */
  | { readonly type: "fault"; readonly fault: DataFault }

/** hang: spin for ever; throw: leave the loop by an exception. */
export type DataFault = "hang" | "throw"

/** Of a stream connection, or of an HTTP request. */
export type AccessRecord = StreamRecord | HttpRecord

export type FromDataThread =
  | { readonly type: "started" }
  | { readonly type: "done"; readonly id: number }
  /** bcrypt and argon2 take long on purpose: the control thread has them done elsewhere. */
  | {
      readonly type: "verify-password"
      readonly id: number
      readonly password: string
      readonly hash: string
    }
  | { readonly type: "access"; readonly records: readonly AccessRecord[] }
  | {
      readonly type: "log"
      readonly level: "debug" | "info" | "warn" | "error"
      readonly component: string
      readonly message: string
      readonly fields: Readonly<Record<string, string | number | boolean>>
    }
  | { readonly type: "stopped" }

/** The first message a data thread gets, by `postMessage`, before it enters its loop. */
export interface DataThreadStart {
  /** Its number in the fd ledger, 1–255. */
  readonly owner: number
  /** Index of its own tables in the arrays. */
  readonly index: number
  readonly mailbox: MailboxAddress
  readonly heartbeat: SharedArrayBuffer
  readonly ledger: SharedArrayBuffer
  readonly board: SharedArrayBuffer
  readonly budget: SharedArrayBuffer
  readonly sessionsMax: number
  readonly serverCounters: readonly SharedArrayBuffer[]
  readonly listenerCounters: readonly SharedArrayBuffer[]
  readonly httpCounters: readonly SharedMemoryAddress[]
  /** The table of `rate_limit`, of all threads together. */
  readonly rates: SharedArrayBuffer
  /** Allows `fault` messages. */
  readonly faultInjection: boolean
  /** What the process was started with. */
  readonly nice: number
}
