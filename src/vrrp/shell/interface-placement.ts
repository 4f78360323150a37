/**
 * Addresses on the interface itself, for those who need to see them there. The kernel answers for
 * them as for its own, ARP and neighbour solicitations alike. Each has a lease, and after a crash
 * stays for the rest of it.
 *
 * With a prefix shorter than /32 the scope must be that of the interface's own address (EINVAL
 * otherwise); it is then a secondary one, and those are never picked as a source either. An IPv6
 * address is always a /128 (see placement.ts).
 */
import { type AddressSpec, SCOPE_GLOBAL, SCOPE_HOST } from "../../linux/address-message.ts"
import type { LinkRef } from "../../linux/link-message.ts"
import { familyOf, formatPrefix, type Prefix } from "../../net/address.ts"
import type { HeldAddress } from "../translate.ts"
import {
  arpIgnoreOf,
  IPV6_SPEC,
  isOurs,
  lifetime,
  type Placement,
  type PlacementOptions,
  type Refusal,
  refusalsOf,
  throwIfRefused,
} from "./placement.ts"

const IPV4_HOST_BITS = 32

export class InterfacePlacement implements Placement {
  readonly #options: PlacementOptions
  /** By address and length: the link each is on. */
  readonly #placed = new Map<string, LinkRef>()

  constructor(options: PlacementOptions) {
    this.#options = options
  }

  isLasting(): boolean {
    return false
  }

  /** An address that is there without our mark is somebody else's and stays as it is. */
  hold(addresses: readonly HeldAddress[], link: LinkRef, leaseS: number | undefined): Refusal[] {
    const wanted = this.#withoutForeign(addresses, link)
    const specs = wanted.map(({ prefix }) => this.#spec(prefix, leaseS))
    const refused = this.#options.rtnetlink.replaceAddresses(link, specs)
    for (const [index, { prefix }] of wanted.entries())
      if (!refused.has(index)) this.#placed.set(formatPrefix(prefix), link)
    return refusalsOf(refused, wanted)
  }

  remove(addresses: readonly HeldAddress[]): void {
    const byLink = new Map<number, { link: LinkRef; places: { prefix: Prefix }[] }>()
    for (const { prefix } of addresses) {
      const link = this.#placed.get(formatPrefix(prefix))
      if (link === undefined) continue
      this.#placed.delete(formatPrefix(prefix))
      const group = byLink.get(link.index) ?? { link, places: [] }
      byLink.set(link.index, group)
      group.places.push({ prefix })
    }
    const { rtnetlink } = this.#options
    for (const { link, places } of byLink.values())
      throwIfRefused(rtnetlink.deleteAddresses(link, places))
  }

  isUnanswered(): boolean {
    return false
  }

  obstacles(link: LinkRef): string[] {
    if (arpIgnoreOf(link) !== 8) return []
    return [`net.ipv4.conf.${link.name}.arp_ignore is 8: the kernel answers no ARP at all`]
  }

  close(): void {
    // Nothing of its own: the addresses were removed, or leave with their lease.
  }

  #spec(prefix: Prefix, leaseS: number | undefined): AddressSpec {
    const scope = prefix.length === IPV4_HOST_BITS ? SCOPE_HOST : SCOPE_GLOBAL
    return {
      prefix,
      protocol: this.#options.addressMark,
      ...(familyOf(prefix.address) === 6 ? IPV6_SPEC : { scope }),
      ...lifetime(prefix.address, leaseS),
    }
  }

  #withoutForeign(addresses: readonly HeldAddress[], link: LinkRef): readonly HeldAddress[] {
    const isKnown = ({ prefix }: HeldAddress) =>
      this.#placed.get(formatPrefix(prefix))?.index === link.index
    if (addresses.every(isKnown)) return addresses
    const found = this.#options.rtnetlink.addresses({ ifindex: link.index })
    const foreign = new Set(
      found
        .filter((each) => !isOurs(each, this.#options))
        .map(({ prefix }) => formatPrefix(prefix)),
    )
    return addresses.filter((held) => isKnown(held) || !foreign.has(formatPrefix(held.prefix)))
  }
}
