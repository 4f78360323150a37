/**
 * Reads fields of JSON that should have the API's shape. Each reader gives the API's default for
 * what is missing or of another type, so that nothing the server sends can throw; what must not be
 * guessed (who may connect, which addresses) throws a `BadField`, which `decode.ts` turns into a
 * reason.
 */
import { type Address, type Prefix, parseAddress, parsePrefix } from "../net/address.ts"
import type { Condition, LabelSelector, Labels, LoadBalancerIngress } from "./objects.ts"

export type Fields = Readonly<Record<string, unknown>>

export class BadField extends Error {}

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** An object within; empty where there is none. */
export function fieldsAt(fields: Fields, name: string): Fields {
  const value = fields[name]
  return isFields(value) ? value : NONE
}

/** The objects of a list within. */
export function listAt(fields: Fields, name: string): Fields[] {
  const value = fields[name]
  return Array.isArray(value) ? value.filter(isFields) : []
}

export function textsAt(fields: Fields, name: string): string[] {
  const value = fields[name]
  return Array.isArray(value) ? value.filter((each) => typeof each === "string") : []
}

export function textAt(fields: Fields, name: string, otherwise = ""): string {
  const value = fields[name]
  return typeof value === "string" ? value : otherwise
}

export function numberAt(fields: Fields, name: string, otherwise = 0): number {
  const value = fields[name]
  return typeof value === "number" && Number.isSafeInteger(value) ? value : otherwise
}

export function booleanAt(fields: Fields, name: string, otherwise: boolean): boolean {
  const value = fields[name]
  return typeof value === "boolean" ? value : otherwise
}

/** One of the words; the first one where it is missing or another. */
export function wordAt<const Word extends string>(
  fields: Fields,
  name: string,
  words: readonly [Word, ...Word[]],
): Word {
  return words.find((word) => word === fields[name]) ?? words[0]
}

export function labelsAt(
  fields: Fields,
  name: string,
  isKept: (key: string) => boolean = () => true,
): Labels {
  const labels: Record<string, string> = {}
  for (const [key, value] of Object.entries(fieldsAt(fields, name))) {
    if (typeof value === "string" && isKept(key)) labels[key] = value
  }
  return labels
}

/** What is no address (a host name of an ExternalName or FQDN) is left out. */
export function addressesOf(texts: readonly string[]): Address[] {
  return texts.flatMap((text) => parseAddress(text) ?? [])
}

export function prefixesOf(texts: readonly string[]): Prefix[] {
  return texts.map((text) => {
    const prefix = parsePrefix(text.trim())
    if (prefix === undefined) throw new BadField(`${JSON.stringify(text)} is not a network`)
    return prefix
  })
}

export function loadBalancerIngress(object: Fields): LoadBalancerIngress[] {
  const status = fieldsAt(fieldsAt(object, "status"), "loadBalancer")
  return listAt(status, "ingress").map((each) => ({
    ip: parseAddress(textAt(each, "ip")),
    hostname: textAt(each, "hostname"),
    ipMode: (["VIP", "Proxy"] as const).find((mode) => mode === each["ipMode"]),
  }))
}

export function conditionsOf(object: Fields): Condition[] {
  return listAt(fieldsAt(object, "status"), "conditions").map((each) => ({
    type: textAt(each, "type"),
    status: textAt(each, "status"),
    reason: textAt(each, "reason"),
    message: textAt(each, "message"),
  }))
}

export function selectorsAt(fields: Fields, name: string): LabelSelector[] {
  return listAt(fields, name).map((selector) => ({
    matchLabels: labelsAt(selector, "matchLabels"),
    matchExpressions: listAt(selector, "matchExpressions").map((expression) => {
      const operator = OPERATORS.find((each) => each === expression["operator"])
      // Left out, it would select more than was meant.
      if (operator === undefined) {
        throw new BadField(`${JSON.stringify(expression["operator"])} is not a selector's operator`)
      }
      return { key: textAt(expression, "key"), operator, values: textsAt(expression, "values") }
    }),
  }))
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const
const NONE: Fields = {}
