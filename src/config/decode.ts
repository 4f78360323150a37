/**
 * From nodes of the TOML tree to typed values: a declarative schema, small enough to read.
 *
 * A general validation library checks plain values and answers with key paths; positions, "did you
 * mean", "not available yet" and one complaint per value would all have to be added around it. Here
 * a decoder is a function from a node to a value that complains to the report at that very node,
 * and a table is a record with one field for each key of its interface in `config.ts`: a key that
 * is forgotten or of the wrong type does not compile.
 */
import type { Files } from "./files.ts"
import type { Report } from "./report.ts"
import { emptyTable, type TomlNode, type TomlTable } from "./toml.ts"
import { unavailable, unavailableMessage } from "./unavailable.ts"

/** The value is wrong and has been reported. (`undefined` is a value: an optional key left out.) */
export const INVALID = Symbol("invalid")
export type Invalid = typeof INVALID

export interface Context {
  readonly report: Report
  readonly files: Files
  /** The hint for an unknown key. */
  readonly adviseKey: (key: string, table: { readonly known: readonly string[] }) => string
}

export type Decoder<T> = (node: TomlNode, context: Context) => T | Invalid

export interface Field<T> {
  readonly key: string
  readonly decode: Decoder<T>
  /** Applied when the key is absent: the one place where a default lives. */
  readonly fallback: T | Invalid
}

export type Fields<T> = { readonly [Name in keyof T]-?: Field<T[Name]> }

export interface TableSchema<T> {
  /** Such as `vrrp` or `pool.check`: the prefix of its keys in `unavailable.ts`. */
  readonly name: string
  /** As it reads in a message: `[[vrrp]]`. */
  readonly title: string
  readonly fields: Fields<T>
}

/** What could be read of a table, for rules that look across keys and tables. */
export interface Decoded<T> {
  readonly node: TomlTable
  /** `undefined` also stands for a wrong value, which has been reported already. */
  readonly draft: { readonly [Name in keyof T]: T[Name] | undefined }
  /** Undefined when a key was wrong. */
  readonly value: T | undefined
}

export function required<T>(key: string, decode: Decoder<T>): Field<T> {
  return { key, decode, fallback: INVALID }
}

export function optional<T>(key: string, decode: Decoder<T>, fallback: NoInfer<T>): Field<T> {
  return { key, decode, fallback }
}

export function decodeTable<T>(
  node: TomlTable,
  schema: TableSchema<T>,
  context: Context,
): Decoded<T> {
  rejectUnknownKeys(node, { ...schema, known: keysOf(schema.fields) }, context)
  return decodeFields(node, schema, context)
}

/** Reads the schema's keys and leaves the others to the caller. */
export function decodeFields<T>(
  node: TomlTable,
  schema: TableSchema<T>,
  context: Context,
): Decoded<T> {
  const draft: Partial<Record<keyof T, unknown>> = {}
  let complete = true
  for (const name of Object.keys(schema.fields) as (keyof T & string)[]) {
    const value = decodeField(node, { table: schema, field: schema.fields[name] }, context)
    if (value === INVALID) complete = false
    draft[name] = value === INVALID ? undefined : value
  }
  return {
    node,
    draft: draft as Decoded<T>["draft"],
    value: complete ? (draft as T) : undefined,
  }
}

export function rejectUnknownKeys(
  node: TomlTable,
  table: { readonly name: string; readonly title: string; readonly known: readonly string[] },
  context: Context,
): void {
  for (const [key, value] of node.entries) {
    if (table.known.includes(key)) continue
    if (unavailable(table.name, key) === undefined) {
      context.report.errorAtKey(
        value,
        `Unknown key ${quote(key)} in ${table.title}`,
        context.adviseKey(key, table),
      )
    } else rejectUnavailable(value, { table: table.name, key }, context)
  }
}

export function keysOf<T>(fields: Fields<T>): string[] {
  return Object.values<Field<unknown>>(fields).map(({ key }) => key)
}

/** What an absent table of optional keys stands for. */
export function defaultsOf<T>({ fields }: TableSchema<T>): T {
  const pairs = Object.entries<Field<unknown>>(fields).map(([name, { fallback }]) => [
    name,
    fallback,
  ])
  return Object.fromEntries(pairs) as T
}

