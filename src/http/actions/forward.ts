/** To a pool. */
import type { RouteConfig } from "../../config/http-config.ts"
import type { ForwardDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"
import { type Target, targetOf } from "./target.ts"

export class ForwardAction implements Action {
  readonly #target: Target
  /** The decision for requests that go on as received; most do. */
  #plain: ForwardDecision | undefined = undefined
  readonly #pool: string

  constructor(config: RouteConfig, pool: string) {
    this.#target = targetOf(config)
    this.#pool = pool
  }

  decide(request: RouteRequest, route: Route): ForwardDecision {
    this.#plain ??= forwardDecision(route, this.#pool)
    const target = this.#target(request)
    const { requestFields, responseFields } = request
    if (target === undefined && requestFields === "" && responseFields === "") return this.#plain
    return { ...this.#plain, target, requestFields, responseFields }
  }
}

function forwardDecision(route: Route, pool: string): ForwardDecision {
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
