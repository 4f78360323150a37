/** For tests: configuration from text, with files that exist only in memory. */
import type { Diagnostic } from "./diagnostic.ts"
import type { FileResult, Files } from "./files.ts"
import { type LoadResult, loadConfig } from "./load.ts"

export type MemoryFiles = Readonly<
  Record<string, string | { readonly text: string; readonly mode: number }>
>

/** As if `text` were `/etc/causeway/causeway.toml` on a host called `edge-a`. */
export function loadText(text: string, contents: MemoryFiles = {}): LoadResult {
  const files = memoryFiles({ [MAIN_FILE]: text, ...contents })
  return loadConfig(MAIN_FILE, { files, hostName: "edge-a" })
}

/** `3:1 error: message (hint)` for each diagnostic, warnings included. */
export function problems(text: string, contents: MemoryFiles = {}): string[] {
  const result = loadText(text, contents)
  return (result.ok ? result.warnings : result.diagnostics).map(formatShort)
}

function formatShort({ file, line, column, severity, message, hint }: Diagnostic): string {
  const place = file === MAIN_FILE ? `${line}:${column}` : `${file}:${line}:${column}`
  return `${place} ${severity}: ${message}${hint === "" ? "" : ` (${hint})`}`
}

/** By path: the text, or text and permission bits (0o600 unless given). */
export function memoryFiles(contents: MemoryFiles): Files {
  const files = new Map(
    Object.entries(contents).map(([path, content]) => {
      return [path, typeof content === "string" ? { text: content, mode: 0o600 } : content] as const
    }),
  )
  return {
    read: (path) => found(files.get(path)),
    find: (pattern) => {
      const glob = new Bun.Glob(pattern)
      return { ok: true, value: [...files.keys()].filter((path) => glob.match(path)).sort() }
    },
    mode: (path) => found(files.get(path)?.mode),
  }
}

function found<T>(value: T | undefined): FileResult<T> {
  return value === undefined ? { ok: false, reason: "no such file (ENOENT)" } : { ok: true, value }
}

const MAIN_FILE = "/etc/causeway/causeway.toml"
