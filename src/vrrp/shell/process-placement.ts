/**
 * Addresses on a tun device that the thread holds open. When the process dies the kernel removes
 * the device and the addresses with it (measured: 4 ms after SIGKILL). It answers ARP for them on
 * the LAN interface as for any address of the host, unless arp_ignore forbids it. Solicitations for
 * IPv6 it answers only where the receiving interface has the address itself, so the driver does
 * that, and here the groups are joined to which they are sent. Always /32 or /128, because a
 * shorter prefix would route the LAN into the device.
 *
 * A process that hangs instead of dying is what leases are for:
 *
 * - An advertised address has its own, renewed four times in its length.
 * - Of the others there may be thousands, and a renewal is a message to the kernel, which tells
 *   everybody on the host who follows addresses. So they hang on one more address, the guard: they
 *   are placed with the guard as their peer, which makes them secondary addresses of its subnet,
 *   and when a lease on the guard alone runs out, the kernel removes them all with it (the device's
 *   promote_secondaries is off). Measured with 2,000: a renewal takes 0.1 ms instead of 21, the
 *   release 12 ms instead of 40. Where promote_secondaries of `all` forbids it, each has a lease.
 * - An IPv6 address needs none: a process that hangs does not answer solicitations.
 *
 * The guard is a loopback address: the kernel never answers ARP for one on a link.
 */
import { type AddressSpec, SCOPE_HOST } from "../../linux/address-message.ts"
import { EBUSY, SystemError } from "../../linux/errno.ts"
import type { LinkRef } from "../../linux/link-message.ts"
import { MulticastGroups } from "../../linux/multicast-groups.ts"
import type { Rtnetlink } from "../../linux/rtnetlink.ts"
import { readSysctl } from "../../linux/sysctl.ts"
import { openTun, type TunDevice } from "../../linux/tun.ts"
import { type Address, addressFromBytes, familyOf, formatPrefix } from "../../net/address.ts"
import { solicitedNodeGroup } from "../../wire/ndp.ts"
import { type HeldAddress, hostPrefix } from "../translate.ts"
import {
  arpIgnoreOf,
  IPV6_SPEC,
  lifetime,
  type Placement,
  type PlacementOptions,
  type Refusal,
  refusalsOf,
  throwIfRefused,
} from "./placement.ts"

export class ProcessPlacement implements Placement {
  readonly #options: PlacementOptions
  readonly #device: TunDevice
  /** Undefined: this host's settings do not allow one. */
  readonly #guard: Address | undefined
  readonly #placed = new Map<string, HeldAddress>()
  #hasGuard = false
  /** Where the IPv6 ones are asked for. */
  #groups: MulticastGroups | undefined

