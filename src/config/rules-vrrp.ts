/** What must hold within a virtual router, and between virtual routers (RFC 9568, RFC 3768). */
import { type Address, addressBytes, familyOf, type Prefix } from "../net/address.ts"
import type { VrrpConfig } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import { checkProgram } from "./named-file.ts"
import { locate, type TomlNode } from "./toml.ts"
import { unavailableMessage } from "./unavailable.ts"
import { formatDuration } from "./units.ts"

type Router = Decoded<VrrpConfig>

export function checkVrrp(routers: readonly Router[], context: Context): void {
  for (const router of routers) {
    checkInterval(router, context)
    checkVersion(router, context)
    checkPreemption(router, context)
    checkTrack(router, context)
    checkAddresses(router, context)
    checkSyncGroup(router, context)
    const { notify } = router.draft
    if (notify) checkProgram(locate(router.node, "notify"), notify, context)
  }
  checkRouterIds(routers, context)
  checkAddressOwners(routers, context)
}

/** Version 3 counts centiseconds in 12 bits (RFC 9568 §5.2.7), version 2 seconds in 8 bits. */
function checkInterval({ node, draft }: Router, { report }: Context): void {
  const { version, advertisementIntervalMs: intervalMs } = draft
  if (version === undefined || intervalMs === undefined) return
  const [stepMs, maxMs] = version === 2 ? [1000, 255_000] : [10, 40_950]
  if (intervalMs % stepMs === 0 && intervalMs >= stepMs && intervalMs <= maxMs) return
  const step = formatDuration(stepMs)
  report.error(
    locate(node, "advertisement_interval"),
    `Version ${version} advertises in steps of ${step}, from ${step} to ${formatDuration(maxMs)}`,
    version === 2 ? 'Write whole seconds such as "1s", or use version = 3' : "",
  )
}

function checkVersion({ node, draft }: Router, { report }: Context): void {
  if (draft.version !== 3 || draft.authentication === undefined) return
  const message = "Version 3 has no authentication (RFC 9568 §9)"
  report.error(locate(node, "authentication"), message, "Remove it, or set version = 2")
}

function checkPreemption({ node, draft }: Router, { report }: Context): void {
  if (draft.preempt !== false) return
  if (draft.priority === 255) {
    report.error(
      locate(node, "preempt"),
      "The address owner (priority = 255) always preempts (RFC 9568 §6.1)",
      "Remove preempt = false, or use a priority up to 254",
    )
  }
  if (draft.preemptDelayMs) {
    report.warning(locate(node, "preempt_delay"), "preempt_delay does nothing with preempt = false")
  }
}

function checkTrack({ node, draft }: Router, { report }: Context): void {
  const seen = new Set<string>()
  for (const [index, { type, target, weight }] of (draft.track ?? []).entries()) {
    const entry = locate(node, "track", index)
    if (seen.has(`${type} ${target}`)) report.error(entry, `${type} "${target}" is tracked twice`)
    seen.add(`${type} ${target}`)
    if (weight !== undefined) checkWeight(locate(entry, "weight"), { weight, draft }, report)
  }
}

function checkWeight(
  node: TomlNode,
  { weight, draft }: { weight: number; draft: Router["draft"] },
  report: Context["report"],
): void {
  if (weight === 0) {
    report.error(
      node,
      "weight = 0 changes nothing",
      "Leave weight out: being down then means fault",
    )
  } else if (draft.priority === 255) {
    const hint = "Leave weight out, or use a priority up to 254"
    report.error(node, "The priority of the address owner (255) is fixed", hint)
  } else if (draft.preempt === false) {
    report.warning(
      node,
      "With preempt = false a weight may never cause a failover",
      "Leave weight out (fault): a backup that does not preempt ignores a lower priority",
    )
  }
}

/** Its value is kept in the configuration, but no virtual router looks at another's state. */
function checkSyncGroup({ node, draft }: Router, { report }: Context): void {
  if (!draft.syncGroup) return
  report.warning(locate(node, "sync_group"), "sync_group has no effect in this version yet")
}

