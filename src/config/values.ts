/** Decoders of single values: what a key may hold, and how to say what it may hold. */
import { isAbsolute } from "node:path"
import {
  type Address,
  ANY_IPV4,
  ANY_IPV6,
  addressBytes,
  addressFromBytes,
  type Endpoint,
  familyOf,
  formatEndpoint,
  formatPrefix,
  type Prefix,
  parseAddress,
  parseEndpoint,
  parsePrefix,
} from "../net/address.ts"
import { type Decoder, INVALID, scalar } from "./decode.ts"
import { nearest } from "./nearest.ts"
import type { TomlNode } from "./toml.ts"
import { formatDuration, parseDuration } from "./units.ts"

export const boolean: Decoder<boolean> = scalar(
  "true or false",
  (node) => (node.type === "boolean" ? node.value : undefined),
  (node) => (textOf(node) === undefined ? "" : "Write true or false, without quotes"),
)

/** A NUL would end the text early wherever it is handed to C. */
export const text: Decoder<string> = scalar(
  "text in quotes",
  (node) => (textOf(node)?.includes("\0") ? undefined : textOf(node)),
  (node) => (node.type === "integer" ? `Write "${node.value}"` : ""),
)

/** What goes into commands, metric labels and URLs. */
export const identifier: Decoder<string> = scalar(
  'a name of letters, digits, "_", "-" and "."',
  (node) => matching(node, /^[A-Za-z0-9_.-]{1,128}$/),
)

/** A server's default name is its endpoint, so `:` and brackets are allowed. */
export const serverName: Decoder<string> = scalar(
  'a name of letters, digits, "_", "-", ".", ":" and brackets',
  (node) => matching(node, /^[A-Za-z0-9_.:[\]-]{1,128}$/),
)

/** Linux: IFNAMSIZ is 16 with the final NUL, and neither "/" nor white space may occur. */
export const interfaceName: Decoder<string> = scalar(
  "the name of a network interface (1 to 15 characters)",
  (node) => {
    const name = matching(node, /^[^\s/]{1,15}$/)
    return name === "." || name === ".." ? undefined : name
  },
)

/** The daemon's working directory is not the file's, so a relative path would mislead. */
export const absolutePath: Decoder<string> = scalar(
  "an absolute path",
  (node) => {
    const path = textOf(node)
    return path !== undefined && isAbsolute(path) && !path.includes("\0") ? path : undefined
  },
  () => "Start it with /",
)

export const optionalPath: Decoder<string> = (node, context) =>
  textOf(node) === "" ? "" : absolutePath(node, context)

export function integer(min: number, max: number): Decoder<number> {
  return scalar(
    `an integer from ${min} to ${max}`,
    (node) => {
      if (node.type !== "integer" || node.value < min || node.value > max) return undefined
      return Number(node.value)
    },
    (node) => (/^-?\d+$/.test(textOf(node) ?? "") ? "Write it without quotes" : ""),
  )
}

export function oneOf<const T extends string>(...words: readonly T[]): Decoder<T> {
  return scalar(
    alternatives(words.map((word) => JSON.stringify(word))),
    (node) => words.find((word) => word === textOf(node)),
    (node) => {
      const similar = nearest(textOf(node) ?? "", words)
      return similar === undefined ? "" : `Did you mean "${similar}"?`
    },
  )
}

/** A duration in milliseconds; both ends included. */
export function duration(minMs: number, maxMs: number = DURATION_MAX_MS): Decoder<number> {
  return scalar(
    `a duration from "${formatDuration(minMs)}" to "${formatDuration(maxMs)}"`,
    (node) => {
      const ms = parseDuration(textOf(node) ?? "")
      return ms !== undefined && ms >= minMs && ms <= maxMs ? ms : undefined
    },
    durationHint,
  )
}

export const address: Decoder<Address> = scalar(
  "an IPv4 or IPv6 address",
  (node) => parseAddress(textOf(node) ?? ""),
  (node) => (textOf(node)?.includes("/") ? "Leave out the prefix length" : ""),
)

/** Host bits may be set, as in the address of an interface. */
export const addressWithPrefix: Decoder<Prefix> = scalar(
  'an address such as "192.0.2.40", or one with a prefix length',
  (node) => parsePrefix(textOf(node) ?? ""),
)

/** A network: a set host bit is a mistake more often than a wish. */
export const network: Decoder<Prefix> = (node, context) => {
  const prefix = parsedNetwork(node, context)
  if (prefix === INVALID || isNetworkAddress(prefix)) return prefix
  const cleared = formatPrefix({ ...prefix, address: networkAddress(prefix) })
  context.report.error(
    node,
    `${formatPrefix(prefix)} has bits set beyond its prefix length`,
    `Write "${cleared}" for the network, or "${prefix.address}" for the one address`,
  )
  return INVALID
}

