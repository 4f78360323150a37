/**
 * What an Ingress asks for by annotations, as values. The names and their meaning are those of
 * ingress-nginx, because that is what manifests are written for; one name, of the time before its
 * prefix was nginx.ingress.kubernetes.io, means another thing and is read as it was then.
 */
import type { BalancePolicy } from "../../config/config.ts"
import type { CorsConfig } from "../../config/http-config.ts"
import type { Prefix } from "../../net/address.ts"
import type { Ingress } from "../objects.ts"
import { AnnotationReader, PREFIX, type TextKind } from "./annotation-reader.ts"
import { type AccessOptions, readAccess } from "./options-access.ts"
import { type BackendOptions, readBackend } from "./options-backend.ts"
import { type CanaryOptions, readCanary } from "./options-canary.ts"
import { readCors } from "./options-cors.ts"
import { type RedirectOptions, readRedirects } from "./options-redirect.ts"
import { readSticky, type StickyOptions } from "./options-sticky.ts"
import type { Finding } from "./problem.ts"
import { reportRest } from "./unsupported.ts"

export interface IngressOptions {
  readonly rewrite: RewriteOption | undefined
  readonly useRegex: boolean
  readonly sslRedirect: boolean
  /** Also where the host has no TLS here: somebody in front has. */
  readonly forceSslRedirect: boolean
  /** 0, or undefined: any. */
  readonly bodyBytesMax: number | undefined
  readonly readTimeoutMs: number | undefined
  readonly sendTimeoutMs: number | undefined
  readonly canary: CanaryOptions | undefined
  readonly sticky: StickyOptions | undefined
  readonly access: AccessOptions
  readonly backend: BackendOptions
  readonly redirects: RedirectOptions
  readonly cors: CorsConfig | undefined
  readonly limit: LimitOption | undefined
  readonly balance: BalancePolicy | undefined
  /** Host towards the server; "": as received. */
  readonly upstreamHost: string
  /** X-Forwarded-Prefix; "": none. */
  readonly forwardedPrefix: string
  /** Further hosts for all rules that have one. */
  readonly aliases: readonly string[]
  readonly findings: readonly Finding[]
}

export interface RewriteOption {
  readonly target: string
  /** "path": the whole of it; "match": what the path of the rule has matched. */
  readonly scope: "path" | "match"
}

export interface LimitOption {
  readonly requests: number
  readonly perMs: number
  readonly burst: number
  readonly exempt: readonly Prefix[]
}

export function readOptions({ meta }: Ingress): IngressOptions {
  const names = Object.keys(meta.annotations)
  if (!names.some((name) => name.startsWith(PREFIX) || name.startsWith(OLD_PREFIX))) return DEFAULTS
  const reader = new AnnotationReader(meta.annotations)
  const options = {
    rewrite: readRewrite(reader, meta.annotations[OLD_REWRITE]),
    useRegex: reader.boolean("use-regex") ?? false,
    sslRedirect: reader.boolean("ssl-redirect") ?? true,
    forceSslRedirect: reader.boolean("force-ssl-redirect") ?? false,
    bodyBytesMax: reader.size("proxy-body-size"),
    readTimeoutMs: reader.seconds("proxy-read-timeout"),
    sendTimeoutMs: reader.seconds("proxy-send-timeout"),
    canary: readCanary(reader),
    sticky: readSticky(reader),
    access: readAccess(reader, meta.namespace),
    backend: readBackend(reader, meta.namespace),
    redirects: readRedirects(reader),
    cors: readCors(reader),
    limit: readLimit(reader),
    balance: readBalance(reader),
    upstreamHost: reader.text("upstream-vhost", AUTHORITY) ?? "",
    forwardedPrefix: reader.text("x-forwarded-prefix", PLAIN_PATH) ?? "",
    aliases: reader.texts("server-alias", HOST) ?? [],
    findings: reader.findings,
  }
  reportRest(reader)
  return options
}

