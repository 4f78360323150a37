/**
 * A client between accept and its first own byte, when it is a proxy that says for whom it speaks
 * (`wire/proxy-protocol.ts`): waits for the header, takes exactly that out of the socket, and hands
 * over a connection on which nothing seems to have happened yet.
 *
 * Kept apart from what serves the client then, TLS or plain: it never meets the header.
 */
import { NativeBytes } from "../linux/bytes.ts"
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLRDHUP } from "../linux/epoll.ts"
import { EAGAIN } from "../linux/errno.ts"
import type { Reactor } from "../linux/reactor.ts"
import { localEndpoint, peek, receive, resetFd } from "../linux/tcp.ts"
import type { Address } from "../net/address.ts"
import {
  PROXY_HEADER_BYTES_MAX,
  type ProxiedEndpoints,
  type ProxyHeaderFault,
  parseProxyHeader,
} from "../wire/proxy-protocol.ts"
import { LiveConnection, type OutsideReason } from "./live-connection.ts"

export type ProxyHeaderFailure =
  | ProxyHeaderFault
  | OutsideReason
  | "client_left"
  | "timeout"
  | "internal_error"

export interface ProxyHeaderUser {
  /**
   * The descriptor belongs to no handler now. `endpoints`: between whom the connection is;
   * undefined when the proxy speaks for itself, or does not know.
   */
  received(endpoints: ProxiedEndpoints | undefined): void
  /** The client is lost; `fd` is about to be reset. */
  failed(failure: ProxyHeaderFailure): void
  /** A fault of ours; then `failed` is called, unless the connection was handed over already. */
  fault(error: unknown): void
}

const HEADER_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET

const GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR

/** One per thread: what is looked at stays in the socket. */
const header = new NativeBytes(PROXY_HEADER_BYTES_MAX)

export class ProxyHeader extends LiveConnection {
  readonly fd: number
  readonly #reactor: Reactor
  readonly #user: ProxyHeaderUser
  #isOver = false

  /** Takes over the accepted socket `fd`. */
  constructor(
    reactor: Reactor,
    start: { readonly fd: number; readonly timeoutMs: number; readonly user: ProxyHeaderUser },
  ) {
    super()
    this.fd = start.fd
    this.#reactor = reactor
    this.#user = start.user
    reactor.add(this.fd, HEADER_EVENTS, this)
    reactor.arm(this, start.timeoutMs)
  }

  override handle(_fd: number, events: number): void {
    const count = peek(this.fd, header, PROXY_HEADER_BYTES_MAX)
    if (count <= 0 && count !== -EAGAIN) return this.#fail("client_left")
    const result = parseProxyHeader(header.bytes, Math.max(0, count))
    if (result.type === "fault") return this.#fail(result.reason)
    if (result.type === "complete") return this.#complete(result)
    if ((events & GONE) !== 0) this.#fail("client_left")
  }

  override onTimer(): void {
    this.#fail("timeout")
  }

  override fail(error: unknown): void {
    this.#user.fault(error)
    this.#fail("internal_error")
  }

  override endsWithServer(): boolean {
    return false
  }

  override localAddress(): Address | undefined {
    return localEndpoint(this.fd)?.address
  }

  override end(reason: OutsideReason): void {
    this.#fail(reason)
  }

  #complete(result: {
    readonly endpoints: ProxiedEndpoints | undefined
    readonly headerBytes: number
  }): void {
    const count = receive(this.fd, header, result.headerBytes)
    if (count < 0) return this.#fail("client_left")
    if (count !== result.headerBytes)
      throw new Error(`Took ${count} of ${result.headerBytes} bytes`)
    this.#leave()
    this.#reactor.remove(this.fd)
    this.#user.received(result.endpoints)
  }

  #fail(failure: ProxyHeaderFailure): void {
    if (this.#isOver) return
    this.#leave()
    this.#reactor.forget(this.fd)
    this.#user.failed(failure)
    resetFd(this.fd)
  }

  #leave(): void {
    this.#isOver = true
    this.#reactor.timers.cancel(this)
  }
}
