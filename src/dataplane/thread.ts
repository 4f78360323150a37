/**
 * Entry of a data thread: one reactor that runs the listeners it is handed.
 *
 * The thread blocks in `epoll_wait`, so nothing of JavaScript's own event loop (timers, promises,
 * `onmessage`) runs in it after the start message. Commands come through the mailbox.
 */
import { LiveConnection, LiveCrowd, type OutsideReason } from "../connection/live-connection.ts"
import type { ServerPool } from "../connection/server-pool.ts"
import { SessionBudget } from "../connection/session-budget.ts"
import { Sockaddrs } from "../connection/sockaddrs.ts"
import { RateTable } from "../http/actions/rate-table.ts"
import { StickyServers } from "../http/actions/sticky.ts"
import { httpCounters } from "../http/counters.ts"
import type { PasswordVerdict } from "../http/route.ts"
import type { HttpContext } from "../http/shell/context.ts"
import { DateField } from "../http/shell/date-field.ts"
import { UpstreamConnections } from "../http/shell/upstream-connections.ts"
import type { NativeBytes } from "../linux/bytes.ts"
import { monotonicNow } from "../linux/clock.ts"
import { EPOLLIN } from "../linux/epoll.ts"
import { FdLedger } from "../linux/fd-ledger.ts"
import { MailboxReader } from "../linux/mailbox.ts"
import { PipePool } from "../linux/pipe.ts"
import { setNice, threadId, useShortSlices } from "../linux/process.ts"
import { type Handler, Reactor } from "../linux/reactor.ts"
import { SharedMemory } from "../linux/shared-memory.ts"
import { encodeSockaddr } from "../linux/sockaddr.ts"
import { LogLimiter } from "../log/log-limiter.ts"
import { type Address, type Family, familyOf } from "../net/address.ts"
import { after } from "../net/time.ts"
import { Pool } from "../pool/pool.ts"
import { ServerBoard } from "../pool/server-board.ts"
import { serverCounters } from "../pool/server-counters.ts"
import type { StreamContext } from "../stream/context.ts"
import { listenerCounters } from "../stream/listener-counters.ts"
import { ClientTls } from "../tls/shell/client-tls.ts"
import { Garbage } from "./garbage.ts"
import { Heartbeat } from "./heartbeat.ts"
import { IdleCollection } from "./idle-collection.ts"
import { Listeners } from "./listeners.ts"
import type {
  AccessRecord,
  DataFault,
  DataPoolSpec,
  DataThreadStart,
  FromDataThread,
  ToDataThread,
} from "./messages.ts"

/** In events, and in servers of pools that are set: each of them leaves some 700 bytes. */
const GARBAGE_LIMITS = { newMax: 8_192, oldBytesMax: 16 * 1024 * 1024 }
/** The longest the thread sleeps, and so the slowest its heart beats. */
const PASS_WAIT_MS_MAX = 100
/** What control has to say may take long: it comes in portions, and clients go in between. */
const OBEY_MS = 0.05
/** A portion of routes leaves some 300 KB of garbage, an event or a server one. */
const PORTION_EVENTS = 300
/** So that many small events, as those of a stream, cost no more than a percent of the time. */
const GARBAGE_EVERY_MS = 250
/** Access lines are handed over in batches: at the end of a pass, or when this many wait. */
const ACCESS_BATCH_MAX = 512

declare const self: Worker
self.onmessage = (event: MessageEvent<DataThreadStart>) => {
  new DataThread(event.data).run()
  self.onmessage = null // nothing keeps the Worker any more: it ends
}

