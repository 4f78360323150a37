/**
 * `allow` and `deny` of a listener. A denied client is refused, whatever `allow` says; with an
 * `allow` list everyone who is not on it is refused too.
 */
import type { Prefix } from "../net/address.ts"
import { PrefixSet } from "../net/prefix-set.ts"

export class AccessList {
  readonly #allow: PrefixSet
  readonly #deny: PrefixSet
  /** Everyone may connect: nothing needs to be looked up. */
  readonly isOpen: boolean

  constructor(lists: { readonly allow: readonly Prefix[]; readonly deny: readonly Prefix[] }) {
    this.#allow = new PrefixSet(lists.allow)
    this.#deny = new PrefixSet(lists.deny)
    this.isOpen = this.#allow.isEmpty && this.#deny.isEmpty
  }

  permits(bytes: Uint8Array, start: number, length: number): boolean {
    if (this.#deny.contains(bytes, start, length)) return false
    return this.#allow.isEmpty || this.#allow.contains(bytes, start, length)
  }
}
