/**
 * One request and its response, between a client's connection and a server's.
 *
 * Both bodies stream: a part is read, followed to find where the body ends, and written on; when
 * the other side does not take it, reading stops until it does. A response body whose length is
 * known and large is spliced past us.
 *
 * Until the first byte of a response has come, a request that is idempotent and whole may be sent
 * again: on another connection when a kept one turned out to be closed, on another server when the
 * connect failed or (where the route says so) the status asks for it.
 */

import type { ServerPool } from "../../connection/server-pool.ts"
import { nextSource } from "../../connection/sources.ts"
import { PlainTransport } from "../../connection/transport.ts"
import type { NativeBytes } from "../../linux/bytes.ts"
import { EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, errnoName } from "../../linux/errno.ts"
import { type Pipe, spliceIn, spliceOut } from "../../linux/pipe.ts"
import { localEndpoint, startConnect } from "../../linux/tcp.ts"
import { familyOf, formatEndpoint } from "../../net/address.ts"
import type { Instant } from "../../net/time.ts"
import { hashText } from "../../pool/hash.ts"
import type { PoolServer } from "../../pool/pool.ts"
import { encodeProxyHeader, type ProxyVersion } from "../../wire/proxy-protocol.ts"
import { type BodyCursor, NO_BODY, requestBody, responseBody } from "../body.ts"
import { countRequest, type HttpEndReason } from "../counters.ts"
import { FIELD } from "../field-names.ts"
import { valueOfField, writeForwardingFields } from "../forwarding.ts"
import { type RequestHead, ResponseHead } from "../head.ts"
import {
  type ConnectionOptions,
  connectionOptions,
  copyFields,
  FieldFilter,
} from "../hop-by-hop.ts"
import { bytesOf, HeadWriter } from "../parts.ts"
import { type RequestText, requestText } from "../request-text.ts"
import type { ForwardDecision } from "../route.ts"
import { errorResponse } from "../status.ts"
import { SLASH } from "../syntax.ts"
import {
  HEAD_ROOM_BYTES,
  inbound,
  inboundBuffer,
  outbound,
  outboundBuffer,
  READ_BYTES,
} from "./context.ts"
import type { ExchangeClient } from "./exchange-client.ts"
import { releaseRequest, type SavedRequest, saveRequest } from "./saved-request.ts"
import { SideRequest } from "./side-request.ts"
import { Tunnel } from "./tunnel.ts"
import { type Introduction, UpstreamConnection, type UpstreamUser } from "./upstream-connections.ts"

/**
 * A request no larger than this is kept until its response begins, so that it can be sent again.
 */
const REPLAY_BYTES_MAX = 64 * 1024
/** Bodies with at least this much to come are spliced. */
const SPLICE_BYTES_MIN = 64 * 1024
/** Bytes one exchange moves before others get their turn. */
const TURN_BYTES = 1024 * 1024
/** RFC 9110 §9.2.2. */
const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"])

const responseHead = new ResponseHead()
const writer = new HeadWriter(outboundBuffer, 0, HEAD_ROOM_BYTES)
const RESPONSE_LIMITS = { headBytesMax: 64 * 1024, fieldsMax: 256 }
const HOP_BY_HOP = new FieldFilter({ numbers: [], others: [] })

const VERSION = bytesOf("HTTP/1.1 ")
const VERSION_AND_HOST = bytesOf(" HTTP/1.1\r\nHost: ")
const LINE_END = bytesOf("\r\n")
const CHUNKED = bytesOf("Transfer-Encoding: chunked\r\n")
const SHORTEST_STATUS_LINE = "HTTP/1.1 200\r\n".length

export class Exchange implements UpstreamUser {
  readonly #client: ExchangeClient
  readonly #decision: ForwardDecision
  /** As it was when the request came; when a server has failed, as it is then. */
  #pool: ServerPool | undefined
  readonly #method: string
  readonly #isHttp10: boolean
  readonly #startedAt: Instant
  readonly #options: ConnectionOptions
  readonly #wantsUpgrade: string | undefined
  readonly #log: RequestText | undefined
  #upstream: UpstreamConnection | undefined = undefined
  #target: PoolServer | undefined = undefined
  #tried: PoolServer[] = []
  #requestBody: BodyCursor = NO_BODY
  /** Undefined until the response's head has come. */
  #responseBody: BodyCursor | undefined = undefined
  /** What has to be sent (again): until connected, and while it may be repeated. */
  #request: SavedRequest | undefined = undefined
  #isRepeatable = false
  #retries = 0
  #status = 0
  #connectMs = -1
  #firstByteMs = -1
  #closesClient = false
  #closesUpstream = false
  #decodesChunks = false
  #tunnel: Tunnel | undefined = undefined
  #isOver = false
  /** The server does not take the rest of the request; it may have said why. */
  #isUploadBroken = false
  /** Interim responses have gone to the client. */
  #hasAnswered = false
  /** An unfinished response head. */
  #heldResponse: Buffer | undefined = undefined
  #pipe: Pipe | undefined = undefined
  #bytesIn = 0
  #bytesOut = 0

