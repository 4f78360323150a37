/**
 * What the admin API needs of the daemon: a read-only picture and a few commands. `daemon/`
 * implements it; everything here is what `/v1/status` shows (DESIGN.md §5), in the JSON's own
 * spelling.
 */
import type { AdminState } from "../pool/server-board.ts"

export interface AdminBackend {
  status(): Status
  /** Empty: ready. Otherwise what is still missing, for a person. */
  notReady(): readonly string[]
  reload(): Promise<ReloadResult>
  setServer(pool: string, server: string, change: ServerChange): CommandResult
  release(vrrp: string): CommandResult
  resume(vrrp: string): CommandResult
  /** For tests only, unless the process was started with CAUSEWAY_FAULT_INJECTION=1: refused. */
  injectFault(thread: number, fault: string): CommandResult
  /** Calls `listener` at every change worth an event; returns how to stop. */
  subscribe(listener: (event: StatusEvent) => void): () => void
}

export interface ServerChange {
  readonly state?: AdminState
  /** 0–256; applies until the configuration's own weight changes. */
  readonly weight?: number
}

export type CommandResult =
  | { readonly ok: true }
  | { readonly ok: false; readonly status: 404 | 409 | 403 | 400; readonly detail: string }

export type ReloadResult =
  | {
      readonly ok: true
      readonly generation: number
      /** "pool mysql-replicas: changed", one line each; empty: nothing to do. */
      readonly changes: readonly string[]
      readonly warnings: readonly string[]
    }
  | { readonly ok: false; readonly error: string }

export interface StatusEvent {
  readonly time: string
  readonly type: "vrrp" | "server" | "reload" | "thread"
  readonly message: string
  readonly fields: Readonly<Record<string, string | number | boolean>>
}

/** Times are RFC 3339 text, numbers without a unit in their name are counts. */
export interface Status {
  readonly node: string
  readonly version: string
  readonly uptime_seconds: number
  readonly ready: boolean
  readonly not_ready: readonly string[]
  readonly config: ConfigStatus
  readonly vrrp: readonly VrrpStatus[]
  readonly checks: readonly CheckStatusEntry[]
  readonly pools: readonly PoolStatus[]
  readonly streams: readonly ListenerStatus[]
  readonly http: readonly HttpStatus[]
  /** null: no `[kubernetes]`. */
  readonly kubernetes: KubernetesStatus | null
  readonly threads: ThreadsStatus
}

export interface KubernetesStatus {
  readonly server: string
  /** Everything that is wanted is being followed. */
  readonly connected: boolean
  /** All of it has been heard from the server since the start. */
  readonly synced: boolean
  /** What is served is, at least in part, what the disk has kept. */
  readonly restored: boolean
  /** How old what is served may be; 0 while it is followed. */
  readonly age_seconds: number
  /** What is in the way; "" when nothing is. */
  readonly last_error: string
  readonly writer: {
    /** This edge writes to the API. */
    readonly active: boolean
    /** Identity of the Lease's holder; "" when unknown. */
    readonly holder: string
    readonly identity: string
    readonly writes: number
    /** Writes that the server did not take. */
    readonly refused: number
    /** RBAC rules that are missing, such as "patch services/status". */
    readonly missing_rules: readonly string[]
    readonly last_error: string
  }
  readonly resources: readonly KubernetesResourceStatus[]
  /** Pools that a Service names, and why one is empty. */
  readonly pools: readonly {
    readonly name: string
    readonly service: string
    readonly port: string | number
    readonly servers: number
    readonly reason: string
  }[]
  readonly services: readonly {
    readonly service: string
    readonly addresses: readonly string[]
    readonly vrrp: readonly string[]
    readonly ports: readonly string[]
    readonly state: string
    readonly reason: string
  }[]
  readonly address_pools: readonly {
    readonly name: string
    readonly used: number
    readonly size: number
  }[]
  readonly ingresses: number
  /** What is wrong with Ingresses, address pools and streams of Services. */
  readonly problems: readonly {
    readonly object: string
    readonly severity: string
    readonly reason: string
    readonly message: string
  }[]
  readonly nodes: readonly {
    readonly node: string
    readonly state: string
    readonly reason: string
    readonly networks: readonly string[]
  }[]
  readonly published: readonly {
    readonly service: string
    readonly stream: string
    readonly port: number
    readonly state: string
    readonly message: string
    readonly endpoints: readonly string[]
  }[]
}

