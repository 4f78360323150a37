/**
 * The addresses that one virtual router holds right now: put in place, their leases renewed, taken
 * away. When a new configuration drops an address that is held, the address departs: it stays for
 * `LEAVING_WAIT_MS`, so that the sessions through it can be reset from it.
 */
import type { VrrpConfig } from "../../config/config.ts"
import type { LinkRef } from "../../linux/link-message.ts"
import { type Address, formatPrefix, type Prefix } from "../../net/address.ts"
import { after, earlier, type Instant } from "../../net/time.ts"
import { leaseOf } from "../lease.ts"
import { LEAVING_WAIT_MS } from "../messages.ts"
import { heldPrefixes } from "../translate.ts"
import {
  InterfacePlacement,
  type Placement,
  type PlacementOptions,
  ProcessPlacement,
} from "./placement.ts"

/** Without a lease: how soon an address that somebody removed comes back. */
const PERMANENT_REFRESH_MS = 5000

interface Departing {
  readonly prefixes: readonly Prefix[]
  readonly until: Instant
}

export class AddressHolder {
  readonly #options: PlacementOptions
  #config: VrrpConfig
  #placement: Placement | undefined
  #held: readonly Prefix[] = []
  #refreshAt: Instant | undefined
  #departing: Departing | undefined

  constructor(config: VrrpConfig, options: PlacementOptions) {
    this.#config = config
    this.#options = options
  }

  get held(): readonly Prefix[] {
    return this.#held
  }

  deadline(): Instant | undefined {
    return earlier(this.#refreshAt, this.#departing?.until)
  }

  /** Takes effect with the next `hold`. */
  reconfigure(config: VrrpConfig): void {
    this.#config = config
  }

  /** Makes sure that addresses can be placed, long before they must be. Throws `SystemError`. */
  prepare(): void {
    this.#placement ??=
      this.#config.placement === "process"
        ? new ProcessPlacement(this.#config.name, this.#options)
        : new InterfacePlacement(this.#options)
  }

  /** Places the configured addresses; returns those that depart instead. Throws `SystemError`. */
  hold(link: LinkRef, now: Instant): Address[] {
    const wanted = heldPrefixes(this.#config)
    const departing = without(this.#held, wanted)
    this.#held = wanted
    this.#place(link, now)
    if (departing.length === 0) return []
    const all = [...(this.#departing?.prefixes ?? []), ...departing]
    this.#departing = { prefixes: all, until: after(now, LEAVING_WAIT_MS) }
    return departing.map(({ address }) => address)
  }

  /** Renews leases and lets go of what has departed. Throws `SystemError`. */
  timeout(link: LinkRef | undefined, now: Instant): void {
    if (this.#departing !== undefined && this.#departing.until <= now) this.left()
    if (this.#refreshAt === undefined || this.#refreshAt > now) return
    if (link === undefined) this.#refreshAt = undefined
    else this.#place(link, now)
  }

  /** What is held stays for the rest of its lease at most. */
  renewNoMore(): void {
    this.#refreshAt = undefined
  }

  /** The sessions through departing addresses are reset. Throws `SystemError`. */
  left(): void {
    const prefixes = this.#departing?.prefixes ?? []
    this.#departing = undefined
    for (const prefix of without(prefixes, this.#held)) this.#placement?.remove(prefix)
  }

  /** Throws `SystemError`; what was not removed leaves with its lease. */
  remove(): void {
    const prefixes = this.#held
    this.#held = []
    this.#refreshAt = undefined
    this.left()
    for (const prefix of prefixes) this.#placement?.remove(prefix)
  }

  /** What would keep the kernel from answering ARP for the addresses. */
  obstacles(link: LinkRef): readonly string[] {
    return this.#placement?.obstacles(link) ?? []
  }

  /** The addresses in the process's own place go too; others leave with their lease. */
  close(): void {
    this.#placement?.close()
    this.#placement = undefined
    this.#held = []
    this.#refreshAt = undefined
    this.#departing = undefined
  }

  #place(link: LinkRef, now: Instant): void {
    const lease = leaseOf(this.#config)
    this.#refreshAt = after(now, lease?.refreshMs ?? PERMANENT_REFRESH_MS)
    for (const prefix of this.#held) this.#placement?.hold(prefix, link, lease?.seconds)
  }
}

function without(prefixes: readonly Prefix[], others: readonly Prefix[]): Prefix[] {
  const texts = new Set(others.map(formatPrefix))
  return prefixes.filter((prefix) => !texts.has(formatPrefix(prefix)))
}