function readRewrite(
  reader: AnnotationReader,
  oldValue: string | undefined,
): RewriteOption | undefined {
  const target = reader.text("rewrite-target", TARGET)
  const old = oldValue?.trim() ?? ""
  if (target !== undefined) {
    if (old !== "") {
      const message = `${OLD_REWRITE} is not used: ${PREFIX}rewrite-target is there too`
      reader.warn("InvalidAnnotation", message)
    }
    return { target, scope: "path" }
  }
  if (old === "" || reader.has("rewrite-target")) return undefined
  if (OLD_TARGET.test(old)) return { target: old, scope: "match" }
  reader.warn("InvalidAnnotation", `${OLD_REWRITE}: ${JSON.stringify(old)} is not a plain path`)
  return undefined
}

/** Five seconds' worth at once, unless told otherwise, as with ingress-nginx. */
function readLimit(reader: AnnotationReader): LimitOption | undefined {
  const perSecond = reader.integer("limit-rps", { min: 0, max: 1_000_000 }) ?? 0
  const perMinute = reader.integer("limit-rpm", { min: 0, max: 1_000_000 }) ?? 0
  const multiplier = reader.integer("limit-burst-multiplier", { min: 1, max: 1000 }) ?? 5
  const exempt = ["limit-allowlist", "limit-whitelist"].flatMap((name) => {
    const networks = reader.networks(name)
    return networks === "invalid" ? [] : networks
  })
  if (perSecond + perMinute === 0) return undefined
  if (perSecond > 0 && perMinute > 0) {
    reader.warn("UnsupportedAnnotation", `${PREFIX}limit-rpm is not used beside limit-rps`)
  }
  const requests = perSecond > 0 ? perSecond : perMinute
  const perMs = perSecond > 0 ? 1000 : 60_000
  return { requests, perMs, burst: requests * multiplier, exempt }
}

function readBalance(reader: AnnotationReader): BalancePolicy | undefined {
  const key = reader.raw("upstream-hash-by")
  if (key !== undefined) {
    if (/^\$\{?(binary_)?remote_addr\}?$/.test(key)) return "source"
    const message = `${PREFIX}upstream-hash-by: only "$remote_addr" is served; it is not used`
    reader.warn("UnsupportedAnnotation", message)
  }
  const policy = reader.choice("load-balance", ["round_robin", "ewma", "least_conn"])
  return policy === "ewma" ? "least_conn" : policy
}

const OLD_PREFIX = "ingress.kubernetes.io/"
export const OLD_REWRITE = `${OLD_PREFIX}rewrite-target`

/** A path, or captures that make one; the query may have some too. */
const TARGET: TextKind = {
  pattern: /^(?:\/|\$[1-9])[^\s\\#\p{C}]*$/u,
  expected: 'a path such as "/" or "/$2"',
}
const OLD_TARGET = /^\/[^\s\\#?$\p{C}]*$/u
export const AUTHORITY: TextKind = {
  pattern: /^[A-Za-z0-9_.-]{1,253}(:\d{1,5})?$/,
  expected: "a host name; variables of nginx are not served",
}
const PLAIN_PATH: TextKind = {
  pattern: /^\/[\x21\x23-\x7e]{0,255}$/,
  expected: "a path without blanks",
}
const HOST: TextKind = {
  pattern: /^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i,
  expected: "host names separated by commas; regular expressions are not served",
}

const DEFAULTS: IngressOptions = {
  rewrite: undefined,
  useRegex: false,
  sslRedirect: true,
  forceSslRedirect: false,
  bodyBytesMax: undefined,
  readTimeoutMs: undefined,
  sendTimeoutMs: undefined,
  canary: undefined,
  sticky: undefined,
  access: { allow: [], deny: [], auth: undefined, external: undefined, refusal: "" },
  backend: { protocol: "http", tls: undefined, connectTimeoutMs: undefined },
  redirects: { whole: undefined, appRoot: "", fromToWww: false },
  cors: undefined,
  limit: undefined,
  balance: undefined,
  upstreamHost: "",
  forwardedPrefix: "",
  aliases: [],
  findings: [],
}
