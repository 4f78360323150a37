/**
 * The typed form of `[[http]]`: listeners, routes and what a route does. See `config.ts` for the
 * conventions.
 */
import type { Endpoint, Prefix } from "../net/address.ts"

export interface HttpConfig {
  readonly name: string
  readonly bind: readonly HttpBindConfig[]
  /** Undefined: no bind has `tls = true`. */
  readonly tls: TlsConfig | undefined
  readonly routes: readonly RouteConfig[]
  /** Also serves the Ingress objects of `[kubernetes]`. */
  readonly ingress: boolean
  /** Networks whose X-Forwarded-*, Forwarded and X-Request-ID fields are believed. */
  readonly trustedProxies: readonly Prefix[]
  /** Networks that must send the PROXY protocol; empty: nobody does. */
  readonly acceptProxyProtocol: readonly Prefix[]
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  readonly maxConnections: number
  /** "//" in a path counts as "/". */
  readonly mergeSlashes: boolean
  readonly limits: HttpLimits
  readonly timeouts: HttpTimeouts
}

export interface HttpBindConfig {
  readonly endpoint: Endpoint
  readonly tls: boolean
}

export interface HttpLimits {
  /** Request or response line and fields together, bytes. */
  readonly headBytesMax: number
  readonly fieldsMax: number
}

export interface HttpTimeouts {
  /** From the first byte of a request to the end of its head. */
  readonly headMs: number
  /** Between two reads of a request body. */
  readonly bodyMs: number
  /** Keep-alive connection without a request. */
  readonly idleMs: number
  /** From the request's end to the first byte of the response. */
  readonly firstByteMs: number
  /** Between two reads of a response body. */
  readonly betweenBytesMs: number
  /** Upgraded connection on which nothing moves. */
  readonly tunnelMs: number
  readonly handshakeMs: number
}

export interface TlsConfig {
  readonly certificates: readonly { readonly cert: string; readonly key: string }[]
  readonly minVersion: "1.2" | "1.3"
  /** Plain binds answer 308 to https. */
  readonly redirect: boolean
  readonly clientCertificates: "off" | "optional" | "required"
  /** PEM bundle client certificates are verified with; empty with "off". */
  readonly clientCaFile: string
  /** 80 bytes of key material that both edges of a pair share; empty: random per process. */
  readonly sessionTicketKeyFile: string
}

export type PathMatch = "prefix" | "exact" | "regex"

export interface RouteConfig {
  /** Unique in its listener; "k8s.com/api/v1" where the file names none. */
  readonly name: string
  /** Exact lower-case name, "*.example.com", or empty: any. */
  readonly host: string
  readonly path: string
  readonly match: PathMatch
  /** Empty: any. */
  readonly methods: readonly string[]
  readonly headers: readonly FieldCondition[]
  readonly query: readonly FieldCondition[]
  readonly action: RouteAction
  /** What a server gets for the path, and behind "?" before the query; undefined: as asked. */
  readonly rewrite: string | undefined
  /** What `rewrite` replaces: what has matched of a prefix, or the path as a whole. */
  readonly rewriteScope: "match" | "path"
  readonly requestHeaders: HeaderChanges
  readonly responseHeaders: HeaderChanges
  /** Overrides `timeouts.firstByteMs`; undefined: does not. */
  readonly timeoutMs: number | undefined
  /** Overrides of more of `timeouts`. */
  readonly timeouts: RouteTimeouts | undefined
  /** Requests that did not come by TLS are answered 308 to https, before all else. */
  readonly tlsRedirect: boolean
  readonly retry: RetryConfig
  readonly sticky: StickyConfig | undefined
  /** Pool that gets a copy of each request; empty: none. */
  readonly mirror: string
  readonly rateLimit: RateLimitConfig | undefined
  readonly basicAuth: BasicAuthConfig | undefined
  readonly forwardAuth: ForwardAuthConfig | undefined
  readonly cors: CorsConfig | undefined
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  /** Bytes; 0 = unlimited. */
  readonly maxBodyBytes: number
}