function checkAddresses({ node, draft }: Router, context: Context): void {
  const { report } = context
  const { addresses, unadvertisedAddresses = [] } = draft
  if (addresses === undefined) return
  if (addresses.length === 0) {
    report.error(locate(node, "addresses"), "A virtual router needs at least one address")
  }
  if (addresses.length > ADVERTISED_ADDRESSES_MAX) {
    report.error(
      locate(node, "addresses"),
      `An advertisement carries at most ${ADVERTISED_ADDRESSES_MAX} addresses`,
      "Move the others to unadvertised_addresses",
    )
  }
  for (const [index, prefix] of addresses.entries()) {
    checkAdvertised(locate(node, "addresses", index), prefix, context)
  }
  for (const [index, prefix] of unadvertisedAddresses.entries()) {
    checkAddress(locate(node, "unadvertised_addresses", index), prefix, context)
  }
}

function checkAdvertised(node: TomlNode, prefix: Prefix, context: Context): void {
  if (familyOf(prefix.address) === 4) return checkAddress(node, prefix, context)
  context.report.error(
    node,
    unavailableMessage("A virtual router over IPv6"),
    "An IPv4 one carries IPv6 addresses in unadvertised_addresses",
  )
}

function checkAddress(node: TomlNode, { address, length }: Prefix, { report }: Context): void {
  if (familyOf(address) === 6) {
    if (!isUnicastIpv6(address)) report.error(node, `${address} cannot be a virtual address`)
    else if (length !== 128)
      report.warning(
        node,
        "An IPv6 virtual address is always placed as a /128",
        `Write "${address}"`,
      )
  } else if (!isUnicast(address)) {
    report.error(node, `${address} cannot be the address of a host`)
  } else if (length !== 32) {
    report.warning(
      node,
      `With /${length} the host may choose ${address} as its own source address`,
      `Write "${address}" unless hosts on the link need that`,
    )
  }
}

/** Not "this network", loopback, multicast or broadcast (RFC 6890, RFC 5771). */
function isUnicast(address: Address): boolean {
  const [first = 0] = addressBytes(address)
  return first !== 0 && first !== 127 && first < 224
}

/**
 * Not unspecified, loopback, IPv4-mapped, multicast, or link-local, which would belong to the link
 * of our device (RFC 4291 §2.4).
 */
function isUnicastIpv6(address: Address): boolean {
  const bytes = addressBytes(address)
  const [first = 0, second = 0] = bytes
  const isSpecial = bytes.subarray(0, 10).every((byte) => byte === 0)
  return !isSpecial && first !== 0xff && !(first === 0xfe && (second & 0xc0) === 0x80)
}

/** RFC 9568 §5.2.3: a virtual router is known by its VRID on a link, per address family. */
function checkRouterIds(routers: readonly Router[], { report }: Context): void {
  const first = new Map<string, TomlNode>()
  for (const { node, draft } of routers) {
    const [prefix] = draft.addresses ?? []
    if (!draft.interface || !draft.virtualRouterId || !prefix) continue
    const key = `${draft.interface} ${draft.virtualRouterId} ${familyOf(prefix.address)}`
    const at = locate(node, "virtual_router_id")
    const earlier = first.get(key)
    if (earlier === undefined) first.set(key, at)
    else {
      report.error(
        at,
        `virtual_router_id ${draft.virtualRouterId} is already used on ${draft.interface}`,
        `Choose another; the first is at ${report.place(earlier)}`,
      )
    }
  }
}

function checkAddressOwners(routers: readonly Router[], { report }: Context): void {
  const first = new Map<Address, TomlNode>()
  for (const { node, draft } of routers) {
    for (const key of ["addresses", "unadvertised_addresses"] as const) {
      const prefixes = key === "addresses" ? draft.addresses : draft.unadvertisedAddresses
      for (const [index, { address }] of (prefixes ?? []).entries()) {
        const at = locate(node, key, index)
        const earlier = first.get(address)
        if (earlier === undefined) first.set(address, at)
        else report.error(at, `${address} is listed twice`, `First at ${report.place(earlier)}`)
      }
    }
  }
}

/** RFC 9568 §5.2.5: the count of addresses is 8 bits. */
const ADVERTISED_ADDRESSES_MAX = 255
