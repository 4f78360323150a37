/**
 * What a new writer does before it gives anything out, so that a late write of its predecessor can
 * do no harm.
 *
 * The Lease says who may write, by time; but a request that was sent in time can still arrive much
 * later: a stopped process, a network that was cut and delivers what its buffers kept. Such a write
 * names the version of the Service it is based on, so it dies as soon as the Service has another. A
 * predecessor can have promised an address only to a Service that lacked something. So the new
 * writer lists all Services anew, touches each of those (a condition with its own term), and waits
 * until it sees every one in another version: from then on whatever the predecessor sent has either
 * arrived, and was seen, or is dead. What came into being after the list, the predecessor never
 * saw.
 *
 * With this, two edges do not give one address twice even when all clocks and limits fail them.
 */
import { keyOf, type ObjectKey, type Service } from "../objects.ts"

/** Type of the condition that a touch writes. */
export const WRITER = "causeway.dev/Writer"

export class Fence {
  /** Versions that a predecessor may know, by Service. */
  readonly #waiting = new Map<ObjectKey, string>()

  /**
   * @param unsettled Services to which a predecessor may have promised something, freshly listed.
   */
  raise(unsettled: readonly Service[]): void {
    this.#waiting.clear()
    for (const { meta } of unsettled) this.#waiting.set(keyOf(meta), versionOf(meta))
  }

  drop(): void {
    this.#waiting.clear()
  }

  /** The Service is seen like this now; undefined: it is gone. */
  see(key: ObjectKey, service: Service | undefined): void {
    const known = this.#waiting.get(key)
    if (known === undefined) return
    if (service === undefined || versionOf(service.meta) !== known) this.#waiting.delete(key)
  }

  /** Services that must still be touched. */
  get waiting(): ReadonlySet<ObjectKey> {
    return new Set(this.#waiting.keys())
  }

  get isPassed(): boolean {
    return this.#waiting.size === 0
  }
}

function versionOf({ uid, resourceVersion }: Service["meta"]): string {
  return `${uid}@${resourceVersion}`
}
