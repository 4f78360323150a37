/** A fixed response. */
import type { RouteAction, RouteConfig } from "../../config/http-config.ts"
import { ownFields, routeResponse } from "../responses.ts"
import type { RespondDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"

export class RespondAction implements Action {
  readonly #status: number
  readonly #body: string
  readonly #fields: string

  constructor(config: RouteConfig, respond: Extract<RouteAction, { readonly type: "respond" }>) {
    this.#status = respond.status
    this.#body = respond.body
    const type = [{ name: "Content-Type", value: respond.contentType }]
    this.#fields = respond.body === "" ? "" : ownFields(type, config.responseHeaders)
  }

  decide(request: RouteRequest, route: Route): RespondDecision {
    return routeResponse(route, {
      status: this.#status,
      fields: this.#fields + request.responseFields,
      body: this.#body,
    })
  }
}
