/** What a route does with a request that it was chosen for. */
import type { Decision, HeldRequest, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"

export interface Action {
  decide(request: RouteRequest, route: Route): Decision
}

/** Something that a request must pass first; a decision means that it did not, or must wait. */
export interface Gate {
  check(request: RouteRequest, route: GatedRoute): Decision | undefined
}

export interface GatedRoute extends Route {
  /** Goes on behind `gate`, for a gate that had to ask. Keeps what earlier gates have added. */
  after(gate: Gate, request: RouteRequest): Resume
}

/** `requestFields` are added for the server. */
export type Resume = (held: HeldRequest, requestFields?: string) => Decision
