/** What a route does with a request that it was chosen for. */
import type { Decision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"

export interface Action {
  decide(request: RouteRequest, route: Route): Decision
}

/** Something that a request must pass first; a decision means that it did not. */
export interface Gate {
  check(request: RouteRequest, route: Route, resume: Resume): Decision | undefined
}

/** Goes on behind the gate, for an answer that comes later. */
export type Resume = (request: RouteRequest) => Decision
