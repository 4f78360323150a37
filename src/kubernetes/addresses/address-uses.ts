/**
 * Which Services use which address, and whether one more may: the rules of sharing.
 *
 * They are MetalLB's: an address is shared by Services that name the same sharing key and have no
 * port and protocol in common. Its third rule (with externalTrafficPolicy Local, the same pods) is
 * about the node that announces an address having pods of all of them; the edge goes straight to
 * the pods, wherever they are, so here it has no reason to be.
 */
import type { Address } from "../../net/address.ts"
import { keyOf, type ObjectKey, type Service } from "../objects.ts"

export interface AddressUser {
  readonly service: Service
  /** "" shares with nobody. */
  readonly sharingKey: string
  /** A LoadBalancer Service that somebody else serves, with an address of one of our pools. */
  readonly isForeign: boolean
}

export class AddressUses {
  readonly #users = new Map<Address, Map<ObjectKey, AddressUser>>()
  readonly #addresses = new Map<ObjectKey, readonly Address[]>()
  readonly #bySharingKey = new Map<string, Map<Address, number>>()

  /** Replaces all uses by this Service. Returns the addresses that nobody uses any more. */
  set(user: AddressUser, addresses: readonly Address[]): Address[] {
    const key = keyOf(user.service.meta)
    const left = this.#remove(key)
    if (addresses.length > 0) this.#addresses.set(key, addresses)
    for (const address of addresses) {
      const users = this.#users.get(address) ?? new Map<ObjectKey, AddressUser>()
      this.#users.set(address, users.set(key, user))
      this.#countSharing(user.sharingKey, address, 1)
    }
    return left.filter((address) => !this.isUsed(address))
  }

  delete(key: ObjectKey): Address[] {
    return this.#remove(key).filter((address) => !this.isUsed(address))
  }

  isUsed(address: Address): boolean {
    return this.#users.has(address)
  }

  usersOf(address: Address): AddressUser[] {
    return [...(this.#users.get(address)?.values() ?? [])]
  }

  /** Addresses that some Service of this sharing key uses. */
  sharedBy(sharingKey: string): Address[] {
    return sharingKey === "" ? [] : [...(this.#bySharingKey.get(sharingKey)?.keys() ?? [])]
  }

  /** Why this Service may not use the address beside those that do; undefined: it may. */
  refusal(address: Address, user: AddressUser): string | undefined {
    const own = keyOf(user.service.meta)
    for (const [key, other] of this.#users.get(address) ?? []) {
      const reason = key === own ? undefined : sharingRefusal(user, other)
      if (reason !== undefined) return `${address} is in use by ${key}${reason}`
    }
    return undefined
  }

  #remove(key: ObjectKey): readonly Address[] {
    const addresses = this.#addresses.get(key) ?? []
    this.#addresses.delete(key)
    for (const address of addresses) {
      const users = this.#users.get(address)
      this.#countSharing(users?.get(key)?.sharingKey ?? "", address, -1)
      users?.delete(key)
      if (users?.size === 0) this.#users.delete(address)
    }
    return addresses
  }

  #countSharing(sharingKey: string, address: Address, change: 1 | -1): void {
    if (sharingKey === "") return
    const counts = this.#bySharingKey.get(sharingKey) ?? new Map<Address, number>()
    const count = (counts.get(address) ?? 0) + change
    if (count > 0) counts.set(address, count)
    else counts.delete(address)
    if (counts.size > 0) this.#bySharingKey.set(sharingKey, counts)
    else this.#bySharingKey.delete(sharingKey)
  }
}

function sharingRefusal(user: AddressUser, other: AddressUser): string | undefined {
  if (other.isForeign) return ", which another load balancer serves"
  if (other.sharingKey === "") return ", which has no sharing key"
  if (user.sharingKey === "") return "; this Service has no sharing key"
  if (user.sharingKey !== other.sharingKey) return " with another sharing key"
  for (const { protocol, port } of user.service.ports) {
    if (other.service.ports.some((its) => its.port === port && its.protocol === protocol)) {
      return `, which has port ${port}/${protocol} too`
    }
  }
  return undefined
}
