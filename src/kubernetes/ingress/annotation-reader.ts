/**
 * The annotations of one Ingress, read by name and type. A value that does not fit its type is not
 * used and reported; a name that nobody asked for is reported as unknown at the end. No value gets
 * anywhere unread: each becomes a number, a boolean, a choice, a network or text of a narrow set.
 *
 * As in ingress-nginx an empty value is as good as none: Helm charts write many.
 */
import { type Prefix, parsePrefix } from "../../net/address.ts"
import type { Labels } from "../objects.ts"
import { type Finding, notice, warning } from "./problem.ts"

export const PREFIX = "nginx.ingress.kubernetes.io/"

/** What text must be, and how messages call it. */
export interface TextKind {
  readonly pattern: RegExp
  readonly expected: string
}

export class AnnotationReader {
  readonly findings: Finding[] = []
  /** By name without prefix. */
  readonly #values: ReadonlyMap<string, string>
  readonly #asked = new Set<string>()

  constructor(values: Labels) {
    const ours = Object.entries(values).filter(([name]) => name.startsWith(PREFIX))
    this.#values = new Map(ours.map(([name, value]) => [name.slice(PREFIX.length), value.trim()]))
  }

  /** Trimmed; undefined: none, or empty. `name` is without prefix. */
  raw(name: string): string | undefined {
    this.#asked.add(name)
    const value = this.#values.get(name)
    return value === "" ? undefined : value
  }

  has(name: string): boolean {
    return this.raw(name) !== undefined
  }

  text(name: string, { pattern, expected }: TextKind): string | undefined {
    const value = this.raw(name)
    if (value === undefined || pattern.test(value)) return value
    return this.#invalid(name, expected)
  }

  /** What Go's strconv.ParseBool takes. */
  boolean(name: string): boolean | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true
    if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false
    return this.#invalid(name, '"true" or "false"')
  }

  integer(
    name: string,
    { min, max }: { readonly min: number; readonly max: number },
  ): number | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const number = /^\d{1,15}$/.test(value) ? Number(value) : -1
    if (number >= min && number <= max) return number
    return this.#invalid(name, `a whole number from ${min} to ${max}`)
  }

  /** A whole number of seconds, in milliseconds. */
  seconds(name: string): number | undefined {
    const seconds = this.integer(name, { min: 1, max: SECONDS_MAX })
    return seconds === undefined ? undefined : seconds * 1000
  }

  /** Bytes as nginx writes them: "8m"; 0 = unlimited. */
  size(name: string): number | undefined {
    const value = this.raw(name)
    if (value === undefined) return undefined
    const match = /^(\d{1,12})([kmg]?)$/i.exec(value)
    if (match === null) return this.#invalid(name, 'a size such as "8m", or "0" for any')
    return Number(match[1]) * (UNITS[(match[2] ?? "").toLowerCase()] ?? 1)
  }

  choice<T extends string>(name: string, choices: readonly T[]): T | undefined {
    const value = this.raw(name)?.toLowerCase()
    if (value === undefined) return undefined
    const choice = choices.find((each) => each.toLowerCase() === value)
    return choice ?? this.#invalid(name, choices.map((each) => JSON.stringify(each)).join(" or "))
  }

  /** Separated by commas. "invalid": none of them may be used. */
  networks(name: string): readonly Prefix[] | "invalid" {
    if (!this.has(name)) return []
    const prefixes = this.list(name).map(parsePrefix)
    const isReadable = prefixes.every((prefix) => prefix !== undefined)
    if (isReadable && prefixes.length > 0) return prefixes
    this.#invalid(name, "addresses and networks separated by commas")
    return "invalid"
  }

  list(name: string): string[] {
    const value = this.raw(name)
    if (value === undefined) return []
    const parts = value.split(",").map((part) => part.trim())
    return parts.filter((part) => part !== "")
  }

  /** A list whose every entry must fit; undefined: none, or one does not. */
  texts(name: string, { pattern, expected }: TextKind): readonly string[] | undefined {
    const parts = this.list(name)
    if (parts.length === 0) return undefined
    return parts.every((part) => pattern.test(part)) ? parts : this.#invalid(name, expected)
  }

  warn(reason: Finding["reason"], message: string): void {
    this.findings.push(warning(reason, message))
  }

  notice(reason: Finding["reason"], message: string): void {
    this.findings.push(notice(reason, message))
  }

  /** Names with our prefix that nobody asked for. */
  unknown(): string[] {
    return [...this.#values.keys()].filter((name) => !this.#asked.has(name)).sort()
  }

  #invalid(name: string, expected: string): undefined {
    const value = JSON.stringify(shortened(this.raw(name) ?? ""))
    this.warn("InvalidAnnotation", `${PREFIX}${name}: ${value} is not ${expected}; it is not used`)
    return undefined
  }
}

function shortened(value: string): string {
  return value.length > SHOWN_MAX ? `${value.slice(0, SHOWN_MAX)}…` : value
}

const UNITS: Readonly<Record<string, number>> = { k: 1024, m: 1024 ** 2, g: 1024 ** 3 }
/** A year. */
const SECONDS_MAX = 31_536_000
const SHOWN_MAX = 64
