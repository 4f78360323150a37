/**
 * Cross-origin requests (Fetch standard, "CORS protocol"). The edge speaks for the servers: it
 * answers preflights itself, and what servers say of CORS is dropped, so that no field comes twice.
 */
import type { CorsConfig, RouteConfig } from "../../config/http-config.ts"
import { FIELD } from "../field-names.ts"
import { ownFields, routeResponse } from "../responses.ts"
import type { Decision, Route } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Gate } from "./action.ts"

/** Dropped from the answers of servers. */
export const CORS_FIELDS: readonly string[] = [
  "access-control-allow-origin",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-allow-credentials",
  "access-control-expose-headers",
  "access-control-max-age",
]

export class CorsGate implements Gate {
  readonly #allowsAny: boolean
  readonly #origins: ReadonlySet<string>
  /** "https://*.k8s.com" as what comes before and after the "*". */
  readonly #wildcards: readonly (readonly [string, string])[]
  readonly #preflightLines: string
  readonly #answerLines: string

  constructor(cors: CorsConfig, responseHeaders: RouteConfig["responseHeaders"]) {
    const { allowOrigins, allowMethods, allowHeaders, exposeHeaders, allowCredentials } = cors
    this.#allowsAny = allowOrigins.includes("*")
    this.#origins = new Set(allowOrigins)
    this.#wildcards = allowOrigins.filter((each) => each.includes("*.")).map(aroundStar)
    const credentials = allowCredentials ? [field("Allow-Credentials", "true")] : []
    const preflight = [
      field("Allow-Methods", allowMethods.join(", ")),
      ...(allowHeaders.length === 0 ? [] : [field("Allow-Headers", allowHeaders.join(", "))]),
      ...credentials,
      field("Max-Age", String(Math.floor(cors.maxAgeMs / 1000))),
    ]
    const answer = [
      ...credentials,
      ...(exposeHeaders.length === 0 ? [] : [field("Expose-Headers", exposeHeaders.join(", "))]),
    ]
    this.#preflightLines = ownFields(preflight, responseHeaders)
    this.#answerLines = ownFields(answer, responseHeaders)
  }

  /** Answers a preflight; gives any other request the lines for its response. */
  check(request: RouteRequest, route: Route): Decision | undefined {
    const allowed = this.#originLines(request)
    if (request.preflightMethod === undefined) {
      request.responseFields += allowed.isAllowed
        ? allowed.lines + this.#answerLines
        : allowed.lines
      return undefined
    }
    const fields = allowed.isAllowed ? allowed.lines + this.#preflightLines : allowed.lines
    return routeResponse(route, { status: 204, fields, body: "" }, request)
  }

  /** A cache must not give one origin's answer to another, so the answer varies by it. */
  #originLines({ head }: RouteRequest): { readonly isAllowed: boolean; readonly lines: string } {
    if (this.#allowsAny) return ANY_ORIGIN
    const index = head.find(FIELD.origin)
    const origin = index < 0 ? undefined : head.value(index)
    if (origin === undefined || !this.#allows(origin)) return { isAllowed: false, lines: VARY }
    return { isAllowed: true, lines: `Access-Control-Allow-Origin: ${origin}\r\n${VARY}` }
  }

  #allows(origin: string): boolean {
    return this.#origins.has(origin) || this.#wildcards.some((parts) => isBetween(origin, parts))
  }
}

function field(name: string, value: string) {
  return { name: `Access-Control-${name}`, value }
}

function aroundStar(origin: string): readonly [string, string] {
  const star = origin.indexOf("*")
  return [origin.slice(0, star), origin.slice(star + 1)]
}

/** One or more whole labels for the "*"; nothing that could end the host. */
function isBetween(origin: string, [before, after]: readonly [string, string]): boolean {
  if (!origin.startsWith(before) || !origin.endsWith(after)) return false
  return /^[a-z0-9_.-]+$/.test(origin.slice(before.length, origin.length - after.length))
}

const VARY = "Vary: Origin\r\n"
const ANY_ORIGIN = { isAllowed: true, lines: "Access-Control-Allow-Origin: *\r\n" } as const
