/**
 * What the TOML parser throws → a diagnostic a person can act on.
 *
 * A generated parser lists every character it would have taken ("Expected "'", "'''", "0", …").
 * People who write configuration make a handful of mistakes, so the line itself is looked at: a
 * value without quotes, `:` for `=`, an open quote, a bracket never closed.
 */
import type { Diagnostic } from "./diagnostic.ts"
import { lineOf, type Source } from "./source.ts"

export function syntaxDiagnostic(source: Source, error: unknown): Diagnostic {
  const { line, column: columnOfError } = positionOf(error)
  const sourceLine = lineOf(source.text, line)
  const column = Math.min(columnOfError, sourceLine.length + 1) // not within the line end
  const { message, hint } = explain(error, sourceLine, column)
  const position = { file: source.path, line, column, path: "", sourceLine }
  return { severity: "error", ...position, message, hint }
}

/**
 * Grammar errors carry `location`, the parser's own checks `line` and `column`. Bun puts `line` and
 * `column` of the *script* on every error, so those count only on the plain `Error` the parser's
 * checks throw, which overwrites them.
 */
function positionOf(error: unknown): { line: number; column: number } {
  const { name, location, line, column } = error as Partial<ParserError>
  if (location !== undefined) return location.start
  if (name === "Error" && line !== undefined && column !== undefined) return { line, column }
  return { line: 1, column: 1 }
}

interface ParserError {
  readonly name: string
  readonly message: string
  readonly found: string | null
  readonly line: number
  readonly column: number
  readonly location: { readonly start: { readonly line: number; readonly column: number } }
}

function explain(
  error: unknown,
  sourceLine: string,
  column: number,
): { message: string; hint: string } {
  const { name, message = "not understood", found } = error as Partial<ParserError>
  if (name !== "SyntaxError") return { message: message.replace(/\.$/, ""), hint: "" }
  const isAtStart = column <= sourceLine.search(/\S|$/) + 1
  const mistake = isAtStart ? undefined : MISTAKES.find(({ pattern }) => pattern.test(sourceLine))
  if (mistake !== undefined) return { message: mistake.message, hint: mistake.hint(sourceLine) }
  if (found === null) {
    return { message: "The file ends too early", hint: "Close the last bracket, brace or quote" }
  }
  if (column > sourceLine.length) {
    return { message: "The line ends too early", hint: "Complete the value or close its quote" }
  }
  return { message: `Unexpected ${JSON.stringify(found)}`, hint: hintAt(sourceLine, column) }
}

/** The parser stops at the next line when a bracket is open, and within a value without quotes. */
function hintAt(sourceLine: string, column: number): string {
  const isStartOfLine = /^\s*[\w"'[]/.test(sourceLine) && column - 1 === sourceLine.search(/\S/)
  if (isStartOfLine) return "A bracket or a quote further up may still be open"
  const isInValue = sourceLine.slice(0, column - 1).includes("=")
  return isInValue ? "Text, durations and addresses need quotes" : ""
}

/** Looked at in order, only on a line the parser has refused. */
const MISTAKES: readonly {
  readonly pattern: RegExp
  readonly message: string
  readonly hint: (sourceLine: string) => string
}[] = [
  {
    pattern: /^\s*[\w.-]+\s*:/,
    message: 'Expected "=" between key and value, found ":"',
    hint: (line) => `Write ${line.trim().replace(/\s*:\s*/, " = ")}`,
  },
  {
    pattern: /^\s*[\w.-]+\s+[^\s=.]/,
    message: 'Expected "=" after the key',
    hint: () => "A line is: key = value",
  },
  {
    pattern: /^\s*[\w.-]+\s*=\s*(#.*)?$/,
    message: "The value is missing",
    hint: () => "A line is: key = value",
  },
  {
    pattern: /^\s*[\w.-]+\s*=\s*([^\s"'[{#=][^"'#=]*?)\s*(#.*)?$/,
    message: "Text, durations and addresses need quotes",
    hint: (line) => `Write ${line.trim().replace(/=\s*([^#]*?)\s*(#.*)?$/, '= "$1"')}`,
  },
  {
    pattern: /^[^"']*"[^"]*$/,
    message: "The text has no closing quote",
    hint: () => 'End it with "',
  },
  {
    pattern: /^\s*\[\[?[^\]]*\]?\s*$/,
    message: "The table header is not closed",
    hint: (line) => `Write ${line.trim().startsWith("[[") ? "[[name]]" : "[name]"}`,
  },
]
