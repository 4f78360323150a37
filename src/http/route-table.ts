/**
 * From a request to the one route that answers it. The most specific host that has a matching
 * route wins (exact, then "*.example.com" for one label, then any), within a host the most
 * specific path (`path-index.ts`), within a path the conditions (`conditions.ts`). A route whose
 * conditions do not hold is passed over for the next candidate, also of the next host.
 *
 * A table never changes; a reload builds another and replaces it.
 */
import type { HttpConfig } from "../config/http-config.ts"
import type { Instant } from "../net/time.ts"
import { redirectToTls, tlsRedirectPort } from "./actions/redirect.ts"
import { CompiledRoute, ownResources, type RouteResources } from "./compiled-route.ts"
import type { RequestHead } from "./head.ts"
import type { PathError } from "./path-form.ts"
import { PathIndex, segmentsOf } from "./path-index.ts"
import { RequestPath } from "./request-path.ts"
import { plainResponse } from "./responses.ts"
import type { Decision, RequestOrigin, Routes } from "./route.ts"
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

type HostIndex = PathIndex<CompiledRoute>
type Accepts = (route: CompiledRoute, request: RouteRequest) => boolean

export class RouteTable implements Routes {
  readonly #exact: ReadonlyMap<string, HostIndex>
  /** By what follows the first label: ".example.com". */
  readonly #wildcard: ReadonlyMap<string, HostIndex>
  readonly #any: HostIndex | undefined
  readonly #tlsPort: number | undefined
  readonly #request: RouteRequest

  constructor({ http, rows }: RouteTableSpec, resources: RouteResources = ownResources()) {
    const compiled = http.routes.map((config, index) => ({
      host: config.host,
      route: new CompiledRoute(config, { ...resources, http, row: rows[index] ?? 0 }),
    }))
    const indexes = new Map(
      [...Map.groupBy(compiled, ({ host }) => host)].map(([host, routes]) => {
        return [host, new PathIndex(inOrder(routes.map(({ route }) => route)))] as const
      }),
    )
    this.#exact = pick(indexes, (host) => (host === "" || isWildcard(host) ? undefined : host))
    this.#wildcard = pick(indexes, (host) => (isWildcard(host) ? host.slice(1) : undefined))
    this.#any = indexes.get("")
    this.#tlsPort = tlsRedirectPort(http)
    const depthMax = compiled.reduce((most, { route }) => Math.max(most, segmentsOf(route)), 0)
    const { mergeSlashes } = http
    this.#request = new RouteRequest(new RequestPath({ depthMax, mergeSlashes }))
  }

  decide(head: RequestHead, origin: RequestOrigin, now: Instant): Decision {
    const request = this.#request
    const problem = request.path.read(head)
    if (problem !== undefined) return badPath(problem)
    request.begin(head, origin, now)
    if (this.#tlsPort !== undefined && !origin.isTls) return redirectToTls(request, this.#tlsPort)
    return this.#find(request, accepts)?.decide(request) ?? NOT_FOUND
  }

  /** Which route would answer, who is passed over, and what it does behind its gates. */
  explain(head: RequestHead, origin: RequestOrigin): Explanation {
    const request = this.#request
    const problem = request.path.read(head)
    const passedOver: { readonly route: string; readonly because: string }[] = []
    if (problem !== undefined) return { ...NO_ROUTE, decision: badPath(problem) }
    request.begin(head, origin, 0 as Instant)
    const path = request.path.text
    if (this.#tlsPort !== undefined && !origin.isTls) {
      const decision = redirectToTls(request, this.#tlsPort)
      return { path, passedOver, route: undefined, decision }
    }
    const route = this.#find(request, ({ name, conditions }) => {
      const because = conditions.failure(request)
      if (because !== undefined) passedOver.push({ route: name, because })
      return because === undefined
    })
    const decision = route?.act(request) ?? NOT_FOUND
    return { path, passedOver, route: route?.name, decision }
  }

  #find(request: RouteRequest, accepts: Accepts): CompiledRoute | undefined {
    const { host } = request.head
    // "k8s.com." is the same name, said to be complete (RFC 1034 §3.1).
    const name = host.charCodeAt(host.length - 1) === DOT ? host.slice(0, -1) : host
    const found = this.#exact.get(name)?.find(request.path, request, accepts)
    if (found !== undefined) return found
    if (this.#wildcard.size > 0) {
      const dot = name.indexOf(".")
      const index = dot < 1 ? undefined : this.#wildcard.get(name.slice(dot))
      const wild = index?.find(request.path, request, accepts)
      if (wild !== undefined) return wild
    }
    return this.#any?.find(request.path, request, accepts)
  }
}

function accepts(route: CompiledRoute, request: RouteRequest): boolean {
  return route.conditions.accept(request)
}

function badPath(problem: PathError): Decision {
  return plainResponse(400, problem)
}

/** Those that ask for more first, otherwise as in the file; patterns always as in the file. */
function inOrder(routes: readonly CompiledRoute[]): CompiledRoute[] {
  const paths = routes.filter(({ match }) => match !== "regex")
  const patterns = routes.filter(({ match }) => match === "regex")
  return [...paths.toSorted((a, b) => b.conditions.rank - a.conditions.rank), ...patterns]
}

function isWildcard(host: string): boolean {
  return host.startsWith("*.")
}

/** Entries under the key that `keyOf` gives them. */
function pick<T>(
  entries: ReadonlyMap<string, T>,
  keyOf: (key: string) => string | undefined,
): ReadonlyMap<string, T> {
  return new Map(
    [...entries].flatMap(([key, value]) => {
      const picked = keyOf(key)
      return picked === undefined ? [] : [[picked, value] as const]
    }),
  )
}

const DOT = 0x2e
const NOT_FOUND = plainResponse(404)
const NO_ROUTE = { path: "", passedOver: [], route: undefined }
