/**
 * Looks at files from time to time, on the control thread. Polling rather than inotify: a handful
 * of stat(2) calls that take a microsecond each, and it sees through symbolic links, mounts and
 * renames alike.
 */
import { statSync } from "node:fs"
import { FileChanges, type FileStamp } from "../file-changes.ts"

/** A change is noticed after one interval and acted upon after the second. */
const INTERVAL_MS = 5_000

export class FileWatch {
  readonly #paths: readonly string[]
  readonly #onChange: () => void
  #changes: FileChanges | undefined = undefined
  #timer: ReturnType<typeof setInterval> | undefined = undefined

  /** `onChange` is called when one of the files has changed and come to rest. */
  constructor(paths: readonly string[], onChange: () => void) {
    this.#paths = [...new Set(paths)].filter((path) => path !== "")
    this.#onChange = onChange
  }

  /** To be called before the files are read: what changes meanwhile is noticed. */
  start(intervalMs: number = INTERVAL_MS): void {
    this.stop()
    if (this.#paths.length === 0) return
    this.#changes = new FileChanges(this.#paths.map(stampOf))
    this.#timer = setInterval(() => this.look(), intervalMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** One look. The timer does it; a test may. */
  look(): void {
    if (this.#changes?.handle(this.#paths.map(stampOf)) === "changed") this.#onChange()
  }
}

function stampOf(path: string): FileStamp {
  try {
    const { mtimeMs, size, ino } = statSync(path)
    return { modifiedMs: mtimeMs, bytes: size, inode: ino }
  } catch {
    return undefined
  }
}
