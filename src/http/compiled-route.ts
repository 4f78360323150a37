/** A `[[http.route]]` made ready: everything that does not depend on the request is worked out. */
import type { HttpConfig, RouteConfig, RouteTimeouts } from "../config/http-config.ts"
import { AccessGate } from "./actions/access.ts"
import type { Action, Gate, GatedRoute, Resume } from "./actions/action.ts"
import { BasicAuthGate } from "./actions/basic-auth.ts"
import { CORS_FIELDS, CorsGate } from "./actions/cors.ts"
import { ForwardAction, plainDecision } from "./actions/forward.ts"
import { ForwardAuthGate } from "./actions/forward-auth.ts"
import { RateLimitGate } from "./actions/rate-limit.ts"
import { RateTable } from "./actions/rate-table.ts"
import { RedirectAction, TlsRedirectGate, tlsPort } from "./actions/redirect.ts"
import { RespondAction } from "./actions/respond.ts"
import { SplitAction } from "./actions/split.ts"
import { StickyServers, StickySession } from "./actions/sticky.ts"
import { type Conditions, conditionsOf } from "./conditions.ts"
import { FORWARDED_NAMES } from "./forwarded-names.ts"
import { filterOf, linesOf } from "./header-changes.ts"
import type { FieldFilter } from "./hop-by-hop.ts"
import type { Decision, HeldRequest } from "./route.ts"
import type { RouteRequest } from "./route-request.ts"

/** What the route tables of a thread share. */
export interface RouteResources {
  readonly stickyServers: StickyServers
  readonly rates: RateTable
  /** Any number, another one for each thread. */
  readonly splitStart: number
}

/** Shared with nobody: limits count for one table alone, and cookies name no server. */
export function ownResources(): RouteResources {
  const rates = new RateTable(RateTable.allocate(0))
  return { stickyServers: new StickyServers(), rates, splitStart: 0 }
}

export interface RouteContext extends RouteResources {
  readonly http: HttpConfig
  readonly row: number
  /** The action of all routes that only have this pool. */
  readonly forwardTo: (pool: string) => Action
}

export class CompiledRoute implements GatedRoute {
  readonly name: string
  readonly row: number
  readonly host: string | undefined
  /** The decision for every request that is sent on as received; undefined: they differ. */
  readonly plainDecision: Decision | undefined
  readonly conditions: Conditions
  readonly requestFilter: FieldFilter
  readonly requestFields: string
  readonly responseFilter: FieldFilter
  readonly responseFields: string
  readonly firstByteMs: number
  readonly timeouts: RouteTimeouts
  readonly maxBodyBytes: number
  readonly retryStatuses: readonly number[]
  readonly retryAttempts: number
  readonly mirror: string
  readonly stickyFields: ((slot: number) => string) | undefined
  readonly #gates: readonly Gate[]
  readonly #action: Action

  constructor(config: RouteConfig, context: RouteContext) {
    const { requestHeaders, responseHeaders, forwardAuth, cors, sticky, retry } = config
    const changes = withoutHost(requestHeaders)
    const session = sticky && new StickySession(sticky, context.stickyServers)
    const replaced = ["host", ...FORWARDED_NAMES, ...(forwardAuth?.copyHeaders ?? [])]
    this.name = config.name
    this.row = context.row
    this.host = hostOf(config)
    this.conditions = conditionsOf(config)
    this.requestFilter = filterOf(changes, replaced)
    this.requestFields = linesOf(changes)
    this.responseFilter = filterOf(responseHeaders, cors === undefined ? [] : CORS_FIELDS)
    this.responseFields = linesOf(responseHeaders)
    this.firstByteMs = config.timeoutMs ?? context.http.timeouts.firstByteMs
    this.timeouts = config.timeouts ?? LISTENERS_TIMEOUTS
    this.maxBodyBytes = config.maxBodyBytes
    this.retryStatuses = retry.statuses
    this.retryAttempts = retry.attempts
    this.mirror = config.mirror
    this.stickyFields = session && ((slot) => session.fieldsFor(slot))
    this.#gates = gatesOf(config, context)
    const plainPool = this.#gates.length > 0 ? undefined : plainPoolOf(config)
    this.#action =
      plainPool === undefined ? actionOf(config, session, context) : context.forwardTo(plainPool)
    this.plainDecision = plainPool === undefined ? undefined : plainDecision(this, plainPool)
  }

  decide(request: RouteRequest): Decision {
    return this.#gates.length === 0 ? this.#action.decide(request, this) : this.#pass(request, 0)
  }

  /** As if all gates had been passed. */
  act(request: RouteRequest): Decision {
    return this.#action.decide(request, this)
  }

  after(gate: Gate, request: RouteRequest): Resume {
    const next = this.#gates.indexOf(gate) + 1
    const { requestFields: before, responseFields } = request
    return (held: HeldRequest, added = "") => {
      request.resume(held, { requestFields: before + added, responseFields })
      return this.#pass(request, next)
    }
  }

  /** From gate `first` on. */
  #pass(request: RouteRequest, first: number): Decision {
    for (let index = first; index < this.#gates.length; index++) {
      const decision = (this.#gates[index] as Gate).check(request, this)
      if (decision !== undefined) return decision
    }
    return this.#action.decide(request, this)
  }
}

/**
 * In the order in which they are passed. A preflight carries no credentials, so CORS comes before
 * who may pass; what costs more than a look at a table comes after the limit.
 */
function gatesOf(config: RouteConfig, { http, rates }: RouteContext): readonly Gate[] {
  const { allow, deny, cors, rateLimit, basicAuth, forwardAuth } = config
  const scope = `${http.name} ${rateLimit?.scope || config.name}`
  const gates = [
    ...(config.tlsRedirect ? [new TlsRedirectGate(tlsPort(http))] : []),
    ...(allow.length + deny.length === 0 ? [] : [new AccessGate({ allow, deny })]),
    ...(cors === undefined ? [] : [new CorsGate(cors, config.responseHeaders)]),
    ...(rateLimit === undefined ? [] : [new RateLimitGate(rateLimit, { table: rates, scope })]),
    ...(basicAuth === undefined ? [] : [new BasicAuthGate(basicAuth)]),
    ...(forwardAuth === undefined ? [] : [new ForwardAuthGate(forwardAuth)]),
  ]
  return gates.length === 0 ? NO_GATES : gates
}

function actionOf(
  config: RouteConfig,
  sticky: StickySession | undefined,
  { splitStart }: RouteContext,
): Action {
  const { action } = config
  switch (action.type) {
    case "pool":
      return new ForwardAction(config, { pool: action.pool, sticky })
    case "split":
      return new SplitAction(config, action.targets, { sticky, start: splitStart })
    case "redirect":
      return new RedirectAction(config, action.redirect)
    case "respond":
      return new RespondAction(config, action)
  }
}

/** The pool of a route that sends on what it receives, whoever asks; undefined: it does more. */
function plainPoolOf({ action, rewrite, sticky }: RouteConfig): string | undefined {
  const isPlain = action.type === "pool" && rewrite === undefined && sticky === undefined
  return isPlain ? action.pool : undefined
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

const LISTENERS_TIMEOUTS: RouteTimeouts = {
  betweenBytesMs: undefined,
  tunnelMs: undefined,
  sendMs: undefined,
}
const NO_GATES: readonly Gate[] = []
