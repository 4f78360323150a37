/**
 * The event loop of a data thread: descriptors, timers, deferred work.
 *
 * Edge-triggered throughout, so that a descriptor costs one `epoll_ctl` in its life. A handler
 * therefore reads until it knows that nothing is left; one that stops early, so that others get
 * their turn, calls `defer` and is called again in the next pass.
 *
 * An exception in a handler ends what that handler serves (`fail`), never the loop.
 */
import { after, type Instant } from "../net/time.ts"
import { type TimerEntry, TimerWheel } from "../net/timer-wheel.ts"
import { monotonicNow } from "./clock.ts"
import { Epoll } from "./epoll.ts"

/** What a descriptor's events are delivered to. */
export interface Handler {
  /** `events` is the epoll mask; 0 when called because of `defer`. */
  handle(fd: number, events: number): void
  /** `handle` threw: release everything it holds. Must not throw. */
  fail(error: unknown): void
}

interface Deferred {
  readonly fd: number
  readonly generation: number
}

const EVENTS_MAX = 256
const GENERATION_MASK = 0x3fffffff

export class Reactor {
  /** Of the current pass: one clock reading serves all its events. */
  now: Instant = monotonicNow()
  readonly timers = new TimerWheel(this.now)
  readonly #epoll = new Epoll(EVENTS_MAX)
  readonly #handlers: (Handler | undefined)[] = []
  readonly #generations: number[] = []
  /** The pass in which a descriptor was deferred last. */
  readonly #deferredIn: number[] = []
  readonly #onProgress: () => void
  #deferred: Deferred[] = []
  #tasks: { readonly task: () => void; readonly owner: Pick<Handler, "fail"> }[] = []
  /** The other of two lists that take turns, so that a pass makes no object. */
  #deferredBefore: Deferred[] = []
  #passes = 0
  #dispatched = 0

  /**
   * `onProgress` is called after each wait and before each handler: a pass may be long, a handler
   * must not. It may throw to end the pass.
   */
  constructor(onProgress: () => void = () => {}) {
    this.#onProgress = onProgress
  }

  /** Events handled so far. */
  get dispatched(): number {
    return this.#dispatched
  }

  /** The descriptor of its epoll set. */
  get descriptor(): number {
    return this.#epoll.descriptor
  }

  /** Registers `fd`; throws `SystemError` when the kernel refuses. */
  add(fd: number, events: number, handler: Handler): void {
    while (this.#handlers.length <= fd) {
      this.#handlers.push(undefined)
      this.#generations.push(0)
      this.#deferredIn.push(-1)
    }
    this.#epoll.add(fd, events, this.#generation(fd))
    this.#handlers[fd] = handler
  }

  /** Delivers the events of a registered `fd` to somebody else from now on. */
  handOver(fd: number, handler: Handler): void {
    this.#handlers[fd] = handler
  }

  modify(fd: number, events: number): void {
    this.#epoll.modify(fd, events, this.#generation(fd))
  }

  /** Forgets `fd` before it is closed; closing takes it out of the epoll set. */
  forget(fd: number): void {
    // Never added, such as a client turned away at once. Growing here would leave holes below it.
    if (fd >= this.#handlers.length) return
    this.#handlers[fd] = undefined
    this.#deferredIn[fd] = -1
    this.#generations[fd] = (this.#generation(fd) + 1) & GENERATION_MASK
  }

  /** Takes out an `fd` that stays open. */
  remove(fd: number): void {
    this.#epoll.remove(fd)
    this.forget(fd)
  }

  /** Calls the handler of `fd` once more in the next pass, unless it is forgotten until then. */
  defer(fd: number): void {
    if (this.#deferredIn[fd] === this.#passes) return
    this.#deferredIn[fd] = this.#passes
    this.#deferred.push({ fd, generation: this.#generation(fd) })
  }

  /** Arms `entry`'s one timer. */
  arm(entry: TimerEntry, delayMs: number): void {
    this.timers.arm(entry, after(this.now, delayMs))
  }

  /** Calls `task` once, when the handlers of the pass are done. A fault in it is `owner`'s. */
  soon(task: () => void, owner: Pick<Handler, "fail">): void {
    this.#tasks.push({ task, owner })
  }

  /** Every distinct handler, for rare sweeps over all connections. */
  handlers(): Set<Handler> {
    return new Set(this.#handlers.filter((handler) => handler !== undefined))
  }

  /** One pass: waits up to `waitMsMax` for events and handles all that is due. */
  pass(waitMsMax: number): void {
    const deferred = this.#deferred
    const isBusy = deferred.length > 0 || this.#tasks.length > 0
    const waitMs = isBusy ? 0 : this.timers.waitMs(monotonicNow(), waitMsMax)
    const count = this.#epoll.wait(waitMs)
    this.#onProgress()
    this.now = monotonicNow()
    this.#passes++
    this.#deferred = this.#deferredBefore
    this.#deferredBefore = deferred
    for (let index = 0; index < count; index++) {
      const fd = this.#epoll.fd(index)
      if (this.#epoll.generation(index) !== this.#generations[fd]) continue
      this.#dispatch(fd, this.#epoll.events(index))
    }
    for (const { fd, generation } of deferred) {
      if (generation === this.#generations[fd]) this.#dispatch(fd, 0)
    }
    deferred.length = 0
    if (this.#tasks.length > 0) this.#runTasks()
    this.timers.advance(this.now)
  }

  close(): void {
    this.#epoll.close()
  }

  /** Each once; what they ask for themselves waits for the next pass. */
  #runTasks(): void {
    const tasks = this.#tasks
    this.#tasks = []
    for (const { task, owner } of tasks) {
      this.#onProgress()
      try {
        task()
      } catch (error) {
        owner.fail(error)
      }
    }
  }

  #generation(fd: number): number {
    return this.#generations[fd] ?? 0
  }

  #dispatch(fd: number, events: number): void {
    const handler = this.#handlers[fd]
    if (handler === undefined) return
    this.#dispatched++
    this.#onProgress()
    try {
      handler.handle(fd, events)
    } catch (error) {
      handler.fail(error)
    }
  }
}
