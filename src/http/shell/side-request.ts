/**
 * A request of the proxy's own beside a client's: asking for permission (forward auth), or a copy
 * for a mirror. It reads the head of the answer and lets the body go.
 */
import type { ServerPool } from "../../connection/server-pool.ts"
import { nextSource } from "../../connection/sources.ts"
import { PlainTransport } from "../../connection/transport.ts"
import { EAGAIN } from "../../linux/errno.ts"
import { startConnect } from "../../linux/tcp.ts"
import { familyOf } from "../../net/address.ts"
import { TimerEntry } from "../../net/timer-wheel.ts"
import type { PoolServer } from "../../pool/pool.ts"
import { encodeProxyHeader, type ProxyVersion } from "../../wire/proxy-protocol.ts"
import { responseBody } from "../body.ts"
import { ResponseHead } from "../head.ts"
import { HeldBytes } from "../held-bytes.ts"
import { connectionOptions } from "../hop-by-hop.ts"
import { type HttpContext, inbound, inboundBuffer, READ_BYTES } from "./context.ts"
import type { ExchangeClient } from "./exchange-client.ts"
import { releaseRequest, type SavedRequest } from "./saved-request.ts"
import { type Introduction, UpstreamConnection, type UpstreamUser } from "./upstream-connections.ts"

const LIMITS = { headBytesMax: 64 * 1024, fieldsMax: 256 }
const head = new ResponseHead()

/** `answer` is undefined when there was none; it is only valid during the call. */
export type SideAnswer = (answer: ResponseHead | undefined) => void

export class SideRequest extends TimerEntry implements UpstreamUser {
  readonly #context: HttpContext
  readonly #request: SavedRequest
  readonly #method: string
  readonly #client: Pick<ExchangeClient, "endpoints">
  readonly #onAnswer: SideAnswer
  #upstream: UpstreamConnection | undefined
  /** An unfinished head. */
  #held: HeldBytes | undefined = undefined
  /** While it runs on a kept connection. */
  #openInstead: (() => void) | undefined = undefined
  #isOver = false

  constructor(
    context: HttpContext,
    request: {
      readonly saved: SavedRequest
      readonly method: string
      /** Whose request it goes with, for servers that are told. */
      readonly client: Pick<ExchangeClient, "endpoints">
    },
    onAnswer: SideAnswer,
  ) {
    super()
    this.#context = context
    this.#request = request.saved
    this.#method = request.method
    this.#client = request.client
    this.#onAnswer = onAnswer
  }

  /** Sends it to a server of the pool. */
  start(pool: ServerPool, timeoutMs: number): void {
    if (this.#isOver) return
    const { reactor, upstreams } = this.#context
    reactor.arm(this, timeoutMs)
    const server = pool.pool.pick(0, reactor.now, [])
    if (server === undefined) return this.#end(undefined)
    const kept = pool.proxyProtocol === undefined ? upstreams.take(server, true) : undefined
    if (kept === undefined) return this.#open(pool, server)
    this.#openInstead = () => this.#open(pool, server)
    this.#upstream = kept
    kept.use(this)
    this.upstreamConnected()
  }

  #open(pool: ServerPool, server: PoolServer): void {
    const sockaddr = pool.sockaddrs.get(server)
    const source = nextSource(pool.sources[familyOf(server.endpoint.address)])
    const fd = sockaddr === undefined ? -1 : startConnect(sockaddr, source)
    if (fd < 0) return this.#end(undefined)
    this.#upstream = new UpstreamConnection(this.#context, this.#context.upstreams, {
      server,
      transport: pool.secure?.(fd, server.endpoint) ?? new PlainTransport(fd),
      user: this,
      connectTimeoutMs: pool.connectTimeoutMs,
      introduction: this.#introduction(pool.proxyProtocol),
    })
  }

  /** The connection is this request's alone. */
  #introduction(version: ProxyVersion | undefined): Introduction | undefined {
    if (version === undefined) return undefined
    return { client: this, header: encodeProxyHeader(version, this.#client.endpoints()) }
  }

  /** Nobody waits for the answer any more. */
  cancel(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#release("reset")
  }

  upstreamConnected(): void {
    const { bytes, length } = this.#request
    if (this.#upstream?.write(bytes, 0, length) !== true) this.#broke()
  }

  upstreamConnectFailed(): void {
    this.#upstream = undefined
    this.#end(undefined)
  }

  upstreamReady(): void {
    const upstream = this.#upstream
    while (upstream !== undefined && !this.#isOver && upstream.isReadable) {
      const start = this.#held?.length ?? 0
      const count = upstream.read(inbound, start, READ_BYTES)
      if (count === -EAGAIN) return
      if (count <= 0) return this.#broke()
      this.#held?.copyTo(inboundBuffer)
      this.#parse(upstream, start + count)
    }
  }

  /** Looks for the final response (RFC 9110 §15.2: others may come before it). */
  #parse(upstream: UpstreamConnection, end: number): void {
    let at = 0
    while (at < end) {
      const result = head.parse(inboundBuffer, at, end, LIMITS)
      if (result === "incomplete") break
      if (result !== "complete" || head.status === 101) return this.#end(undefined)
      if (head.status >= 200) return this.#answered(upstream, end)
      at = head.end
    }
    this.#held = at < end ? new HeldBytes(inboundBuffer, at, end) : undefined
  }

  /** A kept connection may have been closed while the request was on its way: that counts once. */
  #broke(): void {
    const openInstead = this.#held === undefined ? this.#openInstead : undefined
    if (openInstead === undefined) return this.#end(undefined)
    this.#openInstead = undefined
    this.#upstream?.close("finish")
    openInstead()
  }

  override onTimer(): void {
    this.#end(undefined)
  }

  override fail(): void {
    this.#end(undefined)
  }

  /** The connection is kept when the whole answer came with its head. */
  #answered(upstream: UpstreamConnection, readEnd: number): void {
    const body = responseBody(head, { method: this.#method, decodes: false })
    const end = body.take(inboundBuffer, head.end, readEnd)
    const { close, keepAlive } = connectionOptions(head)
    const staysOpen = head.minorVersion === 1 ? !close : keepAlive
    const isClean = end === readEnd && (!upstream.isReadable || upstream.isClean())
    const isShared = upstream.client === undefined
    if (body.isDone && isClean && staysOpen && isShared && !upstream.isHungUp) {
      this.#upstream = undefined
      this.#context.upstreams.give(upstream)
    }
    this.#end(head)
  }

  #end(answer: ResponseHead | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#release("finish")
    this.#onAnswer(answer)
  }

  #release(how: "finish" | "reset"): void {
    this.#context.reactor.timers.cancel(this)
    releaseRequest(this.#request)
    this.#upstream?.close(how)
    this.#upstream = undefined
  }
}
