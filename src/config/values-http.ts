/** Decoders of what stands in an HTTP message: names, values, paths, hosts, status codes. */
import { parseAddress } from "../net/address.ts"
import {
  type Context,
  type Decoder,
  INVALID,
  type Invalid,
  isTable,
  list,
  mismatch,
  required,
  scalar,
  type TableSchema,
  table,
} from "./decode.ts"
import type { FieldCondition, FieldPattern, HeaderField } from "./http-config.ts"
import { locate, type TomlNode } from "./toml.ts"
import { formatSize, parseSize } from "./units.ts"
import { identifier, matching, text, textOf } from "./values.ts"

/** Bytes; both ends included. */
export function size(minBytes: number, maxBytes: number = SIZE_MAX_BYTES): Decoder<number> {
  return scalar(
    `a size from "${formatSize(minBytes)}" to "${formatSize(maxBytes)}"`,
    (node) => {
      const bytes = textOf(node) === "0" ? 0 : parseSize(textOf(node) ?? "")
      return bytes !== undefined && bytes >= minBytes && bytes <= maxBytes ? bytes : undefined
    },
    (node) => {
      const bare = node.type === "integer" ? `${node.value}` : matching(node, /^\d+$/)
      if (bare !== undefined) return `Add a unit: "${bare}B" or "${bare}KiB"`
      return parseSize(textOf(node) ?? "") === undefined
        ? "A size is a whole number and a unit: B, KiB, MiB or GiB"
        : ""
    },
  )
}

/** A pool, or empty: none. */
export const optionalPool: Decoder<string> = (node, context) =>
  textOf(node) === "" ? "" : identifier(node, context)

/** RFC 9110 §9.1: methods are case-sensitive, and all that exist are in capitals. */
export const method: Decoder<string> = scalar("an HTTP method in capitals", (node) =>
  matching(node, /^[A-Z][A-Z-]{0,19}$/),
)

/** RFC 9110 §5.1: a token. */
export const headerName: Decoder<string> = scalar(
  "the name of a header: letters, digits and hyphens",
  (node) => matching(node, HEADER_NAME),
)

/** RFC 6265 §4.1.1: a token. */
export const cookieName: Decoder<string> = scalar("the name of a cookie, without blanks", (node) =>
  matching(node, HEADER_NAME),
)

/** Lower case; empty: any. */
export const routeHost: Decoder<string> = scalar(
  'a host name such as "k8s.com" or "*.k8s.com"',
  (node) => {
    const host = (textOf(node) ?? "-").toLowerCase()
    return host === "" || isHostName(host.replace(/^\*\./, "")) ? host : undefined
  },
  hostHint,
)

/** A host without wildcard, where a client is sent. */
export const targetHost: Decoder<string> = scalar(
  'a host name such as "k8s.com"',
  (node) => {
    const host = (textOf(node) ?? "").toLowerCase()
    return isHostName(host) ? host : undefined
  },
  hostHint,
)

/** A path that is written into a message as it stands, with a query or without. */
export const literalPath: Decoder<string> = scalar(
  "a path that starts with / and has no blanks",
  (node) => matching(node, /^\/[\x21\x22\x24-\x7e]*$/),
)

/** `{ NAME = "value" }`; a list of values makes as many headers. */
export const headerFields: Decoder<readonly HeaderField[]> = (node, context) => {
  return entriesOf(node, context, (name, value) => {
    if (!isHeaderName(name, value, context) || !isOurs(name, value, context)) return INVALID
    if (isHost(name)) {
      const message = "Host cannot be added: a request has one (RFC 9112 §3.2)"
      context.report.errorAtKey(value, message, 'Write set_headers = { Host = "…" }')
      return INVALID
    }
    return fieldsOf(name, value, context)
  })
}

/** The same, and Host, which a request has once. */
export const setFields: Decoder<readonly HeaderField[]> = (node, context) => {
  return entriesOf(node, context, (name, value) => {
    if (!isHeaderName(name, value, context) || !isOurs(name, value, context)) return INVALID
    if (!isHost(name)) return fieldsOf(name, value, context)
    const host = authority(value, context)
    return host === INVALID ? INVALID : [{ name, value: host }]
  })
}

