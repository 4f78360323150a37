/** The path and query that a server gets: `rewrite` of a route. */
import type { RouteConfig } from "../../config/http-config.ts"
import { configuredForm, encodedPath } from "../path-form.ts"
import { routePattern, segmentsOf } from "../route-index.ts"
import type { RouteRequest } from "../route-request.ts"

/** Undefined: as received. */
export type Target = (request: RouteRequest) => string | undefined

type TargetKeys = Pick<RouteConfig, "path" | "match" | "rewrite">

export function targetOf(route: TargetKeys): Target {
  const rewritten = rewritingOf(route)
  if (rewritten === undefined) return asReceived
  return (request) => (request.path.isAsterisk ? undefined : rewritten(request))
}

/** But for what makes it canonical. */
function asReceived({ path }: RouteRequest): string | undefined {
  return path.target
}

function rewritingOf(route: TargetKeys): ((request: RouteRequest) => string) | undefined {
  const { rewrite, match } = route
  if (rewrite === undefined) return undefined
  switch (match) {
    case "prefix":
      return prefixRewriting(encodedPath(configuredForm(rewrite)), segmentsOf(route))
    case "exact": {
      const path = encodedPath(configuredForm(rewrite))
      return (request) => path + request.path.query
    }
    case "regex":
      return regexRewriting(route.path, rewrite)
  }
}

/** As Gateway API's ReplacePrefixMatch: "/foo/bar" by "/foo" → "/xyz" is "/xyz/bar". */
function prefixRewriting(rewrite: string, segments: number) {
  const base = rewrite.replace(/\/$/, "")
  return ({ path }: RouteRequest) => {
    const rest = path.restAfter(segments)
    return rest.startsWith("/") ? base + rest : (rewrite || "/") + rest
  }
}

/** "$1" to "$9" and "$<name>" stand for groups of the pattern, "$$" for a dollar sign. */
function regexRewriting(source: string, rewrite: string) {
  const pattern = routePattern(source)
  return ({ path }: RouteRequest) => {
    const match = pattern.exec(path.text)
    const written = rewrite.replace(/\$(?:(\d)|<(\w+)>|\$)/g, (_, digit, name) => {
      if (digit !== undefined) return match?.[Number(digit)] ?? ""
      return name === undefined ? "$" : (match?.groups?.[name] ?? "")
    })
    return encodedPath(Buffer.from(written, "utf8").toString("latin1")) + path.query
  }
}
