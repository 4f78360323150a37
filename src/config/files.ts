/**
 * What the configuration asks of the file system, behind three functions, so that everything above
 * runs in tests without a disk.
 */
import { existsSync, readFileSync, type Stats, statSync } from "node:fs"
import { dirname, isAbsolute, join } from "node:path"

export interface Files {
  read(path: string): FileResult<FileText>
  /**
   * Paths that match a glob pattern, sorted; none when its folder does not exist. Names that start
   * with a dot never match.
   */
  find(pattern: string): FileResult<readonly string[]>
  /** Permission bits. */
  mode(path: string): FileResult<number>
}

export interface FileText {
  readonly text: string
  readonly mode: number
}

/** `reason` is a short phrase such as "ENOENT" or "it is not a regular file". */
export type FileResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly reason: string }

export const diskFiles: Files = {
  read(path) {
    return attempt(() => {
      const stats = statSync(path)
      const obstacle = obstacleTo(stats)
      if (obstacle !== undefined) return { ok: false, reason: obstacle }
      const text = new TextDecoder("utf-8", { fatal: true }).decode(readFileSync(path))
      return { ok: true, value: { text, mode: stats.mode & 0o7777 } }
    })
  },

  find(pattern) {
    return attempt(() => {
      const base = literalFolder(pattern)
      if (base !== "" && !existsSync(base)) return { ok: true, value: [] }
      // `onlyFiles` would skip symbolic links, which is how a Kubernetes ConfigMap mounts files.
      const options = { cwd: base === "" ? "." : base, onlyFiles: false }
      const names = [...new Bun.Glob(pattern.slice(base.length)).scanSync(options)]
      return { ok: true, value: names.map((name) => join(base, name)).sort() }
    })
  },

  mode(path) {
    return attempt(() => ({ ok: true, value: statSync(path).mode & 0o7777 }))
  },
}

export function hasGlob(pattern: string): boolean {
  return /[*?[\]{}]/.test(pattern)
}

/** Relative to the folder of the file that names it. */
export function resolveFrom(file: string, path: string): string {
  return isAbsolute(path) ? path : join(dirname(file), path)
}

/** A FIFO is fine (`causeway check -c <(…)`), a device such as /dev/zero never ends. */
function obstacleTo(stats: Stats): string | undefined {
  if (stats.isDirectory()) return "it is a directory"
  if (!stats.isFile() && !stats.isFIFO()) return "it is not a regular file"
  if (stats.size > FILE_BYTES_MAX) return `it is larger than ${FILE_BYTES_MAX} bytes`
  return undefined
}

/** The part of a pattern up to the last slash before its first wildcard. */
export function literalFolder(pattern: string): string {
  const literal = /^[^*?[\]{}]*/.exec(pattern)?.[0] ?? ""
  return literal.slice(0, literal.lastIndexOf("/") + 1)
}

function attempt<T>(operation: () => FileResult<T>): FileResult<T> {
  try {
    return operation()
  } catch (error) {
    return { ok: false, reason: reasonOf(error) }
  }
}

/** What to do about a file that cannot be read; "" where `reason` says enough. */
export function readHint(path: string, reason: string): string {
  if (reason !== DENIED) return ""
  return `Let the user of causeway.service read it: chgrp causeway ${path}; chmod g+r ${path}`
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  if (code === "ENOENT") return "no such file (ENOENT)"
  if (code === "EACCES") return DENIED
  if (code?.startsWith("ERR_ENCODING")) return "it is not UTF-8 text"
  return code ?? message
}

const DENIED = "permission denied (EACCES)"

/** 100 000 routes of a listener stand in one file and are 8 MiB. */
const FILE_BYTES_MAX = 32 * 1024 * 1024