export interface KubernetesResourceStatus {
  readonly name: string
  readonly state: string
  readonly synced: boolean
  readonly objects: number
  readonly resource_version: string
  /** RFC 3339; null: nothing was heard since the start. */
  readonly last_event: string | null
  readonly last_error: string
  readonly unreadable: number
  readonly relists: number
  readonly watches: number
}

export interface ConfigStatus {
  readonly path: string
  readonly loaded_at: string
  readonly generation: number
  /** Of the last reload that failed, until one succeeds; null otherwise. */
  readonly last_error: string | null
  readonly warnings: readonly string[]
}

export interface VrrpStatus {
  readonly name: string
  readonly interface: string
  readonly virtual_router_id: number
  readonly version: number
  readonly state: "initialize" | "backup" | "active" | "fault"
  readonly released: boolean
  readonly reason: string
  readonly priority: number
  readonly effective_priority: number
  readonly addresses: readonly string[]
  readonly since: string
  readonly peers: readonly {
    readonly address: string
    readonly priority: number
    readonly heard_at: string
  }[]
  readonly warnings: readonly string[]
  readonly transitions: number
  readonly adverts_sent: number
  readonly adverts_received: number
  readonly dropped: Readonly<Record<string, number>>
}

/** A named `[[check]]`. */
export interface CheckStatusEntry {
  readonly name: string
  readonly health: "up" | "down" | "unknown"
  readonly reason: string
  readonly since: string
  readonly duration_ms: number
  readonly checks_total: number
  readonly checks_failed: number
}

export interface PoolStatus {
  readonly name: string
  readonly balance: string
  readonly servers: readonly ServerStatus[]
}

export interface ServerStatus {
  readonly name: string
  readonly address: string
  readonly weight: number
  readonly backup: boolean
  readonly admin: AdminState
  /** "unknown" also where the pool has no check; `reason` says which. */
  readonly health: "up" | "down" | "unknown"
  /** Taken out by failed connects of live traffic, for a while. */
  readonly ejected: boolean
  readonly reason: string
  readonly connections: number
  readonly connections_total: number
  readonly bytes_to_server: number
  readonly bytes_from_server: number
  readonly connect_failures: number
  readonly check_duration_ms: number
  readonly checks_total: number
  readonly checks_failed: number
  readonly since: string
}

export interface ListenerStatus {
  readonly name: string
  readonly bind: readonly string[]
  readonly pool: string
  readonly connections: number
  readonly total: number
  readonly bytes_in: number
  readonly bytes_out: number
  readonly retries: number
  /** Ended connections by reason (`stream/end-reason.ts`). */
  readonly ended: Readonly<Record<string, number>>
}

/** An `[[http]]` listener. */
export interface HttpStatus {
  readonly name: string
  readonly bind: readonly string[]
  readonly connections: number
  /** Connections so far. */
  readonly total: number
  readonly requests: number
  readonly retries: number
  readonly bytes_in: number
  readonly bytes_out: number
  /** Ended requests by reason (`http/counters.ts`). */
  readonly ended: Readonly<Record<string, number>>
  readonly certificates: readonly CertificateStatus[]
  readonly routes: readonly RouteStatus[]
}

export interface CertificateStatus {
  readonly file: string
  readonly names: readonly string[]
  readonly key_type: string
  readonly not_after: string
  /** Negative after the end. */
  readonly expires_in_days: number
}

export interface RouteStatus {
  readonly name: string
  readonly requests: number
  /** By class: "2xx" and so on. */
  readonly responses: Readonly<Record<string, number>>
  readonly duration_ms_total: number
  /** Requests that took at most so many milliseconds; the last one counts all ("+Inf"). */
  readonly duration_ms_buckets: Readonly<Record<string, number>>
}

export interface ThreadsStatus {
  readonly data: number
  readonly data_restarts: number
  readonly sessions: number
  readonly sessions_max: number
  readonly vrrp_scheduling: string
}
