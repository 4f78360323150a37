/** To another URL (RFC 9110 §15.4). The Location is always a whole URL, so "//host" is a path. */
import type { HttpConfig, RedirectConfig, RouteConfig } from "../../config/http-config.ts"
import { ownFields, plainResponse, routeResponse } from "../responses.ts"
import type { Decision, RespondDecision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Action, Gate } from "./action.ts"
import { NO_TARGET, type NoTarget, type Target, targetOf } from "./target.ts"

export class RedirectAction implements Action {
  readonly #redirect: RedirectConfig
  readonly #target: Target
  readonly #responseHeaders: RouteConfig["responseHeaders"]

  constructor(config: RouteConfig, redirect: RedirectConfig) {
    this.#redirect = redirect
    this.#target = targetOf(config)
    this.#responseHeaders = config.responseHeaders
  }

  decide(request: RouteRequest, route: Route): RespondDecision {
    const target = this.#targetOf(request)
    if (target === NO_TARGET) return routeResponse(route, { status: 400 }, request)
    const value = originOf(request, this.#redirect) + target
    const fields = ownFields([{ name: "Location", value }], this.#responseHeaders)
    return routeResponse(route, { status: this.#redirect.status, fields }, request)
  }

  #targetOf(request: RouteRequest): string | NoTarget {
    const { path, isLiteral } = this.#redirect
    if (isLiteral) return path ?? ""
    if (path === undefined) return this.#target(request) ?? request.path.targetText
    return path.includes("?") ? path : path + request.path.query
  }
}

/** Port of the first TLS bind, or what clients expect of one somewhere before us. */
export function tlsPort({ bind }: Pick<HttpConfig, "bind">): number {
  return bind.find((each) => each.tls)?.endpoint.port ?? PORTS.https
}

/** Port of the first TLS bind when plain ones are to send clients there, else undefined. */
export function tlsRedirectPort({ tls, bind }: HttpConfig): number | undefined {
  if (tls?.redirect !== true) return undefined
  return bind.find((each) => each.tls)?.endpoint.port
}

/** `tls_redirect` of a route. */
export class TlsRedirectGate implements Gate {
  readonly #port: number

  constructor(port: number) {
    this.#port = port
  }

  check(request: RouteRequest): Decision | undefined {
    return request.isSecure ? undefined : redirectToTls(request, this.#port)
  }
}

/** 308 keeps method and body. A client without Host cannot be told where to go. */
export function redirectToTls(request: RouteRequest, port: number): RespondDecision {
  const { head, path } = request
  if (head.host === "") return plainResponse(400, "Host is missing")
  const location = `https://${head.host}${portSuffix("https", port)}${path.targetText}`
  return { ...plainResponse(308), fields: `Location: ${location}\r\n` }
}

/** "https://k8s.com"; empty for a client of HTTP/1.0 that names no host. */
function originOf({ head, origin }: RouteRequest, redirect: RedirectConfig): string {
  const host = redirect.host ?? head.host
  if (host === "") return ""
  const scheme = redirect.scheme ?? (origin.isTls ? "https" : "http")
  // Another scheme is on its own port (Gateway API HTTPRequestRedirectFilter).
  const port = redirect.port ?? (redirect.scheme === undefined ? origin.port : PORTS[scheme])
  return `${scheme}://${host}${portSuffix(scheme, port)}`
}

function portSuffix(scheme: "http" | "https", port: number): string {
  return port === PORTS[scheme] ? "" : `:${port}`
}

const PORTS = { http: 80, https: 443 } as const
