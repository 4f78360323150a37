/**
 * One reflector and what it asks for: requests, the deadline's timer, the log. Its answers are read
 * (`decode.ts`) and written into the mirror in the same turn of the event loop in which their bytes
 * came.
 */
import { monotonicNow } from "../../linux/clock.ts"
import type { Logger } from "../../log/logger.ts"
import { type ApiFailure, describeFailure } from "../api-failure.ts"
import { decodeLine, decodePage, type Unreadable } from "../decode.ts"
import type { Mirror, MirrorChange, MirroredObject } from "../mirror.ts"
import {
  Reflector,
  type ReflectorAction,
  type ReflectorInput,
  type ReflectorQuery,
  type ReflectorStateName,
  type RequestId,
  type WatchEvent,
} from "../reflector.ts"
import type { Source } from "../resources.ts"
import { type ApiClient, apiPath } from "./api-client.ts"

export interface SourceStatus {
  readonly id: string
  readonly kind: Source["kind"]
  /** "": everywhere. */
  readonly namespace: string
  readonly state: ReflectorStateName
  /** The whole state has been here since the start. */
  readonly isSynced: boolean
  readonly objects: number
  readonly resourceVersion: string
  /** When the server last sent anything, bookmarks included; undefined: not since the start. */
  readonly lastEventEpochMs: number | undefined
  /** Since when it cannot be followed; undefined: it is followed. */
  readonly failingSinceEpochMs: number | undefined
  /** "": none. */
  readonly lastError: string
  /** Objects left out and events ignored because they could not be read. */
  readonly unreadable: number
  readonly relists: number
  readonly watches: number
}

export interface RunnerContext {
  readonly client: ApiClient
  readonly mirror: Mirror
  readonly log: Logger
  readonly silenceMs: number
  readonly random: () => number
  readonly onChange: (changes: readonly MirrorChange[]) => void
  /** So many characters of JSON have been read, and are of no use any more. */
  readonly onRead: (characters: number) => void
  /** Called after whatever may have changed the status. */
  readonly onProgress: () => void
  /** The server answers again after it did not. */
  readonly onRecovery: () => void
}

export class SourceRunner {
  readonly source: Source
  readonly #context: RunnerContext
  readonly #path: string
  readonly #machine: Reflector<MirroredObject>
  #current: { readonly request: RequestId; readonly abort: AbortController } | undefined
  #timer: { readonly at: number; readonly handle: Timer } | undefined
  #failure: ApiFailure | undefined
  #failingSinceEpochMs: number | undefined
  #lastEventEpochMs: number | undefined
  #wasSynced = false
  #unreadable = 0

