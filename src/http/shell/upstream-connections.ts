/**
 * Connections to servers: opened for an exchange, kept for the next one when they end clean.
 *
 * Idle ones stand per server, the latest used first, because that one is the least likely to have
 * been closed meanwhile. Whatever an idle connection says (end of stream, bytes nobody asked for)
 * ends it: a response that comes before its request belongs to nobody.
 *
 * A connection that began with a PROXY header speaks for one client: it is kept for the requests of
 * that client alone, and ends with it.
 */

import type { Transport } from "../../connection/transport.ts"
import { NativeBytes } from "../../linux/bytes.ts"
import { EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../../linux/epoll.ts"
import { EAGAIN, errnoName } from "../../linux/errno.ts"
import type { FdLedger } from "../../linux/fd-ledger.ts"
import type { Handler, Reactor } from "../../linux/reactor.ts"
import { disableNagle, pendingError, sendWithNext } from "../../linux/tcp.ts"
import { TimerEntry } from "../../net/timer-wheel.ts"
import type { PoolServer } from "../../pool/pool.ts"
import type { ServerCounters } from "../../pool/server-counters.ts"
import { Outlet } from "./outlet.ts"

export const READ_EVENTS: number = EPOLLIN | EPOLLRDHUP | EPOLLET
export const WRITE_EVENTS: number = READ_EVENTS | EPOLLOUT
export const HANG_UP: number = EPOLLRDHUP | EPOLLHUP | EPOLLERR

/** Shorter than what servers commonly wait (nginx 75 s, Node.js 5 s is met by retrying). */
const IDLE_MS_MAX = 30_000
/** Kept per server and thread. */
const IDLE_CONNECTIONS_MAX = 256
/** Kept per client, of those that speak for it (HAProxy's max-session-srv-conns). */
const OWN_CONNECTIONS_MAX = 5

const probe = new NativeBytes(1)

/** What an exchange hears from its connection. */
export interface UpstreamUser {
  upstreamConnected(): void
  /** `cause` is the name of an errno; `detail` what TLS has to say, or empty. */
  upstreamConnectFailed(cause: string, detail: string): void
  /** There may be something to read, or room to write again. */
  upstreamReady(): void
  /** A fault of ours while serving it. */
  fail(error: unknown): void
}

export interface UpstreamEnvironment {
  readonly reactor: Reactor
  readonly ledger: FdLedger
  readonly owner: number
  readonly serverCounters: ServerCounters
}

/** For whom a connection speaks, and the PROXY header that says so. */
export interface Introduction {
  /** Whoever this is, the connection is used for nobody else. */
  readonly client: object
  readonly header: Uint8Array
}

export class UpstreamConnections {
  readonly #idle = new Map<number, UpstreamConnection[]>()
  /** Those that speak for one client, the latest used last. */
  readonly #own = new Map<object, UpstreamConnection[]>()
  /** How often each slot's connections have been given up; what is older is not kept. */
  readonly #ages = new Map<number, number>()
  #idleCount = 0

  /**
   * The latest used idle connection to the server, if there is one. `mustBeAlive`: ask the kernel
   * whether the server has closed it, for a request that cannot be repeated.
   */
  take(server: PoolServer, mustBeAlive: boolean): UpstreamConnection | undefined {
    const stack = this.#idle.get(server.slot)
    for (let kept = stack?.pop(); kept !== undefined; kept = stack?.pop()) {
      this.#idleCount--
      // A slot may have been given to another server meanwhile.
      const isSame = hasSameEndpoint(kept.server, server)
      if (isSame && (!mustBeAlive || kept.isClean())) return kept
      kept.close("finish")
    }
    return undefined
  }

  /** The same of the connections that speak for this client. */
  takeOwn(
    client: object,
    server: PoolServer,
    mustBeAlive: boolean,
  ): UpstreamConnection | undefined {
    for (;;) {
      const kept = this.#own.get(client)?.findLast((each) => hasSameEndpoint(each.server, server))
      if (kept === undefined) return undefined
      this.remove(kept)
      if (!mustBeAlive || kept.isClean()) return kept
      kept.close("finish")
    }
  }

  /** Whether a connection is kept that speaks for this client. */
  hasOwn(client: object): boolean {
    return this.#own.has(client)
  }

  /** The client is gone. */
  leave(client: object): void {
    if (this.#own.size === 0) return
    for (const connection of [...(this.#own.get(client) ?? [])]) {
      this.remove(connection)
      connection.close("finish")
    }
  }

  /** Connections that are kept and not in use. */
  get idleCount(): number {
    return this.#idleCount
  }

  /** Closes all that idle: their descriptors are wanted. */
  shed(): void {
    for (const stack of [...this.#idle.values(), ...this.#own.values()]) {
      for (const connection of stack) connection.close("finish")
    }
    this.#idle.clear()
    this.#own.clear()
    this.#idleCount = 0
  }

  /** Of connections to this slot that are opened now. */
  age(slot: number): number {
    return this.#ages.get(slot) ?? 0
  }

  /** Keeps a connection whose exchange ended clean. */
  give(connection: UpstreamConnection): void {
    const { slot } = connection.server
    if (connection.age !== this.age(slot)) return connection.close("finish")
    if (connection.client !== undefined) return this.#giveOwn(connection, connection.client)
    let stack = this.#idle.get(slot)
    if (stack === undefined) {
      stack = []
      this.#idle.set(slot, stack)
    }
    if (stack.length >= IDLE_CONNECTIONS_MAX) return connection.close("finish")
    stack.push(connection)
    this.#idleCount++
    connection.rest()
  }

  #giveOwn(connection: UpstreamConnection, client: object): void {
    const own = this.#own.get(client)
    if (own === undefined) this.#own.set(client, [connection])
    else {
      const [oldest] = own
      if (oldest !== undefined && own.length >= OWN_CONNECTIONS_MAX) {
        this.remove(oldest)
        oldest.close("finish")
      }
      own.push(connection)
    }
    this.#idleCount++
    connection.rest()
  }

  remove(connection: UpstreamConnection): void {
    const { client } = connection
    const stack =
      client === undefined ? this.#idle.get(connection.server.slot) : this.#own.get(client)
    const at = stack?.indexOf(connection) ?? -1
    if (at < 0) return
    stack?.splice(at, 1)
    this.#idleCount--
    if (client !== undefined && stack?.length === 0) this.#own.delete(client)
  }

  /**
   * Closes what idles towards the given servers, and what is in use when it would idle: they are
   * going, or are to be spoken to in another way.
   */
  closeIdle(slots: ReadonlySet<number>): void {
    for (const slot of slots) {
      this.#ages.set(slot, this.age(slot) + 1)
      const stack = this.#idle.get(slot) ?? []
      for (const connection of stack) connection.close("finish")
      this.#idleCount -= stack.length
      this.#idle.delete(slot)
    }
    for (const own of [...this.#own.values()]) {
      for (const connection of own.filter(({ server }) => slots.has(server.slot))) {
        this.remove(connection)
        connection.close("finish")
      }
    }
  }
}

function hasSameEndpoint(left: PoolServer, right: PoolServer): boolean {
  if (left === right) return true
  return (
    left.endpoint.address === right.endpoint.address && left.endpoint.port === right.endpoint.port
  )
}

export class UpstreamConnection extends TimerEntry implements Handler {
  readonly server: PoolServer
  readonly transport: Transport
  readonly outlet: Outlet
  readonly age: number
  /** Undefined: anybody's. */
  readonly client: object | undefined
  isReadable = false
  /** The server has sent FIN or RST: read to the end, and never use it again. */
  isHungUp = false
  isConnected = false
  /** It takes nothing more; what it sent before that can still be read. */
  isBroken = false
  /** Exchanges it has served before the present one. */
  exchanges = 0
  readonly #environment: UpstreamEnvironment
  readonly #connections: UpstreamConnections
  #user: UpstreamUser | undefined
  #isArmedForWriting = true
  #isClosed = false
  /** To be sent before anything else. */
  #header: Uint8Array | undefined
  #isHandshaking = false
  #writes = 0
  #idleSince = 0

  /** Takes over `transport`, whose connect is under way. */
  constructor(
    environment: UpstreamEnvironment,
    connections: UpstreamConnections,
    start: {
      readonly server: PoolServer
      readonly transport: Transport
      readonly user: UpstreamUser
      readonly connectTimeoutMs: number
      readonly introduction: Introduction | undefined
    },
  ) {
    super()
    this.#environment = environment
    this.#connections = connections
    this.server = start.server
    this.age = connections.age(start.server.slot)
    this.client = start.introduction?.client
    this.#header = start.introduction?.header
    this.transport = start.transport
    this.outlet = new Outlet(start.transport)
    this.#user = start.user
    const { reactor, ledger, owner, serverCounters } = environment
    try {
      reactor.add(this.transport.fd, WRITE_EVENTS, this)
    } catch (error) {
      this.transport.close("reset")
      throw error
    }
    ledger.take(this.transport.fd, owner)
    this.#count(1)
    serverCounters.add(this.server.slot, "connectionsTotal", 1)
    reactor.arm(this, start.connectTimeoutMs)
  }

  /** Puts an idle connection to work. */
  use(user: UpstreamUser): void {
    this.#user = user
    this.#count(1)
  }

  /** Goes idle. It does not count as a connection of its server any more: it is room for one. */
  rest(): void {
    this.#user = undefined
    this.#count(-1)
    this.exchanges++
    if (this.wheelSlot < 0) this.#environment.reactor.arm(this, IDLE_MS_MAX)
    this.#idleSince = this.#environment.reactor.now
  }

  /**
   * Whether nothing waits to be read: an end, or bytes that nobody asked for and that would be
   * taken for the next response. Costs a read, whose byte is lost: one that is not clean is closed.
   */
  isClean(): boolean {
    return this.read(probe, 0, 1) === -EAGAIN
  }

  /** Reads; a negated errno or 0 as the transport has it. */
  read(into: Parameters<Transport["read"]>[0], offset: number, length: number): number {
    const count = this.transport.read(into, offset, length)
    if (count < length && this.transport.isDrainedByShortRead && !this.isHungUp) {
      this.isReadable = false
    } else if (count <= 0) this.isReadable = false
    return count
  }

  /** Writes; false when the connection is broken. */
  write(from: Parameters<Transport["write"]>[0], start: number, end: number): boolean {
    // A first write is never delayed; Nagle's algorithm would delay what follows it.
    if (this.#writes++ === 1) disableNagle(this.transport.fd)
    const isAlive = this.outlet.write(from, start, end)
    this.armForWriting(this.outlet.isBlocked)
    return isAlive
  }

  armForWriting(wanted: boolean): void {
    if (wanted === this.#isArmedForWriting) return
    this.#isArmedForWriting = wanted
    this.#environment.reactor.modify(this.transport.fd, wanted ? WRITE_EVENTS : READ_EVENTS)
  }

  handle(_fd: number, events: number): void {
    if (!this.isConnected) return this.#connectEvent(events)
    if ((events & (EPOLLIN | HANG_UP)) !== 0) this.isReadable = true
    if ((events & HANG_UP) !== 0) this.isHungUp = true
    if (this.#user === undefined) {
      if (events !== 0) this.#endIdle() // 0: put off while it was still in use
      return
    }
    if ((events & EPOLLOUT) !== 0 && this.outlet.isBlocked) this.#flush()
    this.#user.upstreamReady()
  }

  fail(error: unknown): void {
    const user = this.#user
    this.close("reset")
    user?.fail(error)
  }

  onTimer(now: number): void {
    if (!this.isConnected) return this.#connectFailed("ETIMEDOUT")
    if (this.#user !== undefined) return // armed again when it next goes idle
    const leftMs = this.#idleSince + IDLE_MS_MAX - now
    if (leftMs <= 0) this.#endIdle()
    else this.#environment.reactor.arm(this, leftMs)
  }

  close(how: "finish" | "reset"): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { reactor, ledger } = this.#environment
    reactor.timers.cancel(this)
    reactor.forget(this.transport.fd)
    ledger.release(this.transport.fd)
    this.transport.close(how)
    if (this.#user !== undefined) this.#count(-1)
    this.#user = undefined
  }

  #flush(): void {
    if (this.outlet.flush()) return this.armForWriting(this.outlet.isBlocked)
    this.isBroken = true
    this.isReadable = true
  }

  #count(connections: number): void {
    this.#environment.serverCounters.add(this.server.slot, "connections", connections)
  }

  #connectEvent(events: number): void {
    if ((events & (EPOLLERR | EPOLLHUP)) !== 0) {
      return this.#connectFailed(errnoName(pendingError(this.transport.fd)))
    }
    if ((events & EPOLLOUT) === 0 && !this.#isHandshaking) return
    if (this.#header !== undefined && !this.#introduce(this.#header)) return
    if (this.transport.handshake !== undefined) {
      this.#isHandshaking = true
      const result = this.transport.handshake()
      if (result === -EAGAIN) return
      if (result < 0) return this.#connectFailed(errnoName(-result))
      this.isReadable = true // TLS may hold bytes already, of which epoll says nothing
    }
    this.isConnected = true
    this.#environment.reactor.timers.cancel(this)
    if ((events & (EPOLLIN | HANG_UP)) !== 0) this.isReadable = true
    this.#user?.upstreamConnected()
    if (!this.#isClosed) this.armForWriting(this.outlet.isBlocked)
  }

  /** In clear text, also before TLS. The request or handshake that follows at once goes with it. */
  #introduce(header: Uint8Array): boolean {
    this.#header = undefined
    const sent = sendWithNext(this.transport.fd, NativeBytes.of(header))
    if (sent === header.length) return true
    this.#connectFailed(sent < 0 ? errnoName(-sent) : "EPIPE")
    return false
  }

  #connectFailed(cause: string): void {
    const user = this.#user
    this.#environment.serverCounters.add(this.server.slot, "connectFailures", 1)
    this.close("finish")
    user?.upstreamConnectFailed(cause, this.transport.failure ?? "")
  }

  #endIdle(): void {
    this.#connections.remove(this)
    this.close("finish")
  }
}