  constructor(client: ExchangeClient, head: RequestHead, decision: ForwardDecision) {
    const { context } = client
    this.#client = client
    this.#decision = decision
    this.#pool = context.pools.get(decision.pool)
    this.#method = head.method
    this.#isHttp10 = head.minorVersion === 0
    this.#startedAt = context.reactor.now
    this.#options = connectionOptions(head)
    this.#wantsUpgrade = this.#options.upgrade ? upgradeOf(head) : undefined
    this.#closesClient = this.#options.close || (this.#isHttp10 && !this.#options.keepAlive)
    this.#log = context.accessLog === undefined ? undefined : requestText(head)
  }

  /** The head is the parser's; the bytes behind it have been read up to `readEnd`. */
  start(head: RequestHead, readEnd: number): void {
    const body = requestBody(head)
    const limit = this.#decision.route.maxBodyBytes
    if (limit > 0 && head.contentLength > limit) return this.#refuse(413, "bad_request", "")
    const bodyEnd = body.take(head.bytes, head.end, readEnd)
    if (typeof bodyEnd === "string") return this.#refuse(400, "bad_request", bodyEnd)
    if (limit > 0 && body.contentBytes > limit) return this.#refuse(413, "bad_request", "")
    this.#requestBody = body
    this.#bytesIn = bodyEnd - head.start
    this.#writeRequestHead(head)
    if (writer.isFull) return this.#refuse(431, "bad_request", "")
    const end = writer.at + bodyEnd - head.end
    head.bytes.copy(outboundBuffer, writer.at, head.end, bodyEnd)
    this.#client.hold(head.bytes, bodyEnd, readEnd)
    if (this.#decision.route.mirror !== "" && body.isDone) this.#mirror(end)
    this.#isRepeatable = body.isDone && IDEMPOTENT.has(this.#method) && end <= REPLAY_BYTES_MAX
    this.#client.expectWithin(
      body.isDone ? this.#decision.route.firstByteMs : this.#client.settings.timeouts.bodyMs,
    )
    this.#send(end)
  }

