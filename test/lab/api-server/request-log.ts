/** What was asked, by whom, and how it ended; and which rights were used, so that none is idle. */
import type { Target } from "./request-info.ts"

export interface LoggedRequest {
  /** Wall-clock milliseconds. */
  readonly atMs: number
  readonly method: string
  readonly path: string
  readonly query: string
  readonly user: string
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource: string
  readonly namespace: string
  readonly name: string
  /** Of the answer's head; a watch's is 200 from its start. */
  readonly status: number
  readonly userAgent: string
  /** Fields of the body that the real server does not know: a mistake of the client's. */
  readonly warnings: readonly string[]
}

/** One right that a user made use of. */
export interface UsedRight {
  readonly verb: string
  readonly group: string
  readonly resource: string
  /** "" = the object itself. */
  readonly subresource: string
  readonly namespace: string
  readonly name: string
}

export class RequestLog {
  readonly #usage = new Map<string, Map<string, UsedRight>>()
  #requests: LoggedRequest[] = []

  get requests(): readonly LoggedRequest[] {
    return this.#requests
  }

  add(request: LoggedRequest): void {
    if (this.#requests.length >= REQUESTS_MAX)
      this.#requests = this.#requests.slice(-REQUESTS_MAX / 2)
    this.#requests.push(request)
  }

  use(user: string, verb: string, target: Target): void {
    const { group, plural: resource, subresource, namespace, name } = target
    const right = { verb, group, resource, subresource, namespace, name }
    const rights = this.#usage.get(user) ?? new Map<string, UsedRight>()
    this.#usage.set(user, rights.set(Object.values(right).join("\0"), right))
  }

  /** Rights that were asked for and granted. */
  usageOf(user: string): UsedRight[] {
    return [...(this.#usage.get(user)?.values() ?? [])]
  }

  clear(): void {
    this.#requests = []
    this.#usage.clear()
  }
}

const REQUESTS_MAX = 20_000
