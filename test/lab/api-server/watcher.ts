/**
 * Watches: a stream of JSON lines for one request each, fed by the store's changes
 * (apiserver/pkg/storage/cacher/cacher.go, cache_watcher.go; v0.32).
 *
 * Once a watch is authorized and its version is a number, everything that goes wrong is an event of
 * type ERROR in an answer of 200, a forgotten resourceVersion included.
 */
import type { Answer } from "./http.ts"
import type { ListOptions } from "./list-options.ts"
import { parsedVersion } from "./list-options.ts"
import { isWanted, type ListScope } from "./lister.ts"
import type { Resource } from "./resources.ts"
import { type ApiError, expired, tooLargeResourceVersion } from "./status.ts"
import { type Change, fullText, type Store } from "./store.ts"

export interface WatchSettings {
  bookmarkIntervalMs: number
  /** A client that leaves more than this unread is cut; the initial state it may take as it can. */
  pendingBytesMax: number
  /** Default time limit; the real server takes this once to twice. */
  timeoutSecondsMin: number
  /** How a forgotten resourceVersion is answered: as an event (the real way) or as HTTP 410. */
  goneAs: "event" | "http"
}

export class WatchHub {
  readonly #store: Store
  readonly #settings: WatchSettings
  readonly #watches = new Map<Resource, Set<Watch>>()
  #isStalled = false

