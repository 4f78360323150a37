/**
 * What a route asks of a request beside host and path: method, fields, query parameters. Among
 * routes with the same host and path the one that asks for more is tried first (Gateway API
 * HTTPRouteRule: method, then the number of fields, then the number of parameters).
 */
import type { FieldCondition, RouteConfig } from "../config/http-config.ts"
import { Field } from "./field.ts"
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
    for (const { field, condition, text } of this.#fields) {
      if (!holdsFor(condition.value, field, request)) return text
    }
    if (this.#query.length === 0) return undefined
    const query = new URLSearchParams(request.path.query)
    return this.#query.find(({ condition }) => {
      const value = query.get(condition.name) ?? undefined
      return typeof condition.value === "string"
        ? value !== condition.value
        : (value !== undefined) !== condition.value
    })?.text
  }

  /** A preflight asks for a route on behalf of another method (Fetch standard, CORS-preflight). */
  #methodOf({ preflightMethod, head }: RouteRequest): string {
    return this.#isForPreflights && preflightMethod !== undefined ? preflightMethod : head.method
  }
}

interface FieldTest {
  readonly field: Field
  readonly condition: FieldCondition
  readonly text: string
}

interface QueryTest {
  readonly condition: FieldCondition
  readonly text: string
}

function fieldTest(condition: FieldCondition): FieldTest {
  return { field: new Field(condition.name), condition, text: textOf("header", condition) }
}

function queryTest(condition: FieldCondition): QueryTest {
  return { condition, text: textOf("query parameter", condition) }
}

function textOf(kind: string, { name, value }: FieldCondition): string {
  if (typeof value === "string") return `the ${kind} ${name} is not "${value}"`
  return value ? `there is no ${kind} ${name}` : `there is a ${kind} ${name}`
}

/** A field may stand in several lines; any of them counts. */
function holdsFor(value: string | boolean, field: Field, { head }: RouteRequest): boolean {
  let index = field.indexIn(head)
  if (typeof value === "boolean") return index >= 0 === value
  while (index >= 0) {
    if (head.value(index) === value) return true
    index = field.indexIn(head, index + 1)
  }
  return false
}

const NO_CONDITIONS = new Conditions({ methods: [], headers: [], query: [], cors: undefined })
