/**
 * What can be wrong with an API server, beside being stopped: silence, slowness, refusals. Asked
 * before a request is even authenticated.
 */
import type { Answer } from "./http.ts"

export interface RefusalOptions {
  /** How many requests; default: until `clear`. */
  readonly count?: number
  /** Only requests with this verb ("list", "watch", "patch", …); default: all. */
  readonly verb?: string
}

export interface TooManyRequestsOptions extends RefusalOptions {
  readonly retryAfterSeconds?: number
}

export interface ErrorOptions extends RefusalOptions {
  /** Default: 500. */
  readonly code?: number
}

export class Faults {
  #delayMs = 0
  #isStalled = false
  #held: (() => void)[] = []
  #refusals: Refusal[] = []

  stall(): void {
    this.#isStalled = true
  }

  delay(ms: number): void {
    this.#delayMs = ms
  }

  refuse(refusal: Refusal): void {
    this.#refusals.push(refusal)
  }

  /** Back to health; requests that were held are carried out. */
  clear(): void {
    this.#isStalled = false
    this.#delayMs = 0
    this.#refusals = []
    const held = this.#held
    this.#held = []
    for (const proceed of held) proceed()
  }

  /** Calls `proceed` now, later or never; true: the request was refused with `answer`. */
  pass(verb: string, answer: Answer, proceed: () => void): number | undefined {
    const refusal = this.#refusals.find((each) => each.verb === undefined || each.verb === verb)
    if (refusal !== undefined) {
      refusal.count -= 1
      if (refusal.count <= 0) this.#refusals = this.#refusals.filter((each) => each !== refusal)
      refusal.answer(answer)
      return refusal.code
    }
    if (this.#isStalled) this.#held.push(proceed)
    else if (this.#delayMs > 0) setTimeout(proceed, this.#delayMs)
    else proceed()
    return undefined
  }
}

export interface Refusal {
  count: number
  readonly verb: string | undefined
  readonly code: number
  readonly answer: (answer: Answer) => void
}

/** As priority and fairness answers: plain text, with a word on when to come back. */
export function tooManyRequests(options: TooManyRequestsOptions): Refusal {
  const fields = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Retry-After": String(options.retryAfterSeconds ?? 1),
  }
  const text = "Too many requests, please try again later.\n"
  return {
    count: options.count ?? Number.POSITIVE_INFINITY,
    verb: options.verb,
    code: 429,
    answer: (answer) => answer.send(429, fields, text),
  }
}

/** As the server answers while etcd has no leader. */
export function serverErrors({ count, verb, code = 500 }: ErrorOptions): Refusal {
  const message = "etcdserver: request timed out"
  const reason = code === 503 ? "ServiceUnavailable" : "InternalError"
  const body = {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    reason,
  }
  return {
    count: count ?? Number.POSITIVE_INFINITY,
    verb,
    code,
    answer: (answer) => {
      const text = `${JSON.stringify({ ...body, code })}\n`
      answer.send(code, { "Content-Type": "application/json" }, text)
    },
  }
}
