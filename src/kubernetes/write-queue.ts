/**
 * What is still to be written to the API, in which order and how fast.
 *
 * A wish for an object replaces an older wish for the same one: only the last counts. One request
 * at a time goes out for an object, a few for all, at most 50 a second with a burst of 100, so that
 * an edge that takes over a large cluster does not push the API server over. Events come last.
 *
 * A server that is busy or away (429, 5xx, no answer) makes everything wait, ever longer; the wish
 * is kept. A contradiction (409, 404) ends the wish: whoever wished it sees the new state and
 * thinks again. What the server refuses (403, 422) ends it too and is told, with the missing RBAC
 * rule.
 */
import { after, earlier, type Instant } from "../net/time.ts"
import { type ApiFailure, describeFailure } from "./api-failure.ts"
import type { Write, WrittenResource } from "./writes.ts"

export interface Outgoing {
  readonly id: number
  readonly write: Write
}

export type WriteOutcome =
  | { readonly type: "done" }
  | { readonly type: "retry"; readonly inMs: number }
  /** Somebody changed or removed the object: not a failure. */
  | { readonly type: "outdated" }
  /** Worth a line in the log. */
  | { readonly type: "refused"; readonly message: string }

export interface WriteQueueStatus {
  readonly queued: number
  readonly inFlight: number
  readonly written: number
  readonly outdated: number
  readonly refused: number
  /** For want of room. */
  readonly dropped: number
  /** The server is left alone until then. */
  readonly pausedUntil: Instant | undefined
  /** RBAC rules that are missing, such as "patch services/status". */
  readonly missingRules: readonly string[]
  readonly problem: string
}

export class WriteQueue {
  readonly #wishes = new Map<string, Write>()
  readonly #events: Write[] = []
  readonly #inFlight = new Map<number, { readonly key: string; readonly write: Write }>()
  readonly #missingRules = new Set<string>()
  #nextId = 1
  #tokens = BURST
  #refilledAt: Instant | undefined
  #pausedUntil: Instant | undefined
  #failuresInRow = 0
  #counts = { written: 0, outdated: 0, refused: 0, dropped: 0 }
  #problem = ""

  push(writes: readonly Write[]): void {
    for (const write of writes) {
      if (write.type === "event") this.#pushEvent(write)
      else if (this.#wishes.size < WISHES_MAX || this.#wishes.has(keyOf(write))) {
        this.#wishes.set(keyOf(write), write)
      } else this.#counts.dropped += 1
    }
  }

  /** This edge does not write any more: forget everything but what is under way. */
  clear(): void {
    this.#wishes.clear()
    this.#events.length = 0
    this.#pausedUntil = undefined
    this.#failuresInRow = 0
  }

