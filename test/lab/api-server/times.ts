/**
 * Times in objects, as Go reads and prints them. `metav1.Time` takes any RFC 3339 time and keeps
 * whole seconds; `metav1.MicroTime` takes exactly six digits after the point, so that JavaScript's
 * own `toISOString()` is refused, and prints six.
 */
import { type ApiObject, at, copyOf, isRecord, recordsAt } from "./object.ts"

export type TimesRead =
  | { readonly ok: true; readonly object: ApiObject }
  | { readonly ok: false; readonly reason: string }

/** The object with its times as the server prints them. */
export function withReadTimes(kind: string, object: ApiObject): TimesRead {
  const fields = [...(TIME_FIELDS[kind] ?? []), ...conditionTimes(object)]
  if (fields.every(({ path }) => at(object, ...path) === undefined)) return { ok: true, object }
  const result = copyOf(object)
  for (const { path, isMicro } of fields) {
    const value = at(result, ...path)
    if (value === undefined || value === null) continue
    const read = isMicro ? microTime(value) : time(value)
    if (!read.ok) return read
    const parent = at(result, ...path.slice(0, -1))
    if (isRecord(parent)) parent[String(path.at(-1))] = read.text
  }
  return { ok: true, object: result }
}

interface TimeField {
  readonly path: readonly (string | number)[]
  readonly isMicro: boolean
}

const TIME_FIELDS: Readonly<Record<string, readonly TimeField[]>> = {
  Lease: [
    { path: ["spec", "acquireTime"], isMicro: true },
    { path: ["spec", "renewTime"], isMicro: true },
  ],
  Event: [
    { path: ["eventTime"], isMicro: true },
    { path: ["series", "lastObservedTime"], isMicro: true },
    { path: ["firstTimestamp"], isMicro: false },
    { path: ["lastTimestamp"], isMicro: false },
  ],
}

function conditionTimes(object: ApiObject): TimeField[] {
  return recordsAt(object, "status", "conditions").flatMap((_, index) =>
    ["lastTransitionTime", "lastHeartbeatTime"].map((field) => ({
      path: ["status", "conditions", index, field],
      isMicro: false,
    })),
  )
}

type Read = { readonly ok: true; readonly text: string } | { readonly ok: false; reason: string }

function time(value: unknown): Read {
  const match = typeof value === "string" ? RFC3339.exec(value) : null
  const epochMs = match === null ? Number.NaN : Date.parse(String(value))
  if (Number.isNaN(epochMs)) return unreadable(value, "2006-01-02T15:04:05Z07:00")
  return { ok: true, text: `${new Date(epochMs).toISOString().slice(0, 19)}Z` }
}

function microTime(value: unknown): Read {
  const match = typeof value === "string" ? RFC3339.exec(value) : null
  const [, seconds = "", fraction = "", zone = ""] = match ?? []
  const epochMs = Date.parse(`${seconds}${zone}`)
  if (fraction.length !== 7 || Number.isNaN(epochMs)) {
    return unreadable(value, "2006-01-02T15:04:05.000000Z07:00")
  }
  return { ok: true, text: `${new Date(epochMs).toISOString().slice(0, 19)}${fraction}Z` }
}

function unreadable(value: unknown, layout: string): Read {
  const shown = String(value)
  const rest = /\.\d*.*$|Z$|$/.exec(shown)?.[0] ?? ""
  const wanted = layout.includes(".") ? ".000000" : "T"
  return {
    ok: false,
    reason: `parsing time "${shown}" as "${layout}": cannot parse "${rest}" as "${wanted}"`,
  }
}

const RFC3339 = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)$/
