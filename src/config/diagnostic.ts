/**
 * What is wrong with a configuration, where, and what to do about it.
 *
 * A diagnostic carries its source line, so that it can be printed anywhere (terminal, journal,
 * `/v1/status`) without the file at hand. The form is the one compilers use, because editors and
 * people already know it:
 *
 *     causeway.toml:12:12: error: priority must be an integer from 1 to 255, not 300
 *         priority = 300
 *                    ^
 *     hint: …
 */
export interface Diagnostic {
  readonly severity: "error" | "warning"
  readonly file: string
  /** 1-based; 0 when the diagnostic is about the file as a whole. */
  readonly line: number
  /** 1-based, in UTF-16 units, as editors count. */
  readonly column: number
  /** Where it is in the TOML document, such as `pool[1].servers[0].weight`; empty: nowhere. */
  readonly path: string
  readonly message: string
  /** What to do; may be empty. */
  readonly hint: string
  readonly sourceLine: string
}

/** Several lines without a final newline. */
export function formatDiagnostic(diagnostic: Diagnostic): string {
  const { severity, file, line, column, message, hint } = diagnostic
  const place = line === 0 ? file : `${file}:${line}:${column}`
  const lines = [`${place}: ${severity}: ${message}`, ...excerpt(diagnostic)]
  if (hint !== "") lines.push(`hint: ${hint}`)
  return lines.join("\n")
}

export function formatDiagnostics(diagnostics: readonly Diagnostic[]): string {
  return diagnostics.map(formatDiagnostic).join("\n\n")
}

/** For `causeway check --json`; keys in the snake_case of the admin API. */
export function diagnosticJson(diagnostic: Diagnostic) {
  const { sourceLine, ...rest } = diagnostic
  return { ...rest, source_line: sourceLine }
}

/** In the order a person reads: file by file as they were read, then from top to bottom. */
export function sortDiagnostics(
  diagnostics: readonly Diagnostic[],
  files: readonly string[],
): Diagnostic[] {
  const rank = new Map(files.map((file, index) => [file, index]))
  const rankOf = (diagnostic: Diagnostic) => rank.get(diagnostic.file) ?? files.length
  return diagnostics.toSorted(
    (a, b) => rankOf(a) - rankOf(b) || a.line - b.line || a.column - b.column,
  )
}

function excerpt({ line, column, sourceLine }: Diagnostic): string[] {
  if (line === 0) return []
  const start = Math.max(0, column - 1 - EXCERPT_BEFORE_MAX)
  const shown = printable(sourceLine.slice(start, start + EXCERPT_LENGTH_MAX))
  const before = printable(sourceLine.slice(start, column - 1))
  return [`    ${shown}`, `    ${padding(before)}^`.trimEnd()]
}

/** Blanks as wide as the text; tabs stay tabs, so the caret stands right at any tab width. */
function padding(text: string): string {
  return Array.from(text, (char) =>
    char === "\t" ? "\t" : " ".repeat(Bun.stringWidth(char)),
  ).join("")
}

/** A file must not be able to send escape sequences to the terminal of whoever checks it. */
function printable(text: string): string {
  return text.replace(/[^\t\P{C}]/gu, "\u{FFFD}")
}

const EXCERPT_LENGTH_MAX = 160
const EXCERPT_BEFORE_MAX = 100
