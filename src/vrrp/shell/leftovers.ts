/**
 * What a previous run of ours left on interfaces: this one is not Active, so it must not hold it.
 */
import type { InterfaceAddress } from "../../linux/address-message.ts"
import type { Link } from "../../linux/link-message.ts"
import type { Prefix } from "../../net/address.ts"
import { isOurs, type PlacementOptions, throwIfRefused } from "./placement.ts"
import { TUN_NAME_START } from "./process-placement.ts"

/**
 * Addresses without the mark are never touched, nor those on a device of `ProcessPlacement`: it
 * exists, so its process is alive. Returns what was removed. Throws `SystemError`.
 */
export function removeLeftovers(options: PlacementOptions): Prefix[] {
  const ours = options.rtnetlink.addresses().filter((found) => isOurs(found, options))
  if (ours.length === 0) return []
  const links = options.rtnetlink.links().filter((link) => !isProcessDevice(link))
  return links.flatMap((link) => removeFrom(link, ours, options))
}

function removeFrom(
  link: Link,
  ours: readonly InterfaceAddress[],
  { rtnetlink }: PlacementOptions,
): Prefix[] {
  const places = ours
    .filter(({ ifindex }) => ifindex === link.index)
    .map(({ prefix }) => ({ prefix }))
  throwIfRefused(rtnetlink.deleteAddresses(link, places))
  return places.map(({ prefix }) => prefix)
}

function isProcessDevice({ kind, name }: Link): boolean {
  return kind === "tun" && name.startsWith(TUN_NAME_START)
}
