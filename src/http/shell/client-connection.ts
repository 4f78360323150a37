/**
 * A client's connection: reads requests one after another, hands each to an exchange, answers by
 * itself what needs no server, and keeps the clock on the client.
 *
 * Requests that arrive while another is being answered (pipelining) wait, in the socket or in
 * `#held`, and are read when it is done: answers keep their order without a queue.
 */

import { LiveConnection, type OutsideReason } from "../../connection/live-connection.ts"
import type { Transport } from "../../connection/transport.ts"
import { NativeBytes } from "../../linux/bytes.ts"
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../../linux/epoll.ts"
import { EAGAIN } from "../../linux/errno.ts"
import { localEndpoint, peerEndpoint } from "../../linux/tcp.ts"
import type { Address } from "../../net/address.ts"
import { after, type Instant } from "../../net/time.ts"
import type { ProxiedEndpoints } from "../../wire/proxy-protocol.ts"
import { countRequest, type HttpEndReason } from "../counters.ts"
import type { ForwardingOrigin } from "../forwarding.ts"
import { RequestHead } from "../head.ts"
import { HeldBytes } from "../held-bytes.ts"
import { connectionOptions } from "../hop-by-hop.ts"
import { HeadWriter } from "../parts.ts"
import { NO_REQUEST, type RequestText, requestText } from "../request-text.ts"
import type { Decision, Question, RequestOrigin, RespondDecision } from "../route.ts"
import { errorResponse, statusOfHeadError } from "../status.ts"
import { LF } from "../syntax.ts"
import {
  HEAD_ROOM_BYTES,
  type HttpContext,
  type HttpSettings,
  inbound,
  inboundBuffer,
  outbound,
  outboundBuffer,
  READ_BYTES,
} from "./context.ts"
import { Exchange } from "./exchange.ts"
import type { ExchangeClient } from "./exchange-client.ts"
import { Outlet } from "./outlet.ts"
import { askQuestion } from "./question.ts"
import { READ_EVENTS, WRITE_EVENTS } from "./upstream-connections.ts"

/** How long a client may still send what nobody reads, so that the last answer reaches it. */
const LINGER_MS = 2_000
const LINGER_BYTES_MAX = 1024 * 1024

/** Who asks again sooner keeps its object: making it anew costs a tenth of a request. */
const PARKED_AFTER_MS = 1_000

/** For a password to be verified, or a permission to be given. */
const ASKING_MS_MAX = 10_000

type Phase = "request" | "asking" | "exchange" | "lingering"

/** Requests of one client that are answered before others get their turn. */
const REQUESTS_PER_TURN = 64

/** One per thread: a head lives only while its event is handled. */
const head = new RequestHead()
const writer = new HeadWriter(outboundBuffer, 0, HEAD_ROOM_BYTES)

/** Who has accepted a connection. */
export interface ConnectionOwner {
  /** Others after a reload: they hold from the next request on. */
  readonly settings: HttpSettings
  /** Takes over the descriptor of a client that asks nothing, and the connection with it. */
  park(fd: number, idleSince: Instant): void
}

export class ClientConnection extends LiveConnection implements ExchangeClient, RequestOrigin {
  readonly context: HttpContext
  readonly transport: Transport
  readonly outlet: Outlet
  readonly address: Address
  readonly isTls: boolean
  readonly port: number
  readonly owner: ConnectionOwner
  forwardingText: ForwardingOrigin["forwardingText"] = undefined
  isReadable = false
  /** The client has sent FIN: it wants nothing more, or only what it asked for already. */
  isHungUp = false
  isRetired = false
  #phase: Phase = "request"
  /** Requests it has brought. */
  #requests = 0
  #exchange: Exchange | undefined = undefined
  /** Bytes read and not used yet: an unfinished head, or the next request. */
  #held: HeldBytes | undefined = undefined
  #deadline: Instant
  /** What is held has been looked at and has no end yet. */
  #isHeadUnfinished = false
  #isArmedForWriting = false
  #closesAfterFlush = false
  #lingers = false
  #isAdvancing = false
  #cancelQuestion: (() => void) | undefined = undefined
  #lingeredBytes = 0
  /** Closed, or parked: this object has no connection any more. */
  #isClosed = false
  /** When it had its last answer. */
  #idleSince: Instant
  readonly #canBeParked: boolean
  readonly #proxied: ProxiedEndpoints | undefined
  #trusts: HttpSettings["trusts"]
  #isTrusted: boolean

