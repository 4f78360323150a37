/**
 * TOML text → a tree in which every value knows where it stands.
 *
 * The `toml` package parses (TOML 1.1) and rejects double definitions; its plain result has lost
 * the positions, so the tree is built from its syntax nodes. Everything after this file works on
 * the tree, and so can point at the very value it does not like.
 */
import { strict as assert } from "node:assert"
import { compile } from "toml/lib/compiler.js"
import { type AstPair, type AstStatement, type AstValue, parse } from "toml/lib/parser.js"
import type { Diagnostic } from "./diagnostic.ts"
import type { Source } from "./source.ts"
import { syntaxDiagnostic } from "./syntax-error.ts"

export type TomlNode = TomlScalar | TomlArray | TomlTable

interface Located {
  readonly source: Source
  /** Start of the value, or of its table header; counted in UTF-16 units. */
  readonly offset: number
  /** Start of the key, where there is one: array items have none. */
  readonly keyOffset: number
}

export type TomlScalar = Located &
  (
    | { readonly type: "string"; readonly value: string }
    | { readonly type: "integer"; readonly value: bigint }
    | { readonly type: "float"; readonly value: number }
    | { readonly type: "boolean"; readonly value: boolean }
    | { readonly type: "datetime" }
  )

export interface TomlArray extends Located {
  readonly type: "array"
  readonly items: readonly TomlNode[]
}

export interface TomlTable extends Located {
  readonly type: "table"
  readonly entries: ReadonlyMap<string, TomlNode>
}

export type TomlResult =
  | { readonly ok: true; readonly table: TomlTable }
  | { readonly ok: false; readonly diagnostic: Diagnostic }

export function parseToml(source: Source): TomlResult {
  let statements: readonly AstStatement[]
  try {
    statements = parse(source.text, { maxDepth: NESTING_DEPTH_MAX })
    // `compile` only judges here: it knows TOML's rules on defining a key or a table twice.
    compile(statements, source.text, { bigint: true })
  } catch (error) {
    return { ok: false, diagnostic: syntaxDiagnostic(source, error) }
  }
  return { ok: true, table: new TreeBuilder(source).build(statements) }
}

/** The node at the end of `steps`, or the nearest one above it that exists. */
export function locate(node: TomlNode, ...steps: readonly (string | number)[]): TomlNode {
  let current = node
  for (const step of steps) {
    const next = child(current, step)
    if (next === undefined) break
    current = next
  }
  return current
}

export function emptyTable(at: TomlNode): TomlTable {
  const { source, offset, keyOffset } = at
  return { type: "table", source, offset, keyOffset, entries: new Map() }
}

function child(node: TomlNode, step: string | number): TomlNode | undefined {
  if (node.type === "table" && typeof step === "string") return node.entries.get(step)
  if (node.type === "array" && typeof step === "number") return node.items[step]
  return undefined
}

type OpenArray = TomlArray & { readonly items: TomlNode[] }
type OpenTable = TomlTable & { readonly entries: Map<string, TomlNode> }

/** Trusts its input: `compile` has refused what could not be built. */
class TreeBuilder {
  readonly #source: Source

  constructor(source: Source) {
    this.#source = source
  }

  build(statements: readonly AstStatement[]): TomlTable {
    const root = this.#openTable(0)
    let context = root
    for (const statement of statements) {
      if (statement.type === "Assign") this.#assign(context, statement)
      else context = this.#header(root, statement)
    }
    return root
  }

  #header(
    root: OpenTable,
    { type, value: path, offset }: Exclude<AstStatement, { type: "Assign" }>,
  ): OpenTable {
    const parent = this.#walk(root, path.slice(0, -1), offset)
    const name = path.at(-1) ?? ""
    if (type === "ObjectPath") return this.#tableIn(parent, name, offset)
    const table = this.#openTable(offset)
    let array = parent.entries.get(name)
    if (array === undefined) {
      array = { ...this.#at(offset, offset), type: "array", items: [] }
      parent.entries.set(name, array)
    }
    assert(array.type === "array")
    ;(array as OpenArray).items.push(table)
    return table
  }

  #assign(table: OpenTable, { key, value, offset }: AstPair): void {
    const parent = this.#walk(table, key.slice(0, -1), offset)
    parent.entries.set(key.at(-1) ?? "", this.#node(value, offset))
  }

  #walk(table: OpenTable, path: readonly string[], offset: number): OpenTable {
    return path.reduce((parent, name) => this.#tableIn(parent, name, offset), table)
  }

  /** A path through an array of tables means its last element (TOML 1.1, "Array of Tables"). */
  #tableIn(parent: OpenTable, name: string, offset: number): OpenTable {
    const found = parent.entries.get(name)
    const node = found?.type === "array" ? found.items.at(-1) : found
    if (node !== undefined) {
      assert(node.type === "table")
      return node as OpenTable
    }
    const table = this.#openTable(offset)
    parent.entries.set(name, table)
    return table
  }

  #node(value: AstValue, keyOffset: number): TomlNode {
    const at = this.#at(value.offset, keyOffset)
    switch (value.type) {
      case "String":
        return { ...at, type: "string", value: value.value }
      case "Integer":
        return { ...at, type: "integer", value: value.value }
      case "Float":
        return { ...at, type: "float", value: value.value }
      case "Boolean":
        return { ...at, type: "boolean", value: value.value }
      case "Array":
        return {
          ...at,
          type: "array",
          items: value.value.map((item) => this.#node(item, item.offset)),
        }
      case "InlineTable":
        return this.#inlineTable(value.value, at)
      default:
        return { ...at, type: "datetime" }
    }
  }

  #inlineTable(pairs: readonly AstPair[], at: Located): TomlTable {
    const table: OpenTable = { ...at, type: "table", entries: new Map() }
    for (const pair of pairs) this.#assign(table, pair)
    return table
  }

  #openTable(offset: number): OpenTable {
    return { ...this.#at(offset, offset), type: "table", entries: new Map() }
  }

  #at(offset: number, keyOffset: number): Located {
    return { source: this.#source, offset, keyOffset }
  }
}

/** Our deepest key, `pool[].servers[].weight`, needs 3; the parser recurses once per level. */
const NESTING_DEPTH_MAX = 32