function decodeField<T>(
  node: TomlTable,
  { table, field }: { table: { name: string; title: string }; field: Field<T> },
  context: Context,
): T | Invalid {
  const { key, decode, fallback } = field
  const value = node.entries.get(key)
  if (value !== undefined) {
    return rejectUnavailable(value, { table: table.name, key }, context)
      ? INVALID
      : decode(value, context)
  }
  if (fallback === INVALID) {
    const message = `The key ${key} is missing in ${table.title}`
    context.report.error(node, message, `Add a line: ${key} = …`)
  }
  return fallback
}

/** Whether something the design names was asked for before this version has it. */
export function rejectUnavailable(
  node: TomlNode,
  { table, key }: { table: string; key: string },
  { report }: Context,
): boolean {
  const entry = unavailable(table, key)
  if (entry === undefined || !entry.refuses(node)) return false
  report.errorAtKey(node, unavailableMessage(asWritten(node, { table, key })), entry.instead)
  return true
}

function asWritten(node: TomlNode, { table, key }: { table: string; key: string }): string {
  const path = table === "" ? key : `${table}.${key}`
  if (node.type === "table") return `[${path}]`
  if (node.type !== "array") return `${key} = ${describe(node)}`
  return node.items.some(({ type }) => type === "table") ? `[[${path}]]` : key
}

/** A table of its own, or INVALID if a key in it was wrong. */
export function table<T>(schema: TableSchema<T>): Decoder<T> {
  return (node, context) => {
    if (!isTable(node, context)) return INVALID
    return decodeTable(node, schema, context).value ?? INVALID
  }
}

/** Every item is looked at, so that all their errors show. */
export function list<T>(item: Decoder<T>, expected: string): Decoder<readonly T[]> {
  return (node, context) => {
    if (node.type !== "array") {
      const written = node.type === "string" ? `Write [${JSON.stringify(node.value)}]` : ""
      return mismatch(node, { expected, hint: written }, context)
    }
    const values = node.items.map((one) => item(one, context))
    return values.every(isValid) ? values : INVALID
  }
}

function isValid<T>(value: T | Invalid): value is T {
  return value !== INVALID
}

/** A scalar: `read` answers undefined when the node is not one of `expected`. */
export function scalar<T>(
  expected: string,
  read: (node: TomlNode) => T | undefined,
  hint: (node: TomlNode) => string = () => "",
): Decoder<T> {
  return (node, context) => {
    const value = read(node)
    return value === undefined ? mismatch(node, { expected, hint: hint(node) }, context) : value
  }
}

export function isTable(node: TomlNode, context: Context): node is TomlTable {
  if (node.type === "table") return true
  const hint = node.type === "array" ? "Write its header with single brackets" : ""
  mismatch(node, { expected: "a table", hint }, context)
  return false
}

/** `[name]`, or an empty one when it is absent. */
export function tableAt(root: TomlTable, key: string, context: Context): TomlTable {
  const node = root.entries.get(key)
  return node !== undefined && isTable(node, context) ? node : emptyTable(root)
}

/** The tables of `[[name]]`; none when it is absent. */
export function tablesAt(root: TomlTable, key: string, context: Context): readonly TomlTable[] {
  const node = root.entries.get(key)
  if (node === undefined) return []
  if (node.type === "array") return node.items.filter((item) => isTable(item, context))
  const hint = node.type === "table" ? `Write [[${key}]], with two brackets` : ""
  mismatch(node, { expected: "an array of tables", hint }, context)
  return []
}

/** Reports `priority must be an integer, not "abc"`. */
export function mismatch(
  node: TomlNode,
  { expected, hint }: { expected: string; hint: string },
  { report }: Context,
): Invalid {
  const key = report.path(node).replace(/^.*\.(?=[^.]+$)/, "")
  report.error(node, `${key} must be ${expected}, not ${describe(node)}`, hint)
  return INVALID
}

/** A node as it reads in a sentence. */
export function describe(node: TomlNode): string {
  switch (node.type) {
    case "string":
      return quote(node.value)
    case "integer":
    case "float":
    case "boolean":
      return String(node.value)
    case "datetime":
      return "a date or time"
    case "array":
      return node.items.length === 0 ? "an empty array" : "an array"
    case "table":
      return "a table"
  }
}

function quote(text: string): string {
  const isLong = text.length > QUOTED_LENGTH_MAX
  return JSON.stringify(isLong ? `${text.slice(0, QUOTED_LENGTH_MAX)}…` : text)
}

/** A message is a sentence; the whole value is in the source line. */
const QUOTED_LENGTH_MAX = 80
