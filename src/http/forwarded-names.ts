/** Names of the fields that `forwarding.ts` writes, lower case. */
import { FIELD_NAMES } from "./field-names.ts"
import { FORWARDING_FIELDS } from "./forwarding.ts"

export const FORWARDED_NAMES: readonly string[] = FORWARDING_FIELDS.map(
  (number) => FIELD_NAMES[number - 1] as string,
)
