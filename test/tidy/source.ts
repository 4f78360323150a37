/**
 * Source files as the structure rules see them: path, lines, imports. Read by pattern rather than
 * by a parser, which is enough because the formatter has laid every file out the same way.
 */
import { posix } from "node:path"

export interface Import {
  /** As written. */
  readonly specifier: string
  /** Path from the root for a relative one, else undefined. */
  readonly path: string | undefined
  /** Gone after compilation: `import type`, or every name marked `type`. */
  readonly typeOnly: boolean
}

export interface SourceFile {
  /** From the root, such as `src/vrrp/driver.ts`. */
  readonly path: string
  readonly text: string
  readonly lines: readonly string[]
  readonly imports: readonly Import[]
}

export function sourceFile(path: string, text: string): SourceFile {
  return { path, text, lines: text.split("\n"), imports: parseImports(path, text) }
}

/** Text without comments, so that a rule about code does not read prose. */
export function withoutComments(text: string): string {
  return text.replace(/^\s*\/\*[\s\S]*?\*\/|(^|\s)\/\/.*$/gm, "$1")
}

function parseImports(path: string, text: string): Import[] {
  const code = withoutComments(text)
  const found = [...code.matchAll(STATIC_IMPORT)].map(([, clause = "", specifier = ""]) =>
    toImport(path, specifier, isTypeOnly(clause)),
  )
  const others = [...code.matchAll(DYNAMIC_IMPORT), ...code.matchAll(URL_IMPORT)]
  return [...found, ...others.map(([, specifier = ""]) => toImport(path, specifier, false))]
}

function toImport(importer: string, specifier: string, typeOnly: boolean): Import {
  const path = specifier.startsWith(".")
    ? posix.join(posix.dirname(importer), specifier)
    : undefined
  return { specifier, path, typeOnly }
}

/** The part between `import` and `from`: `type { A }`, `{ type A, type B }`, `{ a }`, `* as a`. */
function isTypeOnly(clause: string): boolean {
  if (clause.startsWith("type ")) return true
  const names = /^\{([\s\S]*)\}$/.exec(clause.trim())?.[1]
  if (names === undefined) return false
  const list = names.split(",").filter((name) => name.trim() !== "")
  return list.every((name) => name.trim().startsWith("type "))
}

/** `a`, `* as a`, `*`, `{ a, type B }` (which may run over lines), `type …`, `a, { b }`. */
const CLAUSE = /(?:type )?(?:\w+, )?(?:\w+|\* as \w+|\*|\{[^}]*\})/.source
/** `import x from "y"`, `export * from "y"`, `import "y"`. */
const STATIC_IMPORT = new RegExp(
  `^(?:import|export)\\s+(?:(${CLAUSE})\\s+from\\s+)?"([^"]+)"`,
  "gm",
)
const DYNAMIC_IMPORT = /\bimport\(\s*"([^"]+)"/g
/** How the entry of a Worker is named. */
const URL_IMPORT = /new URL\(\s*"(\.[^"]+\.ts)"/g
