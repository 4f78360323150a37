/**
 * Keeps a copy of one resource of the cluster up to date: lists it, then follows a watch from the
 * list's resourceVersion. A machine; `shell/reflector-driver.ts` sends its requests and hands it
 * what comes back, `mirror.ts` holds the copy. The rules are those of client-go's reflector, which
 * API servers are built for:
 *
 * - One request gets both state and changes where the server can (KEP-3157: a watch with
 *   sendInitialEvents, which ends its first part with a marked bookmark). Where it cannot, a list
 *   in pages and a watch after it.
 * - A watch that ended, broke or fell silent goes on from the last version seen, bookmarks
 *   included. Only an expired version (410) needs the whole state again: twenty thousand objects
 *   are not to be asked for because a connection broke.
 * - A server that is away or overloaded is asked ever more slowly, with jitter, and not before its
 *   Retry-After.
 * - New whole states are collected aside and replace the old one when complete, so a list that
 *   fails half-way changes nothing and nobody sees an object vanish that is still there.
 *
 * Unlike client-go, lists ask for the newest state (resourceVersion ""), not for whatever a
 * server's cache holds ("0"): an edge that restarts must not go back to endpoints that are gone,
 * and two edges are no load.
 *
 * Whatever fails, what is known stays known. Only a 404, which says that the resource itself is not
 * there (no such CRD), and says so again a while later, empties the copy.
 */
import type { Instant } from "../net/time.ts"
import { after } from "../net/time.ts"
import { type ApiFailure, hasStatus, isExpired } from "./api-failure.ts"
import type { ObjectKey } from "./objects.ts"

/** Tells a request from those before it, whose answers may still come. */
export type RequestId = number

export type ReflectorInput<T> =
  | { readonly type: "start" }
  /** `deadline()` has come. */
  | { readonly type: "timeout" }
  /** The server answers others again: ask now instead of after the back-off. */
  | { readonly type: "retry" }
  | { readonly type: "page"; readonly request: RequestId; readonly page: ListPage<T> }
  | { readonly type: "opened"; readonly request: RequestId }
  | {
      readonly type: "events"
      readonly request: RequestId
      readonly events: readonly WatchEvent<T>[]
    }
  /** The server ended the watch in order. */
  | { readonly type: "ended"; readonly request: RequestId }
  | { readonly type: "failed"; readonly request: RequestId; readonly failure: ApiFailure }
  | { readonly type: "stop" }

export type ReflectorAction<T> =
  | { readonly type: "list"; readonly request: RequestId; readonly query: ReflectorQuery }
  | { readonly type: "watch"; readonly request: RequestId; readonly query: ReflectorQuery }
  | { readonly type: "cancel"; readonly request: RequestId }
  /** This is all there is. */
  | { readonly type: "replace"; readonly objects: ReadonlyMap<ObjectKey, T> }
  /** In order; the same key may come twice. */
  | { readonly type: "apply"; readonly changes: readonly ObjectChange<T>[] }

export type ReflectorQuery = Readonly<Record<string, string>>

export interface ObjectChange<T> {
  readonly key: ObjectKey
  /** Undefined: deleted, or nothing that can be read any more. */
  readonly object: T | undefined
}

export interface ListPage<T> {
  readonly objects: readonly { readonly key: ObjectKey; readonly object: T }[]
  readonly resourceVersion: string
  /** Token of the next page; "": the last one. */
  readonly next: string
}

export type WatchEvent<T> =
  | ({ readonly type: "object"; readonly resourceVersion: string } & ObjectChange<T>)
  | {
      readonly type: "bookmark"
      readonly resourceVersion: string
      /** The state before the changes is complete. */
      readonly isInitialEnd: boolean
    }
  | { readonly type: "error"; readonly failure: ApiFailure }

