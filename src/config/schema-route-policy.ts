/** How a route treats its requests: retries, stickiness, limits, who may pass, CORS. */
import {
  type Decoder,
  INVALID,
  list,
  optional,
  required,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import type {
  BasicAuthConfig,
  CorsConfig,
  ForwardAuthConfig,
  RateLimitConfig,
  RetryConfig,
  StickyConfig,
} from "./http-config.ts"
import { locate } from "./toml.ts"
import { readUsers } from "./users-file.ts"
import {
  absolutePath,
  boolean,
  duration,
  identifier,
  integer,
  matching,
  network,
  oneOf,
  textOf,
} from "./values.ts"
import {
  cookieName,
  headerName,
  literalPath,
  method,
  removableHeaders,
  targetHost,
} from "./values-http.ts"

export const retrySchema: TableSchema<RetryConfig> = {
  name: "http.route.retry",
  title: "retry",
  fields: {
    statuses: required("on", list(integer(400, 599), "a list of status codes")),
    attempts: optional("attempts", integer(1, 10), 1),
  },
}

/** "0s": to the end of the browser's session. */
const cookieAge: Decoder<number | undefined> = (node, context) => {
  const ageMs = duration(0)(node, context)
  return ageMs === 0 ? undefined : ageMs
}

/** "off": the attribute is left out. */
const sameSite: Decoder<StickyConfig["sameSite"]> = (node, context) => {
  const value = oneOf("strict", "lax", "none", "off")(node, context)
  return value === "off" ? undefined : value
}

export const stickySchema: TableSchema<StickyConfig> = {
  name: "http.route.sticky",
  title: "sticky",
  fields: {
    cookie: optional("cookie", cookieName, "causeway"),
    path: optional(
      "path",
      scalar("a path that starts with /", (node) => matching(node, /^\/[\x21-\x3a\x3c-\x7e]*$/)),
      "/",
    ),
    secure: optional("secure", boolean, false),
    httpOnly: optional("http_only", boolean, true),
    sameSite: optional<StickyConfig["sameSite"]>("same_site", sameSite, "lax"),
    domain: optional("domain", emptyOr(targetHost), ""),
    maxAgeMs: optional<number | undefined>("max_age", cookieAge, undefined),
  },
}

/** Browsers drop a cookie that says SameSite=None without Secure. */
export const sticky: Decoder<StickyConfig> = (node, context) => {
  const keys = table(stickySchema)(node, context)
  if (keys === INVALID || keys.sameSite !== "none" || keys.secure) return keys
  context.report.error(locate(node, "same_site"), 'same_site = "none" needs secure = true')
  return INVALID
}

interface RateLimitKeys extends Omit<RateLimitConfig, "burst"> {
  readonly burst: number | undefined
}

export const rateLimitSchema: TableSchema<RateLimitKeys> = {
  name: "http.route.rate_limit",
  title: "rate_limit",
  fields: {
    requests: required("requests", integer(1, 1_000_000)),
    perMs: optional("per", duration(100, 86_400_000), 1000),
    burst: optional<number | undefined>("burst", integer(1, 1_000_000), undefined),
    header: optional("header", emptyOr(headerName), ""),
    scope: optional(
      "scope",
      scalar("a name of letters, digits, - and _", (node) => matching(node, /^[\w-]{0,64}$/)),
      "",
    ),
    exempt: optional("exempt", list(network, "a list of networks"), []),
  },
}

export const rateLimit: Decoder<RateLimitConfig> = (node, context) => {
  const keys = table(rateLimitSchema)(node, context)
  return keys === INVALID ? INVALID : { ...keys, burst: keys.burst ?? keys.requests }
}

export const basicAuthSchema: TableSchema<Omit<BasicAuthConfig, "users">> = {
  name: "http.route.basic_auth",
  title: "basic_auth",
  fields: {
    realm: optional(
      "realm",
      scalar("text without quotes", (node) =>
        matching(node, /^[\x20\x21\x23-\x5b\x5d-\x7e]{1,128}$/),
      ),
      "restricted",
    ),
    usersFile: required("users_file", absolutePath),
  },
}

export const basicAuth: Decoder<BasicAuthConfig> = (node, context) => {
  const keys = table(basicAuthSchema)(node, context)
  if (keys === INVALID) return INVALID
  const users = readUsers(locate(node, "users_file"), keys.usersFile, context)
  return users === INVALID ? INVALID : { ...keys, users }
}

export const forwardAuthSchema: TableSchema<ForwardAuthConfig> = {
  name: "http.route.forward_auth",
  title: "forward_auth",
  fields: {
    pool: required("pool", identifier),
    path: optional("path", literalPath, "/"),
    copyHeaders: optional("copy_headers", removableHeaders, []),
    signinUrl: optional(
      "signin_url",
      scalar('a URL such as "https://login.k8s.com/start"', (node) =>
        matching(node, /^(https?:\/\/[^\s/?#"<>\\]+(\/[\x21\x23-\x7e]*)?)?$/),
      ),
      "",
    ),
  },
}

/** As a browser sends it (RFC 6454 §6.1), "*" for all, or with "*." before the host. */
const corsOrigin: Decoder<string> = scalar(
  'an origin such as "https://app.k8s.com"',
  (node) => matching(node, /^(\*|null|[a-z][a-z0-9+.-]*:\/\/(\*\.)?[a-z0-9._-]+(:\d{1,5})?)$/),
  (node) => (textOf(node)?.endsWith("/") ? "Leave out the final slash" : ""),
)

export const corsSchema: TableSchema<CorsConfig> = {
  name: "http.route.cors",
  title: "cors",
  fields: {
    allowOrigins: required("allow_origins", list(corsOrigin, "a list of origins")),
    allowMethods: optional("allow_methods", list(method, "a list of methods"), [
      "GET",
      "HEAD",
      "POST",
    ]),
    allowHeaders: optional("allow_headers", list(headerName, "a list of header names"), []),
    exposeHeaders: optional("expose_headers", list(headerName, "a list of header names"), []),
    allowCredentials: optional("allow_credentials", boolean, false),
    maxAgeMs: optional("max_age", duration(0, 86_400_000), 600_000),
  },
}

export const cors: Decoder<CorsConfig> = (node, context) => {
  const keys = table(corsSchema)(node, context)
  if (keys === INVALID || !keys.allowCredentials || !keys.allowOrigins.includes("*")) return keys
  const message = 'allow_credentials needs origins by name: with "*" any site could act as the user'
  context.report.error(locate(node, "allow_origins"), message, "List the origins")
  return INVALID
}

function emptyOr(decode: Decoder<string>): Decoder<string> {
  return (node, context) => (textOf(node) === "" ? "" : decode(node, context))
}
