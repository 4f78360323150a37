/**
 * What a route asks of a request beside host and path: method, fields, query parameters. Among
 * routes with the same host and path the one that asks for more is tried first (Gateway API
 * HTTPRouteRule: method, then the number of fields, then the number of parameters).
 */
import type { FieldCondition, RouteConfig } from "../config/http-config.ts"
import { Field } from "./field.ts"
import { hasMatch } from "./pattern.ts"
import type { RouteRequest } from "./route-request.ts"

export type ConditionKeys = Pick<RouteConfig, "methods" | "headers" | "query" | "cors">

/** Those of routes that ask for nothing are one object: there may be 100 000 of them. */
export function conditionsOf(keys: ConditionKeys): Conditions {
  const { methods, headers, query } = keys
  return methods.length + headers.length + query.length === 0 ? NO_CONDITIONS : new Conditions(keys)
}

export class Conditions {
  /** More is tried earlier. */
  readonly rank: number
  readonly #methods: ReadonlySet<string>
  readonly #methodText: string
  readonly #fields: readonly FieldTest[]
  readonly #query: readonly QueryTest[]
  readonly #isForPreflights: boolean
  readonly isEmpty: boolean

  constructor({ methods, headers, query, cors }: ConditionKeys) {
    // As with nginx, who may GET may HEAD (RFC 9110 §9.3.2: the same but for the content).
    this.#methods = new Set(methods.includes("GET") ? [...methods, "HEAD"] : methods)
    this.#methodText = `the method is not ${methods.join(", ")}`
    this.#fields = headers.map(fieldTest)
    this.#query = query.map(queryTest)
    this.#isForPreflights = cors !== undefined
    this.isEmpty = methods.length + headers.length + query.length === 0
    this.rank = (methods.length > 0 ? 1e6 : 0) + headers.length * 1e3 + query.length
  }

  accept(request: RouteRequest): boolean {
    return this.isEmpty || this.failure(request) === undefined
  }

  /** The first condition that does not hold, in words. */
  failure(request: RouteRequest): string | undefined {
    if (this.#methods.size > 0 && !this.#methods.has(this.#methodOf(request))) {
      return this.#methodText
    }
    for (const test of this.#fields) if (!holdsFor(test, request)) return test.text
    if (this.#query.length === 0) return undefined
    const query = new URLSearchParams(request.path.query)
    return this.#query.find(({ name, holds }) => !holds(query.get(name) ?? undefined))?.text
  }

  /** A preflight asks for a route on behalf of another method (Fetch standard, CORS-preflight). */
  #methodOf({ preflightMethod, head }: RouteRequest): string {
    return this.#isForPreflights && preflightMethod !== undefined ? preflightMethod : head.method
  }
}

/** Whether what is there, or undefined, is as a condition wants it. */
export type ValueTest = (actual: string | undefined) => boolean

export function valueTest(wanted: FieldCondition["value"]): ValueTest {
  if (typeof wanted === "string") return (actual) => actual === wanted
  if (typeof wanted === "boolean") return (actual) => (actual !== undefined) === wanted
  const pattern = new RegExp(wanted.pattern)
  return (actual) => actual !== undefined && hasMatch(pattern, actual)
}

interface FieldTest {
  readonly field: Field
  readonly holds: ValueTest
  readonly text: string
}

interface QueryTest {
  readonly name: string
  readonly holds: ValueTest
  readonly text: string
}

function fieldTest(condition: FieldCondition): FieldTest {
  const { name, value } = condition
  return { field: new Field(name), holds: valueTest(value), text: textOf("header", condition) }
}

function queryTest(condition: FieldCondition): QueryTest {
  const { name, value } = condition
  return { name, holds: valueTest(value), text: textOf("query parameter", condition) }
}

function textOf(kind: string, { name, value }: FieldCondition): string {
  if (typeof value === "string") return `the ${kind} ${name} is not "${value}"`
  if (typeof value === "object") return `the ${kind} ${name} does not match ${value.pattern}`
  return value ? `there is no ${kind} ${name}` : `there is a ${kind} ${name}`
}

/** A field may stand in several lines; any of them counts. */
function holdsFor({ field, holds }: FieldTest, { head }: RouteRequest): boolean {
  let index = field.indexIn(head)
  if (index < 0) return holds(undefined)
  while (index >= 0) {
    if (holds(head.value(index))) return true
    index = field.indexIn(head, index + 1)
  }
  return false
}

const NO_CONDITIONS = new Conditions({ methods: [], headers: [], query: [], cors: undefined })
