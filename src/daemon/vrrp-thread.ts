/**
 * The vrrp thread as the control thread sees it. Its end is the end of the process: nothing else
 * may hold the addresses, and a restart by the service manager takes less than a takeover by the
 * peer.
 */
import { Heartbeat } from "../dataplane/heartbeat.ts"
import { monotonicNow } from "../linux/clock.ts"
import { Mailbox } from "../linux/mailbox.ts"
import type { Address } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import type {
  FromVrrpThread,
  ToVrrpThread,
  VirtualRouterSnapshot,
  VrrpThreadData,
} from "../vrrp/messages.ts"
import { workerEntry } from "./worker-entry.ts"

/** It beats once a second. */
const HUNG_AFTER_MS = 3_000
const STOP_WAIT_MS = 1_000

export interface VrrpThreadOptions {
  /** What the process was started with: for where real-time scheduling is not to be had. */
  readonly nice: number
  /** IFA_PROTO of the addresses it places; the thread's own default unless given. */
  readonly addressMark?: number
  readonly onState: (
    snapshot: VirtualRouterSnapshot,
    previous: VirtualRouterSnapshot | undefined,
  ) => void
  readonly onLog: (record: Extract<FromVrrpThread, { type: "log" }>) => void
  /** The addresses are about to go; answer when the sessions through them are reset. */
  readonly onLeaving: (addresses: readonly Address[]) => Promise<void>
  readonly onFailed: (reason: string) => void
}

export class VrrpThread {
  readonly #options: VrrpThreadOptions
  readonly #worker: Worker
  readonly #mailbox = new Mailbox<ToVrrpThread>("vrrp thread")
  readonly #heartbeat = new Heartbeat()
  readonly #snapshots = new Map<string, VirtualRouterSnapshot>()
  readonly #started = Promise.withResolvers<void>()
  readonly #stopped = Promise.withResolvers<void>()
  #scheduling = "unknown"
  #isStopping = false
  #lastBeats = -1
  #lastBeatAt: Instant = monotonicNow()

  constructor(options: VrrpThreadOptions) {
    this.#options = options
    this.#worker = new Worker(workerEntry("vrrp/thread"))
    this.#worker.onmessage = (event: MessageEvent<FromVrrpThread>) => this.#hear(event.data)
    this.#worker.onerror = (event) => {
      event.preventDefault()
      this.#fail(`vrrp thread failed: ${event.message}`)
    }
    this.#worker.addEventListener("close", () => this.#fail("vrrp thread ended"))
    const start: VrrpThreadData = {
      mailbox: this.#mailbox.address,
      heartbeat: this.#heartbeat.buffer,
      nice: options.nice,
      ...(options.addressMark === undefined ? {} : { addressMark: options.addressMark }),
    }
    this.#worker.postMessage(start, [this.#mailbox.address.port as unknown as ArrayBuffer])
  }

  get scheduling(): string {
    return this.#scheduling
  }

  get started(): Promise<void> {
    return this.#started.promise
  }

  /** In the order they were first heard of. */
  snapshots(): VirtualRouterSnapshot[] {
    return [...this.#snapshots.values()]
  }

  post(message: ToVrrpThread): void {
    this.#mailbox.post(message)
  }

  /** Whether its heart still beats. */
  isBeating(now: Instant, isForgiven: boolean): boolean {
    const { beats } = this.#heartbeat
    if (beats === 0 || beats !== this.#lastBeats || isForgiven) {
      this.#lastBeats = beats
      this.#lastBeatAt = now
      return true
    }
    return now - this.#lastBeatAt < HUNG_AFTER_MS
  }

  /** Leaves with priority 0. Resolves when the addresses are gone, or after a second. */
  async stop(): Promise<void> {
    this.#isStopping = true
    this.post({ type: "stop" })
    await Promise.race([this.#stopped.promise, Bun.sleep(STOP_WAIT_MS)])
  }

  #hear(message: FromVrrpThread): void {
    switch (message.type) {
      case "started":
        this.#scheduling = message.scheduling
        return this.#started.resolve()
      case "state": {
        const { snapshot } = message
        const previous = this.#snapshots.get(snapshot.name)
        this.#snapshots.set(snapshot.name, snapshot)
        return this.#options.onState(snapshot, previous)
      }
      case "removed":
        this.#snapshots.delete(message.router)
        return
      case "leaving":
        void this.#leave(message)
        return
      case "log":
        return this.#options.onLog(message)
      case "stopped":
        this.#isStopping = true
        return this.#stopped.resolve()
    }
  }

  async #leave(message: Extract<FromVrrpThread, { type: "leaving" }>): Promise<void> {
    await this.#options.onLeaving(message.addresses)
    this.post({ type: "left", router: message.router })
  }

  #fail(reason: string): void {
    this.#stopped.resolve()
    if (this.#isStopping) return
    this.#isStopping = true
    this.#options.onFailed(reason)
  }
}
