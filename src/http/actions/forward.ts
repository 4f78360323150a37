/** To a pool. */
import type { RouteConfig } from "../../config/http-config.ts"
import type { ForwardDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"
import type { StickySession } from "./sticky.ts"
import { type Target, targetOf } from "./target.ts"

export class ForwardAction implements Action {
  readonly #target: Target
  readonly #pool: string
  readonly #sticky: StickySession | undefined
  /** The decision for requests that go on as received; most do. */
  #plain: ForwardDecision | undefined = undefined

  constructor(
    config: RouteConfig,
    to: { readonly pool: string; readonly sticky: StickySession | undefined },
  ) {
    this.#target = targetOf(config)
    this.#pool = to.pool
    this.#sticky = to.sticky
  }

  decide(request: RouteRequest, route: Route): ForwardDecision {
    this.#plain ??= plainDecision(route, this.#pool)
    const target = this.#target(request)
    const stickySlot = this.#sticky?.slotIn(request, this.#pool) ?? -1
    const { requestFields, responseFields } = request
    if (target === undefined && stickySlot < 0 && requestFields === "" && responseFields === "") {
      return this.#plain
    }
    return { ...this.#plain, target, stickySlot, requestFields, responseFields }
  }
}

function plainDecision(route: Route, pool: string): ForwardDecision {
  return {
    type: "forward",
    route,
    pool,
    target: undefined,
    stickySlot: -1,
    requestFields: "",
    responseFields: "",
  }
}
