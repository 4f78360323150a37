/**
 * One virtual router: the state machine of RFC 9568 §6.4 (version 3) and RFC 3768 §6.4 (version
 * 2), without sockets or a clock.
 *
 *                     startup, nothing in the way
 *     Initialize ───────────────────────────────▶ Backup ◀────────────────▶ Active
 *         ▲                                         │  ▲                      │
 *         │ shutdown (from anywhere)                ▼  │ what was wrong is over│
 *         └──────────────────────────────────────── Fault ◀───────────────────┘
 *
 * Fault is keepalived's: the interface or something tracked without weight is down. What lives
 * here and nowhere else: who is Active, when adverts leave, and with which priority. What does
 * not: whether a received packet is acceptable at all (`reception.ts`), what the tracked objects
 * come to (`tracking.ts`), and how addresses are added and given up (`handover.ts`).
 *
 * Four departures from the RFC, the first two because of machines that stop running for a while:
 *
 * - An Active Router that finds it has not sent for as long as a peer of its own priority waits
 *   steps back to Backup instead of asserting itself: a peer may hold the addresses by now.
 * - A Backup Router whose Active_Down_Timer is handled more than an advertisement interval late
 *   listens for one interval more: adverts may have been lost with it (a paused VM loses them).
 * - `release` keeps it in Backup until `resume`, whatever it hears.
 * - An Active Router that hears a higher one advertises once more before it steps back, as
 *   keepalived does with vrrp_higher_prio_send_advert. Where a split LAN has healed, the higher
 *   one would otherwise never learn that there was another, whose announcements the clients still
 *   believe.
 */
import { type Address, compareAddresses } from "../net/address.ts"
import { after, type Instant } from "../net/time.ts"
import { Peers } from "./peers.ts"
import { activeDownIntervalMs, skewTimeMs } from "./timers.ts"
import { clampPriority } from "./tracking.ts"

/** RFC 9568 §5.2.4: the address owner, who is never outranked and never tracks. */
export const PRIORITY_OWNER = 255
/** RFC 9568 §5.2.4: "I have stopped participating". */
export const PRIORITY_STOP = 0

export interface VirtualRouterConfig {
  readonly version: 2 | 3
  /** Configured, 1–255; tracking moves the effective one within 1–254. */
  readonly priority: number
  /** Advertisement_Interval. */
  readonly intervalMs: number
  readonly preempt: boolean
  readonly preemptDelayMs: number
}

/** RFC 9568 §6.4; each state owns its deadlines, so no timer outlives its state. */
export type State =
  | { readonly name: "initialize" }
  | Backup
  | { readonly name: "active"; readonly adverAt: Instant; readonly lastAdvertAt: Instant }
  | { readonly name: "fault" }

interface Backup {
  readonly name: "backup"
  /** Active_Down_Timer; undefined only while released, once nobody has taken over. */
  readonly activeDownAt: Instant | undefined
  /** Active_Adver_Interval. */
  readonly activeIntervalMs: number
  /** When adverts of a lower priority may be ignored, once one was heard (`preempt_delay`). */
  readonly preemptAt: Instant | undefined
}

export type Input =
  /** Everything tracked is known and the listeners are bound. */
  | { readonly type: "startup" }
  | { readonly type: "shutdown"; readonly reason: string }
  | ReceivedAdvertisement
  | { readonly type: "timeout" }
  /** The thread runs: to be said before anything else that it does, lest it act on old beliefs. */
  | { readonly type: "awake" }
  /** A changed interface, VRID or version is not a reconfiguration but another router. */
  | { readonly type: "reconfigure"; readonly config: VirtualRouterConfig }
  | { readonly type: "tracking"; readonly weightSum: number; readonly fault: string | undefined }
  /** `address` is the primary address adverts are sent from. */
  | { readonly type: "interface-up"; readonly address: Address }
  | { readonly type: "interface-down"; readonly reason: string }
  | { readonly type: "release" }
  | { readonly type: "resume" }

/** One that `reception.ts` has accepted. */
export interface ReceivedAdvertisement {
  readonly type: "advertisement"
  readonly source: Address
  readonly priority: number
  readonly intervalMs: number
}

