/**
 * A set of prefixes asked "is this client in it?" for every connection: on bytes, without objects.
 */
import { type Address, addressBytes, type Prefix } from "./address.ts"

interface Masked {
  readonly bytes: Uint8Array
  readonly length: number
}

export class PrefixSet {
  readonly #ipv4: Masked[] = []
  readonly #ipv6: Masked[] = []

  constructor(prefixes: readonly Prefix[]) {
    for (const { address, length } of prefixes) {
      const bytes = addressBytes(address)
      const list = bytes.length === 4 ? this.#ipv4 : this.#ipv6
      list.push({ bytes, length })
    }
  }

  get isEmpty(): boolean {
    return this.#ipv4.length === 0 && this.#ipv6.length === 0
  }

  /** `bytes[start…start + length)` is an address of 4 or 16 bytes in network order. */
  contains(bytes: Uint8Array, start: number, length: number): boolean {
    const list = length === 4 ? this.#ipv4 : this.#ipv6
    return list.some((prefix) => matches(prefix, bytes, start))
  }
}

/** Whether an address is in one of these; undefined when there are none. */
export function membership(
  prefixes: readonly Prefix[],
): ((address: Address) => boolean) | undefined {
  if (prefixes.length === 0) return undefined
  const set = new PrefixSet(prefixes)
  return (address) => {
    const bytes = addressBytes(address)
    return set.contains(bytes, 0, bytes.length)
  }
}

function matches(prefix: Masked, bytes: Uint8Array, start: number): boolean {
  const whole = prefix.length >> 3
  for (let at = 0; at < whole; at++) {
    if (prefix.bytes[at] !== bytes[start + at]) return false
  }
  const rest = prefix.length & 7
  if (rest === 0) return true
  const difference = (prefix.bytes[whole] as number) ^ (bytes[start + whole] as number)
  return difference >> (8 - rest) === 0
}
