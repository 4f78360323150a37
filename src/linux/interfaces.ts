/**
 * Which of an interface's addresses speaks for it.
 */
import { type Address, type Family, familyOf } from "../net/address.ts"
import { type InterfaceAddress, SCOPE_GLOBAL, SCOPE_LINK } from "./address-message.ts"

export interface PrimaryAddressQuery {
  readonly ifindex: number
  readonly family: Family
  /** Virtual addresses and others that may leave at any time. */
  readonly exclude?: (address: InterfaceAddress) => boolean
}

/**
 * The primary address of an interface as RFC 9568 §1.7 wants it for adverts: for IPv4 the first
 * address of global scope (then of link scope) that is not secondary, for IPv6 the first link-local
 * one. Addresses that duplicate address detection has not passed do not count.
 */
export function primaryAddress(
  addresses: readonly InterfaceAddress[],
  { ifindex, family, exclude }: PrimaryAddressQuery,
): Address | undefined {
  const candidates = addresses.filter(
    (candidate) =>
      candidate.ifindex === ifindex &&
      familyOf(candidate.prefix.address) === family &&
      !candidate.tentative &&
      !candidate.dadFailed &&
      exclude?.(candidate) !== true,
  )
  const ofScope = (scope: number) => candidates.filter((candidate) => candidate.scope === scope)
  const ordered =
    family === 6 ? ofScope(SCOPE_LINK) : [...ofScope(SCOPE_GLOBAL), ...ofScope(SCOPE_LINK)]
  const primary = ordered.find((candidate) => family === 6 || !candidate.secondary)
  return primary?.prefix.address
}
