/**
 * What one virtual router has to tell: log lines, counters, warnings, and the snapshot of it all
 * that goes to the control thread. Nothing here decides anything.
 */
import type { Conflict } from "../../announce/conflict.ts"
import type { SendResult } from "../../linux/socket-option.ts"
import type { Address } from "../../net/address.ts"
import { after, type Instant, instant } from "../../net/time.ts"
import type { FromVrrpThread, PeerSnapshot } from "../messages.ts"
import type { Peer } from "../peers.ts"
import type { Action } from "../virtual-router.ts"

/** The same complaint is logged once in this time, and counted every time. */
const COMPLAINT_SPACING_MS = 60_000
const REPORT_SPACING_MS = 1000

type Level = "debug" | "info" | "warn" | "error"
type Fields = Readonly<Record<string, string | number | boolean>>

export class Journal {
  /** When the next snapshot is due. */
  reportAt: Instant = instant(0)
  /** Other hosts that use the addresses. */
  conflicts: readonly Conflict[] = []
  /** What keeps the kernel from answering ARP. */
  obstacles: readonly string[] = []
  /** Addresses that the kernel would not take. */
  refused: readonly string[] = []
  readonly #dropped: Record<string, number> = {}
  #advertsSent = 0
  #advertsReceived = 0
  #sendErrors = 0
  #transitions = 0
  #sinceEpochMs = Date.now()
  readonly #router: string
  readonly #post: (message: FromVrrpThread) => void
  readonly #complaints = new Map<string, Instant>()
  /** Peers whose last advert listed other addresses than ours. */
  readonly #strangers = new Set<Address>()
  #warning: { readonly message: string; readonly at: Instant } | undefined

  constructor(router: string, post: (message: FromVrrpThread) => void) {
    this.#router = router
    this.#post = post
  }

  log(level: Level, message: string, fields: Fields = {}): void {
    const all = { router: this.#router, ...fields }
    this.#post({ type: "log", level, component: "vrrp", message, fields: all })
  }

  transition({ from, to, reason }: Extract<Action, { type: "transition" }>): void {
    this.#transitions += 1
    this.#sinceEpochMs = Date.now()
    this.#warning = undefined
    this.log("info", "State changed", { from, to, reason })
  }

  /** Stays in the snapshot until the next transition, or for `WARNING_MEMORY_MS`. */
  warn(message: string, now: Instant): void {
    this.#warning = { message, at: now }
    this.log("warn", message)
  }

  accepted(source: Address, sameAddresses: boolean): void {
    this.#advertsReceived += 1
    if (sameAddresses) {
      this.#strangers.delete(source)
      return
    }
    if (!this.#strangers.has(source) && this.#strangers.size < STRANGERS_MAX) {
      this.#strangers.add(source)
      this.log("warn", "A peer advertises other addresses than ours", { peer: source })
    }
  }

  /** Our own list has changed: judge the peers' anew. */
  forgetStrangers(): void {
    this.#strangers.clear()
  }

  /** Counts an advert that was understood and changed nothing. */
  ignored(reason: string): void {
    this.#dropped[reason] = (this.#dropped[reason] ?? 0) + 1
  }

  dropped(reason: string, source: Address, now: Instant): void {
    this.ignored(reason)
    this.#complain(now, `drop ${reason}`, "Ignoring a VRRP packet", { reason, source })
  }

  /** The outcome of sending anything but adverts. */
  sent(result: SendResult, now: Instant): void {
    if (result.ok) return
    this.#sendErrors += 1
    this.#complain(now, result.error.message, result.error.message, {})
  }

  advertised(result: SendResult, now: Instant): void {
    if (result.ok) this.#advertsSent += 1
    this.sent(result, now)
  }

  reported(now: Instant): void {
    this.reportAt = after(now, REPORT_SPACING_MS)
  }

  snapshot(warnings: readonly string[], now: Instant) {
    return {
      sinceEpochMs: this.#sinceEpochMs,
      warnings: [...warnings, ...this.#warnings(now)],
      transitions: this.#transitions,
      advertsSent: this.#advertsSent,
      advertsReceived: this.#advertsReceived,
      sendErrors: this.#sendErrors,
      dropped: { ...this.#dropped },
    }
  }

  #warnings(now: Instant): string[] {
    const { message, at } = this.#warning ?? { message: "", at: instant(0) }
    return [
      ...(message !== "" && now - at < WARNING_MEMORY_MS ? [message] : []),
      ...this.obstacles,
      ...this.refused.slice(0, REFUSED_SHOWN_MAX),
      ...this.conflicts.map(({ address, mac }) => `${address} is also used by ${mac}`),
      ...[...this.#strangers].map((peer) => `${peer} advertises other addresses than ours`),
    ]
  }

  #complain(now: Instant, key: string, message: string, fields: Fields): void {
    const last = this.#complaints.get(key)
    if (last !== undefined && now - last < COMPLAINT_SPACING_MS) return
    this.#complaints.set(key, now)
    this.log("warn", message, fields)
  }
}

const STRANGERS_MAX = 16
const REFUSED_SHOWN_MAX = 8
const WARNING_MEMORY_MS = 5 * 60_000

export function peerSnapshot(peer: Peer, now: Instant): PeerSnapshot {
  const { address, priority, heardAt } = peer
  return { address, priority, heardAtEpochMs: Date.now() - (now - heardAt) }
}
