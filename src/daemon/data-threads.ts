/**
 * The data threads as one: starts them, tells all of them what to serve, watches their heartbeats,
 * replaces the ones that die or hang.
 *
 * The listening sockets live here, one per thread and endpoint (SO_REUSEPORT), so that the sockets
 * of a thread that answers no more can be taken out of service at once and its clients reset, while
 * the other threads never notice. A hung thread may come to: its connections are reset but keep
 * their numbers until it has really ended, else it would act on somebody else's.
 */
import { SessionBudget } from "../connection/session-budget.ts"
import { Heartbeat } from "../dataplane/heartbeat.ts"
import type {
  AccessRecord,
  DataFault,
  DataHttpService,
  DataHttpSpec,
  DataListenerSpec,
  DataPoolSpec,
  DataStreamSpec,
  DataThreadStart,
  FromDataThread,
  ToDataThread,
} from "../dataplane/messages.ts"
import { RateTable } from "../http/actions/rate-table.ts"
import { HTTP_COUNTERS_BYTES, type HttpCounters, httpCounters } from "../http/counters.ts"
import type { PasswordVerdict } from "../http/route.ts"
import { monotonicNow } from "../linux/clock.ts"
import type { Fd } from "../linux/fd.ts"
import { FdLedger } from "../linux/fd-ledger.ts"
import { Mailbox } from "../linux/mailbox.ts"
import { canBeInterrupted } from "../linux/process.ts"
import { SharedMemory } from "../linux/shared-memory.ts"
import { disconnect, listenTcp, resetFd, shutdownListening } from "../linux/tcp.ts"
import type { Address, Endpoint } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import { ServerBoard } from "../pool/server-board.ts"
import {
  allocateServerCounters,
  type ServerCounters,
  serverCounters,
} from "../pool/server-counters.ts"
import {
  allocateListenerCounters,
  type ListenerCounters,
  listenerCounters,
} from "../stream/listener-counters.ts"
import { poolPortions, serviceMessages } from "./change-portions.ts"
import { PasswordVerifier } from "./password-verifier.ts"
import { workerEntry } from "./worker-entry.ts"

/** A thread beats at least every 100 ms; one that is silent for this long serves nobody. */
const HUNG_AFTER_MS = 600
/** From its start to its first beat: some 30 ms, more where the machine is busy. */
const LOADED_AFTER_MS = 10_000
/** Indexing a route table: 5 µs a route measured, ten times that granted. */
const WORK_MS_PER_ROUTE = 0.05
/** Where there is more to tell than fits one message, each of them may take so long. */
const WORK_MS_PER_MESSAGE = 20
/** Posting one takes about a millisecond, so this thread sees to other things now and then. */
const MESSAGES_PER_TURN = 8
const WATCH_INTERVAL_MS = 100
/** More ends than this within the window: something is wrong that a restart does not mend. */
const DEATHS_MAX = 5
const DEATHS_WINDOW_MS = 60_000
/** How long a thread may take to answer before the others go on without it. */
const ANSWER_WAIT_MS = 1_000

export type ListenerTemplate = (DataStreamSpec | DataHttpSpec) & { readonly id: string }

/** An endpoint's sockets, one per thread. */
interface Listener {
  template: ListenerTemplate
  /** What the threads were told last; undefined before the first time. */
  served: ListenerTemplate | undefined
  readonly sockets: Fd[]
}

export interface DataThreadsChange {
  readonly pools: { readonly set: readonly DataPoolSpec[]; readonly remove: readonly string[] }
  readonly services: {
    readonly set: readonly DataHttpService[]
    readonly remove: readonly string[]
  }
  readonly listeners: {
    readonly set: readonly ListenerTemplate[]
    readonly remove: readonly string[]
  }
  readonly accessLog: boolean
  readonly debugLog: boolean
}

