/**
 * Looks at files from time to time, on the control thread. Polling rather than inotify: a handful
 * of stat(2) calls that take a microsecond each, and it sees through symbolic links, mounts and
 * renames alike.
 */
import { FileChanges } from "../file-changes.ts"
import { type ReadFile, stampOf } from "./file-reader.ts"

/** A change is noticed after one interval and acted upon after the second. */
const INTERVAL_MS = 5_000

export class FileWatch {
  readonly #paths: readonly string[]
  readonly #changes: FileChanges
  readonly #onChange: () => void
  #timer: ReturnType<typeof setInterval> | undefined = undefined

  /** `onChange` is called when one of the files has changed since it was read, and come to rest. */
  constructor(files: readonly ReadFile[], onChange: () => void) {
    this.#paths = files.map(({ path }) => path)
    this.#changes = new FileChanges(files.map(({ stamp }) => stamp))
    this.#onChange = onChange
  }

  start(intervalMs: number = INTERVAL_MS): void {
    this.stop()
    if (this.#paths.length === 0) return
    this.#timer = setInterval(() => this.look(), intervalMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** One look. The timer does it; a test may. */
  look(): void {
    if (this.#changes.handle(this.#paths.map(stampOf)) === "changed") this.#onChange()
  }
}