/** Undefined: that of the listener. */
export interface RouteTimeouts {
  /** Between two reads of a response body. */
  readonly betweenBytesMs: number | undefined
  /** Upgraded connection on which nothing moves. */
  readonly tunnelMs: number | undefined
  /** The server takes nothing of the request; otherwise `bodyMs`. */
  readonly sendMs: number | undefined
}

/**
 * What a header, query parameter or cookie must be: exactly a text, present, absent, or such that a
 * part of it matches a pattern.
 */
export interface FieldCondition {
  readonly name: string
  readonly value: string | boolean | FieldPattern
}

/** Source of a regular expression. */
export interface FieldPattern {
  readonly pattern: string
}

export type RouteAction =
  | { readonly type: "pool"; readonly pool: string }
  /** Weighted; a condition sends a request to its pool whatever the weights say (canary). */
  | { readonly type: "split"; readonly targets: readonly SplitTarget[] }
  | { readonly type: "redirect"; readonly redirect: RedirectConfig }
  | {
      readonly type: "respond"
      readonly status: number
      readonly body: string
      readonly contentType: string
    }

/** `set_headers`, `add_headers`, `remove_headers`, and the same for responses. */
export interface HeaderChanges {
  /** In place of those of the same name. */
  readonly set: readonly HeaderField[]
  readonly add: readonly HeaderField[]
  readonly remove: readonly string[]
}

export interface HeaderField {
  readonly name: string
  readonly value: string
}

export interface SplitTarget {
  readonly pool: string
  /** 0: only by header or cookie. */
  readonly weight: number
  readonly header: FieldCondition | undefined
  readonly cookie: FieldCondition | undefined
}

/** Parts left undefined stay as they were asked for. */
export interface RedirectConfig {
  readonly scheme: "http" | "https" | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  readonly path: string | undefined
  /** `path` is all that follows the host: the query of the request does not. */
  readonly isLiteral: boolean
  readonly status: 301 | 302 | 303 | 307 | 308
}

export interface RetryConfig {
  /** Response status codes after which an idempotent request is tried on another server. */
  readonly statuses: readonly number[]
  readonly attempts: number
}

export interface StickyConfig {
  readonly cookie: string
  readonly path: string
  readonly secure: boolean
  readonly httpOnly: boolean
  /** Undefined: the attribute is left out. */
  readonly sameSite: "strict" | "lax" | "none" | undefined
  /** Empty: the host that was asked, alone. */
  readonly domain: string
  /** Undefined: to the end of the browser's session. */
  readonly maxAgeMs: number | undefined
}

export interface RateLimitConfig {
  readonly requests: number
  readonly perMs: number
  /** So many at once. */
  readonly burst: number
  /** Header whose value is counted; empty, or not in the request: the client's address. */
  readonly header: string
  /** Routes of a listener with the same scope and figures count together; empty: each alone. */
  readonly scope: string
  /** Networks whose clients are not counted. */
  readonly exempt: readonly Prefix[]
}

export interface BasicAuthConfig {
  readonly realm: string
  /** File of `user:hash` lines as `htpasswd` writes it; empty: `users` came from elsewhere. */
  readonly usersFile: string
  /** What it held when the configuration was read: a hash for each name. */
  readonly users: Readonly<Record<string, string>>
}

export interface ForwardAuthConfig {
  readonly pool: string
  readonly path: string
  /** Response fields of the auth server that are copied to the request. */
  readonly copyHeaders: readonly string[]
  /** Where a client is sent (302) whom the auth server answers 401; empty: it gets the 401. */
  readonly signinUrl: string
}

export interface CorsConfig {
  readonly allowOrigins: readonly string[]
  readonly allowMethods: readonly string[]
  readonly allowHeaders: readonly string[]
  readonly exposeHeaders: readonly string[]
  readonly allowCredentials: boolean
  readonly maxAgeMs: number
}