export interface DataThreadsOptions {
  readonly count: number
  /** Open sessions that the descriptor limit allows, over all threads. */
  readonly sessionsMax: number
  readonly faultInjection: boolean
  /** What the process was started with; those of data threads that are started later, too. */
  readonly nice: number
  readonly onLog: (record: Extract<FromDataThread, { type: "log" }>) => void
  readonly onAccess: (records: readonly AccessRecord[]) => void
  /** Threads keep dying: the process should give up its addresses and end. */
  readonly onHopeless: (reason: string) => void
}

export class DataThreads {
  readonly board: ServerBoard
  readonly serverCounters: readonly ServerCounters[]
  readonly listenerCounters: readonly ListenerCounters[]
  readonly httpCounters: readonly HttpCounters[]
  readonly budget: SessionBudget
  readonly #options: DataThreadsOptions
  readonly #buffers: Omit<DataThreadStart, "owner" | "index" | "mailbox" | "heartbeat">
  readonly #ledger: FdLedger
  readonly #threads: DataThread[] = []
  /** Replaced, but still there. */
  readonly #hung = new Set<DataThread>()
  readonly #passwords = new PasswordVerifier()
  readonly #pools = new Map<string, DataPoolSpec>()
  readonly #services = new Map<string, DataHttpService>()
  readonly #listeners = new Map<string, Listener>()
  readonly #deaths: Instant[] = []
  #accessLog = false
  #debugLog = false
  #nextOwner = 1
  #restarts = 0
  #watch: ReturnType<typeof setInterval> | undefined
  #watchedAt: Instant = monotonicNow()
  #isStopping = false

