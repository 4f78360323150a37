/**
 * The configuration of a virtual router in the terms of its parts. Pure.
 */
import type { VrrpConfig } from "../config/config.ts"
import type { Address, Prefix } from "../net/address.ts"
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

/** Of `heldPrefixes`, and whether adverts list each. */
export function heldAddresses({ addresses, unadvertisedAddresses }: VrrpConfig) {
  return [
    ...addresses.map((prefix) => ({ prefix, isAdvertised: true })),
    ...unadvertisedAddresses.map((prefix) => ({ prefix, isAdvertised: false })),
  ]
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
