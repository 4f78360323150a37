/**
 * The other routers of one virtual router, as far as they were heard. Only an Active Router speaks,
 * so a peer is remembered until the table is full: its last priority is the one to compare ours
 * with even though it has been silent as a backup ever since.
 */
import type { Address } from "../net/address.ts"
import type { Instant } from "../net/time.ts"

export interface Peer {
  readonly address: Address
  /** As last advertised while it took part, so never 0. */
  readonly priority: number
  readonly heardAt: Instant
}

/** More routers than this under one VRID is a forger, or a network to look at. */
const PEERS_MAX = 16

export class Peers {
  readonly #byAddress = new Map<Address, Peer>()

  heard(advert: { readonly source: Address; readonly priority: number }, now: Instant): void {
    const known = this.#byAddress.get(advert.source)
    const priority = advert.priority === 0 ? known?.priority : advert.priority
    if (priority === undefined) return
    // Deleted first, so that the map stays ordered by when each was last heard.
    this.#byAddress.delete(advert.source)
    this.#byAddress.set(advert.source, { address: advert.source, priority, heardAt: now })
    this.#forgetOldest()
  }

  /** The one heard least recently first. */
  list(): Peer[] {
    return [...this.#byAddress.values()]
  }

  #forgetOldest(): void {
    if (this.#byAddress.size <= PEERS_MAX) return
    for (const address of this.#byAddress.keys()) {
      this.#byAddress.delete(address)
      return
    }
  }
}