  constructor(options: DataThreadsOptions) {
    this.#options = options
    const { count, sessionsMax, faultInjection, nice } = options
    this.#buffers = {
      ledger: FdLedger.allocate(),
      board: ServerBoard.allocate(),
      budget: SessionBudget.allocate(),
      sessionsMax,
      serverCounters: Array.from({ length: count }, allocateServerCounters),
      listenerCounters: Array.from({ length: count }, allocateListenerCounters),
      httpCounters: Array.from({ length: count }, () => SharedMemory.allocate(HTTP_COUNTERS_BYTES)),
      rates: RateTable.allocate(crypto.getRandomValues(new Int32Array(1))[0] ?? 0),
      faultInjection,
      nice,
    }
    this.board = new ServerBoard(this.#buffers.board)
    this.budget = new SessionBudget(this.#buffers.budget, sessionsMax)
    this.#ledger = new FdLedger(this.#buffers.ledger)
    this.serverCounters = this.#buffers.serverCounters.map(serverCounters)
    this.listenerCounters = this.#buffers.listenerCounters.map(listenerCounters)
    this.httpCounters = this.#buffers.httpCounters.map((at) => httpCounters(new SharedMemory(at)))
  }

  get restarts(): number {
    return this.#restarts
  }

  get count(): number {
    return this.#options.count
  }

  /** Resolves when every thread runs its loop, or has ended and is being replaced. */
  async start(): Promise<void> {
    for (let index = 0; index < this.#options.count; index++) this.#threads.push(this.#spawn(index))
    this.#watch = setInterval(() => this.#watchHeartbeats(), WATCH_INTERVAL_MS)
    await Promise.all(this.#threads.map(({ started, ended }) => Promise.race([started, ended])))
  }

  /** Whether every thread beats: one that is silent has not been replaced yet. */
  get isBeating(): boolean {
    const now = monotonicNow()
    return this.#threads.every((thread) => !thread.isSilent(now, false))
  }

  hasListener(id: string): boolean {
    return this.#listeners.has(id)
  }

  listenerIds(): string[] {
    return [...this.#listeners.keys()]
  }

  /** Where we listen. */
  endpoints(): Endpoint[] {
    return [...this.#listeners.values()].map(({ template }) => template.endpoint)
  }

  /** Whether the threads serve exactly this already. */
  isListening(template: ListenerTemplate): boolean {
    return Bun.deepEquals(this.#listeners.get(template.id)?.served, template)
  }

  hasService(service: DataHttpService): boolean {
    const known = this.#services.get(service.config.name)
    return known === service || Bun.deepEquals(known, service)
  }

  hasPool(spec: DataPoolSpec): boolean {
    const known = this.#pools.get(spec.name)
    return known === spec || Bun.deepEquals(known, spec)
  }

  /**
   * Opens the sockets of new listeners, which nobody accepts from until `configure` names them.
   * Throws `SystemError` when one cannot be opened; nothing has changed then.
   */
  openSockets(added: readonly ListenerTemplate[]): void {
    const opened: Listener[] = []
    try {
      for (const template of added) {
        const listener: Listener = { template, served: undefined, sockets: [] }
        opened.push(listener)
        for (let index = 0; index < this.#options.count; index++) {
          listener.sockets.push(listenTcp(template.endpoint, { reusePort: true }))
        }
      }
    } catch (error) {
      for (const { sockets } of opened) for (const socket of sockets) socket.close()
      throw error
    }
    for (const listener of opened) this.#listeners.set(listener.template.id, listener)
    this.#countListening()
  }

  /**
   * Tells all threads; listeners must have been opened. Then closes the sockets of removed ones.
   */
  async configure(change: DataThreadsChange): Promise<void> {
    for (const template of change.listeners.set) {
      const listener = this.#listeners.get(template.id)
      if (listener === undefined) throw new Error(`No socket for ${template.id}`)
      listener.template = template
      listener.served = template
    }
    const messages = messagesOf(change, this.#services)
    for (const pool of change.pools.set) this.#pools.set(pool.name, pool)
    for (const name of change.pools.remove) this.#pools.delete(name)
    for (const service of change.services.set) this.#services.set(service.config.name, service)
    for (const name of change.services.remove) this.#services.delete(name)
    this.#accessLog = change.accessLog
    this.#debugLog = change.debugLog
    // Before anything is awaited: a thread replaced meanwhile must not be given what goes away.
    const removed = change.listeners.remove.flatMap((id) => this.#withdraw(id))
    await Promise.all(this.#threads.map((thread) => this.#tell(thread, messages, removed)))
  }

  async #tell(
    thread: DataThread,
    { last, listeners, ...rest }: ChangeMessages,
    removed: readonly Listener[],
  ): Promise<void> {
    const set = listeners.set.map(({ id }) => this.#listenerFor(thread.index, id))
    const hasLetGo = await thread.tell(rest, (id) => ({
      ...last,
      id,
      listeners: { set, remove: listeners.remove },
    }))
    for (const { sockets } of removed) {
      const socket = sockets[thread.index]
      if (socket === undefined) continue
      // Who has not answered may still use the number: it is kept until the thread has ended.
      shutdownListening(socket.number)
      if (hasLetGo) socket.close()
      else thread.leftovers.push(socket)
    }
  }

  /** Resets what came through `addresses`; resolves when every thread has, or has not answered. */
  async reset(addresses: readonly Address[]): Promise<void> {
    await Promise.all(
      this.#threads.map((thread) => thread.ask((id) => ({ type: "reset", id, addresses }))),
    )
  }

  serversDown(slots: readonly number[]): void {
    for (const thread of this.#threads) thread.mailbox.post({ type: "servers-down", slots })
  }

  inject(index: number, fault: DataFault): boolean {
    if (!this.#options.faultInjection) return false
    this.#threads[index]?.mailbox.post({ type: "fault", fault })
    return true
  }

  /** No new connections; the open ones go on. */
  async closeListeners(): Promise<void> {
    const remove = [...this.#listeners.keys()]
    await this.configure({
      pools: { set: [], remove: [] },
      services: { set: [], remove: [] },
      listeners: { set: [], remove },
      accessLog: this.#accessLog,
      debugLog: this.#debugLog,
    })
  }

  /** Resets what is open and ends the threads. */
  async stop(): Promise<void> {
    this.#isStopping = true
    clearInterval(this.#watch)
    for (const thread of this.#threads) thread.mailbox.post({ type: "stop" })
    const patience = Bun.sleep(ANSWER_WAIT_MS)
    await Promise.all(this.#threads.map((thread) => Promise.race([thread.ended, patience])))
    for (const id of [...this.#listeners.keys()]) {
      for (const { sockets } of this.#withdraw(id)) for (const socket of sockets) socket.close()
    }
  }

  #spawn(index: number): DataThread {
    const owner = this.#nextOwner
    this.#nextOwner = (this.#nextOwner % 255) + 1
    const thread = new DataThread(index, owner)
    thread.worker.onmessage = (event: MessageEvent<FromDataThread>) =>
      this.#hear(thread, event.data)
    thread.worker.onerror = (event) => {
      event.preventDefault()
      this.#log("error", "Data thread failed", { thread: index, error: event.message })
    }
    thread.worker.addEventListener("close", () => this.#ended(thread))
    const start: DataThreadStart = {
      ...this.#buffers,
      owner,
      index,
      mailbox: thread.mailbox.address,
      heartbeat: thread.heartbeat.buffer,
    }
    thread.worker.postMessage(start, [thread.mailbox.address.port as unknown as ArrayBuffer])
    return thread
  }

  #hear(thread: DataThread, message: FromDataThread): void {
    switch (message.type) {
      case "started":
        return thread.markStarted()
      case "done":
        return thread.answer(message.id)
      case "verify-password": {
        const { id, password, hash } = message
        const answer = (verdict: PasswordVerdict) =>
          thread.mailbox.post({ type: "password", id, verdict })
        return this.#passwords.verify({ password, hash, answer })
      }
      case "access":
        return this.#options.onAccess(message.records)
      case "log":
        return this.#options.onLog(message)
      case "stopped":
        return thread.markEnded()
    }
  }

  #listenerFor(index: number, id: string): DataListenerSpec {
    const listener = this.#listeners.get(id)
    const socket = listener?.sockets[index]
    if (listener === undefined || socket === undefined) throw new Error(`No socket for ${id}`)
    return { ...listener.template, fd: socket.number }
  }

  /** Takes a listener from the books; its sockets are the caller's to close. */
  #withdraw(id: string): Listener[] {
    const listener = this.#listeners.get(id)
    this.#listeners.delete(id)
    this.#countListening()
    return listener === undefined ? [] : [listener]
  }

  #countListening(): void {
    this.budget.setListening(this.#listeners.size * this.#options.count)
  }

  #watchHeartbeats(): void {
    const now = monotonicNow()
    // When this thread itself was not scheduled, silence says nothing about the others.
    const wasLate = now - this.#watchedAt > WATCH_INTERVAL_MS * 3
    this.#watchedAt = now
    for (const thread of this.#threads) {
      if (thread.isSilent(now, wasLate)) this.#replace(thread, "hung")
    }
    this.#endHung()
  }

  /**
   * Ends what was replaced, as soon as it can be ended: `terminate` waits, and all of the control
   * thread with it, until the other has seen a signal, and one that is stuck in the kernel sees
   * none.
   */
  #endHung(): void {
    for (const thread of this.#hung) {
      if (!canBeInterrupted(thread.heartbeat.threadId)) continue
      this.#hung.delete(thread)
      thread.worker.terminate()
    }
  }

  #ended(thread: DataThread): void {
    thread.markEnded()
    this.#hung.delete(thread)
    const isMissed = this.#threads[thread.index] === thread && !this.#isStopping
    if (isMissed) this.#replace(thread, "ended")
    else this.#closeLeftovers(thread) // stopped, or hung and replaced before
  }

  #replace(thread: DataThread, why: "hung" | "ended"): void {
    const { index } = thread
    thread.heartbeat.retire()
    this.#log("error", "Data thread replaced", { thread: index, why })
    try {
      this.#takeOutOfService(thread, why)
    } catch (error) {
      return this.#giveUp(`a data thread cannot be replaced: ${error}`)
    }
    if (!this.#mayRestart()) {
      return this.#giveUp(`data threads ended ${DEATHS_MAX} times within a minute`)
    }
    this.#restarts++
    const replacement = this.#spawn(index)
    this.#threads[index] = replacement
    const { last, ...rest } = messagesOf(this.#everything(), new Map())
    void replacement.tell(rest, (id) => ({
      ...last,
      id,
      listeners: {
        set: this.#servedIds().map((id) => this.#listenerFor(index, id)),
        remove: [],
      },
    }))
    if (why === "hung") this.#hung.add(thread)
  }

  /** All but listeners. */
  #everything(): DataThreadsChange {
    return {
      pools: { set: [...this.#pools.values()], remove: [] },
      services: { set: [...this.#services.values()], remove: [] },
      listeners: { set: [], remove: [] },
      accessLog: this.#accessLog,
      debugLog: this.#debugLog,
    }
  }

  /** Listeners that threads were told of; the pools of others may not be there yet. */
  #servedIds(): string[] {
    return [...this.#listeners].filter(([, { served }]) => served !== undefined).map(([id]) => id)
  }

  #giveUp(reason: string): void {
    this.#isStopping = true
    clearInterval(this.#watch)
    this.#options.onHopeless(reason)
  }

  /** Its clients are reset and the kernel hands its share of new ones to a fresh set of sockets. */
  #takeOutOfService(thread: DataThread, why: "hung" | "ended"): void {
    for (const listener of this.#listeners.values()) {
      const old = listener.sockets[thread.index]
      if (old === undefined) continue
      // The new one first: nobody is refused in between.
      listener.sockets[thread.index] = listenTcp(listener.template.endpoint, { reusePort: true })
      shutdownListening(old.number)
      thread.leftovers.push(old)
    }
    if (why === "ended") this.#closeLeftovers(thread)
    else for (const fd of this.#ledger.heldBy(thread.owner)) disconnect(fd)
    for (const tables of [this.listenerCounters, this.httpCounters]) {
      const counters = tables[thread.index]
      if (counters === undefined) continue
      this.budget.release(counters.sumOf("connections"))
      counters.clearGauges()
    }
    this.serverCounters[thread.index]?.clearGauges()
  }

  #closeLeftovers(thread: DataThread): void {
    for (const socket of thread.leftovers.splice(0)) socket.close()
    for (const fd of this.#ledger.heldBy(thread.owner)) {
      // Once it is closed, another thread may open and enter the same number.
      this.#ledger.release(fd)
      resetFd(fd)
    }
    thread.mailbox.close()
  }

  #mayRestart(): boolean {
    const now = monotonicNow()
    this.#deaths.push(now)
    while ((this.#deaths[0] ?? now) < now - DEATHS_WINDOW_MS) this.#deaths.shift()
    return this.#deaths.length <= DEATHS_MAX
  }

  #log(level: "error" | "info", message: string, fields: Record<string, string | number>): void {
    this.#options.onLog({ type: "log", level, component: "dataplane", message, fields })
  }
}

/** A change as it is told to all threads. */
interface ChangeMessages {
  /** In their order, none of them answered. */
  readonly before: readonly ToDataThread[]
  /** Without its number, and the listeners, whose sockets are each thread's own. */
  readonly last: Omit<Configure, "id" | "listeners">
  readonly listeners: DataThreadsChange["listeners"]
  /** How long the last one may take. */
  readonly workMs: number
}

type Configure = Extract<ToDataThread, { readonly type: "configure" }>

/** @param known The services that the threads have been told. */
function messagesOf(
  change: DataThreadsChange,
  known: ReadonlyMap<string, DataHttpService>,
): ChangeMessages {
  const { pools, services, listeners, ...logging } = change
  const portions = poolPortions(pools.set)
  const rest = portions.pop() ?? []
  const told = services.set.map((each) => serviceMessages(each, known.get(each.config.name)))
  return {
    before: [
      ...portions.map((set) => ({ type: "pools" as const, set })),
      ...told.flatMap(({ routes }) => routes),
    ],
    last: {
      type: "configure",
      pools: { set: rest, remove: pools.remove },
      services: { set: told.map(({ update }) => update), remove: services.remove },
      ...logging,
    },
    listeners,
    workMs: indexMs(services.set),
  }
}

/** How long a thread may be silent while it makes the tables of these. */
function indexMs(services: readonly DataHttpService[]): number {
  return services.reduce((sum, { routeRows }) => sum + routeRows.length, 0) * WORK_MS_PER_ROUTE
}

/** One Worker and what control knows of it. */
class DataThread {
  readonly index: number
  readonly owner: number
  readonly worker = new Worker(workerEntry("dataplane/thread"))
  readonly mailbox: Mailbox<ToDataThread>
  readonly heartbeat = new Heartbeat()
  /** Listening sockets taken out of service, still to be closed. */
  readonly leftovers: Fd[] = []
  readonly started: Promise<void>
  readonly ended: Promise<void>
  readonly markStarted: () => void
  readonly #resolveEnded: () => void
  readonly #answers = new Map<number, () => void>()
  #hasEnded = false
  /** Ends when what it was told before has been posted and answered. */
  #telling: Promise<unknown> = Promise.resolve()
  /** What it was last told that takes long; id 0: nothing. */
  #work = { id: 0, ms: 0 }
  #lastBeats = -1
  #lastBeatAt: Instant = monotonicNow()
  #nextId = 1

  constructor(index: number, owner: number) {
    this.index = index
    this.owner = owner
    this.mailbox = new Mailbox(`data thread ${index}`)
    const started = Promise.withResolvers<void>()
    const ended = Promise.withResolvers<void>()
    this.started = started.promise
    this.ended = ended.promise
    this.markStarted = started.resolve
    this.#resolveEnded = ended.resolve
  }

  /**
   * Posts `before`, which nobody answers, and asks `last`; one change after another. `workMs` as in
   * `ask`.
   */
  tell(
    { before, workMs }: Pick<ChangeMessages, "before" | "workMs">,
    last: (id: number) => ToDataThread,
  ): Promise<boolean> {
    const told = this.#telling.then(async () => {
      for (const [index, message] of before.entries()) {
        this.mailbox.post(message)
        if (index % MESSAGES_PER_TURN === MESSAGES_PER_TURN - 1) await Bun.sleep(0)
      }
      return await this.ask(last, { workMs, queueMs: WORK_MS_PER_MESSAGE * before.length })
    })
    this.#telling = told.catch(() => undefined)
    return told
  }

  /**
   * Sends a message that `done` answers; `workMs` is how long obeying it may take, with no
   * heartbeat meanwhile, `queueMs` how long what was posted before it. False when there is no
   * answer and the thread lives on.
   */
  async ask(
    message: (id: number) => ToDataThread,
    { workMs = 0, queueMs = 0 } = {},
  ): Promise<boolean> {
    const id = this.#nextId++
    const answered = Promise.withResolvers<boolean>()
    const waitMs = ANSWER_WAIT_MS + workMs + queueMs
    const patience = setTimeout(() => answered.resolve(false), waitMs)
    if (workMs > 0) this.#work = { id, ms: workMs }
    this.#answers.set(id, () => answered.resolve(true))
    this.mailbox.post(message(id))
    // Not raced against `ended`: every question of a long life would hang on to that promise.
    if (this.#hasEnded) answered.resolve(true)
    const hasAnswered = await answered.promise
    clearTimeout(patience)
    this.#answers.delete(id)
    return hasAnswered
  }

  /** Whoever waits for an answer need not any more. */
  markEnded(): void {
    this.#hasEnded = true
    this.#resolveEnded()
    for (const answer of this.#answers.values()) answer()
  }

  answer(id: number): void {
    this.#answers.get(id)?.()
    if (this.#work.id === id) this.#work = { id: 0, ms: 0 }
  }

  /** Whether its heart has not moved for too long. */
  isSilent(now: Instant, isForgiven: boolean): boolean {
    const { beats } = this.heartbeat
    if (beats !== this.#lastBeats || isForgiven) {
      this.#lastBeats = beats
      this.#lastBeatAt = now
      return false
    }
    // A thread that has not entered its loop yet is still being loaded.
    const patienceMs = beats === 0 ? LOADED_AFTER_MS : HUNG_AFTER_MS
    return now - this.#lastBeatAt > patienceMs + this.#work.ms
  }
}
