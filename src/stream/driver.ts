/**
 * A listening socket on one data thread: accepts connections and starts a session for each.
 *
 * The descriptor belongs to the control thread, which opens, hands over and closes it.
 */

import { EPOLLIN } from "../linux/epoll.ts"
import { EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM } from "../linux/errno.ts"
import type { Handler } from "../linux/reactor.ts"
import { AF_INET, decodeSockaddr } from "../linux/sockaddr.ts"
import { accept, closeFd, peerSockaddr, resetFd, shutdownListening } from "../linux/tcp.ts"
import type { Prefix } from "../net/address.ts"
import { after, instant } from "../net/time.ts"
import { hashBytes } from "../pool/hash.ts"
import { AccessList } from "./access-list.ts"
import type { ListenerSettings, StreamContext } from "./context.ts"
import { Session } from "./session.ts"

/** Accepted per pass: enough for a burst, few enough for the open connections to get their turn. */
const ACCEPTS_PER_PASS_MAX = 64

/** More than the kernel's queue holds: a bound when clients come as fast as they are taken. */
const DETACH_ROUNDS_MAX = 80

/** Nothing tells when there is room again; until then clients wait in the kernel's backlog. */
const OUT_OF_RESOURCES: readonly number[] = [EMFILE, ENFILE, ENOBUFS, ENOMEM]
const OUT_OF_RESOURCES_PAUSE_MS = 100
const FULL_WARNING_INTERVAL_MS = 1_000

export interface StreamListenerSpec extends ListenerSettings {
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
}

export class StreamListener implements Handler {
  readonly #context: StreamContext
  readonly #fd: number
  #settings: ListenerSettings
  #access: AccessList
  #isPaused = false
  #pausedUntil = instant(0)
  #warnedFullUntil = instant(0)

  constructor(context: StreamContext, fd: number, spec: StreamListenerSpec) {
    this.#context = context
    this.#fd = fd
    this.#settings = spec
    this.#access = new AccessList(spec)
    context.reactor.add(fd, EPOLLIN, this)
  }

  /** New settings for new connections; the socket and the open ones stay. */
  update(spec: StreamListenerSpec): void {
    this.#settings = spec
    this.#access = new AccessList(spec)
  }

  /**
   * Accepts what the kernel has already completed, then lets go of the socket. Closing it is for
   * control, but until then clients would still get in, only to be reset.
   */
  detach(): void {
    if (!this.#isPaused) {
      for (let round = 0; round < DETACH_ROUNDS_MAX && this.#acceptSome(); round++) {}
    }
    shutdownListening(this.#fd)
    if (!this.#isPaused) this.#context.reactor.remove(this.#fd)
  }

  /** Called every pass while paused, because the room may appear on another thread. */
  resumeIfRoom(): boolean {
    const { now } = this.#context.reactor
    if (this.#isPaused && now >= this.#pausedUntil && this.#hasRoom()) {
      this.#isPaused = false
      this.#context.reactor.add(this.#fd, EPOLLIN, this)
    }
    return !this.#isPaused
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  handle(): void {
    this.#acceptSome()
  }

  fail(error: unknown): void {
    this.#context.log("error", "Accepting a connection failed", {
      stream: this.#settings.stream,
      error: String(error),
    })
  }

  /** Whether there may be more to accept. */
  #acceptSome(): boolean {
    for (let count = 0; count < ACCEPTS_PER_PASS_MAX; count++) {
      if (!this.#hasRoom()) return this.#pause(0)
      const client = accept(this.#fd)
      if (client === -EAGAIN) return false
      if (OUT_OF_RESOURCES.includes(-client)) return this.#pause(OUT_OF_RESOURCES_PAUSE_MS)
      // Any other error is that one connection's (ECONNABORTED and the like): take the next.
      if (client >= 0) this.#start(client)
    }
    return true
  }

  /** The listener's own limit: clients beyond it wait in the kernel's backlog, as in HAProxy. */
  #hasRoom(): boolean {
    const { maxConnections, row } = this.#settings
    let open = 0
    for (const table of this.#context.allListenerCounters) open += table.get(row, "connections")
    return open < maxConnections
  }

  #pause(atLeastMs: number): false {
    this.#isPaused = true
    this.#pausedUntil = after(this.#context.reactor.now, atLeastMs)
    this.#context.reactor.remove(this.#fd)
    return false
  }

  #start(client: number): void {
    const { listenerCounters, ledger, owner, budget, pools } = this.#context
    const settings = this.#settings
    listenerCounters.add(settings.row, "connectionsTotal", 1)
    if (!this.#access.isOpen && !this.#permitsPeer()) {
      listenerCounters.add(settings.row, "denied", 1)
      return resetFd(client)
    }
    const pool = pools.get(settings.pool)
    if (pool === undefined || !budget.take()) {
      listenerCounters.add(settings.row, pool === undefined ? "no_server" : "exhausted", 1)
      if (pool !== undefined) this.#warnFull()
      return closeFd(client)
    }
    ledger.take(client, owner)
    listenerCounters.add(settings.row, "connections", 1)
    const session = new Session(this.#context, {
      settings,
      pool,
      client,
      clientEndpoint: this.#context.accessLog ? decodeSockaddr(peerSockaddr) : undefined,
      clientHash: pool.usesClientHash ? this.#peerHash() : 0,
    })
    try {
      session.connect()
    } catch (error) {
      session.fail(error)
    }
  }

  /** At most once a second: the counter has the number, and there may be thousands. */
  #warnFull(): void {
    const { reactor, budget, log } = this.#context
    if (reactor.now < this.#warnedFullUntil) return
    this.#warnedFullUntil = after(reactor.now, FULL_WARNING_INTERVAL_MS)
    log("warn", "Client turned away: no descriptors left for its connection", {
      stream: this.#settings.stream,
      sessions_max: budget.sessionsMax,
      advice: "see LimitNOFILE",
    })
  }

  #permitsPeer(): boolean {
    const [start, length] = peerAddressRange()
    return this.#access.permits(peerSockaddr.bytes, start, length)
  }

  #peerHash(): number {
    const [start, length] = peerAddressRange()
    return hashBytes(peerSockaddr.bytes, start, start + length)
  }
}

/** Where the address stands in `peerSockaddr`; that of an IPv4 client of an IPv6 socket is IPv4. */
function peerAddressRange(): readonly [start: number, length: number] {
  const { bytes, view } = peerSockaddr
  if (view.getUint16(0, true) === AF_INET) return [4, 4]
  const isMapped =
    view.getUint32(8) === 0 && view.getUint32(12) === 0 && view.getUint32(16) === 0xffff
  return isMapped && bytes.length >= 24 ? [20, 4] : [8, 16]
}
