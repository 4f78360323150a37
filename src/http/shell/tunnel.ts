/**
 * What a connection becomes after 101 (RFC 9110 §7.8): bytes both ways, each direction with its own
 * end, until both have ended, one breaks, or nothing moves for the tunnel's time.
 */
import type { NativeBytes } from "../../linux/bytes.ts"
import { EAGAIN } from "../../linux/errno.ts"
import type { HttpEndReason } from "../counters.ts"
import { inbound, READ_BYTES } from "./context.ts"
import type { ExchangeClient } from "./exchange-client.ts"
import type { UpstreamConnection } from "./upstream-connections.ts"

/** Bytes one tunnel moves each way before others get their turn. */
const TURN_BYTES = 1024 * 1024

export interface TunnelUser {
  /** How long nothing may move. */
  readonly idleMsMax: number
  /** Bytes have passed towards the server and towards the client. */
  moved(up: number, down: number): void
  ended(reason: HttpEndReason): void
}

export class Tunnel {
  readonly #client: ExchangeClient
  readonly #upstream: UpstreamConnection
  readonly #user: TunnelUser
  #hasClientEnded = false
  #hasServerEnded = false
  #isOver = false

  constructor(client: ExchangeClient, upstream: UpstreamConnection, user: TunnelUser) {
    this.#client = client
    this.#upstream = upstream
    this.#user = user
  }

  /** `early` is what the client sent before it knew. */
  start(early: NativeBytes | undefined): void {
    this.#client.expectWithin(this.#user.idleMsMax)
    if (early !== undefined) {
      const { length } = early.bytes
      this.#user.moved(length, 0)
      if (!this.#upstream.write(early, 0, length)) return this.#end("server_aborted")
    }
    this.pump()
  }

  /** Moves what can be moved. Call whenever a side may be read, or takes more, again. */
  pump(): void {
    if (this.#upstream.isBroken) return this.#end("server_aborted")
    if (!this.#isOver && !this.#hasClientEnded) this.#pumpUp()
    if (!this.#isOver && !this.#hasServerEnded) this.#pumpDown()
    if (this.#hasClientEnded && this.#hasServerEnded) this.#end("finished")
  }

  #pumpUp(): void {
    const client = this.#client
    const upstream = this.#upstream
    let turn = 0
    while (client.isReadable && !upstream.outlet.isBlocked) {
      if (turn >= TURN_BYTES) return client.context.reactor.defer(client.transport.fd)
      const count = client.read(0, READ_BYTES)
      if (count === -EAGAIN) return
      if (count < 0) return this.#end("client_aborted")
      if (count === 0) {
        this.#hasClientEnded = true
        return upstream.transport.finishWriting()
      }
      turn += count
      this.#moved(count, 0)
      if (!upstream.write(inbound, 0, count)) return this.#end("server_aborted")
    }
  }

  #pumpDown(): void {
    const client = this.#client
    const upstream = this.#upstream
    let turn = 0
    while (upstream.isReadable && !client.outlet.isBlocked) {
      if (turn >= TURN_BYTES) return client.context.reactor.defer(upstream.transport.fd)
      const count = upstream.read(inbound, 0, READ_BYTES)
      if (count === -EAGAIN) return
      if (count < 0) return this.#end("server_aborted")
      if (count === 0) {
        this.#hasServerEnded = true
        return client.transport.finishWriting()
      }
      turn += count
      this.#moved(0, count)
      if (!client.write(inbound, 0, count)) return this.#end("client_aborted")
    }
  }

  #moved(up: number, down: number): void {
    this.#user.moved(up, down)
    this.#client.expectWithin(this.#user.idleMsMax)
  }

  #end(reason: HttpEndReason): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#user.ended(reason)
  }
}
