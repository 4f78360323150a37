/**
 * Who goes first where there are more threads than cores: the data threads. The control thread and
 * those that the runtime makes (compilers, allocator, HTTP client, pool) have bursts of
 * milliseconds, and a cluster with hundreds of changes a second asks for many. With a nice value of
 * 5 they still get a quarter of a core that a data thread would use up, which is enough for health
 * checks, and a data thread that wakes up seldom waits for one of them: more than half a
 * millisecond 37 times in 13,000, and not 78 in 10,000, measured with all of them on one core.
 *
 * The collectors of garbage are left alone: data threads may have to wait for theirs.
 */
import { readdirSync, readFileSync } from "node:fs"
import { niceOf, setNice, threadId } from "../linux/process.ts"

/** Added to what the process was started with. */
const STEP = 5
const NICE_MAX = 19
/** The runtime starts and ends such threads as it needs them. */
const LOOK_EVERY_MS = 5_000
/** As the kernel shows them, in up to 15 bytes. */
const NAMES = /^(HTTP Client|Bun Pool \d+|JITWorker|JSCWarmUp|mi-scavenger)$/

export class BackgroundThreads {
  /** Of the process, as it was started. */
  readonly nice = niceOf(threadId()) ?? 0
  readonly #known = new Set<string>()
  #timer: ReturnType<typeof setInterval> | undefined

  /** For the control thread, once the other threads have been started. */
  stepBack(): void {
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS)
    this.#timer.unref()
    this.#lower(threadId())
    this.#look()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    const threads = new Set(readdirSync("/proc/self/task"))
    for (const thread of this.#known) if (!threads.has(thread)) this.#known.delete(thread)
    for (const thread of threads) {
      if (this.#known.has(thread)) continue
      this.#known.add(thread)
      if (NAMES.test(nameOf(thread))) this.#lower(Number(thread))
    }
  }

  #lower(thread: number): void {
    setNice(thread, Math.min(NICE_MAX, this.nice + STEP))
  }
}

/** Empty: it has ended. */
function nameOf(thread: string): string {
  try {
    return readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim()
  } catch {
    return ""
  }
}
