/**
 * Entry of a data thread: one reactor that runs the listeners it is handed.
 *
 * The thread blocks in `epoll_wait`, so nothing of JavaScript's own event loop (timers, promises,
 * `onmessage`) runs in it after the start message. Commands come through the mailbox.
 */
import type { NativeBytes } from "../linux/bytes.ts"
import { EPOLLIN } from "../linux/epoll.ts"
import { FdLedger } from "../linux/fd-ledger.ts"
import { MailboxReader } from "../linux/mailbox.ts"
import { PipePool } from "../linux/pipe.ts"
import { threadId } from "../linux/process.ts"
import { type Handler, Reactor } from "../linux/reactor.ts"
import { encodeSockaddr } from "../linux/sockaddr.ts"
import { type Address, type Family, familyOf } from "../net/address.ts"
import { Pool } from "../pool/pool.ts"
import { ServerBoard } from "../pool/server-board.ts"
import { serverCounters } from "../pool/server-counters.ts"
import type { StreamRecord } from "../stream/context.ts"
import { SessionBudget, type StreamContext, type StreamPool } from "../stream/context.ts"
import { StreamListener } from "../stream/driver.ts"
import { listenerCounters } from "../stream/listener-counters.ts"
import { Session } from "../stream/session.ts"
import { Heartbeat } from "./heartbeat.ts"
import type {
  DataFault,
  DataListenerSpec,
  DataPoolSpec,
  DataThreadStart,
  FromDataThread,
  ToDataThread,
} from "./messages.ts"

/** The longest the thread sleeps, and so the slowest its heart beats. */
const PASS_WAIT_MS_MAX = 100
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
  readonly #context: StreamContext
  readonly #pools = new Map<string, StreamPool>()
  readonly #listeners = new Map<string, StreamListener>()
  /** The same, for a loop that runs in every pass. */
  #listenerList: readonly StreamListener[] = []
  readonly #faultInjection: boolean
  #accessRecords: StreamRecord[] = []
  #isStopping = false

  constructor(start: DataThreadStart) {
    this.#heartbeat = new Heartbeat(start.heartbeat)
    this.#heartbeat.identify(threadId())
    this.#mailbox = new MailboxReader(start.mailbox)
    this.#faultInjection = start.faultInjection
    const allServerCounters = start.serverCounters.map(serverCounters)
    const allListenerCounters = start.listenerCounters.map(listenerCounters)
    const ledger = new FdLedger(start.ledger)
    ledger.take(this.#reactor.descriptor, start.owner)
    this.#ledger = ledger
    this.#context = {
      reactor: this.#reactor,
      pipes: new PipePool(ledger, start.owner),
      ledger,
      owner: start.owner,
      board: new ServerBoard(start.board),
      serverCounters: own(allServerCounters, start.index),
      allServerCounters,
      listenerCounters: own(allListenerCounters, start.index),
      allListenerCounters,
      pools: this.#pools,
      budget: new SessionBudget(start.budget, start.sessionsMax),
      accessLog: undefined,
      log: (level, message, fields) =>
        post({ type: "log", level, component: "stream", message, fields }),
    }
    this.#reactor.add(this.#mailbox.doorbell, EPOLLIN, this)
  }

  /** Returns when control says so; throws what no single connection can answer for. */
  run(): void {
    post({ type: "started" })
    while (!this.#isStopping) {
      this.#reactor.pass(PASS_WAIT_MS_MAX)
      for (const listener of this.#listenerList) if (listener.isPaused) listener.resumeIfRoom()
      this.#flushAccess()
    }
    this.#ledger.release(this.#reactor.descriptor)
    this.#reactor.close()
    post({ type: "stopped" })
  }

  /**
   * After each wait and before each handler. A long pass is no hang, a long handler is; and a
   * thread that was given up and comes to must not touch what its replacement counts in.
   */
  #progress(): void {
    if (this.#heartbeat.isRetired) throw new Error("Retired: another thread has taken over")
    this.#heartbeat.beat()
  }

  handle(): void {
    for (const message of this.#mailbox.drain()) this.#obey(message)
  }

  fail(error: unknown): void {
    throw error // a fault outside any connection: control notices and starts another thread
  }

  #obey(message: ToDataThread): void {
    switch (message.type) {
      case "configure":
        return this.#configure(message)
      case "reset":
        this.#endSessions("address_released", throughOneOf(message.addresses))
        return post({ type: "done", id: message.id })
      case "servers-down": {
        const slots = new Set(message.slots)
        return this.#endSessions("server_down", (session) => {
          return session.closesOnDown && slots.has(session.serverSlot)
        })
      }
      case "stop":
        this.#endSessions("stopped", () => true)
        this.#isStopping = true
        return
      case "fault":
        if (this.#faultInjection) this.#inject(message.fault)
    }
  }

  #configure(message: Extract<ToDataThread, { type: "configure" }>): void {
    for (const pool of message.pools.set) this.#pools.set(pool.name, this.#createPool(pool))
    for (const listener of message.listeners.set) this.#setListener(listener)
    for (const id of message.listeners.remove) {
      this.#listeners.get(id)?.detach()
      this.#listeners.delete(id)
    }
    this.#listenerList = [...this.#listeners.values()]
    for (const name of message.pools.remove) this.#pools.delete(name)
    this.#context.accessLog = message.accessLog
      ? (record) => {
          this.#accessRecords.push(record)
          if (this.#accessRecords.length >= ACCESS_BATCH_MAX) this.#flushAccess()
        }
      : undefined
    post({ type: "done", id: message.id })
  }

  #createPool(spec: DataPoolSpec): StreamPool {
    const pool = new Pool(spec, {
      board: this.#context.board,
      counters: this.#context.allServerCounters,
    })
    return {
      pool,
      connectTimeoutMs: spec.connectTimeoutMs,
      connectRetries: spec.connectRetries,
      maxFails: spec.maxFails,
      failTimeoutMs: spec.failTimeoutMs,
      closeOnDown: spec.closeOnDown,
      usesClientHash: spec.balance === "source",
      sockaddrs: new Map(pool.servers.map((server) => [server, encodeSockaddr(server.endpoint)])),
      sources: { 4: sourcesOf(spec, 4), 6: sourcesOf(spec, 6) },
    }
  }

  #setListener(spec: DataListenerSpec): void {
    const listener = this.#listeners.get(spec.id)
    if (listener !== undefined) return listener.update(spec)
    this.#listeners.set(spec.id, new StreamListener(this.#context, spec.fd, spec))
  }

  #endSessions(
    reason: "address_released" | "server_down" | "stopped",
    concerns: (session: Session) => boolean,
  ): void {
    for (const handler of this.#reactor.handlers()) {
      if (handler instanceof Session && concerns(handler)) handler.end(reason)
    }
  }

  #flushAccess(): void {
    if (this.#accessRecords.length === 0) return
    post({ type: "access", records: this.#accessRecords })
    this.#accessRecords = []
  }

  #inject(fault: DataFault): void {
    if (fault === "throw") throw new Error("Injected fault")
    while (fault === "hang") this.#context.budget.open // looks busy, answers nothing
  }
}

function sourcesOf({ source }: DataPoolSpec, family: Family): NativeBytes[] {
  return source
    .filter((address) => familyOf(address) === family)
    .map((address) => encodeSockaddr({ address, port: 0 }))
}

function throughOneOf(addresses: readonly Address[]): (session: Session) => boolean {
  const wanted = new Set<Address>(addresses)
  return (session) => {
    const local = session.localAddress()
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