class DataThread implements Handler {
  readonly #reactor = new Reactor(() => this.#progress())
  readonly #ledger: FdLedger
  readonly #heartbeat: Heartbeat
  readonly #mailbox: MailboxReader<ToDataThread>
  readonly #stream: StreamContext
  readonly #http: HttpContext
  readonly #pools = new Map<string, ServerPool & { readonly sockaddrs: Sockaddrs }>()
  readonly #stickyServers = new StickyServers()
  /** Of pools whose servers speak TLS. */
  readonly #clientTls = new Map<string, ClientTls>()
  readonly #listeners: Listeners
  readonly #faultInjection: boolean
  #accessRecords: AccessRecord[] = []
  readonly #passwordAnswers = new Map<number, (verdict: PasswordVerdict) => void>()
  #nextPasswordId = 1
  readonly #garbage = new Garbage(GARBAGE_LIMITS)
  /** Events whose garbage has been counted, and when to look again. */
  #counted = 0
  #countAt = monotonicNow()
  /** Portions of configuration, in events that leave as much garbage; and before this change. */
  #told = 0
  #toldBefore = 0
  #isStopping = false
  #isDebugging = false

  constructor(start: DataThreadStart) {
    this.#heartbeat = new Heartbeat(start.heartbeat)
    this.#heartbeat.identify(threadId())
    // What control computes must not make clients wait. Whoever is started later has inherited
    // its nice value.
    setNice(threadId(), start.nice)
    useShortSlices()
    this.#mailbox = new MailboxReader(start.mailbox)
    this.#faultInjection = start.faultInjection
    const allServerCounters = start.serverCounters.map(serverCounters)
    const allListenerCounters = start.listenerCounters.map(listenerCounters)
    const allHttpCounters = start.httpCounters.map((at) => httpCounters(new SharedMemory(at)))
    const ledger = new FdLedger(start.ledger)
    ledger.take(this.#reactor.descriptor, start.owner)
    this.#ledger = ledger
    const shared = {
      reactor: this.#reactor,
      pipes: new PipePool(ledger, start.owner),
      ledger,
      owner: start.owner,
      board: new ServerBoard(start.board),
      serverCounters: own(allServerCounters, start.index),
      allServerCounters,
      pools: this.#pools,
      budget: new SessionBudget(start.budget, start.sessionsMax),
      accessLog: undefined,
    }
    this.#stream = {
      ...shared,
      listenerCounters: own(allListenerCounters, start.index),
      allListenerCounters,
      log: this.#logger("stream"),
    }
    this.#http = {
      ...shared,
      counters: own(allHttpCounters, start.index),
      allCounters: allHttpCounters,
      upstreams: new UpstreamConnections(),
      date: new DateField(Date.now),
      verifyPassword: (asked, answer) => this.#verifyPassword(asked, answer),
      log: this.#logger("http"),
    }
    this.#listeners = new Listeners({
      stream: this.#stream,
      http: this.#http,
      resources: {
        stickyServers: this.#stickyServers,
        rates: new RateTable(start.rates),
        splitStart: start.owner,
      },
    })
    this.#reactor.add(this.#mailbox.doorbell, EPOLLIN, this)
  }

  /** Returns when control says so; throws what no single connection can answer for. */
  run(): void {
    post({ type: "started" })
    const collection = new IdleCollection(this.#reactor.now)
    while (!this.#isStopping) {
      this.#reactor.pass(PASS_WAIT_MS_MAX)
      this.#countGarbage()
      this.#listeners.resumePaused()
      this.#spareDescriptors()
      this.#flushAccess()
      if (collection.isDue(this.#reactor.dispatched + this.#told, this.#reactor.now)) {
        this.#garbage.giveBack()
      }
    }
    this.#ledger.release(this.#reactor.descriptor)
    this.#reactor.close()
    post({ type: "stopped" })
  }

  #countGarbage(): void {
    const { now, dispatched } = this.#reactor
    if (now < this.#countAt) return
    this.#garbage.made(dispatched - this.#counted)
    this.#counted = dispatched
    this.#countAt = after(now, GARBAGE_EVERY_MS)
  }

  /** Connections that are only kept count in no budget; the other threads have as many. */
  #spareDescriptors(): void {
    const { upstreams, budget } = this.#http
    const idle = upstreams.idleCount * this.#stream.allServerCounters.length
    if (idle > 0 && budget.isTightWith(idle)) upstreams.shed()
  }

  /**
   * After each wait and before each handler. A long pass is no hang, a long handler is; and a
   * thread that was given up and comes to must not touch what its replacement counts in.
   */
  #progress(): void {
    if (this.#heartbeat.isRetired) throw new Error("Retired: another thread has taken over")
    this.#heartbeat.beat()
  }

  /** Obeys for a while, then lets connections have their turn. */
  handle(fd: number, events: number): void {
    if (events !== 0) this.#mailbox.hush()
    const end = monotonicNow() + OBEY_MS
    do {
      const message = this.#mailbox.next()
      if (message === undefined) return
      this.#progress()
      this.#obey(message)
    } while (monotonicNow() < end)
    this.#reactor.defer(fd)
  }

  fail(error: unknown): void {
    throw error // a fault outside any connection: control notices and starts another thread
  }

  #obey(message: ToDataThread): void {
    switch (message.type) {
      case "pools":
        for (const pool of message.set) {
          this.#told += pool.servers.length
          this.#setPool(pool)
        }
        return
      case "routes":
        this.#told += PORTION_EVENTS
        return this.#listeners.setRoutes(message)
      case "configure":
        return this.#configure(message)
      case "reset":
        this.#endConnections("address_released", throughOneOf(message.addresses))
        return post({ type: "done", id: message.id })
      case "servers-down": {
        const slots = new Set(message.slots)
        this.#http.upstreams.closeIdle(slots)
        return this.#endConnections("server_down", (live) => live.endsWithServer(slots))
      }
      case "password":
        this.#passwordAnswers.get(message.id)?.(message.verdict)
        this.#passwordAnswers.delete(message.id)
        return
      case "stop":
        this.#endConnections("stopped", () => true)
        this.#isStopping = true
        return
      case "fault":
        if (this.#faultInjection) this.#inject(message.fault)
    }
  }

  #verifyPassword(
    asked: { readonly password: string; readonly hash: string },
    answer: (verdict: PasswordVerdict) => void,
  ): () => void {
    const id = this.#nextPasswordId++
    this.#passwordAnswers.set(id, answer)
    post({ type: "verify-password", id, ...asked })
    return () => this.#passwordAnswers.delete(id)
  }

  #configure(message: Extract<ToDataThread, { type: "configure" }>): void {
    for (const pool of message.pools.set) this.#setPool(pool)
    for (const service of message.services.set) this.#listeners.setService(service)
    for (const listener of message.listeners.set) this.#listeners.set(listener)
    for (const id of message.listeners.remove) this.#listeners.remove(id)
    for (const name of message.services.remove) this.#listeners.removeService(name)
    for (const name of message.pools.remove) {
      this.#http.upstreams.closeIdle(slotsOf(this.#pools.get(name)))
      this.#pools.delete(name)
      this.#stickyServers.removePool(name)
      this.#clientTls.get(name)?.close()
      this.#clientTls.delete(name)
    }
    const accessLog = (record: AccessRecord) => {
      this.#accessRecords.push(record)
      if (this.#accessRecords.length >= ACCESS_BATCH_MAX) this.#flushAccess()
    }
    this.#stream.accessLog = message.accessLog ? accessLog : undefined
    this.#isDebugging = message.debugLog
    this.#http.accessLog = message.accessLog ? accessLog : undefined
    // Nobody waits, in any thread: now, and not in a lull, which may be long in coming.
    const isMuch = this.#told - this.#toldBefore >= PORTION_EVENTS
    this.#toldBefore = this.#told
    if (isMuch && this.#stream.budget.open === 0) this.#garbage.tidyUp()
    post({ type: "done", id: message.id })
  }

  #setPool(spec: DataPoolSpec): void {
    this.#garbage.made(spec.servers.length)
    const tls = this.#clientTls.get(spec.name)
    if (tls?.spec.id !== spec.tls?.id) {
      tls?.close()
      this.#clientTls.delete(spec.name)
      if (spec.tls !== undefined) this.#clientTls.set(spec.name, new ClientTls(spec.tls))
      // What is open was opened under other terms.
      this.#http.upstreams.closeIdle(new Set(spec.servers.map(({ slot }) => slot)))
    }
    const gone = slotsOf(this.#pools.get(spec.name))
    for (const { slot } of spec.servers) gone.delete(slot)
    this.#http.upstreams.closeIdle(gone)
    const pool = this.#createPool(spec)
    this.#pools.set(spec.name, pool)
    this.#stickyServers.setPool(spec.name, pool.pool.servers)
  }

  #createPool(spec: DataPoolSpec): ServerPool & { readonly sockaddrs: Sockaddrs } {
    const tls = this.#clientTls.get(spec.name)
    const previous = this.#pools.get(spec.name)
    const view = { board: this.#stream.board, counters: this.#stream.allServerCounters }
    const pool = new Pool(spec, view, previous?.pool)
    return {
      pool,
      connectTimeoutMs: spec.connectTimeoutMs,
      connectRetries: spec.connectRetries,
      maxFails: spec.maxFails,
      failTimeoutMs: spec.failTimeoutMs,
      closeOnDown: spec.closeOnDown,
      usesClientHash: spec.balance === "source",
      sockaddrs: new Sockaddrs(pool.servers, previous?.sockaddrs),
      proxyProtocol: spec.proxyProtocol,
      secure: tls === undefined ? undefined : (fd, server) => tls.open(fd, server),
      sources: { 4: sourcesOf(spec, 4), 6: sourcesOf(spec, 6) },
    }
  }

  #endConnections(reason: OutsideReason, concerns: (live: LiveConnection) => boolean): void {
    for (const handler of this.#reactor.handlers()) {
      if (handler instanceof LiveCrowd) handler.endThose(reason, concerns)
      if (handler instanceof LiveConnection && concerns(handler)) handler.end(reason)
    }
  }

  #flushAccess(): void {
    if (this.#accessRecords.length === 0) return
    post({ type: "access", records: this.#accessRecords })
    this.#accessRecords = []
  }

  /** Records of one component, so many a second. */
  #logger(component: string): StreamContext["log"] {
    const limiter = new LogLimiter()
    return (level, message, fields) => {
      if (level === "debug" && !this.#isDebugging) return
      const { admitted, leftOut } = limiter.admit(this.#reactor.now)
      if (!admitted) return
      const all = leftOut === 0 ? fields : { ...fields, left_out_before: leftOut }
      post({ type: "log", level, component, message, fields: all })
    }
  }

  #inject(fault: DataFault): void {
    if (fault === "throw") throw new Error("Injected fault")
    while (fault === "hang") this.#stream.budget.open // looks busy, answers nothing
  }
}

function sourcesOf({ source }: DataPoolSpec, family: Family): NativeBytes[] {
  return source
    .filter((address) => familyOf(address) === family)
    .map((address) => encodeSockaddr({ address, port: 0 }))
}

function slotsOf(pool: ServerPool | undefined): Set<number> {
  return new Set(pool?.pool.servers.map(({ slot }) => slot))
}

function throughOneOf(addresses: readonly Address[]): (live: LiveConnection) => boolean {
  const wanted = new Set<Address>(addresses)
  return (live) => {
    const local = live.localAddress()
    return local !== undefined && wanted.has(local)
  }
}

function own<Table>(tables: readonly Table[], index: number): Table {
  const table = tables[index]
  if (table === undefined) throw new RangeError(`No table for data thread ${index}`)
  return table
}

function post(message: FromDataThread): void {
  self.postMessage(message)
}