  constructor(source: Source, context: RunnerContext) {
    this.source = source
    this.#context = context
    this.#path = apiPath(source)
    this.#machine = new Reflector({
      isOptional: source.isOptional,
      isRestored: context.mirror.countOf(source.id) > 0,
      silenceMs: context.silenceMs,
      random: context.random,
    })
  }

  start(): void {
    this.#handle({ type: "start" })
  }

  /** The server answers others: a back-off may end. */
  retry(): void {
    this.#handle({ type: "retry" })
  }

  /** Nothing is asked or written after this. */
  stop(): void {
    this.#handle({ type: "stop" })
    clearTimeout(this.#timer?.handle)
    this.#timer = undefined
  }

  /** Or not to be had: what may not be read says no more by being waited for. */
  get isSettled(): boolean {
    const { isSynced, state } = this.#machine.status()
    return isSynced || (state === "forbidden" && !ESSENTIAL.has(this.source.kind))
  }

  status(): SourceStatus {
    const { state, isSynced, resourceVersion, relists, watches } = this.#machine.status()
    return {
      ...{ id: this.source.id, kind: this.source.kind, namespace: this.source.namespace },
      ...{ state, isSynced, resourceVersion, relists, watches },
      objects: this.#context.mirror.countOf(this.source.id),
      lastEventEpochMs: this.#lastEventEpochMs,
      failingSinceEpochMs: this.#failingSinceEpochMs,
      lastError: this.#failure === undefined ? "" : describeFailure(this.#failure),
      unreadable: this.#unreadable,
    }
  }

  #handle(input: ReflectorInput<MirroredObject>): void {
    for (const action of this.#machine.handle(input, monotonicNow())) this.#carryOut(action)
    this.#schedule()
    this.#report()
  }

  #carryOut(action: ReflectorAction<MirroredObject>): void {
    const { mirror } = this.#context
    switch (action.type) {
      case "list":
        void this.#list(action.request, action.query)
        return
      case "watch":
        void this.#watch(action.request, action.query)
        return
      case "cancel":
        if (this.#current?.request === action.request) this.#current.abort.abort()
        return
      case "replace":
        return this.#tell(mirror.replace(this.source, action.objects))
      case "apply":
        return this.#tell(mirror.apply(this.source, action.changes))
    }
  }

  #tell(changes: readonly MirrorChange[]): void {
    if (changes.length > 0) this.#context.onChange(changes)
  }

  async #list(request: RequestId, query: ReflectorQuery): Promise<void> {
    const signal = this.#begin(request)
    const result = await this.#context.client.get(this.#path, {
      query: this.#selected(query),
      timeoutMs: LIST_MS,
      bytesMax: LIST_BYTES_MAX,
      signal,
    })
    if (signal.aborted) return
    if (!result.ok) return this.#handle({ type: "failed", request, failure: result.failure })
    const decoded = decodePage(this.source.kind, result.value)
    if (!decoded.ok) return this.#handle({ type: "failed", request, failure: decoded.failure })
    this.#lastEventEpochMs = Date.now()
    for (const each of decoded.unreadable) this.#leftOut(each)
    this.#handle({ type: "page", request, page: decoded.page })
    this.#context.onRead(decoded.page.objects.length * LISTED_CHARACTERS)
  }

  async #watch(request: RequestId, query: ReflectorQuery): Promise<void> {
    const signal = this.#begin(request)
    const failure = await this.#context.client.watch(this.#path, this.#selected(query), {
      signal,
      onOpen: () => {
        if (!signal.aborted) this.#handle({ type: "opened", request })
      },
      onLines: (lines) => {
        if (!signal.aborted) this.#events(request, lines)
      },
    })
    if (signal.aborted) return
    this.#handle(
      failure === undefined ? { type: "ended", request } : { type: "failed", request, failure },
    )
  }

  #events(request: RequestId, lines: readonly string[]): void {
    this.#lastEventEpochMs = Date.now()
    const events: WatchEvent<MirroredObject>[] = []
    for (const line of lines) {
      const result = decodeLine(this.source.kind, line)
      if (!result.ok) this.#ignored(result.reason)
      else {
        events.push(result.event)
        if (result.unreadable !== undefined) this.#leftOut(result.unreadable)
      }
    }
    this.#handle({ type: "events", request, events })
    this.#context.onRead(lines.reduce((sum, { length }) => sum + length, 0))
  }

  #begin(request: RequestId): AbortSignal {
    const abort = new AbortController()
    this.#current = { request, abort }
    return abort.signal
  }

  #selected(query: ReflectorQuery): ReflectorQuery {
    const { fieldSelector } = this.source
    return fieldSelector === "" ? query : { ...query, fieldSelector }
  }

  /** A timer that is early does no harm, and deadlines move with every event. */
  #schedule(): void {
    const deadline = this.#machine.deadline()
    if (deadline === undefined) return
    if (this.#timer !== undefined && this.#timer.at <= deadline) return
    clearTimeout(this.#timer?.handle)
    const delayMs = Math.max(0, deadline - monotonicNow())
    const fire = () => {
      this.#timer = undefined
      this.#handle({ type: "timeout" })
    }
    // Rounded up: a millisecond early would mean a second timer.
    this.#timer = { at: deadline, handle: setTimeout(fire, Math.ceil(delayMs)) }
  }

  #leftOut({ key, reason, message }: Unreadable): void {
    this.#unreadable++
    this.#context.log.warn("kubernetes", "Left out an object that cannot be read", {
      ...{ resource: this.source.id, object: key, reason, message },
    })
  }

  #ignored(reason: string): void {
    this.#unreadable++
    this.#context.log.warn("kubernetes", "Ignored a watch event that cannot be read", {
      ...{ resource: this.source.id, reason },
    })
  }

  /** Logs what began and what ended, once each, however often a request is repeated. */
  #report(): void {
    const { failure, isSynced, state } = this.#machine.status()
    if (state === "idle") return
    const before = this.#failure
    // That there is no such resource is an answer.
    this.#failure = state === "absent" ? undefined : failure
    if (this.#failure === undefined) {
      if (before !== undefined) this.#recovered(before)
    } else if (before === undefined || nameOf(before) !== nameOf(this.#failure)) {
      this.#logFailure(this.#failure)
    }
    if (isSynced && !this.#wasSynced) {
      this.#wasSynced = true
      const objects = this.#context.mirror.countOf(this.source.id)
      const message = state === "absent" ? "The cluster has no such resource" : "Mirrored"
      this.#context.log.info("kubernetes", message, { resource: this.source.id, objects })
    }
    this.#context.onProgress()
  }

  #logFailure(failure: ApiFailure): void {
    this.#failingSinceEpochMs ??= Date.now()
    this.#context.log.warn("kubernetes", "Cannot follow a resource; what is known stays in use", {
      ...{ resource: this.source.id, reason: describeFailure(failure) },
      ...{ server: this.#context.client.server },
    })
  }

  #recovered(before: ApiFailure): void {
    const failedMs = Date.now() - (this.#failingSinceEpochMs ?? Date.now())
    this.#failingSinceEpochMs = undefined
    this.#context.log.info("kubernetes", "Following a resource again", {
      ...{ resource: this.source.id, after_ms: failedMs },
    })
    if (before.kind === "connection" || before.kind === "timeout") this.#context.onRecovery()
  }
}

/** Two failures of one name are logged once. */
function nameOf(failure: ApiFailure): string {
  return failure.kind === "status" ? `status ${failure.code}` : failure.kind
}

/** A page of 500 objects; far more than a healthy server needs for it. */
const LIST_MS = 30_000
/** Of an object in a list, about. */
const LISTED_CHARACTERS = 2_000
const LIST_BYTES_MAX = 64 * 1024 * 1024

/** Without these nothing can be served that a cluster has. */
const ESSENTIAL: ReadonlySet<Source["kind"]> = new Set(["services", "endpointSlices"])
