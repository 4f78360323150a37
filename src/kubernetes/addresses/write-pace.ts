/**
 * When a step may be asked for again. The same step for the same version of an object is under way,
 * or failed in a way that did not change the object; the same step for a new version means that it
 * did not stick: somebody else undoes it, or the API shows it in another form. Both get slower with
 * every repetition, so that neither a lost answer nor a quarrel becomes a loop.
 */
import { after, type Instant } from "../../net/time.ts"
import type { ObjectKey } from "../objects.ts"

interface Asked {
  readonly step: string
  readonly version: string
  /** Repetitions of this step. */
  readonly count: number
  readonly againAt: Instant
}

export class WritePace {
  readonly #asked = new Map<ObjectKey, Asked>()

  /**
   * May it be asked for now? If so, it counts as asked.
   * @returns "first" when this step is new for the object, "again" when it is repeated.
   */
  ask(
    key: ObjectKey,
    { step, version }: { readonly step: string; readonly version: string },
    now: Instant,
  ): "first" | "again" | "later" {
    const known = this.#asked.get(key)
    const isSame = known?.step === step
    const count = isSame ? known.count + 1 : 0
    if (isSame) {
      const isQuick = known.version !== version && known.count < QUICK_REPETITIONS
      if (!isQuick && now < known.againAt) return "later"
    }
    const delayMs = Math.min(FIRST_DELAY_MS * 2 ** count, DELAY_MAX_MS)
    this.#asked.set(key, { step, version, count, againAt: after(now, delayMs) })
    return isSame ? "again" : "first"
  }

  /**
   * Nothing is left to ask for. The step is remembered: should it be undone, it is a repetition.
   */
  settle(key: ObjectKey, now: Instant): void {
    const known = this.#asked.get(key)
    if (known !== undefined && now >= known.againAt) this.#asked.delete(key)
  }

  forget(key: ObjectKey): void {
    this.#asked.delete(key)
  }

  clear(): void {
    this.#asked.clear()
  }

  againAt(key: ObjectKey): Instant | undefined {
    return this.#asked.get(key)?.againAt
  }
}

/** Long enough for the writer's own attempts. */
const FIRST_DELAY_MS = 30_000
const DELAY_MAX_MS = 600_000
/** After a conflict the new version deserves the same write at once. */
const QUICK_REPETITIONS = 3
