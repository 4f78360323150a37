/** A client's connection as an exchange sees it. */

import type { Transport } from "../../connection/transport.ts"
import type { NativeBytes } from "../../linux/bytes.ts"
import type { ProxiedEndpoints } from "../../wire/proxy-protocol.ts"
import type { HttpEndReason } from "../counters.ts"
import type { ForwardingOrigin } from "../forwarding.ts"
import type { HttpContext, HttpSettings } from "./context.ts"
import type { Outlet } from "./outlet.ts"

export interface ExchangeClient extends ForwardingOrigin {
  readonly context: HttpContext
  readonly settings: HttpSettings
  readonly transport: Transport
  readonly outlet: Outlet
  readonly isReadable: boolean
  /** The client has sent FIN. */
  readonly isHungUp: boolean
  /** No request is served after the present one. */
  readonly isRetired: boolean

  /** Between whom the connection is, for servers that are told. */
  endpoints(): ProxiedEndpoints
  /** Reads into `inbound` at an offset; a negated errno or 0 as the transport has it. */
  read(offset: number, length: number): number
  /** Writes; false when the connection is broken. */
  write(from: NativeBytes, start: number, end: number): boolean
  armForWriting(wanted: boolean): void
  /** When the client's clock acts next. */
  expectWithin(delayMs: number): void
  /** Keeps bytes for the next request; `source` may be where they are kept already. */
  hold(source: Buffer, start: number, end: number): void
  /** The bytes kept, which are the caller's now. */
  takeHeld(): NativeBytes | undefined
  /** The exchange is over and the client may ask again. */
  exchangeDone(): void
  /**
   * The exchange is over and so is the connection, once what is written has left. `lingers`: the
   * client may still be sending.
   */
  closeWhenFlushed(lingers: boolean): void
  /** Ends the connection with RST. */
  abort(reason: HttpEndReason): void
  close(how: "finish" | "reset"): void
  fail(error: unknown): void
}
