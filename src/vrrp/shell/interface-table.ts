/**
 * The interfaces of this host as the kernel last described them, and what each means to VRRP: able
 * to carry adverts, from which address, or why not. Kept right by the events of `RtnetlinkMonitor`;
 * an overrun, or a doubt, is one full listing.
 */
import type { InterfaceAddress } from "../../linux/address-message.ts"
import { primaryAddress } from "../../linux/interfaces.ts"
import type { Link, LinkRef } from "../../linux/link-message.ts"
import type { Rtnetlink } from "../../linux/rtnetlink.ts"
import type { RtnetlinkEvent } from "../../linux/rtnetlink-monitor.ts"
import { type Address, formatPrefix } from "../../net/address.ts"
import type { Mac } from "../../net/mac.ts"

export type InterfaceStatus =
  | { readonly ok: true; readonly link: Link; readonly address: Address }
  | { readonly ok: false; readonly reason: string }

export class InterfaceTable {
  readonly #rtnetlink: Rtnetlink
  readonly #addressMark: number
  readonly #links = new Map<number, Link>()
  readonly #addresses = new Map<string, InterfaceAddress>()

  /**
   * Addresses with `addressMark` are our own virtual ones: adverts never come from one, and the
   * renewals of their leases, twice a second each, are no news.
   */
  constructor(rtnetlink: Rtnetlink, addressMark: number) {
    this.#rtnetlink = rtnetlink
    this.#addressMark = addressMark
  }

  /** Equivalent to `ip link show` and `ip address show`. Throws `SystemError`. */
  reload(): void {
    this.#links.clear()
    this.#addresses.clear()
    for (const link of this.#rtnetlink.links()) this.#links.set(link.index, link)
    for (const address of this.#rtnetlink.addresses({ family: 4 }))
      if (address.protocol !== this.#addressMark) this.#addresses.set(keyOf(address), address)
  }

  /**
   * Open the monitor before the first `reload`, so that nothing falls between. Returns whether the
   * event may matter to anybody.
   */
  apply(event: RtnetlinkEvent): boolean {
    if (event.type === "overrun" || event.type === "malformed") this.reload()
    else if (event.type === "link") this.#applyLink(event.change, event.link)
    else if (event.type === "address") return this.#applyAddress(event.change, event.address)
    else return false
    return true
  }

  /** RFC 9568 §6.1: what a virtual router on this interface stands on. */
  status(name: string): InterfaceStatus {
    const link = this.#named(name)
    if (link === undefined) return { ok: false, reason: `interface ${name} does not exist` }
    if (!link.up) return { ok: false, reason: `interface ${name} is down` }
    if (!link.running) return { ok: false, reason: `interface ${name} has no carrier` }
    const query = { ifindex: link.index, family: 4 } as const
    const address = primaryAddress([...this.#addresses.values()], query)
    if (address === undefined) return { ok: false, reason: `interface ${name} has no IPv4 address` }
    return { ok: true, link, address }
  }

  /** For `track = [{ interface = … }]`. */
  isRunning(name: string): boolean {
    return this.#named(name)?.running ?? false
  }

  /** Whether an interface that was seen earlier is still there. */
  exists({ index }: LinkRef): boolean {
    return this.#links.has(index)
  }

  isOwnMac(mac: Mac): boolean {
    for (const link of this.#links.values()) if (link.mac === mac) return true
    return false
  }

  #applyLink(change: "set" | "removed", link: Link): void {
    if (change === "set") this.#links.set(link.index, link)
    else this.#links.delete(link.index)
  }

  #applyAddress(change: "set" | "removed", address: InterfaceAddress): boolean {
    if (address.protocol === this.#addressMark) return false
    if (change === "set") this.#addresses.set(keyOf(address), address)
    else this.#addresses.delete(keyOf(address))
    return true
  }

  #named(name: string): Link | undefined {
    for (const link of this.#links.values()) if (link.name === name) return link
    return undefined
  }
}

function keyOf({ ifindex, prefix }: InterfaceAddress): string {
  return `${ifindex} ${formatPrefix(prefix)}`
}
