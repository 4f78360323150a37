/** A place and what its Ingresses ask for, as a route. */
import type {
  FieldCondition,
  RedirectConfig,
  RouteAction,
  RouteConfig,
  RouteTimeouts,
  SplitTarget,
  StickyConfig,
} from "../../config/http-config.ts"
import { keyOf } from "../objects.ts"
import type { Access } from "./access.ts"
import type { IngressOptions } from "./options.ts"
import type { CanaryOptions } from "./options-canary.ts"
import type { RedirectTarget } from "./options-redirect.ts"
import type { StickyOptions } from "./options-sticky.ts"
import type { Place } from "./places.ts"
import { ingressPattern, prefixPattern } from "./route-path.ts"
import type { Rule } from "./rules.ts"

export interface RouteParts extends Access {
  /** Pool of the backend; undefined: there is none. */
  readonly pool: string | undefined
  /** Of the canary; undefined: none. */
  readonly canaryPool: string | undefined
  /** Plain requests are sent to https. */
  readonly tlsRedirect: boolean
  /** A prefix that is to be tried among patterns. */
  readonly asPattern: boolean
}

export function routeOf(place: Place, parts: RouteParts): RouteConfig {
  const { rule, owner } = place
  const { options } = owner
  const action = actionOf(place, parts)
  const isSentElsewhere = action.type === "redirect"
  const tlsRedirect = parts.tlsRedirect && !isSentElsewhere
  const auth = options.access.auth
  return {
    ...PLAIN_ROUTE,
    name: nameOf(place),
    host: rule.host,
    ...pathOf(rule, options, parts.asPattern),
    action,
    ...(action.type === "respond" || isSentElsewhere
      ? {}
      : forwardKeys(rule, options, tlsRedirect)),
    tlsRedirect,
    cors: options.cors,
    rateLimit: limitOf(place),
    basicAuth:
      auth === undefined || parts.users === undefined
        ? undefined
        : { realm: auth.realm, usersFile: "", users: parts.users },
    forwardAuth: parts.forwardAuth,
    allow: options.access.allow,
    deny: options.access.deny,
    maxBodyBytes: options.bodyBytesMax ?? 0,
  }
}

function nameOf({ rule, owner }: Place): string {
  const sign = { prefix: "", exact: "=", regex: "~" }[rule.match]
  return `${keyOf(owner.ingress.meta)} ${rule.host || "*"}${sign}${rule.path}`
}

type PathKeys = Pick<RouteConfig, "path" | "match" | "rewrite" | "rewriteScope">

function pathOf(
  { path, match, target, rank }: Rule,
  options: IngressOptions,
  asPattern: boolean,
): PathKeys {
  // What no rule has matched is for the default backend as it was asked for.
  const rewrite = target.type === "backend" && rank !== "rest" ? options.rewrite : undefined
  const { target: written, scope } = rewrite ?? { target: undefined, scope: "match" as const }
  if (match === "regex") {
    const template = written && withCaptures(written)
    return { path: ingressPattern(path), match, rewrite: template, rewriteScope: "path" }
  }
  // A plain path captures nothing.
  const plain = written?.replace(/\$[1-9]/g, "")
  if (match === "exact") return { path, match, rewrite: plain, rewriteScope: "path" }
  if (!asPattern) return { path, match, rewrite: plain, rewriteScope: scope }
  const base = scope === "match" ? plain?.replace(/\/$/, "") : plain
  const template =
    base === undefined ? undefined : withCaptures(base) + (scope === "match" ? "$1" : "")
  return { path: prefixPattern(path), match: "regex", rewrite: template, rewriteScope: "path" }
}

/** In our templates "$$" is a dollar sign and "$<name>" a group; nginx knows digits alone. */
function withCaptures(template: string): string {
  return template.replace(/\$(?![1-9])/g, "$$$$")
}

function actionOf({ rule, owner, canary }: Place, parts: RouteParts): RouteAction {
  const { options } = owner
  if (parts.isRefused) return UNAVAILABLE
  const whole = options.redirects.whole
  if (whole !== undefined && rule.rank !== "www") {
    return { type: "redirect", redirect: redirectOf(whole) }
  }
  if (rule.target.type === "redirect") return rule.target
  const { pool, canaryPool } = parts
  if (pool === undefined) return UNAVAILABLE
  if (canary === undefined || canaryPool === undefined) return { type: "pool", pool }
  return { type: "split", targets: splitOf(canary.options, { pool, canaryPool }) }
}

