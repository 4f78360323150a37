/** A field by name, looked for in a head without making strings of the others. */
import { FIELD, type FieldName, OTHER_FIELD } from "./field-names.ts"
import type { Head } from "./head.ts"
import { equalsIgnoringCase } from "./syntax.ts"

export class Field {
  /** Lower case. */
  readonly name: string
  readonly #number: number

  constructor(name: string) {
    this.name = name.toLowerCase()
    this.#number = numberOf(this.name)
  }

  /** Index of the first such field from `start`, -1: there is none. */
  indexIn(head: Head, start = 0): number {
    for (let index = start; index < head.fieldCount; index++) {
      if (this.#isAt(head, index)) return index
    }
    return -1
  }

  /** Value of the first such field, Latin-1. */
  valueIn(head: Head): string | undefined {
    const index = this.indexIn(head)
    return index < 0 ? undefined : head.value(index)
  }

  #isAt(head: Head, index: number): boolean {
    if (this.#number !== OTHER_FIELD) return head.numbers[index] === this.#number
    if (head.numbers[index] !== OTHER_FIELD) return false
    const at = index * RANGE_CELLS
    const start = head.ranges[at] as number
    return equalsIgnoringCase(this.name, head.bytes, start, head.ranges[at + 1] as number)
  }
}

/** `OTHER_FIELD` for a name that has none. `name` is lower case. */
export function numberOf(name: string): number {
  return Object.hasOwn(FIELD, name) ? FIELD[name as FieldName] : OTHER_FIELD
}

/** Name start, name end, value start, value end: see `Head.ranges`. */
const RANGE_CELLS = 4
