/**
 * A configuration file → a `Config`, or everything that is wrong with it.
 *
 * Steps: read and parse the file and those it includes, merge them, decode every table by its
 * schema, look across tables with the rules. Each step goes on after an error as far as that makes
 * sense, so that one look shows all errors. Whatever the files hold, this answers and never throws.
 */
import { hostname } from "node:os"
import { normalize } from "node:path"
import type { Config } from "./config.ts"
import type { Context } from "./decode.ts"
import { type Diagnostic, sortDiagnostics } from "./diagnostic.ts"
import { completeConfig, type Draft, decodeDocument } from "./draft.ts"
import { diskFiles, type Files, hasGlob, literalFolder, readHint, resolveFrom } from "./files.ts"
import { adviseKey } from "./known-keys.ts"
import { mergeDocuments, reportConflicts } from "./merge.ts"
import { Report } from "./report.ts"
import { checkNamedChecks } from "./rules-check.ts"
import { checkHttp } from "./rules-http.ts"
import { checkKubernetes } from "./rules-kubernetes.ts"
import { checkListeners } from "./rules-listen.ts"
import { checkNames } from "./rules-names.ts"
import { checkPools } from "./rules-pool.ts"
import { checkVrrp } from "./rules-vrrp.ts"
import type { Source } from "./source.ts"
import { parseToml, type TomlNode, type TomlResult, type TomlTable } from "./toml.ts"

export type LoadResult =
  | {
      readonly ok: true
      readonly config: Config
      readonly warnings: readonly Diagnostic[]
      /** The files that were read, in order. */
      readonly files: readonly string[]
    }
  | { readonly ok: false; readonly diagnostics: readonly Diagnostic[] }

/** What loading takes from the host. */
export interface Environment {
  readonly files: Files
  /** The default of `node.name`. */
  readonly hostName: string
}

export function loadConfig(path: string, environment: Environment = hostEnvironment()): LoadResult {
  const file = environment.files.read(path)
  if (!file.ok) return { ok: false, diagnostics: [unreadable(path, file.reason)] }
  const main = parseToml({ path, text: file.value.text })
  if (!main.ok) return { ok: false, diagnostics: [main.diagnostic] }
  const context = contextOf(main.table, environment)
  const included = includedSources(main.table, context).map(parseToml)
  return build(main.table, { included, diagnostics: context.report.diagnostics }, environment)
}

/** The pure core: the first source is the main file, the others are as if it included them. */
export function parseConfig(
  [first, ...others]: readonly [Source, ...Source[]],
  environment: Environment,
): LoadResult {
  const main = parseToml(first)
  if (!main.ok) return { ok: false, diagnostics: [main.diagnostic] }
  return build(main.table, { included: others.map(parseToml), diagnostics: [] }, environment)
}

/** Patterns are relative to the main file, and may match it: it is not read again. */
function includedSources(main: TomlTable, context: Context): Source[] {
  const node = main.entries.get("include")
  if (node?.type !== "array") return [] // a wrong type is reported when the document is decoded
  const mainPath = main.source.path
  const paths = new Map<string, TomlNode>()
  for (const item of node.items) {
    for (const path of matchingPaths(item, mainPath, context)) {
      if (path !== normalize(mainPath)) paths.set(path, item)
    }
  }
  if (paths.size > INCLUDED_FILES_MAX) {
    context.report.error(node, `include matches ${paths.size} files, at most ${INCLUDED_FILES_MAX}`)
    return []
  }
  return [...paths].flatMap(([path, item]) => readIncluded(path, item, context))
}

/** Without a wildcard the file must exist; a pattern may match none in a folder that is there. */
function matchingPaths(item: TomlNode, mainPath: string, { report, files }: Context) {
  if (item.type !== "string") return []
  const pattern = resolveFrom(mainPath, item.value)
  if (!hasGlob(item.value)) return [pattern]
  const found = files.find(pattern)
  if (!found.ok) report.error(item, `Cannot look for ${pattern}: ${found.reason}`)
  else if (found.value.length === 0 && !files.mode(literalFolder(pattern)).ok) {
    report.warning(item, `No file matches ${pattern}: there is no such folder`)
  }
  return found.ok ? found.value : []
}

function readIncluded(path: string, item: TomlNode, { report, files }: Context): Source[] {
  const file = files.read(path)
  if (file.ok) return [{ path, text: file.value.text }]
  const message = `Cannot read the included file ${path}: ${file.reason}`
  report.error(item, message, readHint(path, file.reason))
  return []
}

function build(
  main: TomlTable,
  rest: { readonly included: readonly TomlResult[]; readonly diagnostics: readonly Diagnostic[] },
  environment: Environment,
): LoadResult {
  const broken = rest.included.flatMap((file) => (file.ok ? [] : file.diagnostic))
  const tables = rest.included.flatMap((file) => (file.ok ? file.table : []))
  const { root, conflicts } = mergeDocuments(main, tables)
  const context = contextOf(root, environment)
  reportConflicts(conflicts, context.report)
  const draft = decodeDocument(root, context)
  // With a file missing, everything it defines would be reported as missing too.
  const whole = broken.length === 0 && !rest.diagnostics.some(isError)
  if (whole) checkRules(draft, context)
  const files = [main, ...tables].map(({ source }) => source.path)
  const found = [...rest.diagnostics, ...broken, ...context.report.diagnostics]
  const diagnostics = sortDiagnostics(found, files)
  if (diagnostics.some(isError)) return { ok: false, diagnostics }
  return { ok: true, config: completeConfig(draft, environment), warnings: diagnostics, files }
}

function checkRules(draft: Draft, context: Context): void {
  checkNames(draft, context)
  checkListeners(draft, context)
  checkVrrp(draft.vrrp, context)
  checkNamedChecks(draft.checks, context)
  checkPools(draft.pools, context)
  checkHttp(draft.http, context)
  checkKubernetes(draft, context)
}

function contextOf(root: TomlTable, { files }: Environment): Context {
  return { report: new Report(root), files, adviseKey }
}

function isError({ severity }: Diagnostic): boolean {
  return severity === "error"
}

function unreadable(file: string, reason: string): Diagnostic {
  return {
    severity: "error",
    file,
    line: 0,
    column: 0,
    path: "",
    message: `Cannot read the configuration: ${reason}`,
    hint: readHint(file, reason) || "Name another file with -c FILE",
    sourceLine: "",
  }
}

function hostEnvironment(): Environment {
  return { files: diskFiles, hostName: hostname() }
}

/** One file per component is the intended habit; a thousand components are not. */
const INCLUDED_FILES_MAX = 1000
