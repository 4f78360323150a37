/** Collects diagnostics while a document is read; turns nodes into positions and paths. */
import type { Diagnostic } from "./diagnostic.ts"
import { lineAndColumn, lineOf } from "./source.ts"
import type { TomlNode } from "./toml.ts"

export class Report {
  readonly diagnostics: Diagnostic[] = []
  readonly #root: TomlNode
  #parents: Map<TomlNode, Parent> | undefined

  constructor(root: TomlNode) {
    this.#root = root
  }

  /** About a value. */
  error(node: TomlNode, message: string, hint = ""): void {
    this.#add("error", node, { offset: node.offset, message, hint })
  }

  /** About a key, such as one that should not be there. */
  errorAtKey(node: TomlNode, message: string, hint = ""): void {
    this.#add("error", node, { offset: node.keyOffset, message, hint })
  }

  warning(node: TomlNode, message: string, hint = ""): void {
    this.#add("warning", node, { offset: node.offset, message, hint })
  }

  /** `causeway.toml:12`, to point from one place to another. */
  place(node: TomlNode): string {
    const { source, offset } = node
    return `${source.path}:${lineAndColumn(source.text, offset).line}`
  }

  /** `pool[1].servers[0].weight` */
  path(node: TomlNode): string {
    this.#parents ??= indexParents(this.#root)
    const steps: string[] = []
    for (let at = this.#parents.get(node); at !== undefined; at = this.#parents.get(at.node)) {
      steps.unshift(typeof at.step === "number" ? `[${at.step}]` : `.${quoteKey(at.step)}`)
    }
    return steps.join("").replace(/^\./, "")
  }

  #add(
    severity: Diagnostic["severity"],
    node: TomlNode,
    { offset, message, hint }: { offset: number; message: string; hint: string },
  ): void {
    const { path: file, text } = node.source
    const { line, column } = lineAndColumn(text, offset)
    const sourceLine = lineOf(text, line)
    const path = this.path(node)
    this.diagnostics.push({ severity, file, line, column, path, message, hint, sourceLine })
  }
}

interface Parent {
  readonly node: TomlNode
  readonly step: string | number
}

/** A loop, not a recursion: `[a.a.a.…]` may be deeper than the stack. */
function indexParents(root: TomlNode): Map<TomlNode, Parent> {
  const parents = new Map<TomlNode, Parent>()
  const open = [root]
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    for (const [step, child] of childrenOf(node)) {
      parents.set(child, { node, step })
      open.push(child)
    }
  }
  return parents
}

function childrenOf(node: TomlNode): readonly (readonly [string | number, TomlNode])[] {
  if (node.type === "table") return [...node.entries]
  if (node.type === "array") return [...node.items.entries()]
  return []
}

function quoteKey(key: string): string {
  return /^[\w-]+$/.test(key) ? key : JSON.stringify(key)
}
