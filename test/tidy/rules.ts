/**
 * The structure rules: each takes files and returns what is wrong with them, one line per finding.
 * They hold what a reviewer would otherwise have to repeat.
 */
import { posix } from "node:path"
import { isMachine, isTest } from "./layers.ts"
import { type SourceFile, withoutComments } from "./source.ts"

/** Only src/linux/ speaks to the C library. */
export function ffiViolations(file: SourceFile): string[] {
  if (file.path.startsWith("src/linux/")) return []
  const found = file.imports.some(({ specifier }) => specifier === "bun:ffi")
  return found ? [`${file.path}: only src/linux/ may import bun:ffi`] : []
}

/** A machine gets time, randomness and configuration as input, and acts by what it returns. */
export function purityViolations(file: SourceFile): string[] {
  if (!isMachine(file.path)) return []
  const code = withoutComments(file.text)
  return IMPURE.filter((pattern) => pattern.test(code)).map(
    (pattern) => `${file.path}: a machine may not use ${pattern.source.replaceAll("\\", "")}`,
  )
}

/** Files that import each other in a circle, types included. */
export function cycleViolations(files: readonly SourceFile[]): string[] {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const done = new Set<string>()
  const cycles: string[] = []
  const visit = (path: string, trail: readonly string[]) => {
    const start = trail.indexOf(path)
    if (start >= 0) cycles.push([...trail.slice(start), path].join(" → "))
    if (start >= 0 || done.has(path)) return
    for (const target of byPath.get(path)?.imports ?? []) {
      if (target.path !== undefined) visit(target.path, [...trail, path])
    }
    done.add(path)
  }
  for (const { path } of files) visit(path, [])
  return cycles
}

/** Each runtime dependency has one folder that knows it; nothing else is imported. */
export function dependencyViolations(
  files: readonly SourceFile[],
  dependencies: readonly string[],
): string[] {
  const folders = new Map<string, Set<string>>(dependencies.map((name) => [name, new Set()]))
  const unknown: string[] = []
  for (const file of files.filter(({ path }) => !isTest(path))) {
    for (const { specifier, path } of file.imports) {
      if (path !== undefined || /^(node|bun):|^bun$/.test(specifier)) continue
      const users = folders.get(packageOf(specifier))
      users?.add(file.path.split("/").slice(0, 2).join("/"))
      if (users === undefined) unknown.push(`${file.path}: ${specifier} is not a dependency`)
    }
  }
  const shared = [...folders].filter(([, users]) => users.size !== 1)
  return [
    ...unknown,
    ...shared.map(
      ([name, users]) => `${name}: imported from [${[...users].join(", ")}], not one folder`,
    ),
  ]
}

/** A function fits a screen. Read from the layout: it ends where the indent of its head returns. */
export function functionLengthViolations(file: SourceFile): string[] {
  return functions(file)
    .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
    .map(({ line, lines }) => `${file.path}:${line}: function of ${lines} lines`)
}

/** Columns, left-over marks and focused tests. */
export function textViolations(file: SourceFile): string[] {
  return file.lines.flatMap((line, index) => {
    const where = `${file.path}:${index + 1}`
    const isWide = line.length > COLUMNS_MAX && !isUnbreakable(file, line)
    return [
      ...(isWide ? [`${where}: ${line.length} columns`] : []),
      ...(LEFT_OVER.test(line) ? [`${where}: ${LEFT_OVER.exec(line)?.[0]}`] : []),
      ...(FOCUSED.test(line) ? [`${where}: focused test`] : []),
    ]
  })
}

