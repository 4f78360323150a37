/**
 * The query of a list or watch, checked as the server checks it before it looks at any object
 * (apimachinery/pkg/apis/meta/internalversion/validation).
 */

import type { Resource } from "./resources.ts"
import { fieldPredicate, labelPredicate, type Predicate } from "./selectors.ts"
import { badRequest, type FieldError, forbiddenField, invalid, notSupported } from "./status.ts"

export interface ListOptions {
  readonly isWatch: boolean
  readonly limit: number
  readonly continueToken: string
  /** "" = not given, which is not the same as "0". */
  readonly resourceVersion: string
  readonly match: "" | "Exact" | "NotOlderThan"
  readonly sendInitialEvents: boolean | undefined
  readonly allowsBookmarks: boolean
  readonly timeoutSeconds: number | undefined
  readonly labels: Predicate | undefined
  readonly fields: Predicate | undefined
}

/** Throws 400 and 422. `hasWatchList`: the feature gate of streaming lists. */
export function listOptions(
  query: URLSearchParams,
  resource: Resource,
  hasWatchList: boolean,
): ListOptions {
  const isWatch = ["true", "1"].includes(query.get("watch") ?? "")
  const given = query.get("sendInitialEvents")
  const match = query.get("resourceVersionMatch") ?? ""
  const options = {
    isWatch,
    limit: integer(query, "limit") ?? 0,
    continueToken: query.get("continue") ?? "",
    resourceVersion: query.get("resourceVersion") ?? "",
    match,
    sendInitialEvents: given === null ? undefined : given === "true" || given === "1",
    allowsBookmarks: ["true", "1"].includes(query.get("allowWatchBookmarks") ?? ""),
    timeoutSeconds: integer(query, "timeoutSeconds"),
  }
  const checked = isWatch && hasWatchList ? withLegacyDefaults(options) : options
  const errors = isWatch ? watchErrors(checked, hasWatchList) : listErrors(checked)
  if (errors.length > 0) throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", errors)
  return {
    ...checked,
    match: checked.match as ListOptions["match"],
    labels: labelPredicate(query.get("labelSelector") ?? ""),
    fields: fieldPredicate(query.get("fieldSelector") ?? "", resource),
  }
}

/** The number in `resourceVersion`; 0 where none is given. Throws 400. */
export function parsedVersion(text: string): number {
  if (text === "") return 0
  if (!/^\d+$/.test(text)) {
    throw badRequest(
      `invalid resource version: resourceVersion: Invalid value: "${text}": ` +
        `strconv.ParseUint: parsing "${text}": invalid syntax`,
    )
  }
  return Number(text)
}

type Unchecked = Omit<ListOptions, "match" | "labels" | "fields"> & { readonly match: string }

/** A watch from nowhere in particular starts with what there is: a streaming list by itself. */
function withLegacyDefaults(options: Unchecked): Unchecked {
  const isLegacy = options.resourceVersion === "" || options.resourceVersion === "0"
  if (options.sendInitialEvents !== undefined || options.match !== "" || !isLegacy) return options
  return { ...options, sendInitialEvents: true, match: "NotOlderThan" }
}

function listErrors(options: Unchecked): FieldError[] {
  const { match, resourceVersion, continueToken, sendInitialEvents } = options
  const field = "resourceVersionMatch"
  const errors: FieldError[] = []
  if (match !== "") {
    if (resourceVersion === "") {
      const detail = "resourceVersionMatch is forbidden unless resourceVersion is provided"
      errors.push(forbiddenField(field, detail))
    }
    if (continueToken !== "") {
      const detail = "resourceVersionMatch is forbidden when continue is provided"
      errors.push(forbiddenField(field, detail))
    }
    if (match !== "Exact" && match !== "NotOlderThan") {
      errors.push(notSupported(field, match, ["Exact", "NotOlderThan", ""]))
    }
    if (match === "Exact" && resourceVersion === "0") {
      const detail = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
      errors.push(forbiddenField(field, detail))
    }
  }
  if (sendInitialEvents !== undefined) {
    errors.push(forbiddenField("sendInitialEvents", "sendInitialEvents is forbidden for list"))
  }
  return errors
}

function watchErrors(options: Unchecked, hasWatchList: boolean): FieldError[] {
  const { match, continueToken, sendInitialEvents } = options
  const field = "resourceVersionMatch"
  const errors: FieldError[] = []
  if (sendInitialEvents !== undefined) {
    if (match !== "NotOlderThan") {
      const detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
      errors.push(forbiddenField(field, detail))
    }
    if (!hasWatchList) {
      const detail =
        "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
      errors.push(forbiddenField("sendInitialEvents", detail))
    }
  }
  if (match !== "") {
    if (sendInitialEvents === undefined) {
      const detail =
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
      errors.push(forbiddenField(field, detail))
    }
    if (match !== "NotOlderThan") errors.push(notSupported(field, match, ["NotOlderThan"]))
    if (continueToken !== "") {
      const detail = "resourceVersionMatch is forbidden when continue is provided"
      errors.push(forbiddenField(field, detail))
    }
  }
  return errors
}

function integer(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name)
  if (text === null || text === "") return undefined
  if (!/^-?\d+$/.test(text)) throw badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`)
  return Number(text)
}
