/** `allow` and `deny` of a route. Answers are kept: addresses are text, and slow to read. */
import type { Prefix } from "../../net/address.ts"
import { type Address, addressBytes } from "../../net/address.ts"
import { PrefixSet } from "../../net/prefix-set.ts"
import { routeResponse } from "../responses.ts"
import type { Decision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Gate } from "./action.ts"

/** A denied client is refused, whatever `allow` says; so is one that `allow` does not list. */
export class AccessGate implements Gate {
  readonly #allow: PrefixSet
  readonly #deny: PrefixSet
  readonly #known = new Map<Address, boolean>()

  constructor(lists: { readonly allow: readonly Prefix[]; readonly deny: readonly Prefix[] }) {
    this.#allow = new PrefixSet(lists.allow)
    this.#deny = new PrefixSet(lists.deny)
  }

  check(request: RouteRequest, route: Route): Decision | undefined {
    if (this.#permits(request.client)) return undefined
    return routeResponse(route, { status: 403 }, request)
  }

  #permits(client: Address): boolean {
    const known = this.#known.get(client)
    if (known !== undefined) return known
    if (this.#known.size >= KNOWN_CLIENTS_MAX) this.#known.clear()
    const bytes = addressBytes(client)
    const isDenied = this.#deny.contains(bytes, 0, bytes.length)
    const isAllowed = this.#allow.isEmpty || this.#allow.contains(bytes, 0, bytes.length)
    this.#known.set(client, isAllowed && !isDenied)
    return isAllowed && !isDenied
  }
}

const KNOWN_CLIENTS_MAX = 4096
