/** What texts in annotations must be that several of them share. */
import type { TextKind } from "./annotation-reader.ts"

/** RFC 9110 §5.6.2. */
export const TOKEN: TextKind = {
  pattern: /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/,
  expected: "a name without blanks",
}

/** "name", or "namespace/name". */
export const SECRET_NAME: TextKind = {
  pattern: /^([a-z0-9]([a-z0-9-]*[a-z0-9])?\/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/,
  expected: 'the name of a Secret, or "namespace/name"',
}