export interface ReflectorOptions {
  /** A custom resource, which need not exist. */
  readonly isOptional: boolean
  /** Objects of it are known from an earlier run. */
  readonly isRestored: boolean
  /** An open watch without event or bookmark for so long is taken for dead. */
  readonly silenceMs: number
  /** In [0, 1). */
  readonly random: () => number
}

export type ReflectorStateName =
  | "idle"
  | "listing"
  | "watching"
  /** Asked, or to be asked again after a failure. */
  | "retrying"
  | "absent"
  | "forbidden"

export interface ReflectorStatus {
  readonly state: ReflectorStateName
  /** The whole state has been here once since the start. */
  readonly isSynced: boolean
  /** "": none yet. */
  readonly resourceVersion: string
  /** Of the last request, while it is not answered better. */
  readonly failure: ApiFailure | undefined
  /** Whole states taken over, and watches begun, since the start. */
  readonly relists: number
  readonly watches: number
}

export class Reflector<T> {
  readonly #options: ReflectorOptions
  #state: State<T> = { name: "idle" }
  #request: RequestId = 0
  #resourceVersion = ""
  #isSynced = false
  #failure: ApiFailure | undefined
  /** Failures since something went well: decides the next back-off. */
  #failures = 0
  /** Watches in a row that the server answered with an error of its own. */
  #serverErrors = 0
  /** The version was too old, and nothing went well since. */
  #hasExpired = false
  /** Times in a row that the resource was not there. */
  #absences = 0
  /** Watches in a row that ended in silence. */
  #silences = 0
  #canStream = true
  /** Streams in a row that ended before their state was complete. */
  #brokenStreams = 0
  /** Asked for at a time: fewer when so many did not fit into an answer. */
  #pageObjects = PAGE_OBJECTS
  #relists = 0
  #watches = 0

  constructor(options: ReflectorOptions) {
    this.#options = options
  }

