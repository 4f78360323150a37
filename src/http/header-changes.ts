/** `set_headers`, `add_headers` and `remove_headers` of a route, as filters and finished lines. */
import type { HeaderChanges, HeaderField } from "../config/http-config.ts"
import { numberOf } from "./field.ts"
import { OTHER_FIELD } from "./field-names.ts"
import { FieldFilter } from "./hop-by-hop.ts"

/** `further` are names that are dropped whatever the route says. */
export function filterOf(changes: HeaderChanges, further: readonly string[]): FieldFilter {
  const names = [...changes.set.map(({ name }) => name), ...changes.remove, ...further]
  const lower = names.map((name) => name.toLowerCase()).toSorted()
  const key = lower.join(",")
  const known = filters.get(key)
  if (known !== undefined) return known
  if (filters.size >= FILTERS_MAX) filters.clear()
  const filter = new FieldFilter({
    numbers: lower.map(numberOf).filter((number) => number !== OTHER_FIELD),
    others: lower.filter((name) => numberOf(name) === OTHER_FIELD),
  })
  filters.set(key, filter)
  return filter
}

/**
 * Most of a thousand routes drop the same fields: one filter serves them, from one place in memory.
 */
const filters = new Map<string, FieldFilter>()
const FILTERS_MAX = 1000

/** The lines to add. */
export function linesOf(changes: HeaderChanges): string {
  return [...changes.set, ...changes.add].map(fieldLine).join("")
}

export function fieldLine({ name, value }: HeaderField): string {
  return `${name}: ${value}\r\n`
}
