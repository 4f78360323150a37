/** `[[http.route]]`: which requests, and what becomes of them. */
import {
  type Context,
  type Decoded,
  type Decoder,
  decodeTable,
  list,
  optional,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import type {
  BasicAuthConfig,
  CorsConfig,
  ForwardAuthConfig,
  HeaderField,
  RateLimitConfig,
  RedirectConfig,
  RouteAction,
  RouteConfig,
  RouteTimeouts,
  SplitTarget,
  StickyConfig,
} from "./http-config.ts"
import { checkPath, checkPattern, checkRewrite } from "./route-path.ts"
import { type RespondKeys, redirect, respond, split } from "./schema-route-action.ts"
import {
  basicAuth,
  cors,
  forwardAuthSchema,
  rateLimit,
  retrySchema,
  sticky,
} from "./schema-route-policy.ts"
import { locate, type TomlTable } from "./toml.ts"
import { boolean, duration, identifier, matching, network, oneOf, text } from "./values.ts"
import {
  headerConditions,
  headerFields,
  method,
  optionalPool,
  queryConditions,
  removableHeaders,
  routeHost,
  setFields,
  size,
} from "./values-http.ts"

interface RouteKeys
  extends Omit<RouteConfig, "name" | "action" | "requestHeaders" | "responseHeaders" | "timeouts">,
    RouteTimeouts {
  readonly name: string | undefined
  readonly pool: string | undefined
  readonly split: readonly SplitTarget[] | undefined
  readonly redirect: RedirectConfig | undefined
  readonly respond: RespondKeys | undefined
  readonly setHeaders: readonly HeaderField[]
  readonly addHeaders: readonly HeaderField[]
  readonly removeHeaders: readonly string[]
  readonly setResponseHeaders: readonly HeaderField[]
  readonly addResponseHeaders: readonly HeaderField[]
  readonly removeResponseHeaders: readonly string[]
}

const networks = list(network, "a list of networks")

export const routeSchema: TableSchema<RouteKeys> = {
  name: "http.route",
  title: "[[http.route]]",
  fields: {
    name: optional<string | undefined>("name", routeName(), undefined),
    host: optional("host", routeHost, ""),
    path: optional("path", text, "/"),
    match: optional("match", oneOf("prefix", "exact", "regex"), "prefix"),
    methods: optional("methods", list(method, "a list of methods"), []),
    headers: optional("headers", headerConditions, []),
    query: optional("query", queryConditions, []),
    pool: optional<string | undefined>("pool", identifier, undefined),
    split: optional<RouteKeys["split"]>("split", split, undefined),
    redirect: optional<RouteKeys["redirect"]>("redirect", redirect, undefined),
    respond: optional<RouteKeys["respond"]>("respond", respond, undefined),
    rewrite: optional<string | undefined>("rewrite", text, undefined),
    rewriteScope: optional("rewrite_scope", oneOf("match", "path"), "match"),
    setHeaders: optional("set_headers", setFields, []),
    addHeaders: optional("add_headers", headerFields, []),
    removeHeaders: optional("remove_headers", removableHeaders, []),
    setResponseHeaders: optional("set_response_headers", headerFields, []),
    addResponseHeaders: optional("add_response_headers", headerFields, []),
    removeResponseHeaders: optional("remove_response_headers", removableHeaders, []),
    timeoutMs: optional<number | undefined>("timeout", duration(10), undefined),
    betweenBytesMs: optional<number | undefined>("between_bytes_timeout", duration(10), undefined),
    tunnelMs: optional<number | undefined>("tunnel_timeout", duration(10), undefined),
    sendMs: optional<number | undefined>("send_timeout", duration(10), undefined),
    tlsRedirect: optional("tls_redirect", boolean, false),
    retry: optional("retry", table(retrySchema), { statuses: [], attempts: 0 }),
    sticky: optional<StickyConfig | undefined>("sticky", sticky, undefined),
    mirror: optional("mirror", optionalPool, ""),
    rateLimit: optional<RateLimitConfig | undefined>("rate_limit", rateLimit, undefined),
    basicAuth: optional<BasicAuthConfig | undefined>("basic_auth", basicAuth, undefined),
    forwardAuth: optional<ForwardAuthConfig | undefined>(
      "forward_auth",
      table(forwardAuthSchema),
      undefined,
    ),
    cors: optional<CorsConfig | undefined>("cors", cors, undefined),
    allow: optional("allow", networks, []),
    deny: optional("deny", networks, []),
    maxBodyBytes: optional("max_body", size(0), 0),
  },
}

/** Goes into logs and metric labels. */
function routeName(): Decoder<string> {
  return scalar("a name without blanks or quotes", (node) => matching(node, /^[!#-[\]-~]{1,128}$/))
}

export function decodeRoute(node: TomlTable, context: Context): Decoded<RouteConfig> {
  const { draft, value } = decodeTable(node, routeSchema, context)
  const isPathRight = draft.path === undefined || checkPaths({ node, draft }, context)
  const action = actionOf({ node, draft }, context)
  const { name = "" } = draft
  if (value === undefined || action === undefined || !isPathRight) {
    return { node, draft: { ...draft, name, action, ...NO_HEADERS }, value: undefined }
  }
  const config = { ...configOf(value), action }
  return { node, draft: config, value: config }
}

const NO_HEADERS = { requestHeaders: undefined, responseHeaders: undefined, timeouts: undefined }

function configOf(keys: RouteKeys): Omit<RouteConfig, "action"> {
  const {
    name = "",
    pool: _pool,
    split: _split,
    redirect: _redirect,
    respond: _respond,
    setHeaders,
    addHeaders,
    removeHeaders,
    setResponseHeaders,
    addResponseHeaders,
    removeResponseHeaders,
    betweenBytesMs,
    tunnelMs,
    sendMs,
    ...rest
  } = keys
  const hasTimeouts = (betweenBytesMs ?? tunnelMs ?? sendMs) !== undefined
  return {
    ...rest,
    name,
    timeouts: hasTimeouts ? { betweenBytesMs, tunnelMs, sendMs } : undefined,
    requestHeaders: { set: setHeaders, add: addHeaders, remove: removeHeaders },
    responseHeaders: {
      set: setResponseHeaders,
      add: addResponseHeaders,
      remove: removeResponseHeaders,
    },
  }
}

type Keys = Pick<Decoded<RouteKeys>, "node" | "draft">

const ACTIONS = ["pool", "split", "redirect", "respond"] as const

function actionOf({ node, draft }: Keys, { report }: Context): RouteAction | undefined {
  const [given, another] = ACTIONS.filter((key) => node.entries.has(key))
  if (given === undefined) {
    report.error(node, "A route needs pool, split, redirect or respond", 'Add pool = "…"')
    return undefined
  }
  if (another !== undefined) {
    const message = `A route has one of ${ACTIONS.join(", ")}; this has ${given} and ${another}`
    report.errorAtKey(locate(node, another), message, "Remove one of them")
    return undefined
  }
  if (draft.pool !== undefined) return { type: "pool", pool: draft.pool }
  if (draft.split !== undefined) return { type: "split", targets: draft.split }
  if (draft.redirect !== undefined) return { type: "redirect", redirect: draft.redirect }
  return draft.respond === undefined ? undefined : { type: "respond", ...draft.respond }
}

function checkPaths({ node, draft }: Keys, context: Context): boolean {
  const { path = "/", match, rewrite } = draft
  const isRegex = match === "regex"
  const isPath = isRegex
    ? checkPattern(locate(node, "path"), path, context)
    : checkPath(locate(node, "path"), path, context)
  return (
    (rewrite === undefined || checkRewrite(locate(node, "rewrite"), rewrite, context)) && isPath
  )
}
