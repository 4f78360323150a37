/**
 * What the API server sends, read once: pages of lists and lines of watches become the objects of
 * `objects.ts`, or a reason why not. Nothing here throws, whatever comes.
 *
 * An object that cannot be read counts as not there, in lists and in watches alike, so that the
 * mirror depends only on the server's state and not on the way it came. That is for custom
 * resources that somebody wrote without a schema; core objects are validated by the server.
 */
import { type ApiFailure, failureOfStatus } from "./api-failure.ts"
import { BadField, type Fields, fieldsAt, isFields, textAt } from "./decode-fields.ts"
import { DECODERS, metaOf } from "./decode-objects.ts"
import { keyOf, type MirroredKind, type MirroredObjects, type ObjectKey } from "./objects.ts"
import type { ListPage, WatchEvent } from "./reflector.ts"

export type DecodeResult<T> =
  | { readonly ok: true; readonly key: ObjectKey; readonly object: T }
  | {
      readonly ok: false
      /** "": not even a name. */
      readonly key: ObjectKey
      readonly reason: UnreadableReason
      readonly message: string
    }

export type UnreadableReason = "not_an_object" | "no_name" | "bad_field"

/** An object that was left out. */
export interface Unreadable {
  readonly key: ObjectKey
  readonly reason: UnreadableReason
  readonly message: string
}

export type PageResult<T> =
  | { readonly ok: true; readonly page: ListPage<T>; readonly unreadable: readonly Unreadable[] }
  | { readonly ok: false; readonly failure: ApiFailure }

export type LineResult<T> =
  | {
      readonly ok: true
      readonly event: WatchEvent<T>
      readonly unreadable: Unreadable | undefined
    }
  /** No event of a watch; there is nothing to take from it. */
  | { readonly ok: false; readonly reason: "not_json" | "not_an_event" | "no_name" | "no_version" }

export function decodeObject<Kind extends MirroredKind>(
  kind: Kind,
  value: unknown,
): DecodeResult<MirroredObjects[Kind]> {
  if (!isFields(value)) return unreadable("", "not_an_object", "not a JSON object")
  const meta = metaOf(value, LABELS[kind] ?? (() => true))
  if (meta === undefined) return unreadable("", "no_name", "has no metadata.name")
  const key = keyOf(meta)
  try {
    return { ok: true, key, object: DECODERS[kind](value, meta) }
  } catch (error) {
    if (error instanceof BadField) return unreadable(key, "bad_field", error.message)
    throw error
  }
}

/** A list's answer. */
export function decodePage<Kind extends MirroredKind>(
  kind: Kind,
  value: unknown,
): PageResult<MirroredObjects[Kind]> {
  const metadata = isFields(value) ? fieldsAt(value, "metadata") : {}
  const resourceVersion = textAt(metadata, "resourceVersion")
  if (!isFields(value) || !Array.isArray(value["items"]) || resourceVersion === "") {
    const message = "The answer is not a list of objects: is this an API server?"
    return { ok: false, failure: { kind: "answer", reason: "not_an_object", message } }
  }
  const objects: { key: ObjectKey; object: MirroredObjects[Kind] }[] = []
  const left: Unreadable[] = []
  for (const item of value["items"]) {
    const result = decodeObject(kind, item)
    if (result.ok) objects.push({ key: result.key, object: result.object })
    else left.push(result)
  }
  const page = { objects, resourceVersion, next: textAt(metadata, "continue") }
  return { ok: true, page, unreadable: left }
}

/** A line of a watch: `{"type": "ADDED", "object": {…}}`. */
export function decodeLine<Kind extends MirroredKind>(
  kind: Kind,
  line: string,
): LineResult<MirroredObjects[Kind]> {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return { ok: false, reason: "not_json" }
  }
  if (!isFields(value)) return { ok: false, reason: "not_an_event" }
  const object = fieldsAt(value, "object")
  switch (value["type"]) {
    case "ADDED":
    case "MODIFIED":
      return objectEvent(kind, object)
    case "DELETED":
      return deletion(object)
    case "BOOKMARK":
      return versionOf(object) === ""
        ? { ok: false, reason: "no_version" }
        : { ok: true, event: bookmark(object), unreadable: undefined }
    case "ERROR":
      return {
        ok: true,
        event: { type: "error", failure: failureOfStatus(object) },
        unreadable: undefined,
      }
    default:
      return { ok: false, reason: "not_an_event" }
  }
}

function objectEvent<Kind extends MirroredKind>(
  kind: Kind,
  value: Fields,
): LineResult<MirroredObjects[Kind]> {
  const result = decodeObject(kind, value)
  if (result.key === "") return { ok: false, reason: "no_name" }
  if (versionOf(value) === "") return { ok: false, reason: "no_version" }
  return {
    ok: true,
    event: {
      type: "object",
      key: result.key,
      object: result.ok ? result.object : undefined,
      resourceVersion: versionOf(value),
    },
    unreadable: result.ok ? undefined : result,
  }
}

function deletion(value: Fields): LineResult<never> {
  const metadata = fieldsAt(value, "metadata")
  const name = textAt(metadata, "name")
  if (name === "") return { ok: false, reason: "no_name" }
  if (versionOf(value) === "") return { ok: false, reason: "no_version" }
  const key = keyOf({ namespace: textAt(metadata, "namespace"), name })
  const event = {
    type: "object",
    key,
    object: undefined,
    resourceVersion: versionOf(value),
  } as const
  return { ok: true, event, unreadable: undefined }
}

function bookmark(value: Fields): WatchEvent<never> {
  const annotations = fieldsAt(fieldsAt(value, "metadata"), "annotations")
  return {
    type: "bookmark",
    resourceVersion: versionOf(value),
    isInitialEnd: annotations["k8s.io/initial-events-end"] === "true",
  }
}

function versionOf(value: Fields): string {
  return textAt(fieldsAt(value, "metadata"), "resourceVersion")
}

function unreadable(
  key: ObjectKey,
  reason: UnreadableReason,
  message: string,
): DecodeResult<never> {
  return { ok: false, key, reason, message }
}

/**
 * Labels that are kept of kinds that come in large numbers or that nothing selects; of other kinds
 * all are, because MetalLB's selectors may ask for any.
 */
const LABELS: { readonly [Kind in MirroredKind]?: (key: string) => boolean } = {
  endpointSlices: (key) => key.includes("kubernetes.io/") || key.startsWith("causeway.dev/"),
  secrets: () => false,
  blockAffinities: () => false,
  ciliumNodes: () => false,
}
