/** Answers that the edge gives by itself. */
import type { HeaderChanges, HeaderField } from "../config/http-config.ts"
import { fieldLine } from "./header-changes.ts"
import type { RespondDecision, Route } from "./route.ts"
import { phraseOf } from "./status.ts"

/** A short text that names the status, for a request that no route was chosen for. */
export function plainResponse(status: number, detail = ""): RespondDecision {
  return { type: "respond", route: undefined, status, fields: "", body: bodyOf(status, detail) }
}

/** The same for a route: the response headers of the route and its gates go with it. */
export function routeResponse(
  route: Route,
  response: { readonly status: number; readonly fields?: string; readonly body?: string },
  { responseFields }: { readonly responseFields: string },
): RespondDecision {
  const { status, body = bodyOf(status, "") } = response
  const fields = (response.fields ?? "") + responseFields + route.responseFields
  return { type: "respond", route, status, fields, body }
}

/** Own fields, but for those that the route sets or removes. */
export function ownFields(fields: readonly HeaderField[], { set, remove }: HeaderChanges): string {
  const replaced = new Set([...set.map(({ name }) => name), ...remove].map(lower))
  return fields
    .filter(({ name }) => !replaced.has(lower(name)))
    .map(fieldLine)
    .join("")
}

function bodyOf(status: number, detail: string): string {
  return `${status} ${phraseOf(status)}${detail === "" ? "" : `: ${detail}`}\n`
}

function lower(name: string): string {
  return name.toLowerCase()
}
