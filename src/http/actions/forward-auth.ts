/**
 * `forward_auth`: a server decides whether a request may pass, as with nginx's auth_request and
 * Traefik's ForwardAuth. On 2xx the request goes on, with the fields that `copy_headers` names; a
 * client's own fields of these names never reach the servers, or it could write its own pass.
 */
import type { ForwardAuthConfig } from "../../config/http-config.ts"
import { FORWARDED_NAMES } from "../forwarded-names.ts"
import { fieldLine, filterOf } from "../header-changes.ts"
import { routeResponse } from "../responses.ts"
import type { Decision, PermissionAnswer, PermissionQuestion, RespondDecision } from "../route.ts"
import type { RouteRequest } from "../route-request.ts"
import type { Gate, GatedRoute } from "./action.ts"

export class ForwardAuthGate implements Gate {
  readonly #config: ForwardAuthConfig

  constructor(config: ForwardAuthConfig) {
    this.#config = config
  }

  check(request: RouteRequest, route: GatedRoute): Decision {
    const resume = route.after(this, request)
    const added = { responseFields: request.responseFields }
    const signin = this.#signin(request)
    const question: PermissionQuestion = {
      type: "permission",
      pool: this.#config.pool,
      target: this.#config.path,
      filter: QUESTION_FILTER,
      fields: describe(request),
      settle: (answer, held) => {
        const isGranted = answer.status >= 200 && answer.status < 300
        if (isGranted) return resume(held, this.#copied(answer))
        const isUnknown = answer.status === 401 && signin !== ""
        return isUnknown
          ? routeResponse(route, { status: 302, fields: signin + cookiesOf(answer) }, added)
          : refusal(route, answer, added)
      },
    }
    return { ...routeResponse(route, { status: 503 }, request), question }
  }

  /** The way to the login page, which is told where the client wanted to go (ingress-nginx: rd). */
  #signin({ head, isSecure, path }: RouteRequest): string {
    const { signinUrl } = this.#config
    if (signinUrl === "" || /[?&]rd=/.test(signinUrl)) return locationOf(signinUrl)
    const wanted = `${isSecure ? "https" : "http"}://${head.authority}${path.targetText}`
    const separator = signinUrl.includes("?") ? "&" : "?"
    return locationOf(`${signinUrl}${separator}rd=${encodeURIComponent(wanted)}`)
  }

  #copied(answer: PermissionAnswer): string {
    const fields = this.#config.copyHeaders.flatMap((name) => {
      const value = answer.field(name.toLowerCase())
      return value === undefined ? [] : fieldLine({ name, value })
    })
    return fields.join("")
  }
}

function locationOf(url: string): string {
  return url === "" ? "" : fieldLine({ name: "Location", value: url })
}

function cookiesOf(answer: PermissionAnswer): string {
  const value = answer.field("set-cookie")
  return value === undefined ? "" : fieldLine({ name: "Set-Cookie", value })
}

/** Under the names that Traefik and ingress-nginx made common. */
function describe({ head, path }: RouteRequest): string {
  const { method } = head
  const target = path.targetText
  return [
    { name: "X-Forwarded-Method", value: method },
    { name: "X-Forwarded-Uri", value: target },
    { name: "X-Original-Method", value: method },
    { name: "X-Original-URI", value: target },
  ]
    .map(fieldLine)
    .join("")
}

/** The server's word for the client: a challenge, or the way to a login page. */
function refusal(
  route: GatedRoute,
  answer: PermissionAnswer,
  added: { readonly responseFields: string },
): RespondDecision {
  const { status } = answer
  if (status < 300 || status >= 500) return routeResponse(route, { status: 503 }, added)
  const fields = REFUSAL_FIELDS.flatMap((name) => {
    const value = answer.field(name.toLowerCase())
    return value === undefined ? [] : fieldLine({ name, value })
  })
  return routeResponse(route, { status, fields: fields.join("") }, added)
}

const REFUSAL_FIELDS = ["Location", "WWW-Authenticate", "Set-Cookie"]

const QUESTION_FILTER = filterOf({ set: [], add: [], remove: [] }, [
  "host",
  ...FORWARDED_NAMES,
  "x-forwarded-method",
  "x-forwarded-uri",
  "x-original-method",
  "x-original-uri",
  "content-length",
  "content-type",
  "content-encoding",
  "expect",
  "range",
])
