/**
 * Sends what the announcement machines ask for on one link, and tells the journal about conflicts.
 */
import {
  type Claim,
  type ConflictAction,
  type ConflictInput,
  ConflictWatch,
} from "../../announce/conflict.ts"
import {
  type AnnounceConfig,
  type AnnounceInput,
  AnnounceSchedule,
} from "../../announce/schedule.ts"
import type { Address } from "../../net/address.ts"
import { earlier, type Instant } from "../../net/time.ts"
import type { Journal } from "./journal.ts"
import type { VrrpLink } from "./link.ts"

export class Announcer {
  readonly #journal: Journal
  readonly #watch = new ConflictWatch()
  #schedule: AnnounceSchedule

  constructor(config: AnnounceConfig, journal: Journal) {
    this.#schedule = new AnnounceSchedule(config)
    this.#journal = journal
  }

  deadline(): Instant | undefined {
    return earlier(this.#schedule.deadline(), this.#watch.deadline())
  }

  /** Call `start` afterwards if addresses are held. */
  reconfigure(config: AnnounceConfig): void {
    this.#schedule = new AnnounceSchedule(config)
  }

  start(addresses: readonly Address[], link: VrrpLink, now: Instant): void {
    this.#announce({ type: "start", addresses }, link, now)
    this.#observe({ type: "start", addresses }, link, now)
  }

  /** While started: `addresses` are all of them now. */
  change(
    { addresses, added }: { addresses: readonly Address[]; added: readonly Address[] },
    link: VrrpLink,
    now: Instant,
  ): void {
    this.#announce({ type: "change", addresses, added }, link, now)
    this.#observe({ type: "change", addresses, added }, link, now)
    this.#journal.conflicts = this.#watch.conflicts(now)
  }

  again(link: VrrpLink, now: Instant): void {
    this.#announce({ type: "again" }, link, now)
  }

  stop(now: Instant): void {
    this.#schedule.handle({ type: "stop" }, now)
    this.#watch.handle({ type: "stop" }, now)
    this.#journal.conflicts = []
  }

  timeout(link: VrrpLink, now: Instant): void {
    this.#announce({ type: "timeout" }, link, now)
    this.#observe({ type: "timeout" }, link, now)
    this.#journal.conflicts = this.#watch.conflicts(now)
  }

  /** `isOwn`: from a MAC of this host. */
  hear(claim: Claim, { link, isOwn, now }: { link: VrrpLink; isOwn: boolean; now: Instant }): void {
    this.#observe({ type: "claim", claim, isOwn }, link, now)
  }

  #announce(input: AnnounceInput, link: VrrpLink, now: Instant): void {
    for (const address of this.#schedule.handle(input, now))
      this.#journal.sent(link.announce(address), now)
  }

  #observe(input: ConflictInput, link: VrrpLink, now: Instant): void {
    for (const action of this.#watch.handle(input, now)) this.#perform(action, link, now)
  }

  #perform(action: ConflictAction, link: VrrpLink, now: Instant): void {
    if (action.type === "probe") return this.#journal.sent(link.probe(action.address), now)
    const { address, mac } = action.conflict
    if (action.isNew)
      this.#journal.log("warn", "Another host answers for a virtual address", { address, mac })
    this.#journal.conflicts = this.#watch.conflicts(now)
    this.#announce({ type: "again" }, link, now)
  }
}
