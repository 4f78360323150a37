/**
 * `split`: a share of the requests to each pool, and canary requests to theirs. Shares are exact
 * over few requests, not only on average: the multiples of the golden ratio fall evenly into the
 * unit interval wherever one stops counting.
 */
import type { RouteConfig, SplitTarget } from "../../config/http-config.ts"
import { type ValueTest, valueTest } from "../conditions.ts"
import { cookieIn } from "../cookies.ts"
import { Field } from "../field.ts"
import type { Decision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"
import { ForwardAction } from "./forward.ts"
import type { StickySession } from "./sticky.ts"

interface Share {
  readonly action: ForwardAction
  readonly pool: string
  /** Upper end of its part of the weights. */
  readonly end: number
  readonly header: { readonly field: Field; readonly holds: ValueTest } | undefined
  readonly cookie: { readonly name: string; readonly holds: ValueTest } | undefined
}

export class SplitAction implements Action {
  readonly #shares: readonly Share[]
  readonly #conditional: readonly Share[]
  readonly #total: number
  readonly #sticky: StickySession | undefined
  #count: number

  /** `start`: any number; threads that start apart do not send to the same pool in step. */
  constructor(
    config: RouteConfig,
    targets: readonly SplitTarget[],
    context: { readonly sticky: StickySession | undefined; readonly start: number },
  ) {
    let end = 0
    this.#shares = targets.map((target) => {
      end += target.weight
      return shareOf(config, target, { end, sticky: context.sticky })
    })
    this.#conditional = this.#shares.filter(({ header, cookie }) => header ?? cookie)
    this.#total = end
    this.#sticky = context.sticky
    this.#count = context.start | 0
  }

  decide(request: RouteRequest, route: Route): Decision {
    const share = this.#conditional.find((each) => isMeant(each, request)) ?? this.#kept(request)
    return (share ?? this.#next()).action.decide(request, route)
  }

  /** The pool of the server that the client's sticky cookie names. */
  #kept(request: RouteRequest): Share | undefined {
    if (this.#sticky === undefined) return undefined
    return this.#shares.find(({ pool }) => (this.#sticky?.slotIn(request, pool) ?? -1) >= 0)
  }

  #next(): Share {
    this.#count = (this.#count + GOLDEN_RATIO) | 0
    const at = ((this.#count >>> 0) / 2 ** 32) * this.#total
    return this.#shares.find(({ end }) => at < end) as Share
  }
}

function shareOf(
  config: RouteConfig,
  { pool, header, cookie }: SplitTarget,
  { end, sticky }: { readonly end: number; readonly sticky: StickySession | undefined },
): Share {
  const action = new ForwardAction(config, { pool, sticky })
  return {
    action,
    pool,
    end,
    header: header && { field: new Field(header.name), holds: valueTest(header.value) },
    cookie: cookie && { name: cookie.name, holds: valueTest(cookie.value) },
  }
}

/** Both conditions, where there are two. */
function isMeant({ header, cookie }: Share, { head }: RouteRequest): boolean {
  if (header !== undefined && !header.holds(header.field.valueIn(head))) return false
  return cookie === undefined || cookie.holds(cookieIn(head, cookie.name))
}

/** 2^32 / φ. */
const GOLDEN_RATIO = 0x9e3779b9 | 0
