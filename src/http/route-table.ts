/**
 * From a request to the one route that answers it. The most specific host that has a matching
 * route wins (exact, then "*.example.com" for one label, then any), within a host the most
 * specific path (`route-index.ts`), within a path the conditions (`conditions.ts`). A route whose
 * conditions do not hold is passed over for the next candidate, also of the next host.
 *
 * A table never changes; a reload builds another and replaces it.
 */
import type { HttpConfig } from "../config/http-config.ts"
import type { Instant } from "../net/time.ts"
import { redirectToTls, tlsRedirectPort } from "./actions/redirect.ts"
import type { CompiledRoute, RouteResources } from "./compiled-route.ts"
import type { RequestHead } from "./head.ts"
import type { PathError } from "./path-form.ts"
import { RequestPath } from "./request-path.ts"
import { plainResponse } from "./responses.ts"
import type { Decision, RequestOrigin, Routes } from "./route.ts"
import { RouteCompiler, type TableEntry } from "./route-compiler.ts"
import { RouteIndex } from "./route-index.ts"
import { RouteRequest } from "./route-request.ts"

/** Plain data, so that it crosses threads. */
export interface RouteTableSpec {
  readonly http: HttpConfig
  /** Counter row of each route, in the order of `http.routes`. */
  readonly rows: readonly number[]
}

export interface Explanation {
  /** As it is compared with routes. */
  readonly path: string
  /** Routes for this host and path whose conditions do not hold, in the order they were tried. */
  readonly passedOver: readonly { readonly route: string; readonly because: string }[]
  readonly route: string | undefined
  readonly decision: Decision
}

export class RouteTable implements Routes {
  readonly #index: RouteIndex<CompiledRoute>
  /** By index of the route. */
  readonly #plain: readonly (Decision | undefined)[]
  readonly #tlsPort: number | undefined
  readonly #request: RouteRequest

  static compile({ http, rows }: RouteTableSpec, resources?: RouteResources): RouteTable {
    const compiler = new RouteCompiler(http, resources)
    return new RouteTable(
      http,
      http.routes.map((route, index) => compiler.compile(route, rows[index] ?? 0)),
    )
  }

  /** `entries`: the routes, in their order. */
  constructor(http: HttpConfig, entries: readonly TableEntry[]) {
    this.#index = new RouteIndex(inOrder(entries))
    this.#plain = this.#index.routes.map(({ plainDecision }) => plainDecision)
    this.#tlsPort = tlsRedirectPort(http)
    const depthMax = entries.reduce((most, { depth }) => Math.max(most, depth), 0)
    const { mergeSlashes } = http
    this.#request = new RouteRequest(new RequestPath({ depthMax, mergeSlashes }))
  }

  decide(head: RequestHead, origin: RequestOrigin, now: Instant): Decision {
    const request = this.#request
    const problem = request.path.read(head)
    if (problem !== undefined) return badPath(problem)
    request.begin(head, origin, now)
    if (this.#tlsPort !== undefined && !request.isSecure)
      return redirectToTls(request, this.#tlsPort)
    const index = this.#index.find(request, accepts)
    if (index < 0) return NOT_FOUND
    const plain = request.path.isCanonical ? this.#plain[index] : undefined
    return plain ?? (this.#index.routes[index] as CompiledRoute).decide(request)
  }

  /** Which route would answer, who is passed over, and what it does behind its gates. */
  explain(head: RequestHead, origin: RequestOrigin): Explanation {
    const request = this.#request
    const problem = request.path.read(head)
    if (problem !== undefined) return { ...NO_ROUTE, decision: badPath(problem) }
    request.begin(head, origin, 0 as Instant)
    const path = request.path.text
    if (this.#tlsPort !== undefined && !request.isSecure) {
      return { ...NO_ROUTE, path, decision: redirectToTls(request, this.#tlsPort) }
    }
    const passedOver: { readonly route: string; readonly because: string }[] = []
    const index = this.#index.find(request, ({ name, conditions }) => {
      const because = conditions.failure(request)
      if (because !== undefined) passedOver.push({ route: name, because })
      return because === undefined
    })
    const route = this.#index.routes[index]
    return { path, passedOver, route: route?.name, decision: route?.act(request) ?? NOT_FOUND }
  }
}

function accepts(route: CompiledRoute, request: RouteRequest): boolean {
  return route.conditions.accept(request)
}

function badPath(problem: PathError): Decision {
  return plainResponse(400, problem)
}

/** Those that ask for more first, otherwise as in the file; patterns always as in the file. */
function inOrder(entries: readonly TableEntry[]): TableEntry[] {
  const paths = entries.filter(({ match }) => match !== "regex")
  const patterns = entries.filter(({ match }) => match === "regex")
  const sorted = paths.toSorted((a, b) => b.route.conditions.rank - a.route.conditions.rank)
  return [...sorted, ...patterns]
}

const NOT_FOUND = plainResponse(404)
const NO_ROUTE = { path: "", passedOver: [], route: undefined }
