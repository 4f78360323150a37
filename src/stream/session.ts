/**
 * One proxied connection: choose a server, connect (to another one if that fails), relay until both
 * sides have finished, one fails, or nothing moves for the idle time.
 *
 * System calls of a short request-response connection, the whole of its cost (about 95 % of the CPU
 * is the kernel's TCP): accept4, socket, connect, epoll_ctl × 2, recv and send × 2, recv × 2 for
 * the ends, shutdown, close × 2. What is missing here is missing on purpose: options of the
 * client's socket are inherited from the listener, Nagle's algorithm is turned off only before a
 * second write, keep-alive to the server only on connections that live for a while.
 */
import { LiveConnection, type OutsideReason } from "../connection/live-connection.ts"
import type { ServerPool } from "../connection/server-pool.ts"
import { nextSource } from "../connection/sources.ts"
import type { NativeBytes } from "../linux/bytes.ts"
import {
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
} from "../linux/epoll.ts"
import {
  EADDRNOTAVAIL,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  ETIMEDOUT,
  errnoName,
} from "../linux/errno.ts"
import {
  closeFd,
  enableKeepAlive,
  localEndpoint,
  pendingError,
  resetFd,
  startConnect,
} from "../linux/tcp.ts"
import { type Address, type Endpoint, familyOf } from "../net/address.ts"
import { after, type Instant } from "../net/time.ts"
import type { PoolServer } from "../pool/pool.ts"
import {
  encodeProxyHeader,
  type ProxiedEndpoints,
  type ProxyVersion,
} from "../wire/proxy-protocol.ts"
import type { ListenerSettings, StreamContext, StreamRecord } from "./context.ts"
import type { EndReason } from "./end-reason.ts"
import { Flow, FlowState } from "./flow.ts"

const READ_EVENTS = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET
const WRITE_EVENTS = READ_EVENTS | EPOLLOUT
const HANG_UP = EPOLLRDHUP | EPOLLHUP | EPOLLERR
const READABLE = EPOLLIN | HANG_UP

/** A connection that lives this long gets keep-alive towards its server. */
const KEEPALIVE_AFTER_MS = 15_000

/** Shared by the many sessions that never had to retry. */
const NONE: PoolServer[] = []

/** Failures to connect that say nothing about the server. */
const OUT_OF_RESOURCES: readonly number[] = [EADDRNOTAVAIL, EMFILE, ENFILE, ENOBUFS, ENOMEM]
const EXHAUSTED_WARNING_MS = 1000

/** Of 1 MiB each: more than a socket that is dead can still hold (net.ipv4.tcp_rmem: 6 MiB). */
const LAST_TURNS_MAX = 8

let warnedExhaustedAt = Number.NEGATIVE_INFINITY

export class Session extends LiveConnection {
  readonly #context: StreamContext
  readonly #settings: ListenerSettings
  /** As it was when the connection came; when a connect has failed, as it is then. */
  #pool: ServerPool
  readonly #client: number
  readonly #clientEndpoint: Endpoint | undefined
  readonly #proxied: ProxiedEndpoints | undefined
  readonly #clientHash: number
  readonly #startedAt: Instant
  #server = -1
  #target: PoolServer | undefined = undefined
  #tried = NONE
  #retries = 0
  /** Why it ends if no server is left to be tried. */
  #failure: EndReason = "no_server"
  #connectMs = 0
  #lastActivity: Instant
  /** Client → server, once connected. */
  #upward: Flow | undefined = undefined
  #downward: Flow | undefined = undefined
  #isKeptAlive = false
  #isClosed = false

  /**
   * Takes over `client`, an accepted socket. `clientEndpoint` only matters to the access log and to
   * servers that are told of it; `proxied` is what a proxy before us has said.
   */
  constructor(
    context: StreamContext,
    origin: {
      readonly settings: ListenerSettings
      readonly pool: ServerPool
      readonly client: number
      readonly clientEndpoint: Endpoint | undefined
      readonly proxied: ProxiedEndpoints | undefined
      readonly clientHash: number
    },
  ) {
    super()
    this.#context = context
    this.#settings = origin.settings
    this.#pool = origin.pool
    this.#client = origin.client
    this.#clientEndpoint = origin.clientEndpoint
    this.#proxied = origin.proxied
    this.#clientHash = origin.clientHash
    this.#startedAt = context.reactor.now
    this.#lastActivity = context.reactor.now
  }

