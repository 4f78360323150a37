/** The path and query that a server gets: `rewrite` of a route. */
import type { RouteConfig } from "../../config/http-config.ts"
import { configuredForm, encodedPath } from "../path-form.ts"
import { patternMatch, routePattern } from "../pattern.ts"
import { segmentsOf } from "../route-index.ts"
import type { RouteRequest } from "../route-request.ts"

/** Undefined: as received. */
export type Target = (request: RouteRequest) => string | undefined | NoTarget

/** What the client sent would lead out of the path that the rewriting names: it is answered 400. */
export const NO_TARGET = Symbol("no target")
export type NoTarget = typeof NO_TARGET

type TargetKeys = Pick<RouteConfig, "path" | "match" | "rewrite" | "rewriteScope">

export function targetOf(route: TargetKeys): Target {
  const rewritten = rewritingOf(route)
  if (rewritten === undefined) return asReceived
  return (request) => (request.path.isAsterisk ? undefined : rewritten(request))
}

/** But for what makes it canonical. */
function asReceived({ path }: RouteRequest): string | undefined {
  return path.target
}

type Rewriting = (request: RouteRequest) => string | NoTarget

function rewritingOf(route: TargetKeys): Rewriting | undefined {
  const { rewrite, match, rewriteScope } = route
  if (rewrite === undefined) return undefined
  const [path = "", ...query] = rewrite.split("?")
  const template = { path, query: query.join("?") }
  if (match === "regex") return regexRewriting(route.path, template)
  if (match === "prefix" && rewriteScope === "match") {
    return prefixRewriting(template, segmentsOf(route))
  }
  const whole = rooted(encodedPath(configuredForm(path)))
  return (request) => whole + joined(template.query, request.path.query)
}

/** `rewrite` before and after its "?". */
interface Template {
  readonly path: string
  readonly query: string
}

/** As Gateway API's ReplacePrefixMatch: "/foo/bar" by "/foo" → "/xyz" is "/xyz/bar". */
function prefixRewriting({ path: written, query }: Template, segments: number): Rewriting {
  const rewrite = encodedPath(configuredForm(written))
  const base = rewrite.replace(/\/$/, "")
  return ({ path }) => {
    const rest = path.restAfter(segments)
    const target = rest.startsWith("/") ? base + rest : (rewrite || "/") + rest
    if (query === "") return target
    const end = target.length - path.query.length
    return target.slice(0, end) + joined(query, path.query)
  }
}

/**
 * A group may begin within a segment, and make a dot segment of what was none: "/v1../x" by
 * "^/v1(.*)" and "/app/$1".
 */
const DOT_SEGMENT = /\/\.{1,2}(\/|$)/

/**
 * "$1" to "$9" and "$<name>" stand for groups of the pattern, "$$" for a dollar sign. In the query
 * what they stand for is one value: it cannot begin another parameter.
 */
function regexRewriting(source: string, template: Template): Rewriting {
  const pattern = routePattern(source)
  return ({ path }) => {
    const match = patternMatch(pattern, path.text)
    const written = filledIn(template.path, match, asText)
    const target = encodedPath(Buffer.from(written, "utf8").toString("latin1"))
    const query = filledIn(template.query, match, (group) =>
      encodeURIComponent(group.toWellFormed()),
    )
    return DOT_SEGMENT.test(rooted(target)) ? NO_TARGET : rooted(target) + joined(query, path.query)
  }
}

function filledIn(
  template: string,
  match: RegExpExecArray | null,
  encode: (group: string) => string,
): string {
  return template.replace(/\$(?:(\d)|<(\w+)>|\$)/g, (_, digit, name) => {
    if (digit !== undefined) return encode(match?.[Number(digit)] ?? "")
    return name === undefined ? "$" : encode(match?.groups?.[name] ?? "")
  })
}

function asText(group: string): string {
  return group
}

/** A group may begin anywhere in the path; a request's path begins with "/". */
function rooted(path: string): string {
  return path.startsWith("/") ? path : `/${path}`
}

/** `own` is the request's query with its "?", or empty. */
function joined(query: string, own: string): string {
  if (query === "") return own
  return own.length > 1 ? `?${query}&${own.slice(1)}` : `?${query}`
}
