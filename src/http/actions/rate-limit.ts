/** `rate_limit`: 429 with Retry-After (RFC 6585 §4) for who asks too often. */
import type { RateLimitConfig } from "../../config/http-config.ts"
import { type Address, addressBytes, familyOf } from "../../net/address.ts"
import { membership } from "../../net/prefix-set.ts"
import { hashText } from "../../pool/hash.ts"
import { Field } from "../field.ts"
import { routeResponse } from "../responses.ts"
import type { Decision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Gate } from "./action.ts"
import type { RateLimit, RateTable } from "./rate-table.ts"

export class RateLimitGate implements Gate {
  readonly #table: RateTable
  readonly #limit: RateLimit
  readonly #field: Field | undefined
  readonly #isExempt: ((client: Address) => boolean) | undefined
  #client: Address | undefined = undefined
  #clientNetwork = ""

  /** `scope` names listener and route: a limit counts for itself, and anew when it is changed. */
  constructor(
    config: RateLimitConfig,
    context: { readonly table: RateTable; readonly scope: string },
  ) {
    const { requests, perMs, burst, header } = config
    this.#table = context.table
    this.#limit = {
      id: hashText(`${context.scope} ${requests} ${perMs} ${burst} ${header}`),
      intervalMs: perMs / requests,
      burst,
    }
    this.#isExempt = membership(config.exempt)
    this.#field = header === "" ? undefined : new Field(header)
  }

  check(request: RouteRequest, route: Route): Decision | undefined {
    if (this.#isExempt?.(request.client) === true) return undefined
    const waitMs = this.#table.admit(this.#limit, this.#clientOf(request), request.now)
    if (waitMs === 0) return undefined
    const seconds = Math.max(1, Math.ceil(waitMs / 1000))
    return routeResponse(route, { status: 429, fields: `Retry-After: ${seconds}\r\n` }, request)
  }

  /** Without the header the address counts: leaving it out must not be a way around the limit. */
  #clientOf({ head, client }: RouteRequest): string {
    const value = this.#field?.valueIn(head)
    if (value !== undefined) return `=${value}`
    // The requests of one connection mostly follow each other.
    if (client !== this.#client) {
      this.#client = client
      this.#clientNetwork = networkOf(client)
    }
    return this.#clientNetwork
  }
}

/** Whoever has one IPv6 address has its whole /64, so that is one client. */
function networkOf(client: Address): string {
  if (familyOf(client) === 4) return client
  return addressBytes(client).subarray(0, 8).join(".")
}
