/**
 * Where the addresses of a virtual router sit in this host. Both ways give an address a lease that
 * the thread renews, and mark it (IFA_PROTO) as ours.
 *
 * `ProcessPlacement`: on a tun device that the thread holds open. When the process dies the kernel
 * removes the device and the addresses with it (measured: 4 ms after SIGKILL); it answers ARP for
 * them on the LAN interface as for any address of the host, unless arp_ignore forbids it. Always
 * /32, because a shorter prefix would route the LAN into the device.
 *
 * `InterfacePlacement`: on the interface itself, for those who need to see it there. After a crash
 * the address stays for the rest of its lease.
 *
 * A /32 has host scope: the kernel answers for it and never picks it as the source of what the host
 * says of its own accord (one of link scope it does pick, for multicast and over routes without a
 * gateway). With a shorter prefix the scope must be that of the interface's own address (EINVAL
 * otherwise); it is then a secondary one, and those are never picked either.
 */
import { type InterfaceAddress, SCOPE_GLOBAL, SCOPE_HOST } from "../../linux/address-message.ts"
import { EBUSY, SystemError } from "../../linux/errno.ts"
import type { Link, LinkRef } from "../../linux/link-message.ts"
import type { Rtnetlink } from "../../linux/rtnetlink.ts"
import { readSysctl } from "../../linux/sysctl.ts"
import { openTun, type TunDevice } from "../../linux/tun.ts"
import { formatPrefix, type Prefix } from "../../net/address.ts"

const HOST_PREFIX_BITS = 32

export interface PlacementOptions {
  readonly rtnetlink: Rtnetlink
  /** IFA_PROTO of every address this process places. */
  readonly addressMark: number
}

export interface Placement {
  /** Adds the address or renews its lease; undefined: for ever. Throws `SystemError`. */
  hold(prefix: Prefix, link: LinkRef, leaseS: number | undefined): void
  /** Removes it where `hold` put it. Throws `SystemError`. */
  remove(prefix: Prefix): void
  /** Why the kernel would not answer ARP for the addresses, for a person. */
  obstacles(link: LinkRef): string[]
  close(): void
}

export class ProcessPlacement implements Placement {
  readonly #options: PlacementOptions
  readonly #device: TunDevice

  /** Creates the device. Throws `SystemError`. */
  constructor(routerName: string, options: PlacementOptions) {
    this.#options = options
    this.#device = openNamedTun(routerName, options.rtnetlink)
  }

  hold({ address }: Prefix, _link: LinkRef, leaseS: number | undefined): void {
    this.#options.rtnetlink.replaceAddress(this.#device, {
      prefix: { address, length: HOST_PREFIX_BITS },
      scope: SCOPE_HOST,
      protocol: this.#options.addressMark,
      ...lifetime(leaseS),
    })
  }

  remove({ address }: Prefix): void {
    this.#options.rtnetlink.deleteAddress(this.#device, { address, length: HOST_PREFIX_BITS })
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
    this.#device.close()
  }
}

export class InterfacePlacement implements Placement {
  readonly #options: PlacementOptions
  /** By address and length: the link each is on. */
  readonly #placed = new Map<string, LinkRef>()

  constructor(options: PlacementOptions) {
    this.#options = options
  }

  /** An address that is there without our mark is somebody else's and stays as it is. */
  hold(prefix: Prefix, link: LinkRef, leaseS: number | undefined): void {
    const known = this.#placed.get(formatPrefix(prefix))
    if (known?.index !== link.index && this.#isForeign(prefix, link)) return
    this.#options.rtnetlink.replaceAddress(link, {
      prefix,
      scope: prefix.length === HOST_PREFIX_BITS ? SCOPE_HOST : SCOPE_GLOBAL,
      protocol: this.#options.addressMark,
      ...lifetime(leaseS),
    })
    this.#placed.set(formatPrefix(prefix), link)
  }

  remove(prefix: Prefix): void {
    const link = this.#placed.get(formatPrefix(prefix))
    if (link === undefined) return
    this.#placed.delete(formatPrefix(prefix))
    this.#options.rtnetlink.deleteAddress(link, prefix)
  }

  obstacles(link: LinkRef): string[] {
    if (arpIgnoreOf(link) !== 8) return []
    return [`net.ipv4.conf.${link.name}.arp_ignore is 8: the kernel answers no ARP at all`]
  }

  close(): void {
    // Nothing of its own: the addresses were removed, or leave with their lease.
  }

  #isForeign(prefix: Prefix, link: LinkRef): boolean {
    const wanted = formatPrefix(prefix)
    return this.#options.rtnetlink
      .addresses({ ifindex: link.index, family: 4 })
      .some((found) => formatPrefix(found.prefix) === wanted && !isOurs(found, this.#options))
  }
}

/**
 * Removes what a previous run of ours left on interfaces: it is not Active, so it must not hold
 * them. Addresses without the mark are never touched, nor those on a device of `ProcessPlacement`:
 * it exists, so its process is alive. Returns what was removed.
 */
export function removeLeftovers(options: PlacementOptions): Prefix[] {
  const { rtnetlink } = options
  const links = new Map(rtnetlink.links().map((link) => [link.index, link]))
  return rtnetlink
    .addresses({ family: 4 })
    .filter((found) => isOurs(found, options))
    .filter(({ ifindex, prefix }) => {
      const link = links.get(ifindex)
      if (link === undefined || isProcessDevice(link)) return false
      return rtnetlink.deleteAddress(link, prefix)
    })
    .map(({ prefix }) => prefix)
}

function isProcessDevice({ kind, name }: Link): boolean {
  return kind === "tun" && name.startsWith(TUN_NAME_START)
}

function isOurs(found: InterfaceAddress, { addressMark }: PlacementOptions): boolean {
  return found.protocol === addressMark
}

function lifetime(leaseS: number | undefined) {
  return leaseS === undefined ? {} : { validLifetimeS: leaseS, preferredLifetimeS: leaseS }
}

/** The kernel takes the greater of the two (ip-sysctl, arp_ignore). */
function arpIgnoreOf(link: LinkRef): number {
  const values = ["all", link.name].map((name) => readSysctl(`net/ipv4/conf/${name}/arp_ignore`))
  return Math.max(...values.map((value) => Number(value ?? 0)))
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
const TUN_NAME_START = "cw-"

/** What an interface may not be called is replaced; what is too long is cut. */
export function tunName(routerName: string): string {
  const plain = routerName.replace(/[^A-Za-z0-9_.-]/g, "-")
  return `${TUN_NAME_START}${plain}`.slice(0, TUN_NAME_BYTES_MAX)
}
