/**
 * IP networks: prefixes whose host bits are clear, ready to be compared by the thousand. Any two of
 * them are apart or nested, so in the order of `compareNetworks`, where a network stands right
 * before those inside it, one walk with a stack finds all that overlap.
 */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  type Family,
  formatPrefix,
  type Prefix,
} from "./address.ts"

export interface Network {
  /** Host bits clear. */
  readonly prefix: Prefix
  /** `prefix` as text: equal networks have equal text. */
  readonly text: string
  /** Of the address, 4 or 16, in network order. */
  readonly bytes: Uint8Array
}

/** The network that `prefix` lies in: its host bits do not count. */
export function networkOf(prefix: Prefix): Network {
  const bytes = addressBytes(prefix.address)
  const whole = prefix.length >> 3
  for (let at = whole; at < bytes.length; at++) {
    const kept = at === whole ? 0xff00 >> (prefix.length & 7) : 0
    bytes[at] = (bytes[at] ?? 0) & kept
  }
  const clear = { address: addressFromBytes(bytes), length: prefix.length }
  return { prefix: clear, text: formatPrefix(clear), bytes }
}

/** The network of one address alone: /32 or /128. */
export function hostNetwork(address: Address): Network {
  const bytes = addressBytes(address)
  const prefix = { address, length: bytes.length * 8 }
  return { prefix, text: formatPrefix(prefix), bytes }
}

export function familyOfNetwork({ bytes }: Network): Family {
  return bytes.length === 4 ? 4 : 6
}

/** Is `inner` the same as `outer`, or a part of it? */
export function covers(outer: Network, inner: Network): boolean {
  const { length } = outer.prefix
  if (outer.bytes.length !== inner.bytes.length || length > inner.prefix.length) return false
  const whole = length >> 3
  for (let at = 0; at < whole; at++) if (outer.bytes[at] !== inner.bytes[at]) return false
  const rest = length & 7
  if (rest === 0) return true
  return ((outer.bytes[whole] ?? 0) ^ (inner.bytes[whole] ?? 0)) >> (8 - rest) === 0
}

/** IPv4 first, then by address; of equal addresses the larger network first. */
export function compareNetworks(left: Network, right: Network): number {
  return (
    left.bytes.length - right.bytes.length ||
    Buffer.compare(left.bytes, right.bytes) ||
    left.prefix.length - right.prefix.length
  )
}
