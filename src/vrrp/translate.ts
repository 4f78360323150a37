/**
 * The configuration of a virtual router in the terms of its parts. Pure.
 */
import type { VrrpConfig } from "../config/config.ts"
import { type Address, familyOf, type Prefix } from "../net/address.ts"
import type { Advertisement, Authentication } from "../wire/vrrp.ts"
import type { Expectation } from "./reception.ts"
import type { VirtualRouterConfig } from "./virtual-router.ts"

export function machineConfig(config: VrrpConfig): VirtualRouterConfig {
  return {
    version: config.version,
    priority: config.priority,
    intervalMs: config.advertisementIntervalMs,
    preempt: config.preempt,
    preemptDelayMs: config.preemptDelayMs,
  }
}

export function expectationOf(
  config: VrrpConfig,
  primaryAddress: Address | undefined,
): Expectation {
  return {
    version: config.version,
    virtualRouterId: config.virtualRouterId,
    intervalMs: config.advertisementIntervalMs,
    authentication: authenticationOf(config),
    addresses: config.addresses.map(({ address }) => address),
    unicastPeers: config.unicastPeers,
    primaryAddress,
  }
}

export function advertisementOf(config: VrrpConfig, priority: number): Advertisement {
  const { virtualRouterId, advertisementIntervalMs } = config
  const addresses = config.addresses.map(({ address }) => address)
  const common = { virtualRouterId, priority, addresses }
  if (config.version === 3)
    return { version: 3, ...common, maxAdvertiseIntervalCs: advertisementIntervalMs / 10 }
  return {
    version: 2,
    ...common,
    advertisementIntervalS: advertisementIntervalMs / 1000,
    authentication: authenticationOf(config),
  }
}

/** Everything carried while Active, advertised or not. */
export function heldPrefixes(config: VrrpConfig): readonly Prefix[] {
  return [...config.addresses, ...config.unadvertisedAddresses]
}

/** An address to carry while Active. */
export interface HeldAddress {
  /** As it is placed. */
  readonly prefix: Prefix
  /** Listed in adverts; at most 255 are. */
  readonly isAdvertised: boolean
}

/** `heldPrefixes` as they are placed. */
export function heldAddresses(config: VrrpConfig): HeldAddress[] {
  const { addresses, unadvertisedAddresses, placement } = config
  // Only on the interface, and for IPv4, does the subnet it was written with mean something.
  const placed = (prefix: Prefix) =>
    placement === "process" || familyOf(prefix.address) === 6 ? hostPrefix(prefix.address) : prefix
  return [
    ...addresses.map((prefix) => ({ prefix: placed(prefix), isAdvertised: true })),
    ...unadvertisedAddresses.map((prefix) => ({ prefix: placed(prefix), isAdvertised: false })),
  ]
}

/** The address alone. */
export function hostPrefix(address: Address): Prefix {
  return { address, length: familyOf(address) === 4 ? 32 : 128 }
}

/** Whether `next` can take over the state of `current`, or is another router of the same name. */
export function isSameRouter(current: VrrpConfig, next: VrrpConfig): boolean {
  return (
    current.name === next.name &&
    current.interface === next.interface &&
    current.virtualRouterId === next.virtualRouterId &&
    current.version === next.version &&
    current.placement === next.placement
  )
}

function authenticationOf({ authentication }: VrrpConfig): Authentication {
  return authentication ?? { type: "none" }
}