  /** The next request to send, if one may be sent now; each needs its `finish`. */
  next(now: Instant): Outgoing | undefined {
    this.#refill(now)
    if (!this.#mayStart(now)) return undefined
    const found = this.#takeWish() ?? this.#takeEvent()
    if (found === undefined) return undefined
    this.#tokens -= 1
    const id = this.#nextId++
    this.#inFlight.set(id, found)
    return { id, write: found.write }
  }

  /** @param failure Undefined: it was written. */
  finish(id: number, failure: ApiFailure | undefined, now: Instant): WriteOutcome {
    const sent = this.#inFlight.get(id)
    this.#inFlight.delete(id)
    if (sent === undefined) return { type: "outdated" }
    if (failure === undefined) return this.#done(sent.write)
    const code = failure.kind === "status" ? failure.code : 0
    if (code === 409 || code === 404 || code === 410) {
      this.#failuresInRow = 0
      this.#counts.outdated += 1
      return { type: "outdated" }
    }
    // 500 is about this object, such as a failing webhook of its namespace: others need not wait.
    if (code >= 400 && code <= 500 && code !== 429) return this.#refused(sent.write, failure)
    return this.#retry(sent, failure, now)
  }

  /** When `next` may have something again; undefined: only after `push` or `finish`. */
  deadline(now: Instant): Instant | undefined {
    this.#refill(now)
    const hasWork = this.#wishes.size > 0 || this.#events.length > 0
    if (!hasWork || this.#inFlight.size >= IN_FLIGHT_MAX) return undefined
    if (this.#pausedUntil !== undefined && this.#pausedUntil > now) return this.#pausedUntil
    if (this.#tokens >= 1) return this.#hasStartable() ? now : undefined
    return after(now, ((1 - this.#tokens) / PER_SECOND) * 1000)
  }

  status(): WriteQueueStatus {
    return {
      queued: this.#wishes.size + this.#events.length,
      inFlight: this.#inFlight.size,
      ...this.#counts,
      pausedUntil: this.#pausedUntil,
      missingRules: [...this.#missingRules].sort(),
      problem: this.#problem,
    }
  }

  #mayStart(now: Instant): boolean {
    if (this.#pausedUntil !== undefined && now < this.#pausedUntil) return false
    // After a failure one request finds out whether the server is back.
    const limit = this.#failuresInRow > 0 ? 1 : IN_FLIGHT_MAX
    return this.#tokens >= 1 && this.#inFlight.size < limit
  }

  #takeWish(): { readonly key: string; readonly write: Write } | undefined {
    for (const [key, write] of this.#wishes) {
      if (this.#isInFlight(key)) continue
      this.#wishes.delete(key)
      return { key, write }
    }
    return undefined
  }

  #takeEvent(): { readonly key: string; readonly write: Write } | undefined {
    const write = this.#events.shift()
    return write && { key: "", write }
  }

  #hasStartable(): boolean {
    if (this.#events.length > 0) return true
    return [...this.#wishes.keys()].some((key) => !this.#isInFlight(key))
  }

  #isInFlight(key: string): boolean {
    for (const sent of this.#inFlight.values()) if (sent.key === key) return true
    return false
  }

  #pushEvent(write: Write): void {
    this.#events.push(write)
    if (this.#events.length <= EVENTS_MAX) return
    this.#events.shift()
    this.#counts.dropped += 1
  }

  #done(write: Write): WriteOutcome {
    this.#failuresInRow = 0
    this.#problem = ""
    this.#counts.written += 1
    this.#missingRules.delete(ruleOf(write))
    return { type: "done" }
  }

  #refused(write: Write, failure: ApiFailure): WriteOutcome {
    this.#failuresInRow = 0
    this.#counts.refused += 1
    const why = describeFailure(failure)
    const isForbidden = failure.kind === "status" && failure.code === 403
    if (isForbidden) this.#missingRules.add(ruleOf(write))
    const hint = isForbidden ? `; the role lacks "${ruleOf(write)}"` : ""
    this.#problem = `Cannot ${ruleOf(write)} for ${nameOf(write)}: ${why}${hint}`
    return { type: "refused", message: this.#problem }
  }

  #retry(
    { key, write }: { readonly key: string; readonly write: Write },
    failure: ApiFailure,
    now: Instant,
  ): WriteOutcome {
    const backOffMs = Math.min(BACK_OFF_FIRST_MS * 2 ** this.#failuresInRow, BACK_OFF_MAX_MS)
    const asked = failure.kind === "status" ? (failure.retryAfterMs ?? 0) : 0
    const inMs = Math.max(backOffMs, asked)
    this.#failuresInRow += 1
    this.#problem = `Cannot ${ruleOf(write)} for ${nameOf(write)}: ${describeFailure(failure)}`
    const until = after(now, inMs)
    const isLonger = this.#pausedUntil === undefined || this.#pausedUntil < until
    if (isLonger) this.#pausedUntil = until
    // Repeating an Event could double it; the condition says the same.
    if (write.type !== "event" && !this.#wishes.has(key)) this.#wishes.set(key, write)
    return { type: "retry", inMs }
  }

  #refill(now: Instant): void {
    const elapsedMs = now - (earlier(this.#refilledAt, now) ?? now)
    this.#tokens = Math.min(BURST, this.#tokens + (elapsedMs / 1000) * PER_SECOND)
    this.#refilledAt = now
  }
}

/** The verb and resource of an RBAC rule. */
export function ruleOf(write: Write): string {
  if (write.type === "event") return "create events"
  if (write.type !== "patch" || write.subresource === "") return `${write.type} ${write.resource}`
  return `patch ${write.resource}/${write.subresource}`
}

export const GROUP_VERSIONS: Readonly<Record<WrittenResource, string>> = {
  services: "v1",
  events: "v1",
  endpointslices: "discovery.k8s.io/v1",
  ingresses: "networking.k8s.io/v1",
  leases: "coordination.k8s.io/v1",
}

function keyOf(write: Exclude<Write, { readonly type: "event" }>): string {
  const part = write.type === "patch" ? write.subresource : ""
  return [write.resource, write.namespace, write.name, part].join("/")
}

function nameOf(write: Write): string {
  const { namespace, name } = write.type === "event" ? write.about : write
  return `${namespace}/${name}`
}

const PER_SECOND = 50
const BURST = 100
const IN_FLIGHT_MAX = 8
/** More objects than a cluster has that an edge writes to; whoever wished repeats it later. */
const WISHES_MAX = 20_000
const EVENTS_MAX = 1000
const BACK_OFF_FIRST_MS = 1000
const BACK_OFF_MAX_MS = 30_000