export type Action =
  | { readonly type: "send-advertisement"; readonly priority: number }
  /** Hold the addresses, then announce them. */
  | { readonly type: "activate" }
  /** Announce what is held once more: somebody else has announced it too. */
  | { readonly type: "announce-again" }
  /** Give up the addresses; `farewell`: then send priority 0. */
  | { readonly type: "deactivate"; readonly farewell: boolean }
  | {
      readonly type: "transition"
      readonly from: State["name"]
      readonly to: State["name"]
      readonly reason: string
    }
  | { readonly type: "warning"; readonly message: string }
  | { readonly type: "ignored"; readonly reason: IgnoredReason }

/** Why an acceptable advert changed nothing. */
export type IgnoredReason = "not-running" | "lower-priority"

interface Obstacle {
  readonly state: "initialize" | "fault"
  readonly reason: string
  /** Whether a priority 0 advert can still be sent. */
  readonly farewell: boolean
}

interface BackupCause {
  readonly reason: string
  /** Active_Adver_Interval if learnt; otherwise our own (RFC 9568 §6.4.1). */
  readonly activeIntervalMs?: number
  readonly farewell?: boolean
}

export class VirtualRouter {
  readonly peers = new Peers()
  #config: VirtualRouterConfig
  #state: State = { name: "initialize" }
  #reason = "starting"
  #stopped: string | undefined = "starting"
  #interfaceFault: string | undefined = "interface unknown"
  #primaryAddress: Address | undefined
  #trackingFault: string | undefined
  #weightSum = 0
  #released = false

  constructor(config: VirtualRouterConfig) {
    this.#config = config
  }

  get state(): State {
    return this.#state
  }

  /** Why it is in its state, for a person. */
  get reason(): string {
    return this.#reason
  }

  get released(): boolean {
    return this.#released
  }