  constructor(store: Store, settings: WatchSettings) {
    this.#store = store
    this.#settings = settings
    store.onChange((change) => {
      const line = new ChangeLines(change)
      for (const watch of this.#watches.get(change.resource) ?? []) watch.pass(line)
    })
  }

  get count(): number {
    return this.#all().length
  }

  /** Serves one watch until somebody ends it. Throws `ApiError` before the answer has begun. */
  serve(scope: ListScope, options: ListOptions, answer: Answer): void {
    const since = parsedVersion(options.resourceVersion)
    if (this.#settings.goneAs === "http") this.#refuseForgotten(scope.resource, since)
    const watch = new Watch(scope, options, answer, this.#settings, this.#store)
    watch.isStalled = this.#isStalled
    const watches = this.#watches.get(scope.resource) ?? new Set()
    this.#watches.set(scope.resource, watches.add(watch))
    answer.onClose(() => watch.close())
    watch.onClose = () => watches.delete(watch)
    watch.open(since)
  }

  /** Ends watches, all or those of a resource: by the last chunk, or by a reset in the middle. */
  cut(how: "end" | "reset", resource?: Resource): void {
    const watches = resource === undefined ? this.#all() : [...(this.#watches.get(resource) ?? [])]
    for (const watch of watches) watch.cut(how)
  }

  /** Silence, on open connections; later, what was held back is sent. */
  stall(isStalled: boolean): void {
    this.#isStalled = isStalled
    for (const watch of this.#all()) watch.stall(isStalled)
  }

  /** Sends a bookmark to every watch that takes them, now. */
  bookmark(): void {
    for (const watch of this.#all()) watch.bookmark()
  }

  #all(): Watch[] {
    return [...this.#watches.values()].flatMap((watches) => [...watches])
  }

  #refuseForgotten(resource: Resource, since: number): void {
    if (since === 0 || since >= this.#store.floor(resource)) return
    throw tooOld(since, this.#store.floor(resource))
  }
}

class Watch {
  onClose: () => void = () => undefined
  isStalled = false
  readonly #scope: ListScope
  readonly #options: ListOptions
  readonly #answer: Answer
  readonly #settings: WatchSettings
  readonly #store: Store
  /** Up to here the client has seen everything; nothing older is sent. */
  #revision = 0
  #held = ""
  #initialLength = 0
  #timers: ReturnType<typeof setTimeout>[] = []

  constructor(
    scope: ListScope,
    options: ListOptions,
    answer: Answer,
    settings: WatchSettings,
    store: Store,
  ) {
    this.#scope = scope
    this.#options = options
    this.#answer = answer
    this.#settings = settings
    this.#store = store
  }

  open(since: number): void {
    this.#answer.start(200, { "Content-Type": "application/json" })
    const { sendInitialEvents } = this.#options
    const store = this.#store
    this.#startTimers()
    if (sendInitialEvents === true) {
      if (since > store.revision) this.#fail(tooLargeResourceVersion(since, store.revision))
      else this.#sendAll()
    } else if (since === 0 && sendInitialEvents === undefined) this.#sendAll()
    else this.#resume(since === 0 ? store.revision : since)
  }

  pass(lines: ChangeLines): void {
    const { change } = lines
    if (change.revision <= this.#revision) return
    this.#revision = change.revision
    const isNow = change.type !== "DELETED" && this.#wants(change.stored.object)
    const wasBefore = change.previous !== undefined && this.#wants(change.previous.object)
    if (isNow) this.#write(lines.line(wasBefore ? "MODIFIED" : "ADDED"))
    else if (wasBefore) this.#write(lines.line("DELETED"))
  }

  bookmark(annotations?: Readonly<Record<string, string>>): void {
    const { revision } = this.#store
    // After a restored backup the counter may lie behind the client's.
    if (!this.#options.allowsBookmarks || revision < this.#revision) return
    this.#revision = revision
    const metadata = {
      resourceVersion: String(revision),
      creationTimestamp: null,
      ...(annotations === undefined ? {} : { annotations }),
    }
    const { resource } = this.#scope
    const object = { metadata, ...EMPTY_BODIES[resource.kind] }
    this.#write(eventLine("BOOKMARK", fullText(resource, JSON.stringify(object))))
  }

  stall(isStalled: boolean): void {
    this.isStalled = isStalled
    if (isStalled) return
    this.#answer.write(this.#held)
    this.#held = ""
  }

  cut(how: "end" | "reset"): void {
    if (how === "end") this.#answer.end()
    else this.#answer.destroy()
    this.close()
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
    this.onClose()
  }

  #sendAll(): void {
    const { resource } = this.#scope
    this.#revision = this.#store.revision
    const lines = this.#store
      .list(resource)
      .filter(({ object }) => this.#wants(object))
      .map(({ bare }) => eventLine("ADDED", fullText(resource, bare)))
    const text = lines.join("")
    this.#initialLength = text.length
    this.#write(text)
    if (this.#options.sendInitialEvents === true) {
      this.bookmark({ "k8s.io/initial-events-end": "true" })
    }
  }

  #resume(since: number): void {
    const { resource } = this.#scope
    const changes = this.#store.changesAfter(resource, since)
    if (changes === undefined) return this.#fail(tooOld(since, this.#store.floor(resource)))
    this.#revision = since
    for (const change of changes) this.pass(new ChangeLines(change))
  }

  #fail(error: ApiError): void {
    this.#write(eventLine("ERROR", JSON.stringify(error.body())))
    this.cut("end")
  }

  #wants(object: Parameters<typeof isWanted>[2]): boolean {
    return isWanted(this.#scope, this.#options, object)
  }

  #write(text: string): void {
    if (this.isStalled) {
      this.#held += text
      return
    }
    this.#answer.write(text)
    const limit = this.#settings.pendingBytesMax + this.#initialLength
    if (this.#answer.pendingBytes > limit) this.cut("reset")
  }

  #startTimers(): void {
    const { bookmarkIntervalMs, timeoutSecondsMin } = this.#settings
    const seconds = this.#options.timeoutSeconds ?? timeoutSecondsMin * (1 + Math.random())
    const timeoutMs = seconds * 1000
    this.#timers.push(setTimeout(() => this.cut("end"), Math.min(timeoutMs, TIMER_MS_MAX)))
    if (!this.#options.allowsBookmarks) return
    this.#timers.push(setInterval(() => this.bookmark(), bookmarkIntervalMs))
    // One shortly before the end, so that the next watch starts as late as it can.
    const lastMs = timeoutMs - LAST_BOOKMARK_MS
    if (lastMs > 0) this.#timers.push(setTimeout(() => this.bookmark(), lastMs))
  }
}

/** The texts of one change, made once for all watches. */
class ChangeLines {
  readonly change: Change
  readonly #lines = new Map<string, string>()

  constructor(change: Change) {
    this.change = change
  }

  line(type: "ADDED" | "MODIFIED" | "DELETED"): string {
    const known = this.#lines.get(type)
    if (known !== undefined) return known
    const line = eventLine(type, this.#text(type))
    this.#lines.set(type, line)
    return line
  }

  #text(type: "ADDED" | "MODIFIED" | "DELETED"): string {
    const { resource, stored, previous, revision } = this.change
    if (type !== "DELETED" || this.change.type === "DELETED" || previous === undefined) {
      return fullText(resource, stored.bare)
    }
    // It left the selection: the state that was last in it, with the version of the change.
    const { apiVersion: _, kind: __, ...bare } = previous.object
    const metadata = { ...previous.object.metadata, resourceVersion: String(revision) }
    return fullText(resource, JSON.stringify({ ...bare, metadata }))
  }
}

function eventLine(type: string, object: string): string {
  return `{"type":"${type}","object":${object}}\n`
}

function tooOld(since: number, floor: number): ApiError {
  return expired(`too old resource version: ${since} (${floor})`)
}

/** What an empty object of a kind prints beside its metadata. */
const EMPTY_BODIES: Readonly<Record<string, object>> = {
  Service: { spec: {}, status: { loadBalancer: {} } },
  EndpointSlice: { addressType: "", endpoints: null, ports: null },
  Node: { spec: {}, status: { daemonEndpoints: { kubeletEndpoint: { Port: 0 } } } },
  Namespace: { spec: {}, status: {} },
  Pod: { spec: { containers: null }, status: {} },
  Ingress: { spec: {}, status: { loadBalancer: {} } },
  IngressClass: { spec: {} },
  Lease: { spec: {} },
  Event: {
    involvedObject: {},
    source: {},
    firstTimestamp: null,
    lastTimestamp: null,
    eventTime: null,
    reportingComponent: "",
    reportingInstance: "",
  },
}

const LAST_BOOKMARK_MS = 2_000
const TIMER_MS_MAX = 2 ** 31 - 1
