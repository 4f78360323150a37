/**
 * The three patch formats: JSON merge patch (RFC 7396), JSON patch (RFC 6902) and the strategic
 * merge patch of Kubernetes, which merges some lists by a key instead of replacing them.
 */
import { type ApiObject, at, copyOf, isRecord, isSame, type JsonObject } from "./object.ts"
import { ApiError, badRequest } from "./status.ts"

export const PATCH_TYPES = {
  json: "application/json-patch+json",
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
} as const

/** The patched object, a new one. Throws 400 on a patch that does not fit, 422-worthy ones too. */
export function patched(object: ApiObject, contentType: string, patch: unknown): ApiObject {
  const result = patchedValue(object, contentType, patch)
  if (!isRecord(result) || !isRecord(at(result, "metadata"))) throw badRequest("not an object")
  return result as ApiObject
}

function patchedValue(object: ApiObject, contentType: string, patch: unknown): unknown {
  if (contentType === PATCH_TYPES.json) return jsonPatched(object, patch)
  if (!isRecord(patch)) {
    throw badRequest("json: cannot unmarshal array into Go value of type map[string]interface {}")
  }
  return contentType === PATCH_TYPES.merge
    ? mergePatched(object, patch)
    : strategicPatched(object, patch, "")
}

/** RFC 7396 §2. */
export function mergePatched(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return patch
  const result: JsonObject = isRecord(target) ? { ...target } : {}
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete result[field]
    else result[field] = mergePatched(result[field], value)
  }
  return result
}

interface Operation {
  readonly op: string
  readonly path: string
  readonly from?: string
  readonly value?: unknown
}

function jsonPatched(object: ApiObject, patch: unknown): unknown {
  if (!Array.isArray(patch)) throw badRequest("error decoding patch: not an array")
  let result: unknown = copyOf(object)
  for (const operation of patch as Operation[]) result = applied(result, operation)
  return result
}

function applied(document: unknown, { op, path, from = "", value }: Operation): unknown {
  const steps = pointer(path)
  switch (op) {
    case "add":
      return inserted(document, steps, copyOf(value))
    case "replace":
      valueAt(document, steps)
      return inserted(removed(document, steps), steps, copyOf(value))
    case "remove":
      return removed(document, steps)
    case "move": {
      const moved = valueAt(document, pointer(from))
      return inserted(removed(document, pointer(from)), steps, moved)
    }
    case "copy":
      return inserted(document, steps, copyOf(valueAt(document, pointer(from))))
    case "test":
      if (!isSame(valueAt(document, steps), value)) throw inapplicable()
      return document
    default:
      throw badRequest(`Unexpected kind: ${op}`)
  }
}

/** A JSON patch whose paths or tests do not hold. */
function inapplicable(): ApiError {
  const message = "the server rejected our request due to an error in our request"
  return new ApiError(422, "Invalid", message, {})
}

/** RFC 6901. */
function pointer(path: string): string[] {
  if (path === "") return []
  return path
    .split("/")
    .slice(1)
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"))
}

function valueAt(document: unknown, steps: readonly string[]): unknown {
  let here = document
  for (const step of steps) {
    const container: unknown[] | JsonObject | undefined =
      Array.isArray(here) || isRecord(here) ? here : undefined
    if (container === undefined || !Object.hasOwn(container, step)) {
      throw inapplicable()
    }
    here = (container as JsonObject)[step]
  }
  return here
}

function inserted(document: unknown, steps: readonly string[], value: unknown): unknown {
  const last = steps.at(-1)
  if (last === undefined) return value
  const parent = valueAt(document, steps.slice(0, -1))
  if (Array.isArray(parent)) {
    parent.splice(last === "-" ? parent.length : Number(last), 0, value)
  } else if (isRecord(parent)) parent[last] = value
  else throw inapplicable()
  return document
}

function removed(document: unknown, steps: readonly string[]): unknown {
  valueAt(document, steps)
  const last = steps.at(-1)
  if (last === undefined) return undefined
  const parent = valueAt(document, steps.slice(0, -1))
  if (Array.isArray(parent)) parent.splice(Number(last), 1)
  else if (isRecord(parent)) delete parent[last]
  return document
}

/** Lists that are merged, by their path without indexes, and the field that tells items apart. */
const MERGE_KEYS: Readonly<Record<string, string>> = {
  "metadata.ownerReferences": "uid",
  "metadata.finalizers": "",
  "status.conditions": "type",
  "status.addresses": "type",
  "spec.ports": "port",
  "spec.taints": "",
  "spec.podCIDRs": "",
  secrets: "name",
  imagePullSecrets: "name",
}

function strategicPatched(target: unknown, patch: JsonObject, path: string): unknown {
  const directive = at(patch, "$patch")
  if (directive === "replace") return withoutDirectives(patch)
  if (directive === "delete") return {}
  const result: JsonObject = isRecord(target) ? { ...target } : {}
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith("$")) {
      applyDirective(result, field, value)
      continue
    }
    const inner = path === "" ? field : `${path}.${field}`
    const mergeKey = MERGE_KEYS[inner]
    if (value === null) delete result[field]
    else if (Array.isArray(value)) {
      result[field] = mergeKey === undefined ? value : mergedList(result[field], value, mergeKey)
    } else if (isRecord(value)) result[field] = strategicPatched(result[field], value, inner)
    else result[field] = value
  }
  return result
}

/** `$deleteFromPrimitiveList/x` and `$retainKeys`; the order of lists is left as it is. */
function applyDirective(result: JsonObject, field: string, value: unknown): void {
  const [directive, list = ""] = field.split("/")
  if (directive === "$deleteFromPrimitiveList" && Array.isArray(value)) {
    const present = result[list]
    if (Array.isArray(present)) result[list] = present.filter((each) => !value.includes(each))
  }
  if (directive === "$retainKeys" && Array.isArray(value)) {
    for (const key of Object.keys(result)) if (!value.includes(key)) delete result[key]
  }
}

function mergedList(target: unknown, patch: readonly unknown[], mergeKey: string): unknown[] {
  const result = Array.isArray(target) ? [...target] : []
  if (mergeKey === "") return [...new Set([...result, ...patch])]
  for (const item of patch) {
    if (!isRecord(item)) throw badRequest("invalid patch: a list of maps was expected")
    const index = result.findIndex((each) => isRecord(each) && each[mergeKey] === item[mergeKey])
    if (at(item, "$patch") === "replace" && item[mergeKey] === undefined) return []
    if (at(item, "$patch") === "delete") {
      if (index >= 0) result.splice(index, 1)
    } else if (index < 0) result.push(withoutDirectives(item))
    else result[index] = strategicPatched(result[index], item, "")
  }
  return result
}

function withoutDirectives(patch: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(patch).filter(([field]) => !field.startsWith("$")))
}
