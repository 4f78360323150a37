/**
 * The part of the `toml` package below its `parse`: the syntax tree, whose nodes carry offsets.
 * The package has no types for it. Shapes seen in toml 5.0.1, `lib/parser.js`.
 */
declare module "toml/lib/parser.js" {
  export type AstValue =
    | { readonly type: "String"; readonly value: string; readonly offset: number }
    | { readonly type: "Integer"; readonly value: bigint; readonly offset: number }
    | { readonly type: "Float"; readonly value: number; readonly offset: number }
    | { readonly type: "Boolean"; readonly value: boolean; readonly offset: number }
    | { readonly type: AstDateType; readonly value: unknown; readonly offset: number }
    | { readonly type: "Array"; readonly value: readonly AstValue[]; readonly offset: number }
    | { readonly type: "InlineTable"; readonly value: readonly AstPair[]; readonly offset: number }

  export type AstDateType = "Date" | "LocalDateTime" | "LocalDate" | "LocalTime"

  export interface AstPair {
    readonly key: readonly string[]
    readonly value: AstValue
    readonly offset: number
  }

  /** `Assign` is `a.b = 1`, `ObjectPath` is `[a.b]`, `ArrayPath` is `[[a.b]]`. */
  export type AstStatement =
    | (AstPair & { readonly type: "Assign" })
    | {
        readonly type: "ObjectPath" | "ArrayPath"
        readonly value: readonly string[]
        readonly offset: number
      }

  /** Throws on a syntax error. */
  export function parse(
    text: string,
    options: { readonly maxDepth: number },
  ): readonly AstStatement[]
}

declare module "toml/lib/compiler.js" {
  import type { AstStatement } from "toml/lib/parser.js"

  /** Throws when a key or table is defined twice. */
  export function compile(
    statements: readonly AstStatement[],
    text: string,
    options: { readonly bigint: boolean },
  ): unknown
}
