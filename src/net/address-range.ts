/**
 * Ranges of addresses, as pools are written: `192.168.1.240-192.168.1.250`, a network with all its
 * addresses, or one address alone. Both ends are included, and of one family.
 */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  compareAddresses,
  familyOf,
  type Prefix,
  parseAddress,
  parsePrefix,
} from "./address.ts"

/** `first <= last`, both included and of one family. */
export interface AddressRange {
  readonly first: Address
  readonly last: Address
}

/** Undefined for anything else; host bits of a network may be set, and do not count. */
export function parseAddressRange(text: string): AddressRange | undefined {
  const [from = "", to, ...rest] = text.split("-")
  if (to === undefined) return rangeOfPrefix(parsePrefix(from.trim()))
  const first = parseAddress(from.trim())
  const last = parseAddress(to.trim())
  if (first === undefined || last === undefined || rest.length > 0) return undefined
  if (familyOf(first) !== familyOf(last) || compareAddresses(first, last) > 0) return undefined
  return { first, last }
}

/** As it would be written by hand: one address, or both ends. */
export function formatAddressRange({ first, last }: AddressRange): string {
  return first === last ? first : `${first}-${last}`
}

export function rangeContains({ first, last }: AddressRange, address: Address): boolean {
  if (familyOf(first) !== familyOf(address)) return false
  return compareAddresses(first, address) <= 0 && compareAddresses(address, last) <= 0
}

export function rangesOverlap(left: AddressRange, right: AddressRange): boolean {
  return rangeContains(left, right.first) || rangeContains(right, left.first)
}

/** How many addresses; exact, because an IPv6 network has more than a number can count. */
export function rangeSize({ first, last }: AddressRange): bigint {
  return addressNumber(last) - addressNumber(first) + 1n
}

/** The range without one address in it: none, one or two ranges. */
export function rangeWithout(range: AddressRange, address: Address): AddressRange[] {
  if (!rangeContains(range, address)) return [range]
  const parts: AddressRange[] = []
  if (range.first !== address) parts.push({ first: range.first, last: neighbour(address, -1n) })
  if (range.last !== address) parts.push({ first: neighbour(address, 1n), last: range.last })
  return parts
}

function rangeOfPrefix(prefix: Prefix | undefined): AddressRange | undefined {
  if (prefix === undefined) return undefined
  const bits = familyOf(prefix.address) === 4 ? 32 : 128
  const hostBits = (1n << BigInt(bits - prefix.length)) - 1n
  const first = addressNumber(prefix.address) & ~hostBits
  return { first: addressOf(first, bits), last: addressOf(first | hostBits, bits) }
}

function neighbour(address: Address, step: bigint): Address {
  return addressOf(addressNumber(address) + step, familyOf(address) === 4 ? 32 : 128)
}

function addressNumber(address: Address): bigint {
  return BigInt(`0x${Buffer.from(addressBytes(address)).toString("hex")}`)
}

function addressOf(number: bigint, bits: number): Address {
  return addressFromBytes(Buffer.from(number.toString(16).padStart(bits / 4, "0"), "hex"))
}
