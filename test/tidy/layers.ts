/**
 * Which folder may import which (ARCHITECTURE.md, "the layer rule"). One table, so that the shape
 * of the house can be read, and changing it is a visible act.
 *
 * Every file of `src` belongs to one layer. A *domain* folder holds two kinds of file: machines,
 * which are pure and can be tested without a socket or a clock, and shells (`driver.ts`,
 * `thread.ts`, a folder `shell/` and the few named below), which turn their actions into system
 * calls.
 */
import type { SourceFile } from "./source.ts"

/** Folders with machines and shells. They do not know each other. */
const DOMAINS = ["announce", "health", "http", "kubernetes", "stream", "tls", "vrrp"]

/**
 * What serves another's shell: a virtual router announces its addresses; all that accepts clients
 * does so in one way.
 */
const SERVANTS: Readonly<Record<string, readonly string[]>> = {
  vrrp: ["announce"],
  stream: ["connection"],
  http: ["connection"],
  tls: ["connection"],
}

/** Domains whose reading of a machine's answer its tests ask for: what a route does, say. */
const TEST_WITNESSES: Readonly<Record<string, readonly string[]>> = {
  kubernetes: ["http", "tls"],
}

/** Values and pure helpers that any machine may build on. */
const FOUNDATION = ["net", "wire", "pool", "metrics"]

/** Shells of a domain under another name, and why they are ones. */
const FURTHER_SHELLS: Readonly<Record<string, string>> = {
  "src/stream/session.ts": "owns two descriptors and reacts to their readiness",
  "src/stream/flow.ts": "moves bytes one way between them: its system calls are its task",
  "src/stream/context.ts": "what a session gets from its thread: reactor, descriptors, buffers",
  "src/vrrp/shell/": "links, sockets and addresses of a virtual router: parts of its driver",
  "src/health/probes/": "each probe is one conversation over a socket",
}

/** What each folder outside the domains may import; "*" = anything but `main` and `commands`. */
const FOLDERS: Readonly<Record<string, readonly string[]>> = {
  net: [],
  metrics: ["net"],
  wire: ["net"],
  pool: ["net", "metrics", "type config"],
  config: ["net"],
  connection: ["net", "wire", "pool", "linux"],
  linux: ["net", "wire"],
  log: ["net", "type config"],
  admin: ["net", "log", "metrics", "linux", "type config", "type pool"],
  dataplane: [...FOUNDATION, "connection", "stream", "http", "tls", "linux", "log", "type config"],
  daemon: ["*"],
  commands: ["*"],
}

/** Imports of `src` that go against the table. */
export function layerViolations(file: SourceFile): string[] {
  const allowed = allowedFolders(file.path)
  if (allowed === undefined) return [`${file.path}: no rule for its folder in test/tidy/layers.ts`]
  return file.imports.flatMap(({ path, typeOnly }) => {
    if (path === undefined) return []
    const target = folderOf(path)
    if (target === folderOf(file.path)) return shellViolation(file.path, path, typeOnly)
    if (allowed.includes("*") && target !== "commands" && target !== "") return []
    if (allowed.includes(target) || (typeOnly && allowed.includes(`type ${target}`))) return []
    return [`${file.path}: may not import ${path}${typeOnly ? " (type)" : ""}`]
  })
}

/** Is this file pure by rule? Tests and fixtures are not asked. */
export function isMachine(path: string): boolean {
  const folder = folderOf(path)
  if (isTest(path) || isShell(path)) return false
  return DOMAINS.includes(folder) || PURE_FOLDERS.includes(folder)
}

export function isTest(path: string): boolean {
  return /\.test\.ts$|\/fixtures\//.test(path)
}

/** `vrrp` for `src/vrrp/driver.ts`, "" for `src/main.ts`, the first folder outside `src`. */
function folderOf(path: string): string {
  const [top = "", folder = "", ...rest] = path.split("/")
  if (top !== "src") return top
  return rest.length === 0 ? "" : folder
}

function allowedFolders(path: string): readonly string[] | undefined {
  const folder = folderOf(path)
  if (folder === "") return ["commands"]
  if (!DOMAINS.includes(folder)) return FOLDERS[folder]
  if (isTest(path)) {
    const others = [...(SERVANTS[folder] ?? []), ...(TEST_WITNESSES[folder] ?? [])]
    return [...FOUNDATION, "linux", "log", "config", ...others]
  }
  return isShell(path)
    ? [...FOUNDATION, "linux", "log", "type config", ...(SERVANTS[folder] ?? [])]
    : [...FOUNDATION, "type config"]
}

/** Inside a domain, a machine does not import a shell. */
function shellViolation(importer: string, path: string, typeOnly: boolean): string[] {
  if (typeOnly || !isMachine(importer) || !isShell(path)) return []
  return [`${importer}: a machine may not import the shell ${path}`]
}

function isShell(path: string): boolean {
  if (/\/(driver|thread)\.ts$|\/shell\//.test(path)) return true
  return Object.keys(FURTHER_SHELLS).some((shell) => path.startsWith(shell))
}

const PURE_FOLDERS = ["config", "net", "pool", "wire"]
