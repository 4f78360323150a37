/**
 * What the control thread and the vrrp thread say to each other. All of it is plain data.
 *
 * Control → thread goes through `linux/mailbox.ts`, because the thread blocks in epoll and never
 * runs the event loop; thread → control is plain `postMessage`. `configure` always carries the
 * whole desired state: the thread compares it by name with what it runs, and a virtual router whose
 * configuration is equal keeps its sockets, state, counters and addresses.
 *
 * The order at start is: control starts the Worker and waits for `started`; sends `configure`, then
 * `tracking` for every router as checks and pools become known, and `ready` once the listeners are
 * bound. Until a router's tracking is settled *and* `ready` has arrived it stays in Initialize and
 * sends nothing, so that an edge which is still finding out never preempts a healthy one.
 */
import type { MessagePort } from "node:worker_threads"
import type { VrrpConfig } from "../config/config.ts"
import type { Address, Prefix } from "../net/address.ts"
import type { Tracking } from "./tracking.ts"

/** Control → vrrp thread. `router` is `VrrpConfig.name`. */
export type ToVrrpThread =
  | { readonly type: "configure"; readonly routers: readonly VrrpConfig[] }
  /**
   * What the tracked checks and pools of one router come to. Tracked interfaces are not in it: the
   * thread follows links itself and adds them.
   */
  | { readonly type: "tracking"; readonly router: string; readonly tracking: Tracking }
  /** All listeners are bound. Sent once. */
  | { readonly type: "ready" }
  /** Hand the addresses to the peer now, and stay backup until `resume`. */
  | { readonly type: "release"; readonly router: string }
  | { readonly type: "resume"; readonly router: string }
  /** Answer to `leaving`: sessions through the addresses are reset. */
  | { readonly type: "left"; readonly router: string }
  /** Leave everything with priority 0, then answer `stopped` and end. */
  | { readonly type: "stop" }

/** Vrrp thread → control. */
export type FromVrrpThread =
  | { readonly type: "started"; readonly scheduling: "fifo" | "normal" }
  /** At once on every transition (never merged), otherwise at most once a second per router. */
  | { readonly type: "state"; readonly snapshot: VirtualRouterSnapshot }
  /** A router that `configure` no longer names has left and is forgotten. */
  | { readonly type: "removed"; readonly router: string }
  /**
   * The addresses are about to go: reset the sessions through them, then answer `left`. The thread
   * waits at most `LEAVING_WAIT_MS`.
   */
  | {
      readonly type: "leaving"
      readonly router: string
      readonly addresses: readonly Address[]
    }
  | {
      readonly type: "log"
      readonly level: "debug" | "info" | "warn" | "error"
      readonly component: string
      readonly message: string
      readonly fields: Readonly<Record<string, string | number | boolean>>
    }
  | { readonly type: "stopped" }

/** A stop must reach the peer within 150 ms of SIGTERM; this is the share control may take. */
export const LEAVING_WAIT_MS = 50

/** RFC 9568 §6.4, and keepalived's Fault: held down by a tracked object or the interface. */
export type VirtualRouterStateName = "initialize" | "backup" | "active" | "fault"

/** Everything `/v1/vrrp` and the metrics show of one virtual router. */
export interface VirtualRouterSnapshot {
  readonly name: string
  readonly interface: string
  readonly virtualRouterId: number
  readonly version: 2 | 3
  readonly state: VirtualRouterStateName
  readonly released: boolean
  readonly priority: number
  readonly effectivePriority: number
  readonly addresses: readonly Prefix[]
  /** Wall clock of the last transition, milliseconds since the epoch. */
  readonly sinceEpochMs: number
  /** Why it is in this state, for a person. */
  readonly reason: string
  readonly peers: readonly PeerSnapshot[]
  readonly warnings: readonly string[]
  readonly transitions: number
  readonly advertsSent: number
  readonly advertsReceived: number
  /** Packets of any kind that the kernel would not send. */
  readonly sendErrors: number
  /** Packets ignored, by reason (`wire/vrrp.ts` and `virtual-router.ts` name them). */
  readonly dropped: Readonly<Record<string, number>>
}

/** A router whose adverts for the same VRID were heard on this link lately. */
export interface PeerSnapshot {
  readonly address: Address
  readonly priority: number
  readonly heardAtEpochMs: number
}

/** The first and only `postMessage` to the Worker: what it starts with. */
export interface VrrpThreadData {
  /**
   * IFA_PROTO of the addresses this process places, 4–255; 202 unless given. Processes of one host
   * that place addresses on interfaces need different ones, or each start clears the others' away.
   */
  readonly addressMark?: number
  /** `Mailbox.address` of linux/mailbox.ts; `port` is transferred. */
  readonly mailbox: { readonly port: MessagePort; readonly doorbell: number }
  /** Beats at least once a second while the thread is alive (`Heartbeat`). */
  readonly heartbeat: SharedArrayBuffer
  readonly nice: number
}
