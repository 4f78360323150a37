/**
 * Objects as the API carries them: open JSON with a typed head. Nothing here ever changes an object
 * that has been stored; a change is made on a copy.
 */

export type JsonObject = { [field: string]: unknown }

export interface Metadata {
  name: string
  namespace?: string
  generateName?: string
  uid?: string
  resourceVersion?: string
  generation?: number
  creationTimestamp?: string
  deletionTimestamp?: string
  deletionGracePeriodSeconds?: number
  labels?: Record<string, string>
  annotations?: Record<string, string>
  finalizers?: string[]
  ownerReferences?: OwnerReference[]
  managedFields?: unknown[]
}

export interface OwnerReference {
  apiVersion: string
  kind: string
  name: string
  uid: string
  controller?: boolean
  blockOwnerDeletion?: boolean
}

/** Beside the head, the fields that kinds have there, unchecked. */
export interface ApiObject {
  apiVersion?: string
  kind?: string
  metadata: Metadata
  spec?: unknown
  status?: unknown
  /** Secret */
  type?: unknown
  data?: unknown
  stringData?: unknown
  immutable?: unknown
  /** EndpointSlice */
  addressType?: unknown
  endpoints?: unknown
  ports?: unknown
  /** Event */
  source?: unknown
  eventTime?: unknown
  firstTimestamp?: unknown
  lastTimestamp?: unknown
  /** Bindings */
  roleRef?: unknown
  [field: string]: unknown
}

export function isRecord(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** The value at a path of field names and indexes; undefined where the path ends early. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let here = value
  for (const step of path) {
    if (typeof here !== "object" || here === null) return undefined
    here = (here as JsonObject)[step]
  }
  return here
}

export function recordAt(value: unknown, ...path: readonly (string | number)[]): JsonObject {
  const found = at(value, ...path)
  return isRecord(found) ? found : {}
}

export function listAt(value: unknown, ...path: readonly (string | number)[]): unknown[] {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

export function recordsAt(value: unknown, ...path: readonly (string | number)[]): JsonObject[] {
  return listAt(value, ...path).map((each) => (isRecord(each) ? each : {}))
}

/** "" where there is no text. */
export function textAt(value: unknown, ...path: readonly (string | number)[]): string {
  const found = at(value, ...path)
  return typeof found === "string" ? found : ""
}

export function textsAt(value: unknown, ...path: readonly (string | number)[]): string[] {
  return listAt(value, ...path).map(String)
}

/** A copy of plain JSON that may be changed. */
export function copyOf<T>(value: T): T {
  return structuredClone(value)
}

/** Are two values the same JSON, whatever the order of their fields? */
export function isSame(one: unknown, other: unknown): boolean {
  return Bun.deepEquals(one, other)
}

/** "namespace/name", or "name" of a cluster-wide object. */
export function keyOf(metadata: Pick<Metadata, "namespace" | "name">): string {
  const { namespace = "", name } = metadata
  return namespace === "" ? name : `${namespace}/${name}`
}

/** Now as metav1.Time prints it: whole seconds. */
export function timestamp(epochMs = Date.now()): string {
  return `${new Date(epochMs).toISOString().slice(0, 19)}Z`
}
