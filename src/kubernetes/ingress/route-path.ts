/**
 * Paths of Ingress rules as routes match them. "/foo/" as a Prefix is "/foo". A path that is
 * ImplementationSpecific is one of nginx: a Prefix, unless the Ingress makes it a pattern by
 * `use-regex`, by captures in the rewrite, or by a rewrite of what is plainly a pattern.
 */
import type { PathMatch } from "../../config/http-config.ts"
import type { IngressPath } from "../objects.ts"
import type { IngressOptions } from "./options.ts"
import { checkPattern, escapePattern, looksLikePattern } from "./pattern.ts"

export interface MatchedPath {
  /** A plain path, or the source of a pattern as the Ingress has it. */
  readonly path: string
  readonly match: PathMatch
}

export type MatchedPathResult =
  | { readonly ok: true; readonly value: MatchedPath }
  /** A sentence that goes after "the path …". */
  | { readonly ok: false; readonly reason: string }

export function matchedPath(
  { path: written, pathType }: IngressPath,
  options: Pick<IngressOptions, "useRegex" | "rewrite">,
): MatchedPathResult {
  const path = written === "" ? "/" : written
  if (!path.startsWith("/")) return { ok: false, reason: "does not start with /" }
  if (pathType === "Exact") return plain(path, "exact")
  if (!isPattern(path, pathType, options)) return plain(path, "prefix")
  const check = checkPattern(path, { isAnchored: true })
  return check.ok ? { ok: true, value: { path, match: "regex" } } : check
}

/** What two rules clash by: not by how each is served. */
export function placeOf(
  host: string,
  { path, pathType }: Pick<IngressPath, "path" | "pathType">,
): string {
  if (pathType === "Exact") return `${host}=${path || "/"}`
  const isPlain = path.endsWith("/") && !looksLikePattern(path)
  return `${host}^${isPlain ? path.slice(0, -1) : path}`
}

/** Without regard to case, from the start of the path: "~*" and "^" of ingress-nginx. */
export function ingressPattern(source: string): string {
  return `^(?i:${source})`
}

/** A prefix as a pattern. The first group is what follows it. */
export function prefixPattern(path: string): string {
  const bare = decoded(path).replace(/\/$/, "")
  return `^${escapePattern(bare)}(?=/|$)(.*)`
}

function isPattern(
  path: string,
  pathType: IngressPath["pathType"],
  { useRegex, rewrite }: Pick<IngressOptions, "useRegex" | "rewrite">,
): boolean {
  const replaced = rewrite?.scope === "path" ? rewrite.target : ""
  if (looksLikePattern(path)) return useRegex || replaced !== ""
  return (useRegex && pathType === "ImplementationSpecific") || /\$[1-9]/.test(replaced)
}

function plain(path: string, match: "exact" | "prefix"): MatchedPathResult {
  const problem = PROBLEMS.find(({ pattern }) => pattern.test(path))
  return problem === undefined
    ? { ok: true, value: { path, match } }
    : { ok: false, reason: problem.reason }
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** What never comes out of a request's path when it is brought to one form. */
const PROBLEMS = [
  { pattern: /[?#\s\\\p{C}]/u, reason: "has a blank, ?, # or \\" },
  { pattern: /;/, reason: "has a ; (path parameters take no part in matching)" },
  { pattern: /%(?![0-9A-Fa-f]{2})|%00/, reason: "has a % that is no percent-encoding" },
  { pattern: /%(2f|5c)/i, reason: "has an encoded slash" },
  { pattern: /\/\//, reason: "has an empty segment" },
  { pattern: /\/(\.|%2e){1,2}(\/|$)/i, reason: 'has a segment "." or ".."' },
] as const