  handle(input: ReflectorInput<T>, now: Instant): ReflectorAction<T>[] {
    switch (input.type) {
      case "start":
        return this.#state.name === "idle" ? this.#relist(now) : []
      case "stop":
        return this.#stop()
      case "timeout":
        return this.#timeout(now)
      case "retry":
        return this.#retry(now)
    }
    if (input.request !== this.#request) return [] // of a request that was given up
    switch (input.type) {
      case "page":
        return this.#page(input.page, now)
      case "opened":
        return this.#opened(now)
      case "events":
        return this.#events(input.events, now)
      case "ended":
        return this.#ended(now)
      case "failed":
        return this.#failed(input.failure, now)
    }
  }

  /** When to hand in the next `timeout`. */
  deadline(): Instant | undefined {
    switch (this.#state.name) {
      case "streaming":
      case "watching":
        return this.#state.silentAt
      case "waiting":
        return this.#state.until
      default:
        return undefined
    }
  }

  status(): ReflectorStatus {
    return {
      state: stateName(this.#state, this.#failure !== undefined),
      isSynced: this.#isSynced,
      resourceVersion: this.#resourceVersion,
      failure: this.#failure,
      relists: this.#relists,
      watches: this.#watches,
    }
  }

  /** Asks for the whole state. */
  #relist(now: Instant): ReflectorAction<T>[] {
    if (!this.#canStream || this.#brokenStreams >= BROKEN_STREAMS_MAX) return this.#list("")
    const request = ++this.#request
    this.#state = {
      name: "streaming",
      request,
      objects: new Map(),
      isOpen: false,
      silentAt: this.#openBy(now),
    }
    const initial = { sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" }
    return [{ type: "watch", request, query: { ...this.#watchQuery(""), ...initial } }]
  }

  /** Asks for the first page, or for all of it at once where pages did not hold together. */
  #list(next: string, { isPaged = true } = {}): ReflectorAction<T>[] {
    const request = ++this.#request
    const objects = this.#state.name === "listing" && next !== "" ? this.#state.objects : new Map()
    this.#state = { name: "listing", request, objects, isPaged, isFirst: next === "" }
    const query = {
      ...(isPaged ? { limit: String(this.#pageObjects) } : {}),
      ...(next === "" ? {} : { continue: next }),
    }
    return [{ type: "list", request, query }]
  }

  #watch(now: Instant): ReflectorAction<T>[] {
    const request = ++this.#request
    this.#state = {
      name: "watching",
      request,
      openedAt: undefined,
      events: 0,
      silentAt: this.#openBy(now),
    }
    return [{ type: "watch", request, query: this.#watchQuery(this.#resourceVersion) }]
  }

  #watchQuery(resourceVersion: string): ReflectorQuery {
    this.#watches++
    // Spread, so that watches which began together do not end together.
    const seconds = WATCH_SECONDS_MIN + Math.floor(this.#options.random() * WATCH_SECONDS_MIN)
    return {
      watch: "true",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(seconds),
      ...(resourceVersion === "" ? {} : { resourceVersion }),
    }
  }

  /** An answer's head is due sooner than a quiet watch's next event, but later each time. */
  #openBy(now: Instant): Instant {
    return after(now, Math.min(this.#options.silenceMs, OPEN_MS * 2 ** Math.min(this.#failures, 5)))
  }

  #page(page: ListPage<T>, now: Instant): ReflectorAction<T>[] {
    if (this.#state.name !== "listing") return []
    for (const { key, object } of page.objects) this.#state.objects.set(key, object)
    if (page.next !== "") return this.#list(page.next, this.#state)
    const replace = this.#replace(this.#state.objects, page.resourceVersion)
    return [replace, ...this.#watch(now)]
  }

  #replace(objects: Map<ObjectKey, T>, resourceVersion: string): ReflectorAction<T> {
    this.#resourceVersion = resourceVersion
    this.#isSynced = true
    this.#relists++
    this.#failure = undefined
    this.#absences = 0
    this.#brokenStreams = 0
    return { type: "replace", objects }
  }

  #opened(now: Instant): ReflectorAction<T>[] {
    if (this.#state.name === "watching") {
      this.#failure = undefined
      this.#state = {
        ...this.#state,
        openedAt: now,
        silentAt: after(now, this.#options.silenceMs),
      }
    } else if (this.#state.name === "streaming") {
      this.#state = { ...this.#state, isOpen: true, silentAt: this.#initialBy(now) }
    }
    return []
  }

  /** A server without sendInitialEvents sends objects, but never says that it is done. */
  #initialBy(now: Instant): Instant {
    return after(now, Math.min(this.#options.silenceMs, INITIAL_SILENCE_MS))
  }

  #events(events: readonly WatchEvent<T>[], now: Instant): ReflectorAction<T>[] {
    const actions: ReflectorAction<T>[] = []
    const changes: ObjectChange<T>[] = []
    let end: ReflectorAction<T>[] = []
    for (const event of events) {
      if (event.type === "error") {
        end = [{ type: "cancel", request: this.#request }, ...this.#failed(event.failure, now)]
        break
      }
      if (this.#state.name === "streaming") {
        actions.push(...this.#initialEvent(this.#state, event, now))
      } else if (isOlder(event.resourceVersion, this.#resourceVersion)) {
        end = this.#wentBack(now)
        break
      } else {
        this.#resourceVersion = event.resourceVersion
        if (event.type === "object") changes.push(event)
      }
    }
    if (changes.length > 0) actions.push({ type: "apply", changes })
    if (end.length === 0) this.#heard(events.length, now)
    return [...actions, ...end]
  }

  #initialEvent(
    state: State<T> & { name: "streaming" },
    event: Exclude<WatchEvent<T>, { type: "error" }>,
    now: Instant,
  ): ReflectorAction<T>[] {
    if (event.type === "object") {
      if (event.object === undefined) state.objects.delete(event.key)
      else state.objects.set(event.key, event.object)
      return []
    }
    if (!event.isInitialEnd) return []
    this.#state = {
      name: "watching",
      request: state.request,
      openedAt: now,
      events: 0,
      silentAt: after(now, this.#options.silenceMs),
    }
    return [this.#replace(state.objects, event.resourceVersion)]
  }

  #heard(events: number, now: Instant): void {
    if (this.#state.name === "streaming") {
      this.#state = { ...this.#state, silentAt: this.#initialBy(now) }
    } else if (this.#state.name === "watching") {
      const silentAt = after(now, this.#options.silenceMs)
      this.#silences = 0
      // A server whose every watch begins well and breaks at once must not be asked in a circle, so
      // only what comes after the beginning counts as going well.
      if (this.#state.events > 0) this.#wentWell()
      this.#state = { ...this.#state, events: this.#state.events + events, silentAt }
    }
  }

  #wentWell(): void {
    this.#failures = 0
    this.#hasExpired = false
    this.#serverErrors = 0
  }

  /**
   * The server's versions are older than what it told before: its store was restored from a backup.
   * What was seen since is no longer true (versions compare as numbers, KEP-5504).
   */
  #wentBack(now: Instant): ReflectorAction<T>[] {
    return [{ type: "cancel", request: this.#request }, ...this.#relistAfterExpiry(now)]
  }

  #ended(now: Instant): ReflectorAction<T>[] {
    switch (this.#state.name) {
      case "watching":
        return this.#watchOver(this.#state, now)
      case "streaming":
        this.#brokenStreams++
        return this.#backOff("list", now)
      default:
        return []
    }
  }

  /** Goes on from the last version; not at once after a watch so short that it may be a circle. */
  #watchOver(state: State<T> & { name: "watching" }, now: Instant): ReflectorAction<T>[] {
    const lasted = state.openedAt === undefined ? 0 : now - state.openedAt
    if (lasted < SHORT_WATCH_MS) return this.#backOff("watch", now)
    if (lasted >= HEALTHY_WATCH_MS) this.#wentWell()
    if (this.#failures > 0) return this.#backOff("watch", now)
    this.#failure = undefined // connections break; nothing is wrong unless the next one is refused
    return this.#watch(now)
  }

  #failed(failure: ApiFailure, now: Instant): ReflectorAction<T>[] {
    const state = this.#state
    if (state.name === "idle" || state.name === "waiting") return []
    this.#failure = failure
    if (hasStatus(failure, 403)) return this.#wait("forbidden", after(now, this.#slowly()))
    if (hasStatus(failure, 404) && this.#options.isOptional) return this.#notFound(now)
    switch (state.name) {
      case "listing":
        return this.#listFailed(state, failure, now)
      case "streaming":
        return this.#streamFailed(state, failure, now)
      case "watching":
        return this.#watchFailed(state, failure, now)
    }
  }

  #listFailed(
    state: State<T> & { name: "listing" },
    failure: ApiFailure,
    now: Instant,
  ): ReflectorAction<T>[] {
    const isTooLarge = failure.kind === "answer" && failure.reason === "too_large"
    if (isTooLarge && (this.#pageObjects > 1 || !state.isPaged)) {
      if (state.isPaged) this.#pageObjects = Math.ceil(this.#pageObjects / 8)
      return this.#list("")
    }
    // The pages' common version has left the history before the last page was asked for.
    if (isExpired(failure) && !state.isFirst) {
      this.#failure = undefined
      return this.#list("", { isPaged: false })
    }
    return this.#backOff("list", now, failure)
  }

  #streamFailed(
    state: State<T> & { name: "streaming" },
    failure: ApiFailure,
    now: Instant,
  ): ReflectorAction<T>[] {
    if (hasStatus(failure, ...NO_STREAM_STATUSES)) {
      this.#canStream = false
      this.#failure = undefined
      return this.#list("")
    }
    const isAway = !state.isOpen && failure.kind !== "status"
    if (!isAway && !hasStatus(failure, 401, 429)) this.#brokenStreams++
    return this.#backOff("list", now, failure)
  }

  #watchFailed(
    state: State<T> & { name: "watching" },
    failure: ApiFailure,
    now: Instant,
  ): ReflectorAction<T>[] {
    if (isExpired(failure)) return this.#relistAfterExpiry(now)
    if (failure.kind === "connection" && state.openedAt !== undefined) {
      return this.#watchOver(state, now)
    }
    if (failure.kind !== "status" || hasStatus(failure, 401, 429)) {
      return this.#backOff("watch", now, failure)
    }
    // The server does not like this watch: after a while, or at once when it is the request that is
    // wrong (another cluster's version), the whole state is the way out.
    const isHopeless = failure.code < 500 || ++this.#serverErrors >= SERVER_ERRORS_MAX
    return this.#backOff(isHopeless ? "list" : "watch", now, failure)
  }

  /**
   * At once the first time, also where the server was away before: one that has restarted knows no
   * old version. One that expires everything at once is asked more slowly.
   */
  #relistAfterExpiry(now: Instant): ReflectorAction<T>[] {
    if (this.#hasExpired) return this.#backOff("list", now)
    this.#hasExpired = true
    this.#failures = Math.max(1, this.#failures)
    this.#failure = undefined
    return this.#relist(now)
  }

  /**
   * Said once by a server that is still starting; believed at once only where nothing would be lost
   * by it.
   */
  #notFound(now: Instant): ReflectorAction<T>[] {
    this.#absences++
    const isKnown = this.#isSynced ? this.#resourceVersion !== "" : this.#options.isRestored
    if (isKnown && this.#absences < ABSENCES_MIN) {
      return this.#wait("retrying", after(now, DOUBT_MS))
    }
    const isNews = !this.#isSynced || this.#resourceVersion !== ""
    this.#isSynced = true
    this.#resourceVersion = ""
    const wait = this.#wait("absent", after(now, ABSENT_MS * (1 + this.#options.random() / 4)))
    return isNews ? [{ type: "replace", objects: new Map() }, ...wait] : wait
  }

  #backOff(then: "list" | "watch", now: Instant, failure?: ApiFailure): ReflectorAction<T>[] {
    const doubled = Math.min(BACKOFF_MS_MIN * 2 ** this.#failures, BACKOFF_MS_MAX)
    const jittered = doubled * (1 + this.#options.random())
    const asked = failure?.kind === "status" ? (failure.retryAfterMs ?? 0) : 0
    // Beyond this the delay no longer grows, and 2 ** n must stay finite.
    this.#failures = Math.min(this.#failures + 1, 16)
    return this.#wait("retrying", after(now, Math.max(jittered, asked)), then)
  }

  #slowly(): number {
    return FORBIDDEN_MS * (1 + this.#options.random())
  }

  #wait(
    why: "retrying" | "absent" | "forbidden",
    until: Instant,
    then: "list" | "watch" = this.#state.name === "watching" && why !== "absent" ? "watch" : "list",
  ): ReflectorAction<T>[] {
    this.#request++ // whatever still comes belongs to the past
    this.#state = { name: "waiting", why, until, then }
    return []
  }

  #timeout(now: Instant): ReflectorAction<T>[] {
    const state = this.#state
    if (state.name === "waiting") return now < state.until ? [] : this.#resume(state, now)
    if (state.name !== "streaming" && state.name !== "watching") return []
    if (now < state.silentAt) return []
    const cancel: ReflectorAction<T> = { type: "cancel", request: state.request }
    if (state.name === "streaming" && state.isOpen) {
      this.#brokenStreams = BROKEN_STREAMS_MAX
      return [cancel, ...this.#list("")]
    }
    if (state.name === "watching" && state.openedAt !== undefined) {
      return [cancel, ...this.#silent(state, now)]
    }
    this.#failure = { kind: "timeout", afterMs: this.#openBy(now) - now }
    return [cancel, ...this.#backOff(state.name === "streaming" ? "list" : "watch", now)]
  }

  /** Not where the server itself asked for patience, or its answer is in doubt. */
  #retry(now: Instant): ReflectorAction<T>[] {
    const wasAway = this.#failure?.kind === "connection" || this.#failure?.kind === "timeout"
    if (!wasAway || this.#state.name !== "waiting") return []
    return this.#resume(this.#state, now)
  }

  /**
   * A connection that died. But where the next one brings nothing either, it may be the version: a
   * server restored from a backup sends nothing until its history has come to it again.
   */
  #silent({ events }: State<T> & { name: "watching" }, now: Instant): ReflectorAction<T>[] {
    this.#silences++
    const isVersion = events === 0 && this.#silences >= SILENCES_MAX
    return isVersion ? this.#relist(now) : this.#watch(now)
  }

  #resume(state: State<T> & { name: "waiting" }, now: Instant): ReflectorAction<T>[] {
    return state.then === "list" ? this.#relist(now) : this.#watch(now)
  }

  #stop(): ReflectorAction<T>[] {
    const { name } = this.#state
    if (name === "idle") return []
    const isAsking = name === "listing" || name === "streaming" || name === "watching"
    const actions: ReflectorAction<T>[] = isAsking
      ? [{ type: "cancel", request: this.#request }]
      : []
    this.#request++
    this.#state = { name: "idle" }
    return actions
  }
}

type State<T> =
  | { readonly name: "idle" }
  | {
      readonly name: "listing"
      readonly request: RequestId
      readonly objects: Map<ObjectKey, T>
      readonly isPaged: boolean
      readonly isFirst: boolean
    }
  /** A watch whose initial events are still coming. */
  | {
      readonly name: "streaming"
      readonly request: RequestId
      readonly objects: Map<ObjectKey, T>
      readonly isOpen: boolean
      readonly silentAt: Instant
    }
  | {
      readonly name: "watching"
      readonly request: RequestId
      /** Undefined: not answered yet. */
      readonly openedAt: Instant | undefined
      readonly events: number
      readonly silentAt: Instant
    }
  | {
      readonly name: "waiting"
      readonly why: "retrying" | "absent" | "forbidden"
      readonly until: Instant
      readonly then: "list" | "watch"
    }

function stateName<T>(state: State<T>, isFailing: boolean): ReflectorStateName {
  switch (state.name) {
    case "idle":
      return "idle"
    case "waiting":
      return state.why
    case "watching":
      return isFailing ? "retrying" : "watching"
    default:
      return isFailing ? "retrying" : "listing"
  }
}

/** Versions that are not decimal numbers cannot be compared, and are taken for newer. */
function isOlder(version: string, than: string): boolean {
  if (!DECIMAL.test(version) || !DECIMAL.test(than)) return false
  return version.length === than.length ? version < than : version.length < than.length
}

const DECIMAL = /^[1-9]\d*$/

/** client-go's page. */
const PAGE_OBJECTS = 500
/** A watch lasts this long to twice as long, as client-go's. */
const WATCH_SECONDS_MIN = 300
/** 0.5–1 s at first, 8–16 s in the end: two edges are no load to a server that comes back. */
const BACKOFF_MS_MIN = 500
const BACKOFF_MS_MAX = 8000
const OPEN_MS = 10_000
/** A real server sends objects and closing bookmark in one go. */
const INITIAL_SILENCE_MS = 20_000
const SHORT_WATCH_MS = 1000
const HEALTHY_WATCH_MS = 10_000
const BROKEN_STREAMS_MAX = 2
const SERVER_ERRORS_MAX = 8
const SILENCES_MAX = 2
const FORBIDDEN_MS = 30_000
const ABSENT_MS = 60_000
const ABSENCES_MIN = 2
const DOUBT_MS = 10_000
/** sendInitialEvents forbidden (422), or not understood on the way. */
const NO_STREAM_STATUSES = [400, 405, 406, 415, 422, 501]
