/**
 * Where the addresses of a virtual router sit in this host: on a device of the process's own
 * (process-placement.ts), or on the interface itself (interface-placement.ts). Every address is
 * marked (IFA_PROTO) as ours, and goes by itself when the thread no longer cares for it.
 *
 * A /32 has host scope: the kernel answers for it and never picks it as the source of what the host
 * says of its own accord (one of link scope it does pick, for multicast and over routes without a
 * gateway). An IPv6 address has its scope by nature; a preferred lifetime of 0 keeps it from being
 * picked (RFC 6724 §5, rule 3).
 */
import type { AddressSpec, InterfaceAddress } from "../../linux/address-message.ts"
import type { SystemError } from "../../linux/errno.ts"
import type { LinkRef } from "../../linux/link-message.ts"
import type { Rtnetlink } from "../../linux/rtnetlink.ts"
import { readSysctl } from "../../linux/sysctl.ts"
import { type Address, familyOf } from "../../net/address.ts"
import type { HeldAddress } from "../translate.ts"

export interface PlacementOptions {
  readonly rtnetlink: Rtnetlink
  /** IFA_PROTO of every address this process places. */
  readonly addressMark: number
}

/** An address that the kernel would not take, and why. */
export interface Refusal {
  readonly held: HeldAddress
  readonly error: SystemError
}

export interface Placement {
  /** Whether it needs no renewal of its own to stay as long as it should. */
  isLasting(address: HeldAddress): boolean
  /**
   * Adds addresses or renews them, and renews what the lasting ones hang on. `leaseS` undefined:
   * for ever. Throws `SystemError` when none can be placed.
   */
  hold(addresses: readonly HeldAddress[], link: LinkRef, leaseS: number | undefined): Refusal[]
  /** Removes them where `hold` put them. Throws `SystemError`. */
  remove(addresses: readonly HeldAddress[]): void
  /** Whether the kernel leaves it to us to answer neighbour solicitations for it. */
  isUnanswered(address: Address): boolean
  /** Why hosts on the link would get no answer when they ask for the addresses, for a person. */
  obstacles(link: LinkRef): string[]
  close(): void
}

/** What all IPv6 addresses are placed with: at once, never as a source, without a route. */
export const IPV6_SPEC = { noDad: true, noPrefixRoute: true } as const

export function lifetime(address: Address, leaseS: number | undefined): Partial<AddressSpec> {
  if (familyOf(address) === 6)
    return { preferredLifetimeS: 0, ...(leaseS === undefined ? {} : { validLifetimeS: leaseS }) }
  return leaseS === undefined ? {} : { validLifetimeS: leaseS, preferredLifetimeS: leaseS }
}

export function isOurs(found: InterfaceAddress, { addressMark }: PlacementOptions): boolean {
  return found.protocol === addressMark
}

/** The kernel takes the greater of the two (ip-sysctl, arp_ignore). */
export function arpIgnoreOf(link: LinkRef): number {
  const values = ["all", link.name].map((name) => readSysctl(`net/ipv4/conf/${name}/arp_ignore`))
  return Math.max(...values.map((value) => Number(value ?? 0)))
}

/** The kernel's answers by index as refusals of `addresses`. */
export function refusalsOf(
  refused: ReadonlyMap<number, SystemError>,
  addresses: readonly HeldAddress[],
): Refusal[] {
  return [...refused].flatMap(([index, error]) => {
    const held = addresses[index]
    return held === undefined ? [] : [{ held, error }]
  })
}

/** Throws the first. */
export function throwIfRefused(refused: ReadonlyMap<number, SystemError>): void {
  for (const error of refused.values()) throw error
}
