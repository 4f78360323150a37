/** Who gets the canary: by header, then by cookie, then by share. */
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"
import { checkPattern } from "./pattern.ts"
import { TOKEN } from "./text-kinds.ts"

export interface CanaryOptions {
  readonly weight: number
  readonly weightTotal: number
  readonly header: CanaryHeader | undefined
  /** "": none. */
  readonly cookie: string
}

export interface CanaryHeader {
  readonly name: string
  /** Without a value of its own "always" is the canary and "never" is not. */
  readonly wanted:
    | { readonly type: "always" }
    | { readonly type: "value"; readonly value: string }
    | { readonly type: "pattern"; readonly pattern: string }
}

export function readCanary(reader: AnnotationReader): CanaryOptions | undefined {
  const isCanary = reader.boolean("canary") ?? false
  const weightTotal = reader.integer("canary-weight-total", { min: 1, max: 1_000_000 }) ?? 100
  const weight = reader.integer("canary-weight", { min: 0, max: weightTotal }) ?? 0
  const header = readHeader(reader)
  const cookie = reader.text("canary-by-cookie", TOKEN) ?? ""
  if (isCanary) return { weight, weightTotal, header, cookie }
  if (weight > 0 || header !== undefined || cookie !== "") {
    const message = `${PREFIX}canary-… has no effect without ${PREFIX}canary: "true"`
    reader.warn("InvalidAnnotation", message)
  }
  return undefined
}

function readHeader(reader: AnnotationReader): CanaryHeader | undefined {
  const name = reader.text("canary-by-header", TOKEN)
  const value = reader.raw("canary-by-header-value")
  const pattern = reader.raw("canary-by-header-pattern")
  if (name === undefined) return undefined
  if (value !== undefined) return { name, wanted: { type: "value", value } }
  if (pattern === undefined) return { name, wanted: { type: "always" } }
  const check = checkPattern(pattern, { isAnchored: false })
  if (check.ok) return { name, wanted: { type: "pattern", pattern } }
  // Without it nobody is sent to the canary by this header.
  const message = `${PREFIX}canary-by-header-pattern ${check.reason}; the header is not looked at`
  reader.warn("InvalidAnnotation", message)
  return undefined
}
