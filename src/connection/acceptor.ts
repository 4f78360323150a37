/**
 * A listening socket on one data thread: accepts connections, applies the limits that every kind of
 * listener has, and hands the rest to whoever serves them.
 *
 * The descriptor belongs to the control thread, which opens, hands over and closes it.
 */
import { EPOLLIN } from "../linux/epoll.ts"
import { EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM } from "../linux/errno.ts"
import type { FdLedger } from "../linux/fd-ledger.ts"
import type { Handler, Reactor } from "../linux/reactor.ts"
import { AF_INET } from "../linux/sockaddr.ts"
import { accept, closeFd, peerSockaddr, resetFd, shutdownListening } from "../linux/tcp.ts"
import type { Prefix } from "../net/address.ts"
import { after, instant } from "../net/time.ts"
import { hashBytes } from "../pool/hash.ts"
import { AccessList } from "./access-list.ts"
import type { SessionBudget } from "./session-budget.ts"

/** Accepted per pass: enough for a burst, few enough for the open connections to get their turn. */
const ACCEPTS_PER_PASS_MAX = 64

/** More than the kernel's queue holds: a bound when clients come as fast as they are taken. */
const DETACH_ROUNDS_MAX = 80

/** Nothing tells when there is room again; until then clients wait in the kernel's backlog. */
const OUT_OF_RESOURCES: readonly number[] = [EMFILE, ENFILE, ENOBUFS, ENOMEM]
const OUT_OF_RESOURCES_PAUSE_MS = 100
const FULL_WARNING_INTERVAL_MS = 1_000

export interface AcceptorEnvironment {
  readonly reactor: Reactor
  readonly ledger: FdLedger
  /** This thread's number in the ledger. */
  readonly owner: number
  readonly budget: SessionBudget
}

export interface AcceptorSettings {
  readonly maxConnections: number
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
}

/** Whose connections these are. */
export interface AcceptorOwner {
  /** Open connections of the listener, over all threads. */
  openConnections(): number
  accepted(): void
  refused(reason: "denied" | "exhausted"): void
  /**
   * Takes over a connected socket, whose client is in `peerSockaddr`. It is in the ledger and in
   * the budget; who ends it takes it out of both.
   */
  start(client: number): void
  warn(message: string, fields: Readonly<Record<string, string | number>>): void
  fail(error: unknown): void
}

export class Acceptor implements Handler {
  readonly #environment: AcceptorEnvironment
  readonly #owner: AcceptorOwner
  readonly #fd: number
  #maxConnections: number
  #access: AccessList
  #isPaused = false
  #pausedUntil = instant(0)
  #warnedFullUntil = instant(0)

  constructor(
    environment: AcceptorEnvironment,
    owner: AcceptorOwner,
    { fd, settings }: { readonly fd: number; readonly settings: AcceptorSettings },
  ) {
    this.#environment = environment
    this.#owner = owner
    this.#fd = fd
    this.#maxConnections = settings.maxConnections
    this.#access = new AccessList(settings)
    environment.reactor.add(fd, EPOLLIN, this)
  }

  /** New settings for new connections; the socket and the open ones stay. */
  update(settings: AcceptorSettings): void {
    this.#maxConnections = settings.maxConnections
    this.#access = new AccessList(settings)
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
    if (!this.#isPaused) this.#environment.reactor.remove(this.#fd)
  }

  /** Called every pass while paused, because the room may appear on another thread. */
  resumeIfRoom(): void {
    const { reactor } = this.#environment
    if (!this.#isPaused || reactor.now < this.#pausedUntil || !this.#hasRoom()) return
    this.#isPaused = false
    reactor.add(this.#fd, EPOLLIN, this)
  }

  get isPaused(): boolean {
    return this.#isPaused
  }

  handle(): void {
    this.#acceptSome()
  }

  fail(error: unknown): void {
    this.#owner.fail(error)
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
    return this.#owner.openConnections() < this.#maxConnections
  }

  #pause(atLeastMs: number): false {
    this.#isPaused = true
    this.#pausedUntil = after(this.#environment.reactor.now, atLeastMs)
    this.#environment.reactor.remove(this.#fd)
    return false
  }

  #start(client: number): void {
    const { ledger, owner, budget } = this.#environment
    this.#owner.accepted()
    if (!this.#access.isOpen && !this.#permitsPeer()) {
      this.#owner.refused("denied")
      return resetFd(client)
    }
    if (!budget.take()) {
      this.#owner.refused("exhausted")
      this.#warnFull()
      return closeFd(client)
    }
    ledger.take(client, owner)
    this.#owner.start(client)
  }

  /** At most once a second: the counter has the number, and there may be thousands. */
  #warnFull(): void {
    const { reactor, budget } = this.#environment
    if (reactor.now < this.#warnedFullUntil) return
    this.#warnedFullUntil = after(reactor.now, FULL_WARNING_INTERVAL_MS)
    this.#owner.warn("Client turned away: no descriptors left for its connection", {
      sessions_max: budget.sessionsMax,
      advice: "see LimitNOFILE",
    })
  }

  #permitsPeer(): boolean {
    const [start, length] = peerAddressRange()
    return this.#access.permits(peerSockaddr.bytes, start, length)
  }
}

/** A hash of the last accepted client's address. */
export function peerHash(): number {
  const [start, length] = peerAddressRange()
  return hashBytes(peerSockaddr.bytes, start, start + length)
}

/** Where the address stands in `peerSockaddr`; that of an IPv4 client of an IPv6 socket is IPv4. */
function peerAddressRange(): readonly [start: number, length: number] {
  const { bytes, view } = peerSockaddr
  if (view.getUint16(0, true) === AF_INET) return [4, 4]
  const isMapped =
    view.getUint32(8) === 0 && view.getUint32(12) === 0 && view.getUint32(16) === 0xffff
  return isMapped && bytes.length >= 24 ? [20, 4] : [8, 16]
}
