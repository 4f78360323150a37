/** `set_headers`, `add_headers` and `remove_headers` of a route, as filters and finished lines. */
import type { HeaderChanges, HeaderField } from "../config/http-config.ts"
import { numberOf } from "./field.ts"
import { OTHER_FIELD } from "./field-names.ts"
import { FieldFilter } from "./hop-by-hop.ts"

/** `further` are names that are dropped whatever the route says. */
export function filterOf(changes: HeaderChanges, further: readonly string[]): FieldFilter {
  const names = [...changes.set.map(({ name }) => name), ...changes.remove, ...further]
  const lower = names.map((name) => name.toLowerCase())
  return new FieldFilter({
    numbers: lower.map(numberOf).filter((number) => number !== OTHER_FIELD),
    others: lower.filter((name) => numberOf(name) === OTHER_FIELD),
  })
}

/** The lines to add. */
export function linesOf(changes: HeaderChanges): string {
  return [...changes.set, ...changes.add].map(fieldLine).join("")
}

export function fieldLine({ name, value }: HeaderField): string {
  return `${name}: ${value}\r\n`
}
