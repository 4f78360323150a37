/**
 * A client's connection: reads requests one after another, hands each to an exchange, answers by
 * itself what needs no server, and keeps the clock on the client.
 *
 * Requests that arrive while another is being answered (pipelining) wait, in the socket or in
 * `#held`, and are read when it is done: answers keep their order without a queue.
 */

import { LiveConnection, type OutsideReason } from "../connection/live-connection.ts"
import { NativeBytes } from "../linux/bytes.ts"
import { EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../linux/epoll.ts"
import { EAGAIN } from "../linux/errno.ts"
import { localEndpoint } from "../linux/tcp.ts"
import type { Address } from "../net/address.ts"
import { after, type Instant } from "../net/time.ts"
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
import { countRequest, type HttpEndReason } from "./counters.ts"
import { Exchange } from "./exchange.ts"
import type { ForwardingOrigin } from "./forwarding.ts"
import { RequestHead } from "./head.ts"
import { HeldBytes } from "./held-bytes.ts"
import { connectionOptions } from "./hop-by-hop.ts"
import { Outlet } from "./outlet.ts"
import { HeadWriter } from "./parts.ts"
import { askQuestion } from "./question.ts"
import type { Decision, Question, RequestOrigin, RespondDecision } from "./route.ts"
import { errorResponse, statusOfHeadError } from "./status.ts"
import type { Transport } from "./transport.ts"
import { READ_EVENTS, WRITE_EVENTS } from "./upstream-connections.ts"

/** How long a client may still send what nobody reads, so that the last answer reaches it. */
const LINGER_MS = 2_000
const LINGER_BYTES_MAX = 1024 * 1024

/** For a password to be verified, or a permission to be given. */
const ASKING_MS_MAX = 10_000

type Phase = "request" | "asking" | "exchange" | "lingering"

const LF = 0x0a

/** One per thread: a head lives only while its event is handled. */
const head = new RequestHead()
const writer = new HeadWriter(outboundBuffer, 0, HEAD_ROOM_BYTES)

export class ClientConnection extends LiveConnection implements ForwardingOrigin {
  readonly context: HttpContext
  readonly settings: HttpSettings
  readonly transport: Transport
  readonly outlet: Outlet
  readonly address: Address
  readonly isTrusted: boolean
  readonly isTls: boolean
  readonly port: number
  forwardingText: ForwardingOrigin["forwardingText"] = undefined
  isReadable = false
  /** The client has sent FIN: it wants nothing more, or only what it asked for already. */
  isHungUp = false
  #phase: Phase = "request"
  #exchange: Exchange | undefined = undefined
  /** Bytes read and not used yet: an unfinished head, or the next request. */
  #held: HeldBytes | undefined = undefined
  #deadline: Instant
  /** What is held has been looked at and has no end yet. */
  #isHeadUnfinished = false
  #isArmedForWriting = false
  #closesAfterFlush = false
  #cancelQuestion: (() => void) | undefined = undefined
  #lingeredBytes = 0
  #isClosed = false

  constructor(
    context: HttpContext,
    settings: HttpSettings,
    client: { readonly transport: Transport; readonly address: Address },
  ) {
    super()
    this.context = context
    this.settings = settings
    this.transport = client.transport
    this.outlet = new Outlet(client.transport)
    this.address = client.address
    this.isTrusted = settings.trusts(client.address)
    this.isTls = settings.isTls
    this.port = settings.endpoint.port
    const { reactor } = context
    this.#deadline = after(reactor.now, settings.timeouts.headMs)
    reactor.timers.arm(this, this.#deadline)
    reactor.add(this.transport.fd, READ_EVENTS, this)
  }

  get peerSubject(): string {
    return this.transport.peerSubject
  }

  get isClosed(): boolean {
    return this.#isClosed
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
    this.context.log("error", "Request ended by a fault", {
      listener: this.settings.name,
      error: text,
    })
    this.abort("internal_error")
  }

  override onTimer(now: Instant): void {
    if (now < this.#deadline) return this.context.reactor.timers.arm(this, this.#deadline)
    if (this.#exchange !== undefined) return this.#exchange.timedOut()
    if (this.#phase === "asking") return this.refuse(504, "server_timeout")
    if (this.#phase === "request" && this.#held !== undefined)
      return this.refuse(408, "client_timeout")
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

  /** Keeps bytes of `inbound` for the next request. */
  hold(start: number, end: number): void {
    this.#held = end > start ? new HeldBytes(inboundBuffer, start, end) : undefined
  }

  /** The bytes kept, which are the caller's now: a tunnel's first ones. */
  takeHeld(): NativeBytes | undefined {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return undefined
    const bytes = new NativeBytes(held.length)
    held.copyTo(Buffer.from(bytes.bytes.buffer))
    return bytes
  }

  /** The exchange is over and the client may ask again. */
  exchangeDone(): void {
    this.#exchange = undefined
    this.#phase = "request"
    this.expectWithin(this.settings.timeouts.idleMs)
    if (this.#held !== undefined || this.isReadable) this.#advance()
  }

  /** The exchange is over and so is the connection, once what is written has left. */
  closeWhenFlushed(): void {
    this.#exchange = undefined
    if (this.outlet.isBlocked) {
      this.#closesAfterFlush = true
      return
    }
    this.#linger()
  }

  /** Answers with an error of the proxy's own and closes. */
  refuse(status: number, reason: HttpEndReason): void {
    this.#cancelQuestion?.()
    this.#cancelQuestion = undefined
    const { row } = this.settings
    this.context.counters.add(row, reason, 1)
    countRequest(this.context.counters, row, { status, durationMs: 0 })
    writer.reset()
    errorResponse(writer, { status, detail: "", closes: true })
    this.#exchange = undefined
    if (!this.write(outbound, writer.start, writer.at)) return this.close("reset")
    this.closeWhenFlushed()
  }

  override endsWithServer(slots: ReadonlySet<number>): boolean {
    return this.#exchange?.endsWithServer(slots) === true
  }

  override end(reason: OutsideReason): void {
    this.abort(reason === "server_down" ? "server_aborted" : reason)
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
    counters.add(this.settings.row, "connections", -1)
    counters.add(this.settings.row, "bytesOut", this.outlet.bytes)
    budget.release(1)
  }

  /** Goes on until there is nothing to do but wait. */
  #advance(): void {
    while (!this.#isClosed) {
      if (this.#phase === "lingering") return this.#discard()
      if (this.#phase === "asking") return this.#awaitAnswer()
      if (this.#closesAfterFlush) return
      if (this.#exchange !== undefined) return this.#exchange.clientReady()
      if (!this.#readRequest()) return
    }
  }

  /** A client that hangs up wants no answer. */
  #awaitAnswer(): void {
    if (this.isHungUp) this.abort("client_aborted")
  }

  /** False: nothing more can be done now. */
  #readRequest(): boolean {
    const held = this.#held
    if (held !== undefined && !this.#isHeadUnfinished) return this.#parse(held, held.length)
    if (!this.isReadable) return false
    const start = held?.length ?? 0
    const count = this.read(start, READ_BYTES)
    if (count === -EAGAIN) return false
    if (count <= 0) {
      this.close("finish")
      return false
    }
    if (held === undefined) this.expectWithin(this.settings.timeouts.headMs)
    const end = start + count
    // Without a line end in them the bytes decide nothing: a head that comes in drops is looked at
    // once a line, not once a drop.
    if (held === undefined || hasLineEnd(start, end) || end > this.settings.limits.headBytesMax) {
      return this.#parse(held, end)
    }
    held.append(inboundBuffer, start, end)
    return this.isReadable
  }

  /** Parses what is held and what was read behind it: `inbound` up to `end`. */
  #parse(held: HeldBytes | undefined, end: number): boolean {
    held?.copyTo(inboundBuffer)
    const result = head.parse(inboundBuffer, 0, end, this.settings.limits)
    this.#isHeadUnfinished = result === "incomplete"
    if (result === "incomplete") {
      this.hold(0, end)
      return this.isReadable
    }
    this.#held = undefined
    return this.#parsed(result, end)
  }

  #parsed(
    result: Exclude<ReturnType<RequestHead["parse"]>, "incomplete">,
    length: number,
  ): boolean {
    if (result !== "complete") {
      this.context.log("debug", "Request refused", {
        listener: this.settings.name,
        client: this.address,
        reason: result,
      })
      this.refuse(statusOfHeadError(result), "bad_request")
      return false
    }
    return this.#follow(
      this.settings.routes.decide(head, this.#origin(), this.context.reactor.now),
      length,
    )
  }

  #origin(): RequestOrigin {
    return { client: this.address, isTls: this.isTls, port: this.port }
  }

  /** Does what was decided of the request in `inbound`. True: the next one may be read. */
  #follow(decision: Decision, length: number): boolean {
    if (decision.type === "respond") {
      if (decision.question !== undefined) return this.#ask(decision.question, length)
      return this.#respond(decision, length)
    }
    this.#phase = "exchange"
    this.#exchange = new Exchange(this, head, decision)
    this.#exchange.start(head, length)
    return this.#exchange === undefined && !this.#isClosed
  }

  /** Waits for somebody else's word; the request is kept, and nothing more is read until then. */
  #ask(question: Question, length: number): false {
    this.#phase = "asking"
    const asked = new HeldBytes(inboundBuffer, 0, length)
    this.#held = undefined
    this.expectWithin(ASKING_MS_MAX)
    this.#cancelQuestion = askQuestion(this, { question, head }, (settle) => {
      if (this.#isClosed) return
      this.#cancelQuestion = undefined
      asked.copyTo(inboundBuffer)
      head.parse(inboundBuffer, 0, asked.length, this.settings.limits)
      const { now } = this.context.reactor
      const decision = settle({ head, origin: this.#origin(), now })
      this.#phase = "request"
      if (this.#follow(decision, asked.length)) this.#advance()
    })
    return false
  }

  /** Answers without a server. A request body is not read: the connection ends after the answer. */
  #respond(decision: RespondDecision, length: number): boolean {
    const options = connectionOptions(head)
    const hasBody = head.isChunked || head.contentLength > 0
    const closes = hasBody || options.close || (head.minorVersion === 0 && !options.keepAlive)
    const { row } = this.settings
    const { counters } = this.context
    countRequest(counters, decision.route?.row ?? row, { status: decision.status, durationMs: 0 })
    if (decision.route !== undefined) {
      countRequest(counters, row, { status: decision.status, durationMs: 0 })
    }
    counters.add(row, decision.status === 403 ? "denied" : "finished", 1)
    writer.reset()
    errorResponse(writer, {
      ...decision,
      detail: decision.body,
      closes,
      isHead: head.method === "HEAD",
    })
    if (!this.write(outbound, writer.start, writer.at)) {
      this.close("reset")
      return false
    }
    if (closes) {
      this.closeWhenFlushed()
      return false
    }
    this.hold(head.end, length)
    this.#phase = "request"
    this.expectWithin(this.settings.timeouts.idleMs)
    return true
  }

  /** Sends what waits. False: closed. */
  #drain(): boolean {
    if (!this.outlet.flush()) {
      this.abort("client_aborted")
      return false
    }
    this.armForWriting(this.outlet.isBlocked)
    if (this.outlet.isBlocked) return true
    if (this.#closesAfterFlush) {
      this.#closesAfterFlush = false
      this.#linger()
      return !this.#isClosed
    }
    this.#exchange?.clientDrained()
    return !this.#isClosed
  }

  /**
   * Closing with unread bytes in the socket makes the kernel send RST, which can overtake the answer
   * (RFC 9112 §9.6): so say FIN, and read on for a moment.
   */
  #linger(): void {
    if (this.isHungUp) return this.close("finish")
    this.transport.finishWriting()
    this.#phase = "lingering"
    this.expectWithin(LINGER_MS)
    if (this.isReadable) this.#discard()
  }

  #discard(): void {
    while (this.isReadable) {
      const count = this.read(0, READ_BYTES)
      if (count === -EAGAIN) return
      this.#lingeredBytes += count
      if (count <= 0 || this.#lingeredBytes > LINGER_BYTES_MAX) return this.close("finish")
    }
  }

  #armedUntil(): number {
    return this.context.reactor.timers.deadlineOf(this)
  }
}

function hasLineEnd(start: number, end: number): boolean {
  const at = inboundBuffer.indexOf(LF, start)
  return at >= 0 && at < end
}
