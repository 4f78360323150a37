/**
 * Label and field selectors: `a=b,c!=d,e in (f,g),h notin (i),j,!k` and `metadata.name=x`. Both are
 * parsed once per request and asked for every object.
 */
import { type ApiObject, at } from "./object.ts"
import { badRequest } from "./status.ts"

export type Predicate = (object: ApiObject) => boolean

interface Selectable {
  readonly selectableFields: readonly string[]
}

/** Throws 400 on a selector that is no selector. */
export function labelPredicate(text: string): Predicate | undefined {
  const requirements = splitOutside(text).map(labelRequirement)
  if (requirements.length === 0) return undefined
  return ({ metadata }) => requirements.every((holds) => holds(metadata.labels ?? {}))
}

/** Throws 400 on a field that this resource cannot be selected by. */
export function fieldPredicate(text: string, resource: Selectable): Predicate | undefined {
  const terms = text.split(",").filter((term) => term !== "")
  if (terms.length === 0) return undefined
  const checks = terms.map((term) => fieldTerm(term, text, resource))
  return (object) => checks.every((check) => check(object))
}

/** The name that a field selector asks for exactly: what authorization sees as the name. */
export function selectedName(text: string): string | undefined {
  const match = /(?:^|,)metadata\.name==?([^,!]+)(?:,|$)/.exec(text)
  return match?.[1]
}

function labelRequirement(term: string): (labels: Readonly<Record<string, string>>) => boolean {
  const set = /^(\S+)\s+(in|notin)\s+\(([^)]*)\)$/.exec(term)
  if (set !== null) {
    const [, key = "", operator, list = ""] = set
    const values = list.split(",").map((value) => value.trim())
    return operator === "in"
      ? (labels) => values.includes(labels[key] ?? "\0")
      : (labels) => !values.includes(labels[key] ?? "\0")
  }
  const comparison = /^([^\s=!]+)\s*(==|=|!=)\s*([^\s=!]*)$/.exec(term)
  if (comparison !== null) {
    const [, key = "", operator, value = ""] = comparison
    return operator === "!=" ? (labels) => labels[key] !== value : (labels) => labels[key] === value
  }
  const presence = /^(!?)\s*([\w./-]+)$/.exec(term)
  if (presence === null) {
    throw badRequest(`unable to parse requirement: found '${term}', expected: identifier`)
  }
  const [, not, key = ""] = presence
  return (labels) => Object.hasOwn(labels, key) === (not === "")
}

/** Splits at commas outside of parentheses. */
function splitOutside(text: string): string[] {
  return (text.match(/(?:[^,(]|\([^)]*\))+/g) ?? [])
    .map((term) => term.trim())
    .filter((term) => term !== "")
}

function fieldTerm(term: string, whole: string, resource: Selectable): Predicate {
  const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(term)
  if (match === null) throw badRequest(`invalid selector: '${whole}'; can't understand '${term}'`)
  const [, path = "", operator, value = ""] = match
  const fields = ["metadata.name", "metadata.namespace", ...resource.selectableFields]
  if (!fields.includes(path)) {
    throw badRequest(
      resource.selectableFields.length > 0
        ? `field label not supported: ${path}`
        : `"${path}" is not a known field selector: only "metadata.name", "metadata.namespace"`,
    )
  }
  const steps = path.split(".")
  return (object) => {
    const found = at(object, ...steps)
    const isEqual = (found === undefined ? defaultOf(path) : String(found)) === value
    return operator === "!=" ? !isEqual : isEqual
  }
}

/** A boolean that is left out reads "false". */
function defaultOf(path: string): string {
  return path === "spec.unschedulable" ? "false" : ""
}
