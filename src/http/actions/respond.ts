/** A fixed response. */
import type { RouteAction, RouteConfig } from "../../config/http-config.ts"
import { ownFields, routeResponse } from "../responses.ts"
import type { RespondDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action } from "./action.ts"

export class RespondAction implements Action {
  readonly #response: { readonly status: number; readonly fields: string; readonly body: string }

  constructor(config: RouteConfig, respond: Extract<RouteAction, { readonly type: "respond" }>) {
    const { status, body, contentType } = respond
    const type = [{ name: "Content-Type", value: contentType }]
    const fields = body === "" ? "" : ownFields(type, config.responseHeaders)
    this.#response = { status, fields, body }
  }

  decide(request: RouteRequest, route: Route): RespondDecision {
    return routeResponse(route, this.#response, request)
  }
}
