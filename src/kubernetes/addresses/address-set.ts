/**
 * A set of addresses given as ranges, of which a pool may have a handful and each may hold more
 * addresses than there are numbers: all questions are answered from the ranges, never by listing.
 *
 * Addresses are whole numbers here, as they are for whoever writes "192.168.1.240-192.168.1.250".
 * The ranges are kept sorted, disjoint and joined where they touch, so that the lowest member from
 * some number on is found by looking at each range once. As in MetalLB, a CIDR stands for all of
 * its addresses, the first and the last included: a /32 route is not a subnet and needs no
 * broadcast address. Who wants them spared has `avoidBuggyIPs`.
 */
import { type Address, addressBytes, addressFromBytes, parseAddress } from "../../net/address.ts"

export type IpFamily = "IPv4" | "IPv6"

/** Both ends included. */
export interface NumberRange {
  readonly family: IpFamily
  readonly first: bigint
  readonly last: bigint
}

export type ParsedRange =
  | { readonly ok: true; readonly range: NumberRange }
  | { readonly ok: false; readonly reason: string }

export class AddressSet {
  /** Sorted, disjoint, not touching each other; IPv4 first. */
  readonly ranges: readonly NumberRange[]
  readonly #avoidsBuggy: boolean

  /**
   * @param avoidBuggyIPs Leave out IPv4 addresses that end in .0 or .255, which some old equipment
   *   takes for a network or broadcast address.
   */
  constructor(ranges: readonly NumberRange[], { avoidBuggyIPs = false } = {}) {
    this.ranges = joined(ranges)
    this.#avoidsBuggy = avoidBuggyIPs
  }

  contains(address: Address): boolean {
    const family = ipFamilyOf(address)
    const number = numberOf(address)
    return this.next(family, number) === number
  }

  /** The lowest member that is at least `from`. */
  next(family: IpFamily, from: bigint): bigint | undefined {
    for (const range of this.ranges) {
      if (range.family !== family || range.last < from) continue
      const candidate = this.#skipBuggy(range, from > range.first ? from : range.first)
      if (candidate <= range.last) return candidate
    }
    return undefined
  }

  has(family: IpFamily): boolean {
    return this.next(family, 0n) !== undefined
  }

  /** How many members; a bigint, because a single IPv6 subnet has 2^64. */
  count(family: IpFamily): bigint {
    let count = 0n
    for (const range of this.ranges) {
      if (range.family !== family) continue
      count += range.last - range.first + 1n - this.#buggyIn(range)
    }
    return count
  }

  /** The first range of both sets, or undefined when they are disjoint. */
  overlap(other: AddressSet): NumberRange | undefined {
    for (const mine of this.ranges) {
      for (const its of other.ranges) {
        if (mine.family !== its.family) continue
        const first = mine.first > its.first ? mine.first : its.first
        const last = mine.last < its.last ? mine.last : its.last
        if (first <= last) return { family: mine.family, first, last }
      }
    }
    return undefined
  }

  #skipBuggy({ family }: NumberRange, number: bigint): bigint {
    let candidate = number
    // Two in a row at most: x.x.x.255 and the .0 after it.
    while (this.#avoidsBuggy && family === "IPv4" && isBuggy(candidate)) candidate++
    return candidate
  }

  #buggyIn({ family, first, last }: NumberRange): bigint {
    if (!this.#avoidsBuggy || family === "IPv6") return 0n
    return endingIn(0n, first, last) + endingIn(255n, first, last)
  }
}

/** "192.0.2.0/24", "192.0.2.10-192.0.2.20" or "192.0.2.1"; IPv6 alike. Host bits are ignored. */
export function parseRange(text: string): ParsedRange {
  const [left = "", right, ...rest] = text.split("-").map((part) => part.trim())
  if (rest.length > 0) return refused(text)
  if (right === undefined) return parseNetwork(left, text)
  const first = parseAddress(left)
  const last = parseAddress(right)
  if (first === undefined || last === undefined) return refused(text)
  if (ipFamilyOf(first) !== ipFamilyOf(last)) {
    return { ok: false, reason: `"${text}" mixes IPv4 and IPv6` }
  }
  const range = { family: ipFamilyOf(first), first: numberOf(first), last: numberOf(last) }
  if (range.first <= range.last) return { ok: true, range }
  return { ok: false, reason: `"${text}" ends before it begins` }
}

export function formatRange({ family, first, last }: NumberRange): string {
  const start = addressOf(family, first)
  return first === last ? start : `${start}-${addressOf(family, last)}`
}

export function ipFamilyOf(address: Address): IpFamily {
  return address.includes(":") ? "IPv6" : "IPv4"
}

export function numberOf(address: Address): bigint {
  if (ipFamilyOf(address) === "IPv4") return BigInt(ipv4Number(address))
  let number = 0n
  for (const byte of addressBytes(address)) number = (number << 8n) | BigInt(byte)
  return number
}

/** By far the most frequent question, so without a detour over bytes and bigints. */
function ipv4Number(address: Address): number {
  let number = 0
  for (const part of address.split(".")) number = number * 256 + Number(part)
  return number
}

export function addressOf(family: IpFamily, number: bigint): Address {
  const bytes = new Uint8Array(family === "IPv4" ? 4 : 16)
  let rest = number
  for (let at = bytes.length - 1; at >= 0; at--) {
    bytes[at] = Number(rest & 255n)
    rest >>= 8n
  }
  return addressFromBytes(bytes)
}

function parseNetwork(text: string, whole: string): ParsedRange {
  const [addressText = "", lengthText, ...rest] = text.split("/")
  const address = parseAddress(addressText)
  if (address === undefined || rest.length > 0) return refused(whole)
  const family = ipFamilyOf(address)
  const bits = family === "IPv4" ? 32 : 128
  const length = lengthText === undefined ? bits : Number(lengthText)
  if (lengthText !== undefined && !/^\d{1,3}$/.test(lengthText)) return refused(whole)
  if (length > bits) return refused(whole)
  const size = 1n << BigInt(bits - length)
  const number = numberOf(address)
  const first = number - (number % size)
  return { ok: true, range: { family, first, last: first + size - 1n } }
}

function refused(text: string): ParsedRange {
  const wanted = '"192.0.2.0/24", "192.0.2.10-192.0.2.20" or one address'
  return { ok: false, reason: `"${text}" is not a range of addresses; write ${wanted}` }
}

function joined(ranges: readonly NumberRange[]): NumberRange[] {
  const result: NumberRange[] = []
  for (const range of ranges.toSorted(compareRanges)) {
    const before = result.at(-1)
    if (before?.family !== range.family || range.first > before.last + 1n) result.push(range)
    else if (range.last > before.last) result[result.length - 1] = { ...before, last: range.last }
  }
  return result
}

function compareRanges(left: NumberRange, right: NumberRange): number {
  if (left.family !== right.family) return left.family === "IPv4" ? -1 : 1
  if (left.first === right.first) return 0
  return left.first < right.first ? -1 : 1
}

function isBuggy(number: bigint): boolean {
  const end = number & 255n
  return end === 0n || end === 255n
}

/** How many numbers of [first, last] have this last byte. */
function endingIn(byte: bigint, first: bigint, last: bigint): bigint {
  const upTo = (limit: bigint) => (limit < byte ? 0n : (limit - byte) / 256n + 1n)
  return upTo(last) - (first === 0n ? 0n : upTo(first - 1n))
}