  /** Creates the device. Throws `SystemError`. */
  constructor(routerName: string, options: PlacementOptions) {
    this.#options = options
    this.#device = openNamedTun(routerName, options.rtnetlink)
    this.#guard = dropsSecondaries(this.#device, options.rtnetlink)
      ? guardOf(this.#device)
      : undefined
  }

  isLasting(held: HeldAddress): boolean {
    return familyOf(held.prefix.address) === 6 || this.#isGuarded(held)
  }

  hold(addresses: readonly HeldAddress[], link: LinkRef, leaseS: number | undefined): Refusal[] {
    for (const held of addresses) this.#placed.set(formatPrefix(held.prefix), held)
    if (this.#needsGuard() && (!this.#hasGuard || addresses.some(this.#isLeased)))
      this.#holdGuard(leaseS)
    const specs = addresses.map((held) => this.#spec(held, leaseS))
    const refused = this.#options.rtnetlink.replaceAddresses(this.#device, specs)
    return [...refusalsOf(refused, addresses), ...this.#joinGroups(addresses, link)]
  }

  remove(addresses: readonly HeldAddress[]): void {
    for (const { prefix } of addresses) this.#placed.delete(formatPrefix(prefix))
    for (const { prefix } of addresses)
      if (familyOf(prefix.address) === 6)
        this.#groups?.leave(solicitedNodeGroup(prefix.address), prefix.address)
    if (this.#placed.size === 0) return this.#removeAll(addresses)
    const places = addresses.map((held) => this.#place(held))
    if (!this.#needsGuard()) {
      places.push(...this.#guardPlaces())
      this.#hasGuard = false
    }
    throwIfRefused(this.#options.rtnetlink.deleteAddresses(this.#device, places))
  }

  isUnanswered(address: Address): boolean {
    return familyOf(address) === 6 && this.#placed.has(formatPrefix(hostPrefix(address)))
  }

  obstacles(link: LinkRef): string[] {
    const arpIgnore = arpIgnoreOf(link)
    if (![1, 2, 8].includes(arpIgnore)) return []
    return [
      `net.ipv4.conf.${link.name}.arp_ignore is ${arpIgnore}: the kernel does not answer ARP for ` +
        'addresses of another interface; set it to 0 or use placement = "interface"',
    ]
  }

  close(): void {
    this.#groups?.close()
    this.#device.close()
  }

  #isGuarded({ prefix, isAdvertised }: HeldAddress): boolean {
    return !isAdvertised && this.#guard !== undefined && familyOf(prefix.address) === 4
  }

  #needsGuard(): boolean {
    return this.#placed.values().some((held) => this.#isGuarded(held))
  }

  #joinGroups(addresses: readonly HeldAddress[], link: LinkRef): Refusal[] {
    const asked = addresses.filter(({ prefix }) => familyOf(prefix.address) === 6)
    if (asked.length === 0) return []
    // An interface that was made anew has another index.
    if (this.#groups?.link.index !== link.index) {
      this.#groups?.close()
      this.#groups = new MulticastGroups(link)
    }
    const groups = this.#groups
    return asked.flatMap((held) => {
      const { address } = held.prefix
      try {
        groups.join(solicitedNodeGroup(address), address)
        return []
      } catch (error) {
        if (!(error instanceof SystemError)) throw error
        return [{ held, error }]
      }
    })
  }

  readonly #isLeased = (held: HeldAddress) => !this.isLasting(held)

  /**
   * Before what hangs on it: the first address of a subnet is the primary one. And only together
   * with other leases: the kernel looks for leases that have run out when the first is due, and not
   * again within a second (ADDRCONF_TIMER_FUZZ_MAX), so one due a little later would end so late.
   */
  #holdGuard(leaseS: number | undefined): void {
    this.#hasGuard = true
    for (const { prefix } of this.#guardPlaces())
      this.#options.rtnetlink.replaceAddress(this.#device, {
        prefix,
        scope: SCOPE_HOST,
        protocol: this.#options.addressMark,
        ...lifetime(prefix.address, leaseS),
      })
  }

  #guardPlaces() {
    return this.#guard === undefined ? [] : [{ prefix: hostPrefix(this.#guard) }]
  }

  #spec(held: HeldAddress, leaseS: number | undefined): AddressSpec {
    const { address } = held.prefix
    const common = { ...this.#place(held), protocol: this.#options.addressMark }
    const ownLeaseS = this.isLasting(held) ? undefined : leaseS
    const byFamily = familyOf(address) === 6 ? IPV6_SPEC : { scope: SCOPE_HOST }
    return { ...common, ...byFamily, ...lifetime(address, ownLeaseS) }
  }

  #place(held: HeldAddress) {
    const { prefix } = held
    return this.#guard !== undefined && this.#isGuarded(held)
      ? { prefix, peer: this.#guard }
      : { prefix }
  }

  /** What hangs on the guard goes with it, and all of IPv6 when the device goes down (6 ms). */
  #removeAll(addresses: readonly HeldAddress[]): void {
    const { rtnetlink } = this.#options
    this.#hasGuard = false
    const leased = addresses.filter((held) => !this.isLasting(held))
    const places = [...leased.map((held) => this.#place(held)), ...this.#guardPlaces()]
    const hasIpv6 = addresses.some(({ prefix }) => familyOf(prefix.address) === 6)
    if (hasIpv6) rtnetlink.changeLink(this.#device, { up: false })
    const refused = rtnetlink.deleteAddresses(this.#device, places)
    if (hasIpv6) rtnetlink.changeLink(this.#device, { up: true })
    throwIfRefused(refused)
  }
}

/** Makes the addresses of a subnet go with its first one. False: the host's settings forbid it. */
function dropsSecondaries(device: TunDevice, rtnetlink: Rtnetlink): boolean {
  try {
    rtnetlink.changeLink(device, { promoteSecondaries: false })
  } catch (error) {
    if (!(error instanceof SystemError)) throw error
    return false
  }
  const names = ["all", device.name]
  return names.every((name) => readSysctl(`net/ipv4/conf/${name}/promote_secondaries`) === "0")
}

/** Another for each device, so that two never claim one local route. */
function guardOf({ index }: TunDevice): Address {
  return addressFromBytes(Uint8Array.of(127, 202, (index >> 8) & 0xff, index & 0xff))
}

/** `cw-NAME`, or numbered when another process of ours has a router of that name. */
function openNamedTun(routerName: string, rtnetlink: Rtnetlink): TunDevice {
  const name = tunName(routerName)
  try {
    return openTun(name, rtnetlink)
  } catch (error) {
    if (!(error instanceof SystemError && error.errno === EBUSY)) throw error
    return openTun(`${name.slice(0, TUN_NAME_BYTES_MAX - 2)}%d`, rtnetlink)
  }
}

/** IFNAMSIZ - 1. */
const TUN_NAME_BYTES_MAX = 15
export const TUN_NAME_START = "cw-"

/** What an interface may not be called is replaced; what is too long is cut. */
export function tunName(routerName: string): string {
  const plain = routerName.replace(/[^A-Za-z0-9_.-]/g, "-")
  return `${TUN_NAME_START}${plain}`.slice(0, TUN_NAME_BYTES_MAX)
}
