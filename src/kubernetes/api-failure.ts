/**
 * Why a request to the API server did not succeed, as a value: the machines decide by it, status
 * and log show it.
 */

export type ApiFailure =
  /** The server answered with an error; `reason` is its Status object's (`Expired` …). */
  | {
      readonly kind: "status"
      readonly code: number
      readonly reason: string
      readonly message: string
      /** From Retry-After or `details.retryAfterSeconds`. */
      readonly retryAfterMs: number | undefined
    }
  /** No connection, or it broke; `reason` is an errno name or OpenSSL's word. */
  | { readonly kind: "connection"; readonly reason: string; readonly message: string }
  | { readonly kind: "timeout"; readonly afterMs: number }
  /** An answer that is not what the API sends. */
  | {
      readonly kind: "answer"
      readonly reason: "too_large" | "not_json" | "not_an_object" | "line_too_long"
      readonly message: string
    }
  /** A file of the credentials cannot be read; nothing was sent. */
  | { readonly kind: "credentials"; readonly message: string }

/** For a person; never holds credentials. */
export function describeFailure(failure: ApiFailure): string {
  switch (failure.kind) {
    case "status":
      return `${failure.code} ${failure.reason}: ${failure.message}`.replace(/[ :]+$/, "")
    case "connection":
      return failure.message === "" ? failure.reason : `${failure.reason}: ${failure.message}`
    case "timeout":
      return `no answer within ${failure.afterMs} ms`
    case "answer":
    case "credentials":
      return failure.message
  }
}

/** The failure that a Status object (meta/v1) tells of, also in a watch's ERROR event. */
export function failureOfStatus(
  status: unknown,
  { code = 0, retryAfter = "" }: { readonly code?: number; readonly retryAfter?: string } = {},
): ApiFailure {
  const fields = isFields(status) ? status : {}
  const details = isFields(fields["details"]) ? fields["details"] : {}
  return {
    kind: "status",
    code: code || (typeof fields["code"] === "number" ? fields["code"] : 0),
    reason: typeof fields["reason"] === "string" ? fields["reason"] : "",
    message: clipped(typeof fields["message"] === "string" ? fields["message"] : ""),
    retryAfterMs: seconds(retryAfter) ?? seconds(details["retryAfterSeconds"]),
  }
}

/** The requested version is no longer (or, after a restored backup, not yet) in the history. */
export function isExpired(failure: ApiFailure): boolean {
  if (failure.kind !== "status") return false
  return failure.code === 410 || failure.reason === "Expired" || failure.reason === "Gone"
}

export function hasStatus(failure: ApiFailure | undefined, ...codes: readonly number[]): boolean {
  return failure?.kind === "status" && codes.includes(failure.code)
}

/** Whole seconds only: the API server sends no dates. */
function seconds(value: unknown): number | undefined {
  const count = typeof value === "string" && value !== "" ? Number(value) : value
  if (typeof count !== "number" || !(count > 0)) return undefined
  return Math.min(count, RETRY_AFTER_SECONDS_MAX) * 1000
}

function clipped(message: string): string {
  return message.length <= MESSAGE_CHARACTERS_MAX
    ? message
    : `${message.slice(0, MESSAGE_CHARACTERS_MAX)}…`
}

function isFields(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

const RETRY_AFTER_SECONDS_MAX = 120
const MESSAGE_CHARACTERS_MAX = 500