  /** Slot of the server it uses, -1 before one is chosen. */
  get serverSlot(): number {
    return this.#target?.slot ?? -1
  }

  override endsWithServer(slots: ReadonlySet<number>): boolean {
    return this.#pool.closeOnDown && slots.has(this.serverSlot)
  }

  /** The address the client connected to. */
  override localAddress(): Address | undefined {
    return localEndpoint(this.#client)?.address
  }

  /** Tries servers until one connect is under way or none is left. */
  connect(): void {
    const { reactor } = this.#context
    for (;;) {
      const server = this.#pool.pool.pick(this.#clientHash, reactor.now, this.#tried)
      if (server === undefined) return this.#close(this.#failure, "reset")
      if (this.#tried.length > 0) this.#countRetry()
      const sockaddr = this.#pool.sockaddrs.get(server) as NativeBytes
      const fd = startConnect(sockaddr, nextSource(this.#sourcesFor(server)))
      if (fd >= 0) return this.#awaitConnect(server, fd)
      if (!this.#mayRetryAfter(server, -fd)) return this.#close(this.#failure, "reset")
    }
  }

  override handle(fd: number, events: number): void {
    if (this.#upward === undefined) this.#connectEvent(events)
    else if (fd === this.#client) this.#relayEvent(events, this.#upward, this.#downward as Flow)
    else this.#relayEvent(events, this.#downward as Flow, this.#upward)
  }

  override fail(error: unknown): void {
    const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#context.log("error", "Connection ended by a fault", {
      stream: this.#settings.stream,
      error: message,
    })
    this.end("internal_error")
  }

  override onTimer(now: Instant): void {
    if (this.#upward === undefined) return this.#connectFailed(ETIMEDOUT)
    const idleAt = after(this.#lastActivity, this.#settings.idleTimeoutMs)
    if (now >= idleAt) return this.#close("idle_timeout", this.#isStalled ? "reset" : "finish")
    if (!this.#isKeptAlive) {
      enableKeepAlive(this.#server)
      this.#isKeptAlive = true
    }
    this.#context.reactor.timers.arm(this, idleAt)
  }

  /**
   * Whether a side does not take what it was sent. After a FIN the kernel would keep that,
   * megabytes of it, and go on trying for minutes.
   */
  get #isStalled(): boolean {
    return this.#upward?.isBlocked === true || this.#downward?.isBlocked === true
  }

  /** Ends it from outside, with RST on both sides so that both learn at once. */
  override end(reason: EndReason | OutsideReason): void {
    this.#close(reason, "reset")
  }

  #awaitConnect(server: PoolServer, fd: number): void {
    const { reactor, ledger, owner, serverCounters } = this.#context
    this.#server = fd
    this.#target = server
    ledger.take(fd, owner)
    serverCounters.add(server.slot, "connections", 1)
    serverCounters.add(server.slot, "connectionsTotal", 1)
    reactor.add(fd, WRITE_EVENTS, this)
    reactor.arm(this, this.#pool.connectTimeoutMs)
  }

  #connectEvent(events: number): void {
    if ((events & (EPOLLERR | EPOLLHUP)) !== 0) {
      return this.#connectFailed(pendingError(this.#server))
    }
    if ((events & EPOLLOUT) !== 0) this.#connected(events)
  }

  #connected(events: number): void {
    const { reactor, board, serverCounters, pipes } = this.#context
    const slot = this.serverSlot
    this.#connectMs = reactor.now - this.#startedAt
    board.recordSuccess(slot, reactor.now)
    serverCounters.add(slot, "connectMsTotal", this.#connectMs)
    const upward = new Flow(this.#client, this.#server, { noDelay: "after-first-write", pipes })
    const downward = new Flow(this.#server, this.#client, { noDelay: "inherited", pipes })
    this.#upward = upward
    this.#downward = downward
    this.#lastActivity = reactor.now
    reactor.arm(this, Math.min(KEEPALIVE_AFTER_MS, this.#settings.idleTimeoutMs))
    const version = this.#pool.proxyProtocol
    if (version !== undefined && !this.#introduce(upward, version)) return
    // The server stays armed for writing: edge-triggered, that wakes nobody until a write has met
    // a full buffer.
    reactor.add(this.#client, READ_EVENTS, this)
    if ((events & READABLE) !== 0) this.#relayEvent(events & ~EPOLLOUT, downward, upward)
  }

  /** Tells the server whose connection it is, before anything else. False: closed. */
  #introduce(upward: Flow, version: ProxyVersion): boolean {
    const state = upward.begin(encodeProxyHeader(version, this.#endpoints()))
    if (upward.bytes > 0) this.#moved(upward, upward.bytes)
    if (state === FlowState.sourceFailed) this.#failed(upward.source)
    else if (state === FlowState.targetFailed) this.#targetFailed(upward)
    return !this.#isClosed
  }

  #endpoints(): ProxiedEndpoints | undefined {
    if (this.#proxied !== undefined || this.#clientEndpoint === undefined) return this.#proxied
    const destination = localEndpoint(this.#client) ?? this.#settings.endpoint
    return { source: this.#clientEndpoint, destination }
  }

  #connectFailed(errno: number): void {
    const server = this.#target as PoolServer
    this.#releaseServer("finish")
    if (this.#mayRetryAfter(server, errno)) this.connect()
    else this.#close(this.#failure, "reset")
  }

  /** After a failed connect: notes whose fault it was; whether another server may be tried. */
  #mayRetryAfter(server: PoolServer, errno: number): boolean {
    if (OUT_OF_RESOURCES.includes(errno)) {
      this.#failure = "exhausted"
      this.#warnExhausted(server, errno)
      // Ports are used up server by server, all else is used up for all of them.
      if (errno !== EADDRNOTAVAIL) return false
    } else {
      this.#failure = "connect_failed"
      this.#blame(server, errno)
    }
    if (this.#tried === NONE) this.#tried = []
    this.#tried.push(server)
    // A server that cannot be reached may have left the pool meanwhile, and not alone.
    this.#pool = this.#context.pools.get(this.#settings.pool) ?? this.#pool
    return this.#tried.length <= this.#pool.connectRetries
  }

  #blame(server: PoolServer, errno: number): void {
    const { reactor, board, serverCounters, log } = this.#context
    serverCounters.add(server.slot, "connectFailures", 1)
    const fields = { pool: this.#settings.pool, server: server.name, cause: errnoName(errno) }
    if (board.recordFailure(server.slot, reactor.now, this.#pool)) {
      const seconds = this.#pool.failTimeoutMs / 1000
      log("warn", "Server ejected after failed connects", { ...fields, seconds })
    } else log("debug", "Connect failed", fields)
  }

  #countRetry(): void {
    this.#retries++
    this.#context.listenerCounters.add(this.#settings.row, "retries", 1)
  }

  /** An event on the socket that `inbound` reads and `outbound` writes. */
  #relayEvent(events: number, inbound: Flow, outbound: Flow): void {
    if ((events & READABLE) !== 0) inbound.isReadable = true
    if ((events & HANG_UP) !== 0) inbound.isHungUp = true
    if ((events & EPOLLPRI) !== 0) inbound.noteUrgent()
    // A reset is normally met by reading on, so that what came before it is still delivered; where
    // nothing will be read any more it has to be seen here.
    if ((events & EPOLLERR) !== 0 && (inbound.isBlocked || inbound.hasEnded)) {
      return this.#failed(inbound.source)
    }
    if ((events & EPOLLOUT) !== 0 && outbound.isBlocked) this.#pump(outbound)
    // What is blocked goes on when its target says so, not because still more has arrived.
    if (inbound.isReadable && !inbound.isBlocked && !this.#isClosed) this.#pump(inbound)
  }

  #pump(flow: Flow): void {
    const { reactor } = this.#context
    const wasBlocked = flow.isBlocked
    const before = flow.bytes
    const state = flow.pump()
    if (flow.bytes !== before) this.#moved(flow, flow.bytes - before)
    if (flow.isBlocked !== wasBlocked) {
      reactor.modify(flow.target, flow.isBlocked ? WRITE_EVENTS : READ_EVENTS)
    }
    if (state === FlowState.yielded) reactor.defer(flow.source)
    else if (state === FlowState.ended) this.#ended(flow)
    else if (state === FlowState.sourceFailed) this.#failed(flow.source)
    else if (state === FlowState.targetFailed) this.#targetFailed(flow)
  }

  /**
   * Writing met the target's reset. What it sent before that still waits to be read, and goes
   * first.
   */
  #targetFailed(flow: Flow): void {
    const last = (flow === this.#upward ? this.#downward : this.#upward) as Flow
    const before = last.bytes
    last.isReset = true
    last.isReadable = true
    for (let turns = 1; last.pump() === FlowState.yielded && turns < LAST_TURNS_MAX; turns++) {}
    if (last.bytes !== before) this.#moved(last, last.bytes - before)
    this.#failed(flow.target)
  }

  #moved(flow: Flow, bytes: number): void {
    const { reactor, serverCounters, listenerCounters } = this.#context
    const isUpward = flow === this.#upward
    this.#lastActivity = reactor.now
    serverCounters.add(this.serverSlot, isUpward ? "bytesToServer" : "bytesFromServer", bytes)
    listenerCounters.add(this.#settings.row, isUpward ? "bytesIn" : "bytesOut", bytes)
  }

  #ended(flow: Flow): void {
    const other = (flow === this.#upward ? this.#downward : this.#upward) as Flow
    other.isLast = true
    if (other.hasEnded) this.#close("finished", "finish")
  }

  /** A side sent RST (or timed out): the other side gets one too. */
  #failed(fd: number): void {
    this.#close(fd === this.#client ? "client_reset" : "server_reset", "reset")
  }

  #sourcesFor({ endpoint }: PoolServer): readonly NativeBytes[] {
    return this.#pool.sources[familyOf(endpoint.address)]
  }

  /** At most once a second: the counter has the number, and there may be thousands. */
  #warnExhausted(server: PoolServer, errno: number): void {
    const { now } = this.#context.reactor
    if (now < warnedExhaustedAt + EXHAUSTED_WARNING_MS) return
    warnedExhaustedAt = now
    const advice =
      errno === EADDRNOTAVAIL
        ? "no local address or port is left for this server: see pool.source, net.ipv4.tcp_tw_reuse"
        : "the limit of open files or memory is reached: see LimitNOFILE"
    this.#context.log("warn", "Connection refused for want of resources", {
      server: server.name,
      cause: errnoName(errno),
      advice,
    })
  }

  #releaseServer(how: "finish" | "reset"): void {
    if (this.#server < 0) return
    const { serverCounters } = this.#context
    this.#closeSocket(this.#server, how)
    serverCounters.add(this.serverSlot, "connections", -1)
    this.#server = -1
  }

  #closeSocket(fd: number, how: "finish" | "reset"): void {
    this.#context.reactor.forget(fd)
    this.#context.ledger.release(fd)
    if (how === "finish") closeFd(fd)
    else resetFd(fd)
  }

  #close(reason: EndReason, how: "finish" | "reset"): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { reactor, listenerCounters, budget, accessLog } = this.#context
    reactor.timers.cancel(this)
    this.#upward?.release()
    this.#downward?.release()
    this.#releaseServer(how)
    this.#closeSocket(this.#client, how)
    listenerCounters.add(this.#settings.row, "connections", -1)
    listenerCounters.add(this.#settings.row, reason, 1)
    budget.release(1)
    // A connection from before the log was kept has no client to name.
    if (accessLog === undefined || this.#clientEndpoint === undefined) return
    accessLog(this.#record(reason, this.#clientEndpoint))
  }

  #record(reason: EndReason, client: Endpoint): StreamRecord {
    const { reactor } = this.#context
    return {
      stream: this.#settings.stream,
      client,
      listen: this.#settings.endpoint,
      pool: this.#settings.pool,
      server: this.#upward === undefined ? "" : (this.#target?.name ?? ""),
      connectMs: this.#connectMs,
      durationMs: reactor.now - this.#startedAt,
      bytesIn: this.#upward?.bytes ?? 0,
      bytesOut: this.#downward?.bytes ?? 0,
      retries: this.#retries,
      reason,
    }
  }
}
