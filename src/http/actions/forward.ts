/** To a pool. */
import type { RouteConfig } from "../../config/http-config.ts"
import { routeResponse } from "../responses.ts"
import type { Decision, ForwardDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"
import type { StickySession } from "./sticky.ts"
import { NO_TARGET, type Target, targetOf } from "./target.ts"

export class ForwardAction implements Action {
  readonly #target: Target
  readonly #pool: string
  readonly #sticky: StickySession | undefined

  constructor(
    config: Pick<RouteConfig, "path" | "match" | "rewrite" | "rewriteScope">,
    to: { readonly pool: string; readonly sticky: StickySession | undefined },
  ) {
    this.#target = targetOf(config)
    this.#pool = to.pool
    this.#sticky = to.sticky
  }

  decide(request: RouteRequest, route: Route): Decision {
    const target = this.#target(request)
    if (target === NO_TARGET) return routeResponse(route, { status: 400 }, request)
    return {
      ...plainDecision(route, this.#pool),
      target,
      stickySlot: this.#sticky?.slotIn(request, this.#pool) ?? -1,
      requestFields: request.requestFields,
      responseFields: request.responseFields,
    }
  }
}

/** For a request that is sent on as received, and that nothing was added to. */
export function plainDecision(route: Route, pool: string): ForwardDecision {
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
