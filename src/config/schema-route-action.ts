/** What becomes of a request: `redirect`, `respond` and `split` of `[[http.route]]`. */
import {
  type Context,
  type Decoder,
  defaultsOf,
  INVALID,
  type Invalid,
  list,
  optional,
  required,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import type { RedirectConfig, SplitTarget } from "./http-config.ts"
import { locate, type TomlNode } from "./toml.ts"
import { boolean, identifier, integer, matching, oneOf, text, textOf } from "./values.ts"
import { literalPath, singleCondition, targetHost } from "./values-http.ts"

export const redirectSchema: TableSchema<RedirectConfig> = {
  name: "http.route.redirect",
  title: "redirect",
  fields: {
    scheme: optional<RedirectConfig["scheme"]>("scheme", oneOf("http", "https"), undefined),
    host: optional<string | undefined>("host", targetHost, undefined),
    port: optional<number | undefined>("port", integer(1, 65535), undefined),
    path: optional<string | undefined>("path", literalPath, undefined),
    isLiteral: optional("drop_query", boolean, false),
    status: optional("status", redirectStatus(), 302),
  },
}

function redirectStatus(): Decoder<RedirectConfig["status"]> {
  const codes = [301, 302, 303, 307, 308] as const
  return scalar("301, 302, 303, 307 or 308", (node) =>
    node.type === "integer" ? codes.find((code) => BigInt(code) === node.value) : undefined,
  )
}

/** `"https://k8s.com/new"` is short for its parts. */
export const redirect: Decoder<RedirectConfig> = (node, context) => {
  if (node.type === "string") return redirectUrl(node, context)
  const parts = table(redirectSchema)(node, context)
  if (parts === INVALID) return INVALID
  const { scheme, host, port, path } = parts
  if ([scheme, host, port, path].some((part) => part !== undefined)) return parts
  const message = "redirect names nothing that changes: clients would ask again and again"
  context.report.error(node, message, 'Add scheme = "https", or a host, port or path')
  return INVALID
}

function redirectUrl(node: TomlNode, context: Context): RedirectConfig | Invalid {
  const match = /^(https?):\/\/([^/?#:]+|\[[^\]]+\])(?::(\d+))?(\/[\x21\x22\x24-\x7e]*)?$/i.exec(
    textOf(node) ?? "",
  )
  const port = match?.[3] === undefined ? undefined : Number(match[3])
  if (match === null || port === 0 || (port ?? 1) > 65535) {
    const hint = 'Or write its parts: { scheme = "https" }'
    const message = 'redirect must be a URL such as "https://k8s.com/new"'
    context.report.error(node, message, hint)
    return INVALID
  }
  const host = (match[2] ?? "").toLowerCase()
  const scheme = match[1]?.toLowerCase() === "https" ? "https" : "http"
  return { scheme, host, port, path: match[4], isLiteral: false, status: 302 }
}

export interface RespondKeys {
  readonly status: number
  readonly body: string
  readonly contentType: string
}

/** What a data thread writes in one piece. */
const BODY_BYTES_MAX = 256 * 1024

const respondBody: Decoder<string> = (node, context) => {
  const body = text(node, context)
  if (body === INVALID || Buffer.byteLength(body) <= BODY_BYTES_MAX) return body
  const hint = "Have a server of a pool answer what is larger"
  context.report.error(node, "body must be at most 256KiB", hint)
  return INVALID
}

export const respondSchema: TableSchema<RespondKeys> = {
  name: "http.route.respond",
  title: "respond",
  fields: {
    status: optional("status", integer(200, 599), 200),
    body: optional("body", respondBody, ""),
    contentType: optional(
      "content_type",
      scalar("a media type", (node) => matching(node, /^[\w!#$&^.+-]+\/[\x20-\x7e]+$/)),
      "text/plain; charset=utf-8",
    ),
  },
}

/** `404` is short for `{ status = 404 }`. */
export const respond: Decoder<RespondKeys> = (node, context) => {
  if (node.type === "integer") {
    const status = integer(200, 599)(node, context)
    return status === INVALID ? INVALID : { ...defaultsOf(respondSchema), status }
  }
  const keys = table(respondSchema)(node, context)
  if (keys === INVALID || keys.body === "" || ![204, 304].includes(keys.status)) return keys
  context.report.error(locate(node, "body"), `A response with status ${keys.status} has no body`)
  return INVALID
}

interface SplitKeys extends Omit<SplitTarget, "weight"> {
  readonly weight: number | undefined
}

export const splitSchema: TableSchema<SplitKeys> = {
  name: "http.route.split",
  title: "an entry of split",
  fields: {
    pool: required("pool", identifier),
    weight: optional<number | undefined>("weight", integer(0, 10_000), undefined),
    header: optional<SplitTarget["header"]>("header", singleCondition, undefined),
    cookie: optional<SplitTarget["cookie"]>("cookie", singleCondition, undefined),
  },
}

/** A target with a condition gets what meets it, and a share only if it asks for one. */
const splitTarget: Decoder<SplitTarget> = (node, context) => {
  const keys = table(splitSchema)(node, context)
  if (keys === INVALID) return INVALID
  const isConditional = keys.header !== undefined || keys.cookie !== undefined
  return { ...keys, weight: keys.weight ?? (isConditional ? 0 : 1) }
}

export const split: Decoder<readonly SplitTarget[]> = (node, context) => {
  const targets = list(splitTarget, "a list of tables")(node, context)
  if (targets === INVALID || targets.some(({ weight }) => weight > 0)) return targets
  context.report.error(node, "No entry of split has a weight above 0", "Write weight = 1")
  return INVALID
}