  /** The client has sent something, hung up, or may be read again. */
  clientReady(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.pump()
    if (this.#isUploading) return this.#pumpUp()
    // A client that hangs up wants no answer any more: its server need not make one.
    if (this.#client.isHungUp && !this.#isOver) this.#client.abort("client_aborted")
  }

  /** The client has taken something; all of it unless there is a pipe or its outlet is blocked. */
  clientDrained(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.pump()
    if (this.#pipe !== undefined && !this.#flushPipe()) return
    if (!this.#client.outlet.isBlocked) this.upstreamReady()
  }

  /** What is spliced waits for the client to take it. */
  get isSplicing(): boolean {
    return this.#pipe !== undefined
  }

  upstreamConnected(): void {
    const { context } = this.#client
    const server = this.#target as PoolServer
    this.#connectMs = context.reactor.now - this.#startedAt
    context.board.recordSuccess(server.slot, context.reactor.now)
    context.serverCounters.add(server.slot, "connectMsTotal", this.#connectMs)
    const { bytes, length } = this.#request as SavedRequest
    const isAlive = this.#upstream?.write(bytes, 0, length)
    if (!this.#isRepeatable) this.#forgetRequest()
    if (isAlive !== true) return this.#uploadBroke()
    if (this.#isUploading) this.#pumpUp()
    if (!this.#isOver && this.#upstream?.isReadable === true) this.upstreamReady()
  }

  upstreamConnectFailed(cause: string, detail = ""): void {
    this.#upstream = undefined
    const server = this.#target as PoolServer
    const pool = this.#pool as ServerPool
    const { context } = this.#client
    const about = { pool: this.#decision.pool, server: server.name, cause }
    if (detail !== "") context.log("warn", "TLS with a server failed", { ...about, detail })
    if (context.board.recordFailure(server.slot, context.reactor.now, pool)) {
      context.log("warn", "Server ejected after failed connects", about)
    }
    this.#tried.push(server)
    const next = this.#tried.length > pool.connectRetries ? undefined : this.#pick(this.#poolNow())
    if (next === undefined) {
      return this.#refuse(cause === "ETIMEDOUT" ? 504 : 502, "connect_failed", proxyError(cause))
    }
    this.#countRetry()
    this.#open(next)
  }

  upstreamReady(): void {
    if (this.#tunnel !== undefined) return this.#tunnel.pump()
    const upstream = this.#upstream
    if (upstream === undefined || this.#isOver) return
    if (upstream.isBroken) this.#isUploadBroken = true
    if (this.#isUploading && this.#client.isReadable) this.#pumpUp()
    let turn = 0
    while (this.#isReading(upstream)) {
      if (this.#client.outlet.isBlocked || this.#pipe !== undefined) return
      if (turn >= TURN_BYTES) return this.#client.context.reactor.defer(upstream.transport.fd)
      const before = this.#bytesOut
      if (this.#responseBody === undefined) this.#readResponseHead(upstream)
      else this.#readResponseBody(upstream, this.#responseBody)
      turn += this.#bytesOut - before
    }
  }

  /** A response comes from it, and may be read on. */
  #isReading(upstream: UpstreamConnection): boolean {
    const isOurs = this.#upstream === upstream && !this.#isOver
    return isOurs && upstream.isReadable && this.#tunnel === undefined
  }

  endsWithServer(slots: ReadonlySet<number>): boolean {
    return this.#pool?.closeOnDown === true && slots.has(this.#target?.slot ?? -1)
  }

  /** Nothing has moved for as long as `patience` said. Whose turn was it? */
  timedOut(): void {
    const isClientsTurn = this.#client.outlet.isBlocked || this.#pipe !== undefined
    if (isClientsTurn) return this.#client.abort("client_timeout")
    if (this.#tunnel !== undefined) return this.#tunnelEnded("finished")
    if (this.#responseBody !== undefined) return this.#client.abort("server_timeout")
    const isServersTurn = this.#upstream?.outlet.isBlocked === true
    if (this.#isUploading && !isServersTurn) return this.#refuse(408, "client_timeout", "")
    this.#refuse(504, "server_timeout", "http_response_timeout")
  }

  /** The client is gone. */
  abandon(reason: HttpEndReason): void {
    if (this.#isOver) return
    this.#end(reason)
    this.#dropUpstream()
  }

  fail(error: unknown): void {
    this.#upstream = undefined
    this.#client.fail(error)
  }

  #writeRequestHead(head: RequestHead): void {
    const { route, target } = this.#decision
    writer.reset()
    // In origin form method, blank and path stand together.
    if (target === undefined && head.pathStart === head.targetStart) {
      writer.copy(head.bytes, head.start, head.pathEnd)
    } else this.#writeOtherTarget(head, target)
    writer.put(VERSION_AND_HOST)
    writer.text(route.host ?? (head.authority === "" ? this.#ownAuthority() : head.authority))
    writer.put(LINE_END)
    copyFields(head, writer, {
      filter: route.requestFilter,
      nominated: this.#options.nominated,
    })
    if (head.isChunked) writer.put(CHUNKED)
    if (this.#wantsUpgrade !== undefined) {
      writer.text("Connection: upgrade\r\n")
      writer.field("Upgrade", this.#wantsUpgrade)
    }
    writeForwardingFields(writer, head, this.#client)
    if (route.requestFields !== "") writer.text(route.requestFields)
    if (this.#decision.requestFields !== "") writer.text(this.#decision.requestFields)
    writer.put(LINE_END)
  }

  #writeOtherTarget(head: RequestHead, target: string | undefined): void {
    writer.text(`${head.method} `)
    if (target !== undefined) return writer.text(target)
    // "http://host?q" has an empty path, which is sent on as "/" (RFC 9112 §3.2.1).
    if (head.bytes[head.pathStart] !== SLASH) writer.text("/")
    writer.copy(head.bytes, head.pathStart, head.pathEnd)
  }

  /** HTTP/1.0 knows no Host: then it is the address the client came to (RFC 9110 §7.1). */
  #ownAuthority(): string {
    const endpoint = localEndpoint(this.#client.transport.fd)
    return formatEndpoint(endpoint ?? this.#client.settings.endpoint)
  }

  /** A copy of a whole request for another pool, whose answers nobody reads. */
  #mirror(end: number): void {
    const { context } = this.#client
    const pool = context.pools.get(this.#decision.route.mirror)
    if (pool === undefined || end > REPLAY_BYTES_MAX) return
    const request = {
      saved: saveRequest(outboundBuffer, end),
      method: this.#method,
      client: this.#client,
    }
    new SideRequest(context, request, () => {}).start(pool, this.#decision.route.firstByteMs)
  }

  /** Sends `outbound[0…end)`, on a kept connection or a new one. */
  #send(end: number): void {
    const pool = this.#pool
    if (pool === undefined) return this.#refuse(503, "no_server", "destination_unavailable")
    const server = this.#pick(pool)
    if (server === undefined) return this.#refuse(503, "no_server", "destination_unavailable")
    const kept = this.#kept(pool, server)
    if (kept === undefined || this.#isRepeatable) {
      this.#request = saveRequest(outboundBuffer, end)
    }
    if (kept === undefined) return this.#open(server)
    this.#target = server
    this.#upstream = kept
    kept.use(this)
    if (!kept.write(outbound, 0, end)) return this.#uploadBroke()
    if (this.#isUploading && this.#client.isReadable) this.#pumpUp()
  }

  #kept(pool: ServerPool, server: PoolServer): UpstreamConnection | undefined {
    const { upstreams } = this.#client.context
    const mustBeAlive = !this.#isRepeatable
    if (pool.proxyProtocol === undefined) return upstreams.take(server, mustBeAlive)
    return upstreams.takeOwn(this.#client, server, mustBeAlive)
  }

  #pick(pool: ServerPool, without = this.#tried): PoolServer | undefined {
    const { context, address } = this.#client
    const { stickySlot } = this.#decision
    if (stickySlot >= 0) {
      const sticky = pool.pool.usable(stickySlot, context.reactor.now, without)
      if (sticky !== undefined) return sticky
    }
    const key = pool.usesClientHash ? hashText(address) : 0
    return pool.pool.pick(key, context.reactor.now, without)
  }

  /** A server that fails may have left the pool meanwhile, and not alone. */
  #poolNow(): ServerPool {
    this.#pool = this.#client.context.pools.get(this.#decision.pool) ?? this.#pool
    return this.#pool as ServerPool
  }

  #open(server: PoolServer): void {
    const { context } = this.#client
    const pool = this.#pool as ServerPool
    this.#target = server
    const sockaddr = pool.sockaddrs.get(server) as NativeBytes
    const fd = startConnect(sockaddr, nextSource(pool.sources[familyOf(server.endpoint.address)]))
    if (fd < 0) {
      const errno = -fd
      if (errno === EMFILE || errno === ENFILE || errno === EADDRNOTAVAIL) {
        return this.#refuse(503, "exhausted", "proxy_internal_error")
      }
      return this.upstreamConnectFailed(errnoName(errno))
    }
    this.#upstream = new UpstreamConnection(context, context.upstreams, {
      server,
      transport: pool.secure?.(fd, server.endpoint) ?? new PlainTransport(fd),
      user: this,
      connectTimeoutMs: pool.connectTimeoutMs,
      introduction: this.#introduction(pool.proxyProtocol),
    })
  }

  #introduction(version: ProxyVersion | undefined): Introduction | undefined {
    if (version === undefined) return undefined
    const client = this.#client
    return { client, header: encodeProxyHeader(version, client.endpoints()) }
  }

  /** The request has a body of which not all has been sent. */
  get #isUploading(): boolean {
    return !this.#requestBody.isDone && !this.#isUploadBroken
  }

  /** Client → server: the rest of the request body. */
  #pumpUp(): void {
    const client = this.#client
    const upstream = this.#upstream
    const body = this.#requestBody
    if (upstream === undefined || !upstream.isConnected) return
    let turn = 0
    while (!this.#isOver && this.#isUploading) {
      if (upstream.outlet.isBlocked || !client.isReadable) return
      if (turn >= TURN_BYTES) return client.context.reactor.defer(client.transport.fd)
      const count = client.read(0, READ_BYTES)
      if (count === -EAGAIN) return
      if (count <= 0) return client.abort("client_aborted")
      const end = body.take(inboundBuffer, 0, count)
      if (typeof end === "string") return this.#refuse(400, "bad_request", end)
      const limit = this.#decision.route.maxBodyBytes
      if (limit > 0 && body.contentBytes > limit) return this.#refuse(413, "bad_request", "")
      this.#bytesIn += end
      turn += end
      if (end < count) client.hold(inboundBuffer, end, count)
      if (!upstream.write(inbound, 0, end)) return this.#uploadBroke()
      client.expectWithin(this.patience)
    }
  }

  /**
   * The server takes no more, as one does that answers early and closes ("413"). Its answer may
   * still wait to be read, and goes first.
   */
  #uploadBroke(): void {
    const upstream = this.#upstream as UpstreamConnection
    this.#isUploadBroken = true
    this.#closesClient ||= !this.#requestBody.isDone
    upstream.isReadable = true
    this.upstreamReady()
  }

  /** Milliseconds for the next thing to happen. */
  get patience(): number {
    const { firstByteMs, timeouts } = this.#decision.route
    if (this.#tunnel !== undefined) return this.#tunnelMs
    if (this.#responseBody !== undefined) return this.#betweenBytesMs
    if (!this.#isUploading) return firstByteMs
    const { bodyMs } = this.#client.settings.timeouts
    return this.#upstream?.outlet.isBlocked === true ? (timeouts.sendMs ?? bodyMs) : bodyMs
  }

  get #betweenBytesMs(): number {
    const own = this.#decision.route.timeouts.betweenBytesMs
    return own ?? this.#client.settings.timeouts.betweenBytesMs
  }

  get #tunnelMs(): number {
    return this.#decision.route.timeouts.tunnelMs ?? this.#client.settings.timeouts.tunnelMs
  }

  #readResponseHead(upstream: UpstreamConnection): void {
    const held = this.#heldResponse
    let length = held === undefined ? 0 : held.copy(inboundBuffer)
    const count = upstream.read(inbound, length, READ_BYTES)
    if (count === -EAGAIN) return
    if (count <= 0)
      return this.#serverFailed(count === 0 ? "connection closed" : "connection reset")
    this.#heldResponse = undefined
    length += count
    this.#parseResponse(upstream, { start: 0, end: length })
  }

  #parseResponse(
    upstream: UpstreamConnection,
    { start, end }: { readonly start: number; readonly end: number },
  ): void {
    let at = start
    while (at < end) {
      const result = responseHead.parse(inboundBuffer, at, end, RESPONSE_LIMITS)
      if (result === "incomplete") {
        this.#heldResponse = Buffer.from(inboundBuffer.subarray(at, end))
        return
      }
      if (result !== "complete") return this.#refuseResponse(upstream, result)
      if (this.#firstByteMs < 0) {
        this.#firstByteMs = this.#client.context.reactor.now - this.#startedAt
      }
      const { status } = responseHead
      if (status === 101) return this.#startTunnel(upstream, end)
      if (status >= 200) return this.#answer(upstream, end)
      if (!this.#passInterim()) return this.#clientFailed()
      at = responseHead.end
    }
  }

  #refuseResponse(upstream: UpstreamConnection, reason: string): void {
    this.#client.context.log("warn", "Response refused", {
      pool: this.#decision.pool,
      server: upstream.server.name,
      reason,
    })
    const isTooLarge = reason === "head-too-large" || reason === "too-many-fields"
    const error = isTooLarge ? "http_response_header_section_size" : "http_protocol_error"
    this.#refuse(502, "bad_response", error)
  }

  /** 100, 103: on to the client, then the final response follows (RFC 9110 §15.2). */
  #passInterim(): boolean {
    if (this.#isHttp10) return true
    this.#hasAnswered = true
    this.#writeStatusLine()
    const { nominated } = connectionOptions(responseHead)
    copyFields(responseHead, writer, { filter: HOP_BY_HOP, nominated, dropsLength: true })
    writer.put(LINE_END)
    return this.#client.write(outbound, 0, writer.at)
  }

  #answer(upstream: UpstreamConnection, end: number): void {
    const { route } = this.#decision
    const { status } = responseHead
    if (route.retryStatuses.includes(status) && this.#repeatElsewhere()) return
    const body = responseBody(responseHead, { method: this.#method, decodes: this.#isHttp10 })
    const bodyEnd = body.take(inboundBuffer, responseHead.end, end)
    if (typeof bodyEnd === "string") return this.#refuseResponse(upstream, bodyEnd)
    this.#status = status
    this.#forgetRequest()
    const options = connectionOptions(responseHead)
    this.#closesUpstream =
      options.close ||
      body.framing === "until-close" ||
      (responseHead.minorVersion === 0 && !options.keepAlive) ||
      bodyEnd < end // bytes that belong to no request
    this.#decodesChunks = this.#isHttp10 && body.framing === "chunked"
    // The request body is not wanted any more, or its end is not known: no next request can follow.
    if (!this.#requestBody.isDone || this.#client.isRetired) this.#closesClient = true
    if (body.framing === "until-close" || this.#decodesChunks) this.#closesClient = true
    this.#writeResponseHead(options.nominated)
    if (writer.isFull) return this.#refuse(502, "bad_response", "http_response_header_section_size")
    this.#responseBody = body
    const bodyStart = writer.at
    const length = this.#copyBody(responseHead.end, bodyEnd, bodyStart)
    this.#client.expectWithin(this.#betweenBytesMs)
    if (!this.#client.write(outbound, 0, bodyStart + length)) return this.#clientFailed()
    this.#moved(upstream, bodyStart + length)
    if (body.isDone) this.#finish(upstream)
  }

  #writeStatusLine(): void {
    writer.reset()
    writer.put(VERSION)
    const { start, fieldsStart } = responseHead
    // RFC 9112 §4: the blank stays when there is no reason.
    if (fieldsStart - start === SHORTEST_STATUS_LINE) {
      writer.copy(inboundBuffer, start + VERSION.length, fieldsStart - LINE_END.length)
      writer.text(" \r\n")
    } else writer.copy(inboundBuffer, start + VERSION.length, fieldsStart)
  }

  #writeResponseHead(nominated: readonly string[] | undefined): void {
    const { route } = this.#decision
    this.#writeStatusLine()
    const dropsLength = this.#status === 204
    copyFields(responseHead, writer, { filter: route.responseFilter, nominated, dropsLength })
    const isBodiless = dropsLength || this.#status === 304
    if (responseHead.isChunked && !isBodiless && !this.#isHttp10) writer.put(CHUNKED)
    writer.text(route.responseFields)
    writer.text(this.#decision.responseFields)
    if (route.stickyFields !== undefined && this.#target?.slot !== this.#decision.stickySlot) {
      writer.text(route.stickyFields((this.#target as PoolServer).slot))
    }
    if (this.#closesClient) writer.text("Connection: close\r\n")
    else if (this.#isHttp10) writer.text("Connection: keep-alive\r\n")
    writer.text("\r\n")
  }

  /** Copies a part of the body behind what is written; returns how many bytes it came to. */
  #copyBody(start: number, end: number, at: number): number {
    if (!this.#decodesChunks) return inboundBuffer.copy(outboundBuffer, at, start, end)
    let length = 0
    for (const [from, to] of this.#responseBody?.lastContent ?? []) {
      length += inboundBuffer.copy(outboundBuffer, at + length, from, to)
    }
    return length
  }

  #readResponseBody(upstream: UpstreamConnection, body: BodyCursor): void {
    if (body.blindBytes >= SPLICE_BYTES_MIN && this.#canSplice(upstream)) {
      const pipe = this.#client.context.pipes.take()
      if (pipe !== undefined) return this.#splice(upstream, { body, pipe })
    }
    const count = upstream.read(inbound, 0, READ_BYTES)
    if (count === -EAGAIN) return
    if (count <= 0) return this.#responseEnded(upstream, count)
    const end = body.take(inboundBuffer, 0, count)
    if (typeof end === "string") return this.#client.abort("bad_response")
    if (end < count) this.#closesUpstream = true
    if (this.#decodesChunks) {
      const length = this.#copyBody(0, end, 0)
      if (!this.#client.write(outbound, 0, length)) return this.#clientFailed()
    } else if (!this.#client.write(inbound, 0, end)) return this.#clientFailed()
    this.#moved(upstream, end)
    this.#client.expectWithin(this.#betweenBytesMs)
    if (body.isDone) this.#finish(upstream)
  }

  #canSplice(upstream: UpstreamConnection): boolean {
    return upstream.transport.canSplice && this.#client.transport.canSplice
  }

  #splice(
    upstream: UpstreamConnection,
    { body, pipe }: { readonly body: BodyCursor; readonly pipe: Pipe },
  ): void {
    const count = spliceIn(upstream.transport.fd, pipe, body.blindBytes)
    if (count <= 0) {
      this.#client.context.pipes.give(pipe)
      upstream.isReadable = false
      if (count === -EAGAIN) return
      return this.#responseEnded(upstream, count)
    }
    body.pass(count)
    this.#moved(upstream, count)
    this.#pipe = pipe
    this.#client.expectWithin(this.#betweenBytesMs)
    this.#flushPipe()
  }

  /** False: still waiting for the client, or over. */
  #flushPipe(): boolean {
    const pipe = this.#pipe as Pipe
    while (pipe.fill > 0) {
      const moved = spliceOut(pipe, this.#client.transport.fd)
      if (moved === -EAGAIN) {
        this.#client.armForWriting(true)
        return false
      }
      if (moved < 0) {
        this.#clientFailed()
        return false
      }
      this.#client.outlet.bytes += moved
      this.#client.expectWithin(this.patience)
    }
    this.#client.armForWriting(false)
    this.#client.context.pipes.give(pipe)
    this.#pipe = undefined
    if (this.#responseBody?.isDone === true) this.#finish(this.#upstream as UpstreamConnection)
    return !this.#isOver
  }

  /** End of the server's stream within a body: its end, or too early. */
  #responseEnded(upstream: UpstreamConnection, count: number): void {
    const isEnd = count === 0 && this.#responseBody?.framing === "until-close"
    if (!isEnd) return this.#client.abort("server_aborted")
    this.#finish(upstream)
  }

  /** After 101 the bytes are nobody's business, up to the end of both connections. */
  #startTunnel(upstream: UpstreamConnection, end: number): void {
    const protocol = this.#wantsUpgrade
    if (protocol === undefined) return this.#refuseResponse(upstream, "unexpected-upgrade")
    this.#status = 101
    this.#closesClient = true
    this.#forgetRequest()
    this.#writeStatusLine()
    const { nominated } = connectionOptions(responseHead)
    copyFields(responseHead, writer, { filter: HOP_BY_HOP, nominated, dropsLength: true })
    writer.text("Connection: upgrade\r\n")
    writer.field("Upgrade", valueOfField(responseHead, FIELD.upgrade) ?? protocol)
    writer.put(LINE_END)
    const length = end - responseHead.end
    inboundBuffer.copy(outboundBuffer, writer.at, responseHead.end, end)
    if (!this.#client.write(outbound, 0, writer.at + length)) return this.#clientFailed()
    this.#moved(upstream, length)
    this.#tunnel = new Tunnel(this.#client, upstream, {
      idleMsMax: this.#tunnelMs,
      moved: (up, down) => {
        this.#bytesIn += up
        this.#moved(upstream, down)
      },
      ended: (reason) => this.#tunnelEnded(reason),
    })
    this.#tunnel.start(this.#client.takeHeld())
  }

  #tunnelEnded(reason: HttpEndReason): void {
    if (reason !== "finished") return this.#client.abort(reason)
    this.#end(reason)
    this.#dropUpstream("finish")
    this.#client.close("finish")
  }

  #moved(upstream: UpstreamConnection, bytes: number): void {
    this.#bytesOut += bytes
    this.#client.context.serverCounters.add(upstream.server.slot, "bytesFromServer", bytes)
  }

  /** The connection broke before a response came. */
  #serverFailed(cause: string): void {
    const next = this.#insteadOf(this.#upstream as UpstreamConnection)
    if (next !== undefined) {
      this.#dropUpstream()
      this.#countRetry()
      return this.#open(next)
    }
    if (this.#repeatElsewhere()) return
    this.#refuse(
      502,
      "server_aborted",
      cause === "connection closed" ? "connection_terminated" : "connection_read_error",
    )
  }

  /**
   * Who may be asked once more when a connection was closed without a word. That may be how a
   * server begins to stop, so another one is the safer choice; but a kept connection may only have
   * had its time, and then a client that is bound to the server, or has no other, stays with it.
   */
  #insteadOf({ server, exchanges }: UpstreamConnection): PoolServer | undefined {
    if (this.#heldResponse !== undefined || !this.#mayRepeat(1)) return undefined
    const pool = this.#poolNow()
    const same = exchanges > 0 ? server : undefined
    const isBound = pool.usesClientHash || server.slot === this.#decision.stickySlot
    if (isBound && same !== undefined) return same
    return this.#pick(pool, [...this.#tried, server]) ?? same
  }

  #mayRepeat(attempts: number): boolean {
    return (
      this.#isRepeatable &&
      !this.#hasAnswered &&
      this.#request !== undefined &&
      this.#retries < attempts
    )
  }

  /** Sends the request to another server; false: it may not be, or there is none. */
  #repeatElsewhere(): boolean {
    if (!this.#mayRepeat(this.#decision.route.retryAttempts)) return false
    this.#tried.push(this.#target as PoolServer)
    const next = this.#pick(this.#poolNow())
    if (next === undefined) return false
    this.#dropUpstream()
    this.#countRetry()
    this.#heldResponse = undefined
    this.#open(next)
    return true
  }

  #forgetRequest(): void {
    if (this.#request !== undefined) releaseRequest(this.#request)
    this.#request = undefined
  }

  #countRetry(): void {
    this.#retries++
    this.#client.context.counters.add(this.#client.settings.row, "retries", 1)
  }

  /** Answers with an error of our own where that is still possible. */
  #refuse(status: number, reason: HttpEndReason, proxyStatus: string): void {
    if (this.#isOver) return
    this.#dropUpstream()
    if (this.#responseBody !== undefined) return this.#client.abort(reason)
    this.#status = status
    // After an error of the client's nobody knows where its next request would begin.
    const isKept = !this.#closesClient && this.#requestBody.isDone && !this.#client.isRetired
    const closes = !isKept || status < 500
    const { context } = this.#client
    writer.reset()
    errorResponse(writer, {
      status,
      detail: "",
      date: context.date.lineAt(context.reactor.now),
      connection: closes ? "close" : this.#isHttp10 ? "keep-alive" : "",
      fields: status < 500 ? "" : `Proxy-Status: causeway; error=${proxyStatus}\r\n`,
      isHead: this.#method === "HEAD",
    })
    this.#bytesOut += writer.at
    this.#end(reason)
    if (!this.#client.write(outbound, 0, writer.at)) return this.#client.close("reset")
    if (closes) this.#client.closeWhenFlushed(true)
    else this.#client.exchangeDone()
  }

  #finish(upstream: UpstreamConnection): void {
    this.#end("finished")
    this.#upstream = undefined
    const isReusable =
      !this.#closesUpstream &&
      this.#requestBody.isDone &&
      !upstream.isHungUp &&
      !upstream.outlet.isBlocked &&
      (!upstream.isReadable || upstream.isClean())
    if (isReusable) this.#client.context.upstreams.give(upstream)
    else upstream.close("finish")
    if (!this.#closesClient) return this.#client.exchangeDone()
    this.#client.closeWhenFlushed(!this.#requestBody.isDone || !this.#options.close)
  }

  #clientFailed(): void {
    this.#client.abort("client_aborted")
  }

  #dropUpstream(how: "finish" | "reset" = "reset"): void {
    if (this.#pipe !== undefined) this.#client.context.pipes.give(this.#pipe)
    this.#pipe = undefined
    this.#upstream?.close(how)
    this.#upstream = undefined
  }

  #end(reason: HttpEndReason): void {
    this.#isOver = true
    this.#forgetRequest()
    const { context, settings } = this.#client
    const durationMs = context.reactor.now - this.#startedAt
    const request = { status: this.#status, durationMs }
    context.counters.add(settings.row, reason, 1)
    context.counters.add(settings.row, "bytesIn", this.#bytesIn)
    countRequest(context.counters, settings.row, request)
    countRequest(context.counters, this.#decision.route.row, request)
    if (this.#log === undefined || context.accessLog === undefined) return
    context.accessLog({
      listener: settings.name,
      client: this.#client.address,
      ...this.#log,
      status: this.#status,
      route: this.#decision.route.name,
      pool: this.#decision.pool,
      server: this.#target?.name ?? "",
      bytesIn: this.#bytesIn,
      bytesOut: this.#bytesOut,
      connectMs: this.#connectMs,
      firstByteMs: this.#firstByteMs,
      durationMs,
      retries: this.#retries,
      tlsVersion: this.#client.transport.tlsVersion,
      reason,
    })
  }
}

/**
 * The protocols a client asks for, if a tunnel for them may be had. HTTP/2 in clear text may not:
 * its requests would pass unseen by the routes ("h2c smuggling"; RFC 9113 §3.1 has given it up).
 */
function upgradeOf(head: RequestHead): string | undefined {
  if (head.minorVersion === 0) return undefined
  const protocols = valueOfField(head, FIELD.upgrade)
  return protocols === undefined || /(^|[\s,])(h2|http)/i.test(protocols) ? undefined : protocols
}

/** RFC 9209 §2.3: the proxy error type for a failed connect. */
function proxyError(cause: string): string {
  switch (cause) {
    case "ECONNREFUSED":
      return "connection_refused"
    case "ETIMEDOUT":
      return "connection_timeout"
    case "EPROTO":
      return "tls_protocol_error"
    case "EKEYREJECTED":
      return "tls_certificate_error"
    case "EHOSTUNREACH":
    case "ENETUNREACH":
      return "destination_ip_unroutable"
    default:
      return "connection_terminated"
  }
}
