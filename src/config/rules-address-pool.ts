/**
 * What may be given out to Services.
 *
 * An address that `[[vrrp]]` lists is already used for what the file binds to it: inside a pool
 * some Service would get it too, and with it a port of somebody else. Leaving it out silently would
 * make the pool smaller than it reads, so it is an error, and the hint has the ranges without it.
 */
import {
  type AddressRange,
  formatAddressRange,
  rangeContains,
  rangesOverlap,
  rangeWithout,
} from "../net/address-range.ts"
import type { AddressPoolConfig } from "./config.ts"
import type { Context, Decoded } from "./decode.ts"
import type { Draft } from "./draft.ts"
import { locate, type TomlNode } from "./toml.ts"
import { formatBind } from "./values.ts"

type AddressPool = Decoded<AddressPoolConfig>

interface PlacedRange {
  readonly pool: string
  readonly range: AddressRange
  readonly node: TomlNode
}

export function checkAddressPools(draft: Draft, context: Context): void {
  for (const pool of draft.addressPools) checkPool(pool, context)
  const ranges = draft.addressPools.flatMap(rangesOf)
  checkOverlaps(ranges, context)
  for (const placed of ranges) {
    checkVirtualAddresses(placed, draft, context)
    checkListeners(placed, draft, context)
    checkServers(placed, draft, context)
  }
}

function checkPool({ node, draft }: AddressPool, { report }: Context): void {
  if (draft.addresses?.length === 0) {
    report.error(locate(node, "addresses"), "An address pool needs at least one range")
  }
  if (draft.vrrp?.length === 0) {
    const message = "An address pool needs a virtual router that carries its addresses"
    report.error(locate(node, "vrrp"), message)
  }
  for (const [index, name] of (draft.vrrp ?? []).entries()) {
    if (draft.vrrp?.indexOf(name) === index) continue
    report.error(locate(node, "vrrp", index), `${name} is listed twice`)
  }
}

function rangesOf({ node, draft }: AddressPool): PlacedRange[] {
  return (draft.addresses ?? []).map((range, index) => {
    return { pool: draft.name ?? "", range, node: locate(node, "addresses", index) }
  })
}

/** Each against those before it; the first conflict says enough. */
function checkOverlaps(ranges: readonly PlacedRange[], { report }: Context): void {
  for (const [index, { range, node }] of ranges.entries()) {
    const earlier = ranges.slice(0, index).find((each) => rangesOverlap(each.range, range))
    if (earlier === undefined) continue
    const shared = `${formatAddressRange(range)} overlaps with ${formatAddressRange(earlier.range)}`
    const hint = `The other is at ${report.place(earlier.node)}`
    report.error(node, `${shared} of [[address_pool]] "${earlier.pool}"`, hint)
  }
}

function checkVirtualAddresses({ range, node }: PlacedRange, draft: Draft, { report }: Context) {
  for (const { draft: router } of draft.vrrp) {
    const listed = [...(router.addresses ?? []), ...(router.unadvertisedAddresses ?? [])]
    for (const { address } of listed) {
      if (!rangeContains(range, address)) continue
      const rest = rangeWithout(range, address).map((part) => `"${formatAddressRange(part)}"`)
      const hint = rest.length === 0 ? "Remove it from one of them" : `Write ${rest.join(", ")}`
      report.error(node, `${address} in it is an address of [[vrrp]] "${router.name}"`, hint)
    }
  }
}

/** It may be meant (a Service that shares the address), but rarely is. */
function checkListeners({ range, node }: PlacedRange, draft: Draft, { report }: Context): void {
  const listeners = [
    ...draft.streams.map(({ draft: stream }) => {
      return { owner: `stream "${stream.name}"`, bind: stream.bind ?? [] }
    }),
    ...draft.http.map(({ draft: http }) => {
      return { owner: `http "${http.name}"`, bind: (http.bind ?? []).map((one) => one.endpoint) }
    }),
  ]
  for (const { owner, bind } of listeners) {
    const inside = bind.find(({ address }) => rangeContains(range, address))
    if (inside === undefined) continue
    const message = `${owner} listens on ${formatBind(inside)}, which a Service may be given`
    report.warning(node, message, "Leave that address out, and list it in [[vrrp]]")
  }
}

/** Holding a virtual address that is a server's own would cut the server off. */
function checkServers({ range, node }: PlacedRange, draft: Draft, { report }: Context): void {
  for (const { draft: pool } of draft.pools) {
    const inside = pool.servers?.find(({ endpoint }) => rangeContains(range, endpoint.address))
    if (inside === undefined) continue
    const { address } = inside.endpoint
    const message = `${address} in it is the server "${inside.name}" of pool "${pool.name}"`
    report.error(node, message, "Leave the addresses of hosts out of the pool")
  }
}
