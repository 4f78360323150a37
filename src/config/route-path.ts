/**
 * Paths of routes as they may be written. They are compared with what `http/path-form.ts` makes
 * of a request's, so what never comes out of it is refused here.
 */
import type { Context } from "./decode.ts"
import type { TomlNode } from "./toml.ts"

export function checkPath(at: TomlNode, path: string, { report }: Context): boolean {
  const problem = PATH_PROBLEMS.find(({ pattern }) => pattern.test(path))
  if (problem === undefined) return true
  report.error(at, `${report.path(at).replace(/^.*\./, "")} ${problem.message}`, problem.hint)
  return false
}

/** A path, and a query if need be: "/search?kind=old". */
export function checkRewrite(at: TomlNode, rewrite: string, context: Context): boolean {
  const [path = "", ...query] = rewrite.split("?")
  if (!checkPath(at, path, context)) return false
  if (/^[\x21\x22\x24-\x7e]*$/.test(query.join("?"))) return true
  context.report.error(
    at,
    "The query in rewrite must not contain blanks, # or non-ASCII characters",
  )
  return false
}

const PATH_PROBLEMS = [
  { pattern: /^(?!\/)/, message: "must start with /", hint: 'The shortest path is "/"' },
  { pattern: /\?/, message: "must not have a query", hint: 'Write query = { NAME = "value" }' },
  { pattern: /[#\s\\\p{C}]/u, message: "must not contain blanks, # or \\", hint: "" },
  {
    pattern: /;/,
    message: "must not contain ;",
    hint: "Path parameters take no part in matching",
  },
  {
    pattern: /%(?![0-9A-Fa-f]{2})|%00/,
    message: "has a % that is no percent-encoding",
    hint: 'Write "%25" for a percent sign',
  },
  { pattern: /%(2f|5c)/i, message: "must not have an encoded slash", hint: "Write /" },
  { pattern: /\/\//, message: "must not have empty segments", hint: "" },
  {
    pattern: /\/(\.|%2e){1,2}(\/|$)/i,
    message: 'must not have the segments "." and ".."',
    hint: "They are resolved before a route is looked for",
  },
] as const

export function checkPattern(at: TomlNode, source: string, { report }: Context): boolean {
  try {
    new RegExp(source, "s")
  } catch (error) {
    const reason = (error as Error).message.replace(/^Invalid regular expression: /, "")
    report.error(at, `path is not a regular expression: ${reason}`)
    return false
  }
  if (/[+*}]\)[+*{]/.test(source)) {
    const message = "A repetition inside a repetition can take very long on some paths"
    report.warning(at, message, 'Write "a+" instead of "(a+)+"')
  }
  return true
}
