/**
 * When a data thread collects its garbage of its own accord: in a lull.
 *
 * JavaScriptCore collects on a timer when a thread is idle, but timers never run in one that blocks
 * in `epoll_wait`; it then keeps its garbage until it has made tens of megabytes more, and what a
 * crowd of new connections needs is taken from the system in place of what lies about. A collection
 * of all takes some 10 ms, so it is for moments in which nobody asks for anything. Not by
 * `Bun.gc(true)`, for which the threads that do serve somebody have to wait as well.
 */
import { after, type Instant } from "../net/time.ts"

/** Silence that is taken for a lull: by then idle clients have given up their objects. */
const LULL_MS = 1_500
/** Events handled since the last time, each of which leaves about a kilobyte. */
const EVENTS_MIN = 1_000

export class IdleCollection {
  #events = 0
  #quietSince: Instant
  #collectedEvents = 0

  constructor(now: Instant) {
    this.#quietSince = now
  }

  /** After each pass; `events` is how many the thread has handled so far. True: collect now. */
  isDue(events: number, now: Instant): boolean {
    if (events !== this.#events) {
      this.#events = events
      this.#quietSince = now
      return false
    }
    if (now < after(this.#quietSince, LULL_MS)) return false
    if (events < this.#collectedEvents + EVENTS_MIN) return false
    this.#collectedEvents = events
    return true
  }
}
