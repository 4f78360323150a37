/**
 * A client between accept and its first byte of plain text: looks at its ClientHello where the
 * certificate depends on it, does the handshake, and hands over a connection that is ready.
 *
 * Kept apart from the connection that follows, so that this one never meets a half-open handshake:
 * clients that do not come through are timed, counted and forgotten here.
 */

import { LiveConnection, type OutsideReason } from "../../connection/live-connection.ts"
import { NativeBytes } from "../../linux/bytes.ts"
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../../linux/epoll.ts"
import { EAGAIN } from "../../linux/errno.ts"
import type { Reactor } from "../../linux/reactor.ts"
import { closeFd, localEndpoint, peek, receive, resetFd, send } from "../../linux/tcp.ts"
import type { Address } from "../../net/address.ts"
import { CLIENT_HELLO_BYTES_MAX, parseClientHello } from "../../wire/client-hello.ts"
import { type HandshakeFailure, handshakeFailure } from "../handshake-failure.ts"
import type { ServerTls } from "./server-tls.ts"
import type { TlsTransport } from "./transport.ts"

export interface HandshakeUser {
  /**
   * The handshake is done and the descriptor belongs to no handler. Bytes may wait in the transport
   * already, of which epoll says nothing: read at once, or `defer`. When it throws, the connection
   * is closed.
   */
  secured(transport: TlsTransport): void
  /** The client is lost; `fd` is about to be closed. `detail` is OpenSSL's reason, or "". */
  handshakeFailed(fd: number, failure: HandshakeFailure, detail: string): void
  /** A fault of ours; then `handshakeFailed` is called. */
  fault(error: unknown): void
}

/**
 * A new socket has room to write, and being told so would only wake us before the hello is there.
 */
const READ_EVENTS = EPOLLIN | EPOLLRDHUP | EPOLLET
const WRITE_EVENTS = READ_EVENTS | EPOLLOUT

const GONE = EPOLLRDHUP | EPOLLHUP | EPOLLERR

const hello = new NativeBytes(CLIENT_HELLO_BYTES_MAX)

/** A record with a fatal alert, unrecognized_name (RFC 6066 §3), as all versions understand it. */
const UNRECOGNIZED_NAME = NativeBytes.of(Uint8Array.of(21, 3, 3, 0, 2, 2, 112))

export class TlsHandshake extends LiveConnection {
  readonly fd: number
  readonly #reactor: Reactor
  readonly #tls: ServerTls
  readonly #user: HandshakeUser
  #transport: TlsTransport | undefined = undefined
  /** The hello is not whole with fewer bytes. */
  #helloBytesMin = 1
  #isArmedForWriting = false
  #isOver = false

  /** Takes over the accepted socket `fd` and begins at once. */
  constructor(
    reactor: Reactor,
    start: {
      readonly fd: number
      readonly tls: ServerTls
      readonly timeoutMs: number
      readonly user: HandshakeUser
    },
  ) {
    super()
    this.fd = start.fd
    this.#reactor = reactor
    this.#tls = start.tls
    this.#user = start.user
    reactor.add(this.fd, READ_EVENTS, this)
    reactor.arm(this, start.timeoutMs)
  }

  override handle(_fd: number, events: number): void {
    this.#transport ??= this.#choose()
    if (this.#isOver) return
    if (this.#transport === undefined) {
      if ((events & GONE) !== 0) this.#fail("client_left")
      return
    }
    const result = this.#transport.handshake()
    if (result === -EAGAIN) return this.#armForWriting(this.#transport.wantsWrite)
    if (result < 0) return this.#fail(handshakeFailure(this.#transport.failureReason))
    this.#leave()
    this.#reactor.remove(this.fd)
    this.#handOver(this.#transport)
  }

  #handOver(transport: TlsTransport): void {
    try {
      this.#user.secured(transport)
    } catch (error) {
      this.#user.fault(error)
      this.#user.handshakeFailed(this.fd, "internal_error", "")
      transport.close("reset")
    }
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
    this.#fail(reason, "reset")
  }

  /** Opens the connection as soon as it is clear with which certificate. */
  #choose(): TlsTransport | undefined {
    if (!this.#tls.needsServerName) return this.#tls.open(this.fd, "")
    const count = peek(this.fd, hello, CLIENT_HELLO_BYTES_MAX)
    if (count === -EAGAIN) return undefined
    if (count <= 0) {
      this.#fail("client_left")
      return undefined
    }
    if (count < this.#helloBytesMin) return undefined
    const result = parseClientHello(hello.bytes, count)
    if (result.type === "incomplete") {
      this.#helloBytesMin = result.bytesMin
      return undefined
    }
    // What is no hello gets its alert from OpenSSL.
    if (result.type !== "complete") return this.#tls.open(this.fd, "")
    const { serverName } = result.hello
    if (this.#tls.serves(serverName)) return this.#tls.open(this.fd, serverName)
    this.#turnAway()
    return undefined
  }

  /** OpenSSL would blame the version or the ciphers where there is no certificate. */
  #turnAway(): void {
    // Closed with something unread, the connection would be reset and the alert lost.
    receive(this.fd, hello, CLIENT_HELLO_BYTES_MAX)
    send(this.fd, UNRECOGNIZED_NAME, 0, UNRECOGNIZED_NAME.bytes.length)
    this.#fail("unrecognized_name")
  }

  /** OpenSSL has sent its alert by then, if it has one to send. */
  #fail(failure: HandshakeFailure, how: "finish" | "reset" = "finish"): void {
    if (this.#isOver) return
    this.#leave()
    this.#reactor.forget(this.fd)
    this.#user.handshakeFailed(this.fd, failure, this.#transport?.failure ?? "")
    if (this.#transport !== undefined) this.#transport.close(how)
    else if (how === "finish") closeFd(this.fd)
    else resetFd(this.fd)
  }

  /** The chain may be longer than the socket takes at once. */
  #armForWriting(wanted: boolean): void {
    if (wanted === this.#isArmedForWriting) return
    this.#isArmedForWriting = wanted
    this.#reactor.modify(this.fd, wanted ? WRITE_EVENTS : READ_EVENTS)
  }

  #leave(): void {
    this.#isOver = true
    this.#reactor.timers.cancel(this)
  }
}
