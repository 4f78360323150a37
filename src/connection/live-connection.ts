/** A client's connection, whatever serves it: what ending many of them at once needs to know. */
import type { Handler } from "../linux/reactor.ts"
import type { Address } from "../net/address.ts"
import { TimerEntry } from "../net/timer-wheel.ts"

export type OutsideReason = "address_released" | "server_down" | "stopped"

export abstract class LiveConnection extends TimerEntry implements Handler {
  /** Whether it uses the server in this slot, and the pool says to close then. */
  abstract endsWithServer(slots: ReadonlySet<number>): boolean

  /** The address the client connected to. */
  abstract localAddress(): Address | undefined

  /** Ends it with RST on both sides, so that both learn at once. */
  abstract end(reason: OutsideReason): void

  abstract handle(fd: number, events: number): void
}

/** Connections that have no object of their own. */
export abstract class LiveCrowd extends TimerEntry implements Handler {
  /** Ends those that it concerns, as `LiveConnection.end` does. */
  abstract endThose(reason: OutsideReason, concerns: (live: LiveConnection) => boolean): void

  abstract handle(fd: number, events: number): void
}