  constructor(
    context: HttpContext,
    client: {
      readonly transport: Transport
      readonly address: Address
      /** The port it connected to, which may be that of a proxy before us. */
      readonly port: number
      readonly owner: ConnectionOwner
      /** What a proxy before us has said of it; undefined: `address` is the socket's other end. */
      readonly proxied: ProxiedEndpoints | undefined
      /** Was parked: it is registered, and has had answers. */
      readonly isResumed: boolean
    },
  ) {
    super()
    const { settings } = client.owner
    this.context = context
    this.transport = client.transport
    this.outlet = new Outlet(client.transport)
    this.address = client.address
    this.isTls = settings.isTls
    this.port = client.port
    this.owner = client.owner
    this.#trusts = settings.trusts
    this.#isTrusted = settings.trusts(client.address)
    const { reactor } = context
    this.#deadline = after(reactor.now, settings.timeouts.headMs)
    this.#idleSince = reactor.now
    this.#proxied = client.proxied
    this.#canBeParked = client.proxied === undefined && !settings.isTls
    if (client.isResumed) {
      this.#requests = 1
      reactor.handOver(this.transport.fd, this)
    } else reactor.add(this.transport.fd, READ_EVENTS, this)
    reactor.timers.arm(this, this.#deadline)
  }

  get settings(): HttpSettings {
    return this.owner.settings
  }

  get isTrusted(): boolean {
    const { trusts } = this.settings
    if (trusts !== this.#trusts) {
      this.#trusts = trusts
      this.#isTrusted = trusts(this.address)
    }
    return this.#isTrusted
  }

  get client(): Address {
    return this.address
  }

  trusts(address: Address): boolean {
    return this.settings.trusts(address)
  }

  get peerSubject(): string {
    return this.transport.peerSubject
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  endpoints(): ProxiedEndpoints {
    if (this.#proxied !== undefined) return this.#proxied
    const { fd } = this.transport
    const source = peerEndpoint(fd) ?? { address: this.address, port: 0 }
    return { source, destination: localEndpoint(fd) ?? this.settings.endpoint }
  }

  /** The address the client connected to. */
  override localAddress(): Address | undefined {
    return localEndpoint(this.transport.fd)?.address
  }

  override handle(_fd: number, events: number): void {
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) this.isReadable = true
    if ((events & (EPOLLRDHUP | EPOLLHUP)) !== 0) this.isHungUp = true
    if ((events & EPOLLERR) !== 0) return this.abort("client_aborted")
    if ((events & EPOLLOUT) !== 0 && this.transport.wantsWrite) this.isReadable = true
    if (this.outlet.isBlocked || (events & EPOLLOUT) !== 0) {
      if (!this.#drain()) return
    }
    this.#advance()
  }

  /** Bytes may have been read off the socket already, by TLS: epoll says nothing of them. */
  readNow(): void {
    this.isReadable = true
    try {
      this.#advance()
    } catch (error) {
      this.fail(error)
    }
  }

  override fail(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#tell("error", "Request ended by a fault", { error: text })
    this.abort("internal_error")
  }

  override onTimer(now: Instant): void {
    if (now < this.#deadline) return this.context.reactor.timers.arm(this, this.#deadline)
    if (this.#exchange !== undefined) return this.#exchange.timedOut()
    if (this.#phase === "asking") return this.refuse(504, "server_timeout")
    // A FIN behind what the client has not taken would not be one it could tell from a whole
    // answer.
    if (this.outlet.isBlocked) return this.close("reset")
    if (this.#phase === "request" && this.#held !== undefined)
      return this.refuse(408, "client_timeout")
    const { idleMs } = this.settings.timeouts
    if (this.#isIdle && now < after(this.#idleSince, idleMs)) return this.#park()
    this.close("finish")
  }

  /** Sets when `onTimer` acts; moving it later costs nothing. */
  expectWithin(delayMs: number): void {
    const { reactor } = this.context
    this.#deadline = after(reactor.now, delayMs)
    // The wheel keeps an earlier tick; only a deadline before it has to be told.
    if (this.wheelSlot < 0 || this.#deadline < this.#armedUntil()) {
      reactor.timers.arm(this, this.#deadline)
    }
  }

  /** Reads; a negated errno or 0 as the transport has it. */
  read(offset: number, length: number): number {
    const count = this.transport.read(inbound, offset, length)
    if (count <= 0) {
      this.isReadable = false
      if (this.transport.wantsWrite) this.armForWriting(true)
    } else if (count < length && this.transport.isDrainedByShortRead && !this.isHungUp) {
      this.isReadable = false
    }
    return count
  }

  /** Writes; false when the connection is broken. */
  write(from: typeof outbound, start: number, end: number): boolean {
    const isAlive = this.outlet.write(from, start, end)
    this.armForWriting(this.outlet.isBlocked)
    return isAlive
  }

  armForWriting(wanted: boolean): void {
    if (wanted === this.#isArmedForWriting) return
    this.#isArmedForWriting = wanted
    this.context.reactor.modify(this.transport.fd, wanted ? WRITE_EVENTS : READ_EVENTS)
  }

  /** Keeps bytes for the next request; `source` may be where they are kept already. */
  hold(source: Buffer, start: number, end: number): void {
    this.#isHeadUnfinished = false
    if (start === end) this.#held = undefined
    else if (this.#held?.storage === source) this.#held.start = start
    else this.#held = new HeldBytes(source, start, end)
  }

  /** The bytes kept, which are the caller's now: a tunnel's first ones. */
  takeHeld(): NativeBytes | undefined {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return undefined
    return NativeBytes.of(held.storage.subarray(held.start, held.end))
  }

  /** The exchange is over and the client may ask again. */
  exchangeDone(): void {
    this.#exchange = undefined
    this.#phase = "request"
    if (this.isRetired) return this.closeWhenFlushed(true)
    this.#expectRequest()
    if (this.#held !== undefined || this.isReadable) this.#advance()
  }

  /**
   * The exchange is over and so is the connection, once what is written has left. `lingers`: the
   * client may still be sending.
   */
  closeWhenFlushed(lingers: boolean): void {
    this.#exchange = undefined
    this.#lingers = lingers || this.#held !== undefined || this.#hasUnread()
    if (!this.outlet.isBlocked) return this.#linger()
    this.#closesAfterFlush = true
    this.expectWithin(this.settings.timeouts.betweenBytesMs)
  }

  /** Answers with an error of the proxy's own and closes. */
  refuse(status: number, reason: HttpEndReason): void {
    this.#cancelQuestion?.()
    this.#cancelQuestion = undefined
    const { row } = this.settings
    this.context.counters.add(row, reason, 1)
    countRequest(this.context.counters, row, { status, durationMs: 0 })
    writer.reset()
    errorResponse(writer, { status, detail: "", date: this.#dateLine(), connection: "close" })
    this.#recordOwn(NO_REQUEST, { status, reason, route: "" })
    this.#exchange = undefined
    if (!this.write(outbound, writer.start, writer.at)) return this.close("reset")
    this.closeWhenFlushed(true)
  }

  override endsWithServer(slots: ReadonlySet<number>): boolean {
    return this.#exchange?.endsWithServer(slots) === true
  }

  override end(reason: OutsideReason): void {
    this.abort(reason === "server_down" ? "server_aborted" : reason)
  }

  /**
   * The listener is gone: what has begun is ended, and said to be the last. Who has not asked yet,
   * having just come, may ask once.
   */
  retire(): void {
    this.isRetired = true
    if (!this.#isIdle) return
    this.readNow() // what lies in the socket has come in time
    if (this.#isIdle) this.close("finish")
  }

  /** Has had its answers and asks nothing at present. */
  get #isIdle(): boolean {
    const isWaiting = this.#phase === "request" && this.#held === undefined
    return isWaiting && this.#requests > 0 && !this.outlet.isBlocked && !this.#isClosed
  }

  #expectRequest(): void {
    const { idleMs } = this.settings.timeouts
    this.#idleSince = this.context.reactor.now
    this.expectWithin(this.#canBeParked ? Math.min(idleMs, PARKED_AFTER_MS) : idleMs)
  }

  /** Leaves the connection to one who needs less memory for it. */
  #park(): void {
    const mayBeParked = this.#canBeParked && !this.context.upstreams.hasOwn(this)
    if (!mayBeParked || this.isReadable || this.isHungUp || this.isRetired) {
      return this.expectWithin(this.settings.timeouts.idleMs)
    }
    this.#isClosed = true
    this.context.counters.add(this.settings.row, "bytesOut", this.outlet.bytes)
    this.owner.park(this.transport.fd, this.#idleSince)
  }

  /** Ends it from outside or by a fault, with RST. */
  abort(reason: HttpEndReason): void {
    if (this.#isClosed) return
    const exchange = this.#exchange
    this.#exchange = undefined
    this.close("reset")
    exchange?.abandon(reason)
  }

  close(how: "finish" | "reset"): void {
    if (this.#isClosed) return
    this.#isClosed = true
    const { reactor, ledger, counters, budget } = this.context
    this.#cancelQuestion?.()
    reactor.timers.cancel(this)
    reactor.forget(this.transport.fd)
    ledger.release(this.transport.fd)
    this.transport.close(how)
    this.context.upstreams.leave(this)
    counters.add(this.settings.row, "connections", -1)
    counters.add(this.settings.row, "bytesOut", this.outlet.bytes)
    budget.release(1)
  }

  /** Goes on until there is nothing to do but wait. */
  #advance(): void {
    // An answer that is there at once ends its exchange from within: the loop below goes on then.
    if (this.#isAdvancing) return
    this.#isAdvancing = true
    try {
      for (let turn = 0; this.#step(); turn++) {
        if (turn < REQUESTS_PER_TURN) continue
        this.context.reactor.defer(this.transport.fd)
        return
      }
    } finally {
      this.#isAdvancing = false
    }
  }

  /** False: nothing more can be done now. */
  #step(): boolean {
    if (this.#isClosed || this.#closesAfterFlush) return false
    if (this.#phase === "lingering") return this.#discard()
    if (this.#phase === "asking") return this.#awaitAnswer()
    const exchange = this.#exchange
    if (exchange === undefined) {
      // Who does not take the answers gets no more of them.
      return !this.outlet.isBlocked && this.#readRequest()
    }
    exchange.clientReady()
    return this.#exchange !== exchange
  }

  /** A client that hangs up wants no answer. */
  #awaitAnswer(): false {
    if (this.isHungUp) {
      this.context.counters.add(this.settings.row, "client_aborted", 1)
      this.abort("client_aborted")
    }
    return false
  }

  /** False: nothing more can be done now. */
  #readRequest(): boolean {
    const held = this.#held
    if (held !== undefined && !this.#isHeadUnfinished) {
      return this.#parse(held.storage, held.start, held.end)
    }
    if (!this.isReadable) return false
    const start = held?.length ?? 0
    const count = this.read(start, READ_BYTES)
    if (count === -EAGAIN) return false
    if (count <= 0) {
      this.close("finish")
      return false
    }
    const end = start + count
    // Without a line end in them the bytes decide nothing: a head that comes in drops is looked at
    // once a line, not once a drop.
    if (held === undefined || hasLineEnd(start, end) || end > this.settings.limits.headBytesMax) {
      held?.copyTo(inboundBuffer)
      return this.#parse(inboundBuffer, 0, end)
    }
    held.append(inboundBuffer, start, end)
    return this.isReadable
  }

  /** Parses the request in `source`, which is `inbound` or what is held. */
  #parse(source: Buffer, start: number, end: number): boolean {
    const result = head.parse(source, start, end, this.settings.limits)
    if (result !== "incomplete") return this.#parsed(result, end)
    // The head as a whole has its time, from the first byte of it.
    if (!this.#isHeadUnfinished) this.expectWithin(this.settings.timeouts.headMs)
    this.hold(source, start, end)
    this.#isHeadUnfinished = true
    return this.isReadable
  }

  #parsed(
    result: Exclude<ReturnType<RequestHead["parse"]>, "incomplete">,
    readEnd: number,
  ): boolean {
    if (result !== "complete") {
      this.#tell("debug", "Request refused", { client: this.address, reason: result })
      this.refuse(statusOfHeadError(result), "bad_request")
      return false
    }
    this.#requests++
    return this.#follow(this.settings.routes.decide(head, this, this.context.reactor.now), readEnd)
  }

  /** Does what was decided of the request in `head`. True: the next one may be read. */
  #follow(decision: Decision, readEnd: number): boolean {
    if (decision.type === "respond") {
      if (decision.question !== undefined) return this.#ask(decision.question, readEnd)
      return this.#respond(decision, readEnd)
    }
    this.#phase = "exchange"
    this.#exchange = new Exchange(this, head, decision)
    this.#exchange.start(head, readEnd)
    return this.#exchange === undefined && !this.#isClosed
  }

  /** Waits for somebody else's word; the request is kept, and nothing more is read until then. */
  #ask(question: Question, readEnd: number): false {
    this.#phase = "asking"
    const asked = new HeldBytes(head.bytes, head.start, readEnd)
    this.#held = undefined
    this.expectWithin(ASKING_MS_MAX)
    this.#cancelQuestion = askQuestion(this, { question, head }, (settle) => {
      if (this.#isClosed) return
      this.#cancelQuestion = undefined
      asked.copyTo(inboundBuffer)
      head.parse(inboundBuffer, 0, asked.length, this.settings.limits)
      const { now } = this.context.reactor
      const decision = settle({ head, origin: this, now })
      this.#phase = "request"
      this.#follow(decision, asked.length)
      this.#advance()
    })
    return false
  }

  /** Answers without a server. A request body is not read: the connection ends after the answer. */
  #respond(decision: RespondDecision, readEnd: number): boolean {
    const options = connectionOptions(head)
    const hasBody = head.isChunked || head.contentLength > 0
    const isLast = options.close || (head.minorVersion === 0 && !options.keepAlive)
    const closes = hasBody || isLast || this.isRetired
    writer.reset()
    errorResponse(writer, {
      ...decision,
      detail: "",
      date: this.#dateLine(),
      connection: closes ? "close" : head.minorVersion === 0 ? "keep-alive" : "",
      isHead: head.method === "HEAD",
    })
    if (writer.isFull) {
      this.#tell("error", "Response too large", { bytes: decision.body.length })
      this.refuse(500, "internal_error")
      return false
    }
    this.#countResponse(decision)
    if (!this.write(outbound, writer.start, writer.at)) {
      this.close("reset")
      return false
    }
    if (closes) {
      this.closeWhenFlushed(hasBody || !options.close)
      return false
    }
    this.hold(head.bytes, head.end, readEnd)
    this.#phase = "request"
    this.#expectRequest()
    return true
  }

  #dateLine(): string {
    return this.context.date.lineAt(this.context.reactor.now)
  }

  #countResponse({ status, route }: RespondDecision): void {
    const { row } = this.settings
    const { counters } = this.context
    const request = { status, durationMs: 0 }
    countRequest(counters, row, request)
    if (route !== undefined) countRequest(counters, route.row, request)
    const reason = status === 403 ? "denied" : "finished"
    counters.add(row, reason, 1)
    if (this.context.accessLog === undefined) return
    this.#recordOwn(requestText(head), { status, reason, route: route?.name ?? "" })
  }

  #tell(
    level: "debug" | "error",
    message: string,
    fields: Readonly<Record<string, string | number>>,
  ): void {
    this.context.log(level, message, { listener: this.settings.name, ...fields })
  }

  /** The access log's line of an answer that no server gave; it has been written to `writer`. */
  #recordOwn(
    text: RequestText,
    answer: { readonly status: number; readonly reason: HttpEndReason; readonly route: string },
  ): void {
    this.context.accessLog?.({
      listener: this.settings.name,
      client: this.address,
      ...text,
      ...answer,
      pool: "",
      server: "",
      bytesIn: 0,
      bytesOut: writer.length,
      connectMs: -1,
      firstByteMs: -1,
      durationMs: 0,
      retries: 0,
      tlsVersion: this.transport.tlsVersion,
    })
  }

  /** Sends what waits. False: closed. */
  #drain(): boolean {
    const before = this.outlet.bytes
    if (!this.outlet.flush()) {
      this.abort("client_aborted")
      return false
    }
    const exchange = this.#exchange
    if (this.outlet.bytes !== before) {
      this.expectWithin(exchange?.patience ?? this.settings.timeouts.betweenBytesMs)
    }
    this.armForWriting(this.outlet.isBlocked || exchange?.isSplicing === true)
    if (exchange !== undefined) exchange.clientDrained()
    else if (this.#closesAfterFlush && !this.outlet.isBlocked) {
      this.#closesAfterFlush = false
      this.#linger()
    }
    return !this.#isClosed
  }

  /**
   * Closing with unread bytes in the socket makes the kernel send RST, which can overtake the
   * answer (RFC 9112 §9.6): so say FIN, and read on for a moment.
   */
  #linger(): void {
    if (this.isHungUp || !this.#lingers) return this.close("finish")
    this.transport.finishWriting()
    this.#phase = "lingering"
    this.expectWithin(LINGER_MS)
    if (this.isReadable) this.#discard()
  }

  #discard(): false {
    while (this.isReadable && !this.#isClosed) {
      const count = this.read(0, READ_BYTES)
      if (count === -EAGAIN) break
      this.#lingeredBytes += count
      if (count <= 0 || this.#lingeredBytes > LINGER_BYTES_MAX) this.close("finish")
    }
    return false
  }

  /** Whether something waits to be read; what is found is lost. */
  #hasUnread(): boolean {
    return this.isReadable && this.read(0, READ_BYTES) !== -EAGAIN
  }

  #armedUntil(): number {
    return this.context.reactor.timers.deadlineOf(this)
  }
}

function hasLineEnd(start: number, end: number): boolean {
  const at = inboundBuffer.indexOf(LF, start)
  return at >= 0 && at < end
}
