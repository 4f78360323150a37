/**
 * Regular expressions that come from the cluster. Whoever may write an Ingress must not be able to
 * hold up a data thread, and the engine behind backtracks: what can take exponential time is
 * refused, as are the things that PCRE and JavaScript read differently.
 */

export type PatternResult =
  | { readonly ok: true }
  /** A sentence that goes after "the pattern". */
  | { readonly ok: false; readonly reason: string }

export function checkPattern(source: string): PatternResult {
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
  const repetition = repetitionProblem(source)
  if (repetition !== undefined) return { ok: false, reason: repetition }
  try {
    new RegExp(source, "s")
  } catch {
    return { ok: false, reason: "is not a regular expression" }
  }
  return { ok: true }
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
  hasChoice: boolean
}

/**
 * "(a+)+" and "(a|a)*" take exponential time on a text that does not match: a group that varies in
 * itself is not repeated. "(/a)+" and "(a|b)?" are fine. What is left multiplies: it is counted.
 */
function repetitionProblem(source: string): string | undefined {
  const stack: Group[] = [{ varies: false, hasChoice: false }]
  const counts = { repetitions: 0, choices: 0 }
  let closed: Group | undefined
  for (const [token] of source.matchAll(TOKENS)) {
    const group = stack.at(-1) as Group
    if (isRepetition(token) && closed?.varies) return "repeats a group that varies in itself"
    if (isRepetition(token)) counts.repetitions++
    if (token === "?" || (token === "|" && !group.hasChoice)) counts.choices++
    if (token === "|") group.hasChoice = true
    if (token === "|" || token === "?" || isRepetition(token)) group.varies = true
    if (token.startsWith("(")) stack.push({ varies: false, hasChoice: false })
    closed = token === ")" && stack.length > 1 ? stack.pop() : undefined
    if (closed?.varies) (stack.at(-1) as Group).varies = true
  }
  if (counts.repetitions > REPETITIONS_MAX) return `has more than ${REPETITIONS_MAX} repetitions`
  return counts.choices > CHOICES_MAX ? `has more than ${CHOICES_MAX} choices` : undefined
}

/** "?" and "{0,1}" repeat nothing. */
function isRepetition(token: string): boolean {
  return /^[*+]/.test(token) || /^\{(?!0?,?1\})\d*(,\d*)?\}/.test(token)
}

const TOKENS = /\\.|\[(?:\\.|[^\]\\])*\]|\((?:\?(?:[:=!]|<\w+>))?|[*+]\??|\{\d*(?:,\d*)?\}|./gs

const RISKS = [
  { pattern: /\(\?<[=!]/, reason: "has a look-behind" },
  { pattern: /\(\?[=!]/, reason: "has a look-ahead" },
  { pattern: /\(\?[a-z-]*\)|\(\?[a-z-]+:/, reason: "changes its own options" },
  { pattern: /\(\?>|[*+?}]\+/, reason: "is possessive" },
] as const

const PATTERN_LENGTH_MAX = 1024
/** Each one more raises the power of the length that a match may take. */
const REPETITIONS_MAX = 6
/** Each one more doubles it at worst. */
const CHOICES_MAX = 12
