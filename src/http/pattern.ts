/**
 * Patterns of routes and conditions. JavaScript's regular expressions backtrack: what some cost
 * grows with the square of the text and worse, and a data thread that is busy with one serves
 * nobody. So long text matches no pattern, and `config/` warns of repetitions in repetitions.
 */

/** Of UTF-16 units: longer than any path or field that a pattern is written for. */
export const PATTERN_TEXT_LENGTH_MAX = 8 * 1024

/** "." matches a line end too: "%0A" in a path must not hide the rest of it. */
export function routePattern(source: string): RegExp {
  return new RegExp(source, "s")
}

/** Null also for text that is too long. */
export function patternMatch(pattern: RegExp, text: string): RegExpExecArray | null {
  return text.length > PATTERN_TEXT_LENGTH_MAX ? null : pattern.exec(text)
}

export function hasMatch(pattern: RegExp, text: string): boolean {
  return text.length <= PATTERN_TEXT_LENGTH_MAX && pattern.test(text)
}
