/**
 * Regular expressions that come from the cluster. Whoever may write an Ingress must not be able to
 * hold up a data thread, and the engine behind backtracks: what can take more than linear time is
 * refused, as are the things that PCRE and JavaScript read differently.
 */

export type PatternResult =
  | { readonly ok: true }
  /** A sentence that goes after "the pattern". */
  | { readonly ok: false; readonly reason: string }

/** `isAnchored`: whoever uses it puts "^" in front. */
export function checkPattern(
  source: string,
  { isAnchored }: { readonly isAnchored: boolean },
): PatternResult {
  if (source.length > PATTERN_LENGTH_MAX) {
    return { ok: false, reason: `is longer than ${PATTERN_LENGTH_MAX} characters` }
  }
  if (/\p{C}/u.test(source)) return { ok: false, reason: "has a control character" }
  const plain = withoutEscapes(source)
  if (/\[\^?\]/.test(plain)) return { ok: false, reason: "has an empty class" }
  const outsideClasses = plain.replace(/\[[^\]]*\]/g, "x")
  const risk = RISKS.find(({ pattern }) => pattern.test(outsideClasses))
  if (risk !== undefined) return { ok: false, reason: risk.reason }
  if (/\\[1-9k]/.test(source)) return { ok: false, reason: "has a back reference" }
  try {
    new RegExp(source, "s")
  } catch {
    return { ok: false, reason: "is not a regular expression" }
  }
  const hasStart = source.startsWith("^") && !withoutGroups(plain).includes("|")
  const reason = costProblem(source, isAnchored || hasStart)
  return reason === undefined ? { ok: true } : { ok: false, reason }
}

/** Has it characters that mean more than themselves? A dot alone stands in many plain paths. */
export function looksLikePattern(path: string): boolean {
  return /[\\^$*+?()[\]{}|]/.test(path)
}

/** Text as a pattern that matches only it. */
export function escapePattern(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")
}

/** The plain text that whatever matches begins with. */
export function literalStart(source: string): string {
  if (/\|/.test(withoutGroups(withoutEscapes(source)))) return ""
  const plain = /^[^\\^$.*+?()[\]{}|]*/.exec(source)?.[0] ?? ""
  // "/ab*" and "/ab?" begin with "/a".
  return /[*?{]/.test(source.charAt(plain.length)) ? plain.slice(0, -1) : plain
}

function withoutGroups(source: string): string {
  const shorter = source.replace(/\([^()]*\)/g, "")
  return shorter === source ? source : withoutGroups(shorter)
}

function withoutEscapes(source: string): string {
  return source.replace(/\\./gs, "x")
}

interface Group {
  /** Can match one text in several ways, or texts of several lengths. */
  varies: boolean
  /** Each begins with a token that has been read. */
  alternatives: number
}

/**
 * What a pattern may cost at worst, by how the engine works: at every choice it goes one way, and
 * comes back for the others when the rest does not match. "(a+)+" and "(a|a)*" make that
 * exponential, so a group that varies in itself is not repeated. All other choices multiply.
 *
 * A repetition is a choice of its end: as many as the text is long, and after one of those another
 * makes it the square of that, which is too much already. It is no choice where only one end can
 * fit ("[^/]+/"), and none of those that end the pattern, for nothing behind them sends the engine
 * back. A pattern without "^" has such a choice to begin with: where.
 */
function costProblem(source: string, isAnchored: boolean): string | undefined {
  const tokens = [...source.matchAll(TOKENS)].map(([token]) => token)
  const stack: Group[] = [{ varies: false, alternatives: 1 }]
  let choices = 1
  let runs = 0
  let hasOpenEnd = !isAnchored
  let closed: Group | undefined
  for (const [at, token] of tokens.entries()) {
    const group = stack.at(-1) as Group
    const ends = endsOf(token)
    if (ends !== undefined && token !== "?" && closed?.varies) {
      return "repeats a group that varies in itself"
    }
    if (ends !== undefined && ends <= ENDS_FEW) choices *= ends
    else if (ends !== undefined && !isLast(tokens, at)) {
      if (hasOpenEnd) return OPEN_ENDS
      hasOpenEnd = !hasOneEnd(tokens, at)
      runs++
    }
    if (token === "|") {
      choices = (choices / group.alternatives) * (group.alternatives + 1)
      group.alternatives++
    }
    if (token === "|" || (ends ?? 1) > 1) group.varies = true
    if (token.startsWith("(")) stack.push({ varies: false, alternatives: 1 })
    closed = token === ")" && stack.length > 1 ? stack.pop() : undefined
    if (closed?.varies) (stack.at(-1) as Group).varies = true
  }
  const isCheap = choices <= (runs === 0 ? CHOICES_MAX : CHOICES_BESIDE_RUNS_MAX)
  return isCheap ? undefined : "has too many choices"
}

/** How many ways a quantifier has; undefined: it is none. */
function endsOf(token: string): number | undefined {
  if (/^[*+]/.test(token)) return Number.POSITIVE_INFINITY
  if (token.startsWith("?")) return 2
  const bounds = /^\{(\d+)(,(\d*))?\}/.exec(token)
  if (bounds === null) return undefined
  const [, least = "", comma, most = ""] = bounds
  const max = comma === undefined ? Number(least) : most === "" ? Infinity : Number(most)
  return max > ENDS_FEW ? Number.POSITIVE_INFINITY : Math.max(1, max - Number(least) + 1)
}

/** Nothing comes behind this quantifier that could fail. */
function isLast(tokens: readonly string[], at: number): boolean {
  if (!/^[*+]/.test(tokens[at] ?? "")) return false
  const rest = tokens
    .slice(at + 1)
    .join("")
    .replace(/^\)+/, "")
  return rest === "" || (rest === "$" && tokens[at - 1] === ".")
}

/** What comes behind this quantifier is nothing that it could have taken itself. */
function hasOneEnd(tokens: readonly string[], at: number): boolean {
  const atom = tokens[at - 1] ?? ")"
  const next = tokens.slice(at + 1).find((token) => token !== ")") ?? ""
  const isOptional = endsOf(tokens[at + 2 + tokens.slice(at + 1).indexOf(next)] ?? "") !== undefined
  const isClosed = tokens[at + 1] === ")" && endsOf(tokens[at + 2] ?? "") !== undefined
  if (atom === ")" || isOptional || isClosed) return false
  if (next === "$") return true
  const literal = /^\\[^\w\s]$/.test(next) ? next.slice(1) : next
  if (!/^[^\\^$.*+?()[\]{}|]$/.test(literal) && literal === next) return false
  return !new RegExp(`^${atom}$`, "si").test(literal)
}

const TOKENS = /\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?(?:[:=!]|<\w+>))?|[*+?]\??|\{\d+(?:,\d*)?\}\??|./gs

const RISKS = [
  { pattern: /\(\?<[=!]/, reason: "has a look-behind" },
  { pattern: /\(\?[=!]/, reason: "has a look-ahead" },
  { pattern: /\(\?[a-z-]*\)|\(\?[a-z-]+:/, reason: "changes its own options" },
  { pattern: /\(\?>|[*+?}]\+/, reason: "is possessive" },
] as const

const PATTERN_LENGTH_MAX = 1024
/** Ways through a pattern that a request may cost. */
const CHOICES_MAX = 4096
/** The same where each of them may run along all of the text. */
const CHOICES_BESIDE_RUNS_MAX = 64
/** A repetition that has no more ends than this is a choice among them. */
const ENDS_FEW = 16
const OPEN_ENDS =
  "repeats something behind a repetition that may end in many places, or begins anywhere"