  /** Configured plus tracked weights; the owner is untouched (keepalived clamps alike). */
  get effectivePriority(): number {
    const { priority } = this.#config
    if (priority === PRIORITY_OWNER) return PRIORITY_OWNER
    return clampPriority(priority + this.#weightSum)
  }

  /** When to call `handle({ type: "timeout" }, now)` next; may change with every `handle`. */
  deadline(): Instant | undefined {
    if (this.#state.name === "backup") return this.#state.activeDownAt
    return this.#state.name === "active" ? this.#state.adverAt : undefined
  }

  /** Extra timeouts are harmless. Handle what was received before what was due. */
  handle(input: Input, now: Instant): Action[] {
    return [...this.#stepBackWhenLate(now), ...this.#handle(input, now)]
  }

  #handle(input: Input, now: Instant): Action[] {
    switch (input.type) {
      case "advertisement":
        return this.#advertisement(input, now)
      case "timeout":
        return this.#timeout(now)
      case "awake":
        return []
      case "reconfigure":
        return this.#reconfigure(input.config, now)
      case "release":
        return this.#release(now)
      case "resume":
        return this.#resume(now)
      case "startup":
        this.#stopped = undefined
        return this.#settle(now)
      case "shutdown":
        this.#stopped = input.reason
        return this.#settle(now)
      case "tracking":
        this.#weightSum = input.weightSum
        this.#trackingFault = input.fault
        return this.#settle(now)
      case "interface-up":
        this.#interfaceFault = undefined
        this.#primaryAddress = input.address
        return this.#settle(now)
      case "interface-down":
        this.#interfaceFault = input.reason
        return this.#settle(now)
    }
  }

  /** Enters or leaves Initialize and Fault as the inputs so far demand. */
  #settle(now: Instant): Action[] {
    const obstacle = this.#obstacle()
    if (obstacle !== undefined) return this.#suspend(obstacle)
    const wasRunning = this.#state.name === "backup" || this.#state.name === "active"
    return wasRunning ? this.#claimOwned(now) : this.#start(now)
  }

  #obstacle(): Obstacle | undefined {
    if (this.#stopped !== undefined)
      return { state: "initialize", reason: this.#stopped, farewell: true }
    if (this.#interfaceFault !== undefined)
      return { state: "fault", reason: this.#interfaceFault, farewell: false }
    if (this.#trackingFault !== undefined)
      return { state: "fault", reason: this.#trackingFault, farewell: true }
    return undefined
  }

  #suspend(obstacle: Obstacle): Action[] {
    if (this.#state.name !== obstacle.state)
      return this.#enter({ name: obstacle.state }, obstacle.reason, { farewell: obstacle.farewell })
    this.#reason = obstacle.reason
    return []
  }

  /** RFC 9568 §6.4.1. */
  #start(now: Instant): Action[] {
    if (this.#isOwner() && !this.#released) return this.#becomeActive("address owner", now)
    const reason =
      this.#state.name === "fault" ? `recovered from: ${this.#reason}` : "start-up complete"
    return this.#becomeBackup({ reason }, now)
  }

  /** Priority 255 may come with a new configuration or the end of a release. */
  #claimOwned(now: Instant): Action[] {
    if (this.#state.name === "active" || this.#released || !this.#isOwner()) return []
    return this.#becomeActive("address owner", now)
  }

  #isOwner(): boolean {
    return this.#config.priority === PRIORITY_OWNER
  }

  #advertisement(received: ReceivedAdvertisement, now: Instant): Action[] {
    this.peers.heard(received, now)
    if (this.#state.name === "backup") return this.#backupHears(this.#state, received, now)
    if (this.#state.name === "active") return this.#activeHears(received, now)
    return [{ type: "ignored", reason: "not-running" }]
  }

  /** RFC 9568 §6.4.2. */
  #backupHears(backup: Backup, received: ReceivedAdvertisement, now: Instant): Action[] {
    if (received.priority === PRIORITY_STOP) {
      const skewMs = skewTimeMs(this.#timers(backup.activeIntervalMs))
      this.#state = { ...backup, activeDownAt: after(now, skewMs) }
      this.#reason = `${received.source} has stopped`
      return []
    }
    const preemptAt = this.#preemptAt(backup, received, now)
    if (this.#mayPreempt(received, preemptAt, now)) {
      this.#state = { ...backup, preemptAt }
      return [{ type: "ignored", reason: "lower-priority" }]
    }
    const activeIntervalMs = this.#learntIntervalMs(received)
    this.#state = this.#listening({ activeIntervalMs, preemptAt }, now)
    return []
  }

  /** keepalived: the delay starts at the first lower advert and ends with one that is not lower. */
  #preemptAt(backup: Backup, received: ReceivedAdvertisement, now: Instant): Instant | undefined {
    if (received.priority >= this.effectivePriority) return undefined
    return backup.preemptAt ?? after(now, this.#config.preemptDelayMs)
  }

  #mayPreempt(
    received: ReceivedAdvertisement,
    preemptAt: Instant | undefined,
    now: Instant,
  ): boolean {
    // While released nothing is preempted; the timer then watches that somebody is Active.
    if (this.#released || received.priority >= this.effectivePriority) return false
    return this.#config.preempt && preemptAt !== undefined && preemptAt <= now
  }

  /** Version 2 has accepted only equal intervals; version 3 learns (RFC 9568 §6.4.2). */
  #learntIntervalMs(received: ReceivedAdvertisement): number {
    return this.#config.version === 3 ? received.intervalMs : this.#config.intervalMs
  }

  /** RFC 9568 §6.4.3. */
  #activeHears(received: ReceivedAdvertisement, now: Instant): Action[] {
    if (received.priority === PRIORITY_STOP) return [this.#sendAdvertisement(now)]
    if (!this.#isOutrankedBy(received))
      return [
        { type: "ignored", reason: "lower-priority" },
        this.#sendAdvertisement(now),
        { type: "announce-again" },
      ]
    const comparison =
      received.priority === this.effectivePriority
        ? "like ours, from a higher address"
        : `above our ${this.effectivePriority}`
    const reason = `${received.source} advertises priority ${received.priority}, ${comparison}`
    const activeIntervalMs = this.#learntIntervalMs(received)
    return [this.#lastWord(), ...this.#becomeBackup({ reason, activeIntervalMs }, now)]
  }

  /** Of the loser of a split LAN; the winner answers it by announcing the addresses again. */
  #lastWord(): Action {
    return { type: "send-advertisement", priority: this.effectivePriority }
  }

  #isOutrankedBy(received: ReceivedAdvertisement): boolean {
    if (received.priority !== this.effectivePriority)
      return received.priority > this.effectivePriority
    if (this.#primaryAddress === undefined) return true
    return compareAddresses(received.source, this.#primaryAddress) > 0
  }

  #timeout(now: Instant): Action[] {
    const state = this.#state
    if (state.name === "active") return state.adverAt <= now ? [this.#sendAdvertisement(now)] : []
    if (state.name !== "backup" || state.activeDownAt === undefined || state.activeDownAt > now)
      return []
    if (this.#released) return this.#nobodyTookOver(state)
    return this.#activeDown(state, state.activeDownAt, now)
  }

  #activeDown(backup: Backup, activeDownAt: Instant, now: Instant): Action[] {
    const lateMs = now - activeDownAt
    if (lateMs <= backup.activeIntervalMs)
      return this.#becomeActive("no advertisement from an active router", now)
    const timers = this.#timers(backup.activeIntervalMs)
    this.#state = {
      ...backup,
      activeDownAt: after(now, backup.activeIntervalMs + skewTimeMs(timers)),
    }
    const message = `woke ${seconds(lateMs)} late: listening for one more interval`
    return [{ type: "warning", message }]
  }

  #nobodyTookOver(backup: Backup): Action[] {
    this.#state = { ...backup, activeDownAt: undefined }
    this.#reason = "released, but no other router advertises"
    return [{ type: "warning", message: this.#reason }]
  }

  #stepBackWhenLate(now: Instant): Action[] {
    if (this.#state.name !== "active") return []
    const silentMs = now - this.#state.lastAdvertAt
    const patienceMs = activeDownIntervalMs(this.#timers(this.#config.intervalMs))
    if (silentMs < patienceMs) return []
    const reason = `did not run for ${seconds(silentMs)}; peers wait ${seconds(patienceMs)}`
    return this.#becomeBackup({ reason }, now)
  }

  #reconfigure(config: VirtualRouterConfig, now: Instant): Action[] {
    this.#config = config
    const settled = this.#settle(now)
    if (settled.length > 0) return settled
    // Backup Routers must learn a longer interval before their timers run out on the old one.
    if (this.#state.name === "active") return [this.#sendAdvertisement(now)]
    if (this.#state.name === "backup" && this.#state.activeDownAt !== undefined)
      this.#state = this.#listening({ ...this.#state, ...this.#ownInterval() }, now)
    return []
  }

  #release(now: Instant): Action[] {
    this.#released = true
    const reason = "released by the operator"
    if (this.#state.name === "active") return this.#becomeBackup({ reason, farewell: true }, now)
    if (this.#state.name === "backup") this.#reason = reason
    return []
  }

  #resume(now: Instant): Action[] {
    if (!this.#released) return []
    this.#released = false
    if (this.#state.name !== "backup") return []
    this.#reason = "resumed by the operator"
    this.#state = this.#listening({ ...this.#state, preemptAt: undefined }, now)
    return this.#claimOwned(now)
  }

  #sendAdvertisement(now: Instant): Action {
    this.#state = {
      name: "active",
      adverAt: after(now, this.#config.intervalMs),
      lastAdvertAt: now,
    }
    return { type: "send-advertisement", priority: this.effectivePriority }
  }

  #becomeActive(reason: string, now: Instant): Action[] {
    const transition = this.#transition("active", reason)
    return [this.#sendAdvertisement(now), { type: "activate" }, transition]
  }

  #becomeBackup(why: BackupCause, now: Instant): Action[] {
    const activeIntervalMs = why.activeIntervalMs ?? this.#config.intervalMs
    const backup = this.#listening({ activeIntervalMs, preemptAt: undefined }, now)
    return this.#enter(backup, why.reason, { farewell: why.farewell ?? false })
  }

  /** Backup with the Active_Down_Timer set anew. */
  #listening(backup: Pick<Backup, "activeIntervalMs" | "preemptAt">, now: Instant): Backup {
    const { activeIntervalMs, preemptAt } = backup
    const activeDownAt = after(now, activeDownIntervalMs(this.#timers(activeIntervalMs)))
    return { name: "backup", activeDownAt, activeIntervalMs, preemptAt }
  }

  /** In version 2 the Active Router's interval is configured, not learnt. */
  #ownInterval(): { activeIntervalMs?: number } {
    return this.#config.version === 2 ? { activeIntervalMs: this.#config.intervalMs } : {}
  }

  #enter(state: State, reason: string, options: { readonly farewell: boolean }): Action[] {
    const transition = this.#transition(state.name, reason)
    const wasActive = this.#state.name === "active"
    this.#state = state
    if (!wasActive) return [transition]
    return [{ type: "deactivate", farewell: options.farewell }, transition]
  }

  #transition(to: State["name"], reason: string): Action {
    this.#reason = reason
    return { type: "transition", from: this.#state.name, to, reason }
  }

  #timers(intervalMs: number) {
    return { version: this.#config.version, priority: this.effectivePriority, intervalMs }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`
}