const authority: Decoder<string> = scalar("a host name, with a port if need be", (node) =>
  matching(node, /^([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$/),
)

function fieldsOf(name: string, node: TomlNode, context: Context): HeaderField[] | Invalid {
  if (node.type !== "array") {
    const value = headerValue(node, context)
    return value === INVALID ? INVALID : [{ name, value }]
  }
  const values = list(headerValue, "text or a list of texts")(node, context)
  return values === INVALID ? INVALID : values.map((value) => ({ name, value }))
}

/** Names of headers to take out. */
export const removableHeaders: Decoder<readonly string[]> = list((node, context) => {
  const name = headerName(node, context)
  if (name === INVALID) return INVALID
  if (!isHost(name)) return isOurs(name, node, context) ? name : INVALID
  context.report.error(node, "Host cannot be removed", "Every request has one (RFC 9112 §3.2)")
  return INVALID
}, "a list of header names")

/**
 * `{ NAME = "value", OTHER = true, THIRD = false, FOURTH = { pattern = "^v2" } }`: has exactly that
 * value, is there, is not, matches.
 */
export const headerConditions: Decoder<readonly FieldCondition[]> = (node, context) => {
  return entriesOf(node, context, (name, value) => {
    if (!isHeaderName(name, value, context)) return INVALID
    if (!isHost(name)) return conditionOf(name, value, { value: headerValue, context })
    context.report.errorAtKey(value, "A condition on the header Host", 'Write host = "…"')
    return INVALID
  })
}

export const queryConditions: Decoder<readonly FieldCondition[]> = (node, context) => {
  return entriesOf(node, context, (name, value) =>
    conditionOf(name, value, { value: text, context }),
  )
}

/** One header or cookie: `{ canary = "always" }`. */
export const singleCondition: Decoder<FieldCondition> = (node, context) => {
  const conditions = headerConditions(node, context)
  if (conditions === INVALID) return INVALID
  const [condition, another] = conditions
  if (condition !== undefined && another === undefined) return condition
  context.report.error(node, "There must be one name here", 'Write { NAME = "value" }')
  return INVALID
}

/** Each entry of a table with free keys; all their errors show. */
function entriesOf<T>(
  node: TomlNode,
  context: Context,
  read: (name: string, value: TomlNode) => readonly T[] | Invalid,
): readonly T[] | Invalid {
  if (!isTable(node, context)) return INVALID
  const values = [...node.entries].map(([name, value]) => read(name, value))
  return values.some((value) => value === INVALID)
    ? INVALID
    : values.flatMap((value) => (value === INVALID ? [] : value))
}

export const patternSchema: TableSchema<FieldPattern> = {
  name: "http.route.pattern",
  title: "a condition with a pattern",
  fields: { pattern: required("pattern", text) },
}

function isPattern(node: TomlNode, source: string, { report }: Context): boolean {
  try {
    new RegExp(source)
    return true
  } catch (error) {
    const reason = (error as Error).message.replace(/^Invalid regular expression: /, "")
    report.error(node, `pattern is not a regular expression: ${reason}`)
    return false
  }
}

function conditionOf(
  name: string,
  node: TomlNode,
  { value: decode, context }: { readonly value: Decoder<string>; readonly context: Context },
): [FieldCondition] | Invalid {
  if (node.type === "boolean") return [{ name, value: node.value }]
  if (node.type === "string") {
    const value = decode(node, context)
    return value === INVALID ? INVALID : [{ name, value }]
  }
  if (node.type === "table") {
    const keys = table(patternSchema)(node, context)
    if (keys === INVALID || !isPattern(locate(node, "pattern"), keys.pattern, context)) {
      return INVALID
    }
    return [{ name, value: keys }]
  }
  const hint = 'true: it is there; false: it is not; { pattern = "…" }: a part of it matches'
  return mismatch(node, { expected: "text, true, false or a pattern", hint }, context)
}

/**
 * As bytes on the wire, one character each: text is sent as UTF-8. Line ends and other control
 * characters would let a value end its line and begin another.
 */
const headerValue: Decoder<string> = (node, context) => {
  const value = text(node, context)
  if (value === INVALID) return INVALID
  if (/^\s|\s$|[^\P{C}\t\u{AD}]/u.test(value)) {
    const hint = "Neither line ends nor other control characters, and no blank at either end"
    return mismatch(node, { expected: "text that fits a header", hint }, context)
  }
  return Buffer.from(value, "utf8").toString("latin1")
}

function isHeaderName(name: string, node: TomlNode, { report }: Context): boolean {
  if (HEADER_NAME.test(name)) return true
  report.errorAtKey(node, `${JSON.stringify(name)} is not the name of a header`)
  return false
}

function isHost(name: string): boolean {
  return name.toLowerCase() === "host"
}

/** Headers that frame a message or tell of its hops are written by the edge alone. */
function isOurs(name: string, node: TomlNode, { report }: Context): boolean {
  const lower = name.toLowerCase()
  if (FRAMING.has(lower)) {
    report.errorAtKey(node, `${name} frames the message and is set by the edge itself`, "Remove it")
    return false
  }
  if (!FORWARDING.has(lower)) return true
  const hint = "See trusted_proxies for those that come in"
  report.errorAtKey(node, `${name} tells of the client and is set by the edge itself`, hint)
  return false
}

function isHostName(host: string): boolean {
  if (/^\[.*\]$/.test(host)) return parseAddress(host.slice(1, -1))?.includes(":") === true
  if (host.length > 253 || /^\d+(\.\d+)*$/.test(host)) return parseAddress(host) !== undefined
  return host.split(".").every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label))
}

function hostHint(node: TomlNode): string {
  const host = textOf(node) ?? ""
  if (host === "*") return "Leave host out for any"
  if (/^[^:]+:\d+$/.test(host)) return "Leave out the port"
  if (host.includes("/")) return "Put the path into path"
  if (/[^\0-\x7f]/.test(host)) return 'Write it in ASCII, as "xn--…"'
  if (host.includes("*")) return "A wildcard is the whole first label"
  return host.endsWith(".") ? "Leave out the final dot" : ""
}

const HEADER_NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/
/** Larger bodies are what "0" (no limit) is for. */
const SIZE_MAX_BYTES = 1024 ** 4

const FRAMING = new Set([
  "connection",
  "content-length",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

const FORWARDING = new Set([
  "forwarded",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-real-ip",
  "x-request-id",
  "x-ssl-client-s-dn",
])