/** The first target whose condition holds gets the request; without one the weights decide. */
function splitOf(
  { weight, weightTotal, header, cookie }: CanaryOptions,
  { pool, canaryPool }: { readonly pool: string; readonly canaryPool: string },
): SplitTarget[] {
  const targets: SplitTarget[] = []
  const add = (to: string, key: "header" | "cookie", condition: FieldCondition) => {
    targets.push({ ...SHARE, pool: to, weight: 0, [key]: condition })
  }
  if (header !== undefined) {
    const { name, wanted } = header
    if (wanted.type === "always") {
      add(canaryPool, "header", { name, value: "always" })
      add(pool, "header", { name, value: "never" })
    } else if (wanted.type === "value") add(canaryPool, "header", { name, value: wanted.value })
    else add(canaryPool, "header", { name, value: { pattern: wanted.pattern } })
  }
  if (cookie !== "") {
    add(canaryPool, "cookie", { name: cookie, value: "always" })
    add(pool, "cookie", { name: cookie, value: "never" })
  }
  targets.push({ ...SHARE, pool, weight: weightTotal - weight })
  if (weight > 0) targets.push({ ...SHARE, pool: canaryPool, weight })
  return targets
}

function redirectOf(target: RedirectTarget): RedirectConfig {
  const { scheme, host, port, path, keepsRequest, status } = target
  return keepsRequest
    ? { scheme, host, port, path: undefined, isLiteral: false, status }
    : { scheme, host, port, path, isLiteral: true, status }
}

function forwardKeys(rule: Rule, options: IngressOptions, tlsRedirect: boolean) {
  const { upstreamHost, forwardedPrefix, sticky, readTimeoutMs } = options
  const set = [
    ...(upstreamHost === "" ? [] : [{ name: "Host", value: upstreamHost }]),
    ...(forwardedPrefix === "" ? [] : [{ name: "X-Forwarded-Prefix", value: forwardedPrefix }]),
  ]
  return {
    requestHeaders: set.length === 0 ? NO_CHANGES : { ...NO_CHANGES, set },
    timeoutMs: readTimeoutMs,
    timeouts: timeoutsOf(options),
    sticky: sticky && stickyOf(sticky, rule, tlsRedirect),
  }
}

/** `proxy_read_timeout` of nginx is between any two reads: the first, the next, and of a tunnel. */
function timeoutsOf({ readTimeoutMs, sendTimeoutMs }: IngressOptions): RouteTimeouts | undefined {
  if (readTimeoutMs === undefined && sendTimeoutMs === undefined) return undefined
  return { betweenBytesMs: readTimeoutMs, tunnelMs: readTimeoutMs, sendMs: sendTimeoutMs }
}

function stickyOf(
  sticky: StickyOptions,
  { path, match }: Rule,
  tlsRedirect: boolean,
): StickyConfig {
  const { cookie, domain, sameSite, maxAgeMs } = sticky
  return {
    cookie,
    path: sticky.path || (match === "regex" ? "/" : path),
    secure: sticky.isSecure ?? tlsRedirect,
    httpOnly: true,
    sameSite,
    domain,
    maxAgeMs,
  }
}

/** Counted over all paths of the Ingress. */
function limitOf({ owner }: Place): RouteConfig["rateLimit"] {
  const { limit } = owner.options
  return limit && { ...limit, header: "", scope: keyOf(owner.ingress.meta) }
}

const UNAVAILABLE: RouteAction = {
  type: "respond",
  status: 503,
  body: "503 Service Unavailable\n",
  contentType: "text/plain; charset=utf-8",
}

const SHARE = { header: undefined, cookie: undefined } as const

const NO_CHANGES: RouteConfig["requestHeaders"] = { set: [], add: [], remove: [] }

const PLAIN_ROUTE: RouteConfig = {
  name: "",
  host: "",
  path: "/",
  match: "prefix",
  methods: [],
  headers: [],
  query: [],
  action: UNAVAILABLE,
  rewrite: undefined,
  rewriteScope: "match",
  requestHeaders: NO_CHANGES,
  responseHeaders: NO_CHANGES,
  timeoutMs: undefined,
  timeouts: undefined,
  tlsRedirect: false,
  retry: { statuses: [], attempts: 0 },
  sticky: undefined,
  mirror: "",
  rateLimit: undefined,
  basicAuth: undefined,
  forwardAuth: undefined,
  cors: undefined,
  allow: [],
  deny: [],
  maxBodyBytes: 0,
}
