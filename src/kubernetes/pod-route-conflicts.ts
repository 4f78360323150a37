/**
 * Pod networks that must not be routed, because a route to them would lead other packets astray:
 * two nodes claim the same addresses, or a network holds an address or a subnet of this host, or
 * the address of a node (its own gateway among them).
 *
 * Everything that takes addresses is sorted so that what lies inside a network follows it; then one
 * walk with the stack of the networks around the current one meets each pair that overlaps.
 */
import type { Address } from "../net/address.ts"
import { compareNetworks, covers, hostNetwork, type Network } from "../net/network.ts"

/** A network that a node wants to be reached through it. */
export interface Claim {
  readonly node: string
  readonly network: Network
}

export interface TakenNetworks {
  readonly claims: readonly Claim[]
  readonly nodeAddresses: readonly { readonly node: string; readonly address: Address }[]
  readonly ownAddresses: readonly Address[]
  readonly ownSubnets: readonly { readonly network: Network; readonly interface: string }[]
}

interface Item {
  readonly network: Network
  /** Undefined: something that only stands in the way. */
  readonly claim: Claim | undefined
  /** What it is, for the reason of the other. */
  readonly what: string
}

/** The reason why a claim is not to be routed; those without a conflict are not in the map. */
export function routeConflicts(taken: TakenNetworks): ReadonlyMap<Claim, string> {
  const conflicts = new Map<Claim, string>()
  const note = (item: Item, other: Item) => {
    const { claim } = item
    if (claim === undefined || claim.node === other.claim?.node || conflicts.has(claim)) return
    conflicts.set(claim, reasonOf(claim, other))
  }
  const around: Item[] = []
  for (const item of items(taken).sort(byNetwork)) {
    for (let outer = around.at(-1); outer !== undefined; outer = around.at(-1)) {
      if (covers(outer.network, item.network)) break
      around.pop()
    }
    for (const outer of around) {
      note(item, outer)
      note(outer, item)
    }
    around.push(item)
  }
  return conflicts
}

function items(taken: TakenNetworks): Item[] {
  return [
    ...taken.ownAddresses.map((address) => ({
      network: hostNetwork(address),
      claim: undefined,
      what: `${address}, an address of this host`,
    })),
    ...taken.ownSubnets.map(({ network, interface: name }) => ({
      network,
      claim: undefined,
      what: `${network.text}, which is on ${name}`,
    })),
    ...taken.nodeAddresses.map(({ node, address }) => ({
      network: hostNetwork(address),
      claim: undefined,
      what: `${address}, the address of node ${node}`,
    })),
    ...taken.claims.map((claim) => ({
      network: claim.network,
      claim,
      what: `${claim.network.text} of node ${claim.node}`,
    })),
  ]
}

function reasonOf({ network }: Claim, other: Item): string {
  const isSame = network.text === other.network.text
  if (isSame && other.claim !== undefined) {
    return `${network.text} is claimed by node ${other.claim.node} too`
  }
  if (isSame) return `${network.text} is also ${other.what}`
  return `${network.text} ${covers(network, other.network) ? "contains" : "is in"} ${other.what}`
}

/** Of equal networks the order of `items` stays: the gravest reason first. */
function byNetwork(left: Item, right: Item): number {
  return compareNetworks(left.network, right.network)
}
