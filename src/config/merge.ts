/**
 * Several files as one document. `[[tables]]` of all files are put after each other; anything else
 * belongs to one file only, so that nobody has to know an order of precedence.
 */
import type { Report } from "./report.ts"
import type { TomlNode, TomlTable } from "./toml.ts"

export interface Conflict {
  readonly key: string
  readonly first: TomlNode
  readonly second: TomlNode
}

export function mergeDocuments(
  main: TomlTable,
  included: readonly TomlTable[],
): { readonly root: TomlTable; readonly conflicts: readonly Conflict[] } {
  const entries = new Map(main.entries)
  const conflicts: Conflict[] = []
  for (const [key, node] of included.flatMap((document) => [...document.entries])) {
    const first = entries.get(key)
    if (first === undefined) entries.set(key, node)
    else if (isTableArray(first) && isTableArray(node)) {
      entries.set(key, { ...first, items: [...first.items, ...node.items] })
    } else conflicts.push({ key, first, second: node })
  }
  return { root: { ...main, entries }, conflicts }
}

export function reportConflicts(conflicts: readonly Conflict[], report: Report): void {
  for (const { key, first, second } of conflicts) {
    if (key === "include") {
      report.errorAtKey(
        second,
        "An included file cannot include others",
        "Move it to the main file",
      )
      continue
    }
    report.errorAtKey(
      second,
      `${key} is set in ${second.source.path} and in ${first.source.path}`,
      `Keep one of them; the other is at ${report.place(first)}`,
    )
  }
}

function isTableArray(node: TomlNode): node is Extract<TomlNode, { type: "array" }> {
  return node.type === "array" && node.items.every(({ type }) => type === "table")
}
