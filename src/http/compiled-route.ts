/** A `[[http.route]]` made ready: everything that does not depend on the request is worked out. */
import type { HttpConfig, RouteConfig } from "../config/http-config.ts"
import type { Action, Gate } from "./actions/action.ts"
import { ForwardAction } from "./actions/forward.ts"
import { RedirectAction } from "./actions/redirect.ts"
import { RespondAction } from "./actions/respond.ts"
import { Conditions } from "./conditions.ts"
import { FIELD_NAMES } from "./field-names.ts"
import { FORWARDING_FIELDS } from "./forwarding.ts"
import { filterOf, linesOf } from "./header-changes.ts"
import type { FieldFilter } from "./hop-by-hop.ts"
import type { IndexedPath } from "./path-index.ts"
import type { Decision, Route } from "./route.ts"
import type { RouteRequest } from "./route-request.ts"

export class CompiledRoute implements Route, IndexedPath {
  readonly name: string
  readonly row: number
  readonly host: string | undefined
  readonly path: string
  readonly match: RouteConfig["match"]
  readonly conditions: Conditions
  readonly requestFilter: FieldFilter
  readonly requestFields: string
  readonly responseFilter: FieldFilter
  readonly responseFields: string
  readonly firstByteMs: number
  readonly maxBodyBytes: number
  readonly retryStatuses: readonly number[]
  readonly retryAttempts: number
  readonly mirror: string
  readonly stickyFields: ((slot: number) => string) | undefined
  readonly #gates: readonly Gate[]
  readonly #action: Action

  constructor(config: RouteConfig, context: { readonly http: HttpConfig; readonly row: number }) {
    const requestHeaders = withoutHost(config.requestHeaders)
    this.name = config.name
    this.row = context.row
    this.host = hostOf(config)
    this.path = config.path
    this.match = config.match
    this.conditions = new Conditions(config)
    this.requestFilter = filterOf(requestHeaders, ["host", ...FORWARDED_NAMES])
    this.requestFields = linesOf(requestHeaders)
    this.responseFilter = filterOf(config.responseHeaders, [])
    this.responseFields = linesOf(config.responseHeaders)
    this.firstByteMs = config.timeoutMs ?? context.http.timeouts.firstByteMs
    this.maxBodyBytes = config.maxBodyBytes
    this.retryStatuses = config.retry.statuses
    this.retryAttempts = config.retry.attempts
    this.mirror = config.mirror
    this.stickyFields = undefined
    this.#gates = []
    this.#action = actionOf(config)
  }

  decide(request: RouteRequest): Decision {
    return this.#gates.length === 0 ? this.#action.decide(request, this) : this.#pass(request, 0)
  }

  /** From gate `first` on. */
  #pass(request: RouteRequest, first: number): Decision {
    for (let index = first; index < this.#gates.length; index++) {
      const gate = this.#gates[index] as Gate
      const resume = (later: RouteRequest) => this.#pass(later, index + 1)
      const decision = gate.check(request, this, resume)
      if (decision !== undefined) return decision
    }
    return this.#action.decide(request, this)
  }
}

function actionOf(config: RouteConfig): Action {
  const { action } = config
  switch (action.type) {
    case "pool":
      return new ForwardAction(config, action.pool)
    case "split":
      return new ForwardAction(config, action.targets[0]?.pool ?? "")
    case "redirect":
      return new RedirectAction(config, action.redirect)
    case "respond":
      return new RespondAction(config, action)
  }
}

/** The exchange writes Host itself; a route may only say which. */
function hostOf({ requestHeaders }: RouteConfig): string | undefined {
  return requestHeaders.set.find(isHost)?.value
}

function withoutHost(changes: RouteConfig["requestHeaders"]) {
  return { ...changes, set: changes.set.filter((field) => !isHost(field)) }
}

function isHost({ name }: { readonly name: string }): boolean {
  return name.toLowerCase() === "host"
}

const FORWARDED_NAMES = FORWARDING_FIELDS.map((number) => FIELD_NAMES[number - 1] as string)