const parsedNetwork: Decoder<Prefix> = scalar(
  'an address or a network such as "192.0.2.0/24"',
  (node) => parsePrefix(textOf(node) ?? ""),
)

/** Where to connect: an address and a port. */
export const endpoint: Decoder<Endpoint> = scalar(
  'an address and port such as "192.0.2.11:3306"',
  (node) => {
    const parsed = parseEndpoint(textOf(node) ?? "")
    return parsed === undefined || isWildcard(parsed.address) ? undefined : parsed
  },
  endpointHint,
)

/** Where to listen: as `endpoint`, and ":3306" is every address of both families. */
export const bindEndpoint: Decoder<Endpoint> = scalar(
  'an address and port such as "192.0.2.40:3306" or ":3306"',
  (node) => {
    const bind = textOf(node) ?? ""
    return parseEndpoint(bind.startsWith(":") ? `[${ANY_IPV6}]${bind}` : bind)
  },
  endpointHint,
)

export type StatusRange = { readonly from: number; readonly to: number }

/** "200-399" or "200,204,300-399". */
export const statusRanges: Decoder<readonly StatusRange[]> = scalar(
  'HTTP status codes such as "200-399" or "200,204"',
  (node) => {
    const ranges = (textOf(node) ?? "").split(",").map((part) => statusRange(part.trim()))
    return ranges.every((range) => range !== undefined) ? ranges : undefined
  },
  (node) => (node.type === "integer" ? `Write "${node.value}"` : ""),
)

/** Source of a JavaScript regular expression. */
export const regularExpression: Decoder<string> = scalar("a regular expression", (node) => {
  const source = textOf(node)
  return source !== undefined && compiles(source) ? source : undefined
})

export function textOf(node: TomlNode): string | undefined {
  return node.type === "string" ? node.value : undefined
}

/** As it is written in TOML: ":80" for every address. */
export function formatBind(bind: Endpoint): string {
  return bind.address === ANY_IPV6 ? `:${bind.port}` : formatEndpoint(bind)
}

export function isWildcard(value: Address): boolean {
  return value === ANY_IPV4 || value === ANY_IPV6
}

export function isLoopback(value: Address): boolean {
  return value === "::1" || value.startsWith("127.")
}

export function matching(node: TomlNode, pattern: RegExp): string | undefined {
  const value = textOf(node)
  return value !== undefined && pattern.test(value) ? value : undefined
}

function alternatives(words: readonly string[]): string {
  const last = words.at(-1) ?? ""
  return words.length < 2 ? last : `${words.slice(0, -1).join(", ")} or ${last}`
}

function durationHint(node: TomlNode): string {
  const bare = node.type === "integer" ? `${node.value}` : matching(node, /^\d+$/)
  if (bare !== undefined) return `Add a unit: "${bare}s" or "${bare}ms"`
  if (/^\d*\.\d+\w+$/.test(textOf(node) ?? "")) return "Write a whole number of a smaller unit"
  if (parseDuration(textOf(node) ?? "") !== undefined) return ""
  return "A duration is a whole number and a unit: ms, s, m, h or d"
}

function endpointHint(node: TomlNode): string {
  const value = textOf(node) ?? ""
  const bare = parseAddress(value.replace(/^\[(.*)\]$/, "$1"))
  if (bare !== undefined) {
    return `Add a port: "${familyOf(bare) === 6 ? `[${bare}]` : bare}:PORT"`
  }
  if (node.type === "integer") return `Write ":${node.value}" for that port on every address`
  if (value.startsWith("*:")) return `Write "${value.slice(1)}" for every address`
  if (parseEndpoint(value) !== undefined) return "Name one address"
  if (/^[a-z][\w.-]*:\d+$/i.test(value)) return "Host names are not resolved; write the address"
  return ""
}

function statusRange(part: string): StatusRange | undefined {
  const match = /^([1-5]\d\d)(?:-([1-5]\d\d))?$/.exec(part)
  if (match === null) return undefined
  const from = Number(match[1])
  const to = Number(match[2] ?? match[1])
  return from <= to ? { from, to } : undefined
}

function compiles(source: string): boolean {
  try {
    new RegExp(source)
    return true
  } catch {
    return false
  }
}

function isNetworkAddress(prefix: Prefix): boolean {
  return networkAddress(prefix) === prefix.address
}

function networkAddress({ address: base, length }: Prefix): Address {
  const bytes = addressBytes(base).map((byte, index) => {
    const kept = Math.min(8, Math.max(0, length - index * 8))
    return byte & (0xff << (8 - kept))
  })
  return addressFromBytes(bytes)
}

/** 2^31 − 1 ms (24.8 days) is the longest a timer of epoll or of JavaScript can wait. */
const DURATION_MAX_MS = 24 * 86_400_000
