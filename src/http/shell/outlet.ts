/**
 * The writing side of a connection: what the peer does not take at once is kept, and whoever
 * produces it is told to stop until it is gone. So at most one read's worth is ever kept.
 */

import type { Transport } from "../../connection/transport.ts"
import { NativeBytes } from "../../linux/bytes.ts"
import { EAGAIN } from "../../linux/errno.ts"

export class Outlet {
  readonly #transport: Transport
  #rest: NativeBytes | undefined = undefined
  #start = 0
  bytes = 0

  constructor(transport: Transport) {
    this.#transport = transport
  }

  get isBlocked(): boolean {
    return this.#rest !== undefined
  }

  /** False: the connection is broken. */
  write(from: NativeBytes, start: number, end: number): boolean {
    if (start === end) return true
    if (this.#rest !== undefined) return this.#append(from, start, end)
    const sent = this.#transport.write(from, start, end)
    if (sent === end - start) {
      this.bytes += sent
      return true
    }
    if (sent < 0 && sent !== -EAGAIN) return false
    const taken = Math.max(sent, 0)
    this.bytes += taken
    this.#rest = NativeBytes.of(from.bytes.subarray(start + taken, end))
    this.#start = 0
    return true
  }

  /** Writes what is kept. False: the connection is broken. */
  flush(): boolean {
    const rest = this.#rest
    if (rest === undefined) return true
    const sent = this.#transport.write(rest, this.#start, rest.bytes.length)
    if (sent === -EAGAIN) return true
    if (sent < 0) return false
    this.bytes += sent
    this.#start += sent
    if (this.#start === rest.bytes.length) this.#rest = undefined
    return true
  }

  #append(from: NativeBytes, start: number, end: number): boolean {
    const rest = this.#rest as NativeBytes
    const joined = new NativeBytes(rest.bytes.length - this.#start + end - start)
    joined.bytes.set(rest.bytes.subarray(this.#start), 0)
    joined.bytes.set(from.bytes.subarray(start, end), rest.bytes.length - this.#start)
    this.#rest = joined
    this.#start = 0
    return true
  }
}
