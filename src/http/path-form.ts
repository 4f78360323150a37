/**
 * One path, two readings. A client can write the same path in many ways ("/a/../admin",
 * "//admin", "/%61dmin", "/admin;x"), and the server behind may resolve any of them; if the route
 * table read them differently, a `deny` would be a suggestion. So each path is brought to one
 * form, and that form is both matched and sent on:
 *
 * - percent-encoded unreserved characters are decoded, other triplets get upper-case digits (RFC
 *   3986 §6.2.2.1–2); a "%" without two digits, an encoded NUL and a bare backslash are refused;
 * - "." and ".." segments are removed (§5.2.4), also when written "%2e"; one that leads above the
 *   root is refused, as nginx does;
 * - empty segments are dropped, unless the listener says `merge_slashes = false`;
 * - "..;" and ".;" are refused: some servers drop the parameter and then see a dot segment.
 *
 * What is matched goes further, because the server may: all triplets are decoded, an encoded
 * slash or backslash separates segments, and parameters (";v=1", §3.3) are left out. It is sent
 * on undecoded, since for other servers it is data (GitLab, RabbitMQ, npm); a dot segment that
 * only appears with an encoded slash beside it has no innocent reading and is refused.
 *
 * An ordinary path, with nothing of the above, is never given to these functions.
 */
import { HEX } from "./syntax.ts"

export type PathError =
  | "bad-percent-encoding"
  | "encoded-nul"
  | "backslash"
  | "above-root"
  | "hidden-dot-segment"

export type PathForm =
  | {
      readonly ok: true
      /** Sent to the server; Latin-1 as everything in a head. */
      readonly forward: string
      /** Compared with routes: one character for each byte. */
      readonly match: string
      /** Offset in `forward` after the n-th segment of `match`. */
      readonly segmentEnds: readonly number[]
    }
  | { readonly ok: false; readonly reason: PathError }

/** `path` begins with "/" and has no query. */
export function formOf(path: string, options: { readonly mergeSlashes: boolean }): PathForm {
  if (path.includes("\\")) return { ok: false, reason: "backslash" }
  const segments: string[] = []
  const raw = path.slice(1).split("/")
  for (const [index, written] of raw.entries()) {
    const segment = normalized(written)
    if (segment === undefined) return { ok: false, reason: "bad-percent-encoding" }
    if (segment.includes("%00")) return { ok: false, reason: "encoded-nul" }
    if (/^\.\.?;/.test(segment)) return { ok: false, reason: "hidden-dot-segment" }
    const isLast = index === raw.length - 1
    if (segment === "." || segment === "..") {
      if (segment === ".." && segments.pop() === undefined) {
        return { ok: false, reason: "above-root" }
      }
      if (isLast) segments.push("")
    } else if (segment !== "" || isLast || !options.mergeSlashes) segments.push(segment)
  }
  return matchForm(segments, options)
}

/** A route's path as `match` has it; it is UTF-8 text, or percent-encoded. */
export function configuredForm(path: string): string {
  return decoded(Buffer.from(path, "utf8").toString("latin1"))
}

/** Path text for characters that may not stand in one (RFC 3986 §3.3), each one byte. */
export function encodedPath(bytes: string): string {
  return bytes.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/]/g, percentEncoded)
}

/** `segments` are those of the form that is sent on. */
function matchForm(segments: readonly string[], options: { readonly mergeSlashes: boolean }) {
  let match = ""
  let offset = 0
  const segmentEnds: number[] = []
  for (const [index, segment] of segments.entries()) {
    offset++ // its slash
    for (const part of partsOf(segment)) {
      const text = decoded(part.text)
      if (part.isHidden && /^\.\.?(;|$)/.test(text)) {
        return { ok: false, reason: "hidden-dot-segment" } as const
      }
      const isLast = index === segments.length - 1 && part.end === segment.length
      if (text === "" && options.mergeSlashes && !isLast) continue
      match += `/${text}`
      if (text !== "" || !options.mergeSlashes) segmentEnds.push(offset + part.end)
    }
    offset += segment.length
  }
  return { ok: true, forward: `/${segments.join("/")}`, match, segmentEnds } as const
}

interface Part {
  /** Without parameters. */
  readonly text: string
  /** Where it ends in the segment, parameters included. */
  readonly end: number
  /** An encoded slash or backslash is before or after it. */
  readonly isHidden: boolean
}

/** What a server that decodes slashes makes of one segment. */
function partsOf(segment: string): Part[] {
  const parts: Part[] = []
  let start = 0
  for (const text of segment.split(/%2F|%5C/)) {
    const end = start + text.length
    const isHidden = text.length !== segment.length
    parts.push({ text: text.replace(/;.*$/s, ""), end, isHidden })
    start = end + ENCODED_SLASH_LENGTH
  }
  return parts
}

/** Unreserved characters decoded, the digits of other triplets in upper case. */
function normalized(segment: string): string | undefined {
  if (!segment.includes("%")) return segment
  if (/%(?![0-9A-Fa-f]{2})/.test(segment)) return undefined
  return segment.replace(/%../g, (triplet) => {
    const character = characterOf(triplet)
    return /[A-Za-z0-9\-._~]/.test(character) ? character : triplet.toUpperCase()
  })
}

function decoded(text: string): string {
  return text.includes("%") ? text.replace(/%[0-9A-Fa-f]{2}/g, characterOf) : text
}

function characterOf(triplet: string): string {
  const high = HEX[triplet.charCodeAt(1)] as number
  const low = HEX[triplet.charCodeAt(2)] as number
  return String.fromCharCode(high * 16 + low)
}

function percentEncoded(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
}

const ENCODED_SLASH_LENGTH = 3