/** A file opens with its idea; a test beside its source has that file's. */
export function essayViolations(file: SourceFile): string[] {
  if (file.path.startsWith("src/") && isTest(file.path)) return []
  return /^(#!.*\n)?\/\*\*/.test(file.text) ? [] : [`${file.path}: does not open with a comment`]
}

/** Relative imports name the file with its extension, and the file exists. */
export function missingImportViolations(file: SourceFile, paths: ReadonlySet<string>): string[] {
  return file.imports
    .filter(({ path }) => path !== undefined && /\.ts$|\/[^.]*$/.test(path) && !paths.has(path))
    .map(({ specifier }) => `${file.path}: no file ${specifier}`)
}

/** Source that the program does not reach, and test code that nothing reaches. */
export function unusedFiles(files: readonly SourceFile[]): string[] {
  const product = reachable(files, ({ path }) => PRODUCT_ENTRY.test(path))
  const all = reachable(files, ({ path }) => PRODUCT_ENTRY.test(path) || TEST_ENTRY.test(path))
  return files
    .map(({ path }) => path)
    .filter((path) => !product.has(path))
    .filter((path) => !all.has(path) || (path.startsWith("src/") && !isTest(path)))
}

/** A lock file must install from whatever registry its user has. */
export function lockFileViolations(text: string): string[] {
  return /"resolved"/.test(text) ? ["package-lock.json: names a registry (resolved)"] : []
}

function reachable(
  files: readonly SourceFile[],
  isEntry: (file: SourceFile) => boolean,
): Set<string> {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const reached = new Set<string>()
  const queue = files.filter(isEntry)
  for (let file = queue.pop(); file !== undefined; file = queue.pop()) {
    if (reached.has(file.path)) continue
    reached.add(file.path)
    const targets = file.imports.flatMap(({ path }) => byPath.get(path ?? "") ?? [])
    queue.push(...targets, ...startedPrograms(file, files))
  }
  return reached
}

/** Programs of the tests that a test starts by their file name. */
function startedPrograms(file: SourceFile, files: readonly SourceFile[]): SourceFile[] {
  if (file.path.startsWith("src/")) return []
  return files.filter(
    ({ path }) => path.startsWith("test/") && file.text.includes(`/${posix.basename(path)}`),
  )
}

interface FunctionSpan {
  /** Of its first line, from 1. */
  readonly line: number
  readonly lines: number
}

function functions({ lines }: SourceFile): FunctionSpan[] {
  return lines.flatMap((line, index) => {
    if (!line.endsWith("{")) return []
    const first = headerStart(lines, index)
    const header = lines.slice(first, index + 1).join(" ")
    if (!FUNCTION_HEADER.test(header) || TEST_GROUP.test(header)) return []
    const indent = indentOf(line)
    const length = lines
      .slice(index + 1)
      .findIndex((each) => indentOf(each) === indent && each.trim().startsWith("}"))
    return length < 0 ? [] : [{ line: first + 1, lines: index + 1 - first + length + 1 }]
  })
}

/** A header broken over lines ends in `): T {`; it began at the line of the same indent above. */
function headerStart(lines: readonly string[], end: number): number {
  if (!/^\s*[)}]/.test(lines[end] ?? "")) return end
  const indent = indentOf(lines[end] ?? "")
  const above = lines.slice(0, end)
  return above.findLastIndex((line) => line.trim() !== "" && indentOf(line) === indent)
}

function indentOf(line: string): number {
  return line.search(/\S/)
}

/**
 * The formatter breaks code, so what is left wide is a comment or a literal. Addresses stay whole
 * everywhere; other literals where they are material: in tests, fixtures and scripts.
 */
function isUnbreakable({ path }: SourceFile, line: string): boolean {
  if (line.includes("://") || path.includes("/fixtures/")) return true
  const isComment = /^\s*(\/\/|\/?\*)/.test(line)
  return !isComment && (isTest(path) || path.startsWith("scripts/"))
}

function packageOf(specifier: string): string {
  const parts = specifier.split("/")
  return parts.slice(0, specifier.startsWith("@") ? 2 : 1).join("/")
}

const FUNCTION_LINES_MAX = 70
const COLUMNS_MAX = 100

const IMPURE = [
  /\bDate\.now\(/,
  /\bnew Date\(\)/,
  /\bperformance\./,
  /\bsetTimeout\(/,
  /\bsetInterval\(/,
  /\bqueueMicrotask\(/,
  /\bMath\.random\(/,
  /\bconsole\./,
  /\bprocess\./,
  /\bBun\.(spawn|listen|connect|serve|write|sleep|env)/,
]

const STATEMENT = /(?:\} )?(?:if|for|while|switch|catch|else|do|try|return|with)\b/.source
const METHOD = /(?:[\w*]+ )*[#\w$[\].]+(?:<[^(]*>)?\(.*\).*\{$/.source
/** `function f(`, `=> {`, or a method: a name and its parameters that are no statement's. */
const FUNCTION_HEADER = new RegExp(`\\bfunction\\b|=> \\{$|^\\s*(?!${STATEMENT})${METHOD}`)
/** `describe("…", () => {`: a chapter of tests, not a function that anybody calls. */
const TEST_GROUP = /^\s*describe\b/
// Written so that this file does not contain what it looks for.
const LEFT_OVER = new RegExp(["FIX" + "ME", "TO" + "DO", "X" + "XX"].join("|"))
const FOCUSED = /\b(test|describe|it)\.only\b/

/** What a user starts: program, threads, scripts. Declarations are the compiler's. */
const PRODUCT_ENTRY = /^src\/main\.ts$|^src\/\w+\/thread\.ts$|^scripts\/|\.d\.ts$/
const TEST_ENTRY = /\.test\.ts$/
