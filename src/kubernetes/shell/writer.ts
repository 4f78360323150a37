/**
 * Carries out writes over the API client: the shell of `write-queue.ts`.
 *
 * Nothing is sent when this edge does not hold the Lease, which is asked again right before each
 * request; a request under way then ends within its time limit, which is shorter than what is left
 * of the lease after the holder stopped.
 */
import type { Instant } from "../../net/time.ts"
import { EventSeries } from "../event-series.ts"
import { GROUP_VERSIONS, WriteQueue, type WriteQueueStatus } from "../write-queue.ts"
import type { Write } from "../writes.ts"
import { type ApiClient, type ApiResult, apiPath } from "./api-client.ts"

export interface WriterOptions {
  readonly client: Pick<ApiClient, "create" | "patch" | "delete">
  readonly mayWrite: () => boolean
  /** For what the server refused. */
  readonly onRefused: (message: string) => void
  readonly node: string
  /** Something random, lower-case letters and digits. */
  readonly suffix: string
  readonly now: () => Instant
  readonly epochMs: () => number
}

export class Writer {
  readonly #options: WriterOptions
  readonly #queue = new WriteQueue()
  readonly #events: EventSeries
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(options: WriterOptions) {
    this.#options = options
    this.#events = new EventSeries(options.node)
  }

  push(writes: readonly Write[]): void {
    if (writes.length === 0 || !this.#options.mayWrite()) return
    this.#queue.push(writes)
    this.#send()
  }

  /** This edge lost the Lease, or stops. */
  clear(): void {
    this.#queue.clear()
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  status(): WriteQueueStatus {
    return this.#queue.status()
  }

  #send(): void {
    if (!this.#options.mayWrite()) return this.clear()
    for (;;) {
      const outgoing = this.#queue.next(this.#options.now())
      if (outgoing === undefined) break
      void this.#carryOut(outgoing.id, outgoing.write)
    }
    this.#sleep()
  }

  #sleep(): void {
    clearTimeout(this.#timer)
    const now = this.#options.now()
    const at = this.#queue.deadline(now)
    this.#timer =
      at === undefined ? undefined : setTimeout(() => this.#send(), Math.max(1, at - now))
  }

  async #carryOut(id: number, write: Write): Promise<void> {
    const result = await this.#request(write)
    const failure = result.ok ? undefined : result.failure
    const outcome = this.#queue.finish(id, failure, this.#options.now())
    if (outcome.type === "refused") this.#options.onRefused(outcome.message)
    this.#send()
  }

  async #request(write: Write): Promise<ApiResult> {
    const { client } = this.#options
    const options = { timeoutMs: REQUEST_MS }
    switch (write.type) {
      case "event":
        return await this.#event(write)
      case "create":
        return await client.create(pathOf(write, ""), write.object, options)
      case "delete":
        return await client.delete(pathOf(write, write.name), { uid: write.uid, ...options })
      case "patch": {
        const path = pathOf(write, write.name)
        const type = write.format ?? "merge"
        return await client.patch(path, versioned(write), { type, ...options })
      }
    }
  }

  async #event(write: Write & { readonly type: "event" }): Promise<ApiResult> {
    const { client, now, epochMs, suffix } = this.#options
    const request = this.#events.request(write, now(), { epochMs: epochMs(), suffix })
    if (request.type === "dropped") return { ok: true, value: undefined }
    const place = { groupVersion: "v1", resource: "events", namespace: request.namespace }
    const options = { timeoutMs: REQUEST_MS }
    if (request.type === "create")
      return await client.create(apiPath(place), request.object, options)
    return await client.patch(apiPath({ ...place, name: request.name }), request.patch, options)
  }
}

type ObjectWrite = Exclude<Write, { readonly type: "event" }>

function pathOf(write: ObjectWrite, name: string): string {
  const { resource, namespace } = write
  const subresource = write.type === "patch" ? write.subresource : ""
  return apiPath({ groupVersion: GROUP_VERSIONS[resource], resource, namespace, name, subresource })
}

/** The server compares it with the object's and answers 409 (optimistic concurrency). */
function versioned({ patch, resourceVersion }: Write & { readonly type: "patch" }) {
  if (resourceVersion === undefined || !isFields(patch)) return patch
  const metadata = isFields(patch["metadata"]) ? patch["metadata"] : {}
  return { ...patch, metadata: { ...metadata, resourceVersion } }
}

function isFields(value: unknown): value is Readonly<Record<string, never>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Lease 15 s − renewal deadline 10 s leaves 5 s. */
const REQUEST_MS = 3000
