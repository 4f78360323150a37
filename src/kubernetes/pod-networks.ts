/**
 * Which networks the pods of each node are in. Three parties may say so, and who does is a fact of
 * the cluster, not of one node:
 *
 * - Calico's IPAM hands blocks to nodes (BlockAffinity). Where it does, `spec.podCIDRs` is only
 *   what the controller manager would have given, and often cut from the very same range: it would
 *   point at the wrong node.
 * - Cilium's IPAM writes CiliumNode objects; the same holds.
 * - Otherwise (flannel, kubenet, host-local) `spec.podCIDRs` is the truth.
 *
 * A node to which Calico has given no block yet has no pods yet. Addresses that a full node borrows
 * from another's block, which Calico does unless `strictAffinity` is set, are in no BlockAffinity.
 */
import type { Prefix } from "../net/address.ts"
import { compareNetworks, type Network, networkOf } from "../net/network.ts"
import type { ClusterView } from "./objects.ts"

export type NetworksView = Pick<ClusterView, "nodes" | "blockAffinities" | "ciliumNodes">

export type NetworkSource = "BlockAffinity" | "CiliumNode" | "podCIDRs"

export interface PodNetworks {
  readonly source: NetworkSource
  /** By name of the node; sorted, without repetition. */
  readonly byNode: ReadonlyMap<string, readonly Network[]>
}

export function podNetworks(view: NetworksView): PodNetworks {
  const blocks = [...view.blockAffinities.values()]
    .filter(({ state, isDeleted }) => state === "confirmed" && !isDeleted)
    .map(({ node, cidr }) => ({ node, prefixes: [cidr] }))
  if (blocks.length > 0) return { source: "BlockAffinity", byNode: grouped(blocks) }
  const cilium = [...view.ciliumNodes.values()]
    .filter(({ podCIDRs }) => podCIDRs.length > 0)
    .map(({ meta, podCIDRs }) => ({ node: meta.name, prefixes: podCIDRs }))
  if (cilium.length > 0) return { source: "CiliumNode", byNode: grouped(cilium) }
  const nodes = [...view.nodes.values()]
    .filter(({ podCIDRs }) => podCIDRs.length > 0)
    .map(({ meta, podCIDRs }) => ({ node: meta.name, prefixes: podCIDRs }))
  return { source: "podCIDRs", byNode: grouped(nodes) }
}

interface Claim {
  readonly node: string
  readonly prefixes: readonly Prefix[]
}

function grouped(claims: readonly Claim[]): Map<string, Network[]> {
  const byNode = new Map<string, Map<string, Network>>()
  for (const { node, prefixes } of claims) {
    const networks = byNode.get(node) ?? new Map<string, Network>()
    for (const network of prefixes.map(networkOf)) networks.set(network.text, network)
    byNode.set(node, networks)
  }
  return new Map(
    [...byNode].map(([node, networks]) => [node, [...networks.values()].sort(compareNetworks)]),
  )
}
