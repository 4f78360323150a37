/** Error answers of the admin API: problem details (RFC 9457), the same form for every one. */
import { STATUS_CODES } from "node:http"

export interface Problem {
  readonly status: number
  /** What went wrong here, for the person or program that asked. */
  readonly detail: string
  readonly headers?: Readonly<Record<string, string>>
  /** Further members of the document (RFC 9457 §3.2). */
  readonly members?: Readonly<Record<string, unknown>>
}

/** `type` is left at "about:blank", its default, so `title` is the status phrase (§4.2.1). */
export function problemResponse({ status, detail, headers, members }: Problem): Response {
  const title = STATUS_CODES[status] ?? "Error"
  return Response.json(
    { title, status, detail, ...members },
    { status, headers: { ...headers, "content-type": "application/problem+json" } },
  )
}
