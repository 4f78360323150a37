/**
 * `causeway install`: makes of the copied executable an installed one. May be run again, as an
 * update: what is the same is left alone, and a configuration that exists is never touched.
 *
 * Starting it is left to the operator, who has a configuration to write first.
 */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs"
import { dirname, join } from "node:path"
import { CommandFailure, type CommandInput } from "./command.ts"
import {
  INSTALL_FILES,
  INSTALL_FOLDERS,
  INSTALLED_PROGRAM,
  type InstallFile,
} from "./install-files.ts"
import { printError, printLine } from "./output.ts"

export function install({ root, dryRun }: CommandInput): number {
  if (!Bun.isStandaloneExecutable) {
    throw new CommandFailure("Only the executable can install itself: run dist/causeway install")
  }
  const steps = [
    programStep(join(root, INSTALLED_PROGRAM)),
    ...INSTALL_FOLDERS.map((path) => folderStep(join(root, path))),
    ...INSTALL_FILES.map((file) => fileStep(join(root, file.path), file)),
  ]
  for (const { outcome, path, apply } of steps) {
    if (!dryRun) attempt(path, apply)
    printLine(`${outcome.padEnd(OUTCOME_WIDTH)}  ${path}`)
  }
  const commands = root === "/" ? HOST_COMMANDS : []
  for (const command of commands) {
    printLine(`${"run".padEnd(OUTCOME_WIDTH)}  ${command.join(" ")}`)
    if (!dryRun) runHostCommand(command)
  }
  if (!dryRun) printLine(NEXT_STEPS)
  return 0
}

interface Step {
  readonly outcome: "install" | "update" | "same" | "keep"
  readonly path: string
  readonly apply: () => void
}

function programStep(path: string): Step {
  const own = process.execPath
  const isSame = existsSync(path) && readFileSync(path).equals(readFileSync(own))
  if (isSame) return { outcome: "same", path, apply: () => {} }
  const apply = () => replace(path, { mode: 0o755, write: (copy) => copyFileSync(own, copy) })
  return { outcome: existsSync(path) ? "update" : "install", path, apply }
}

function folderStep(path: string): Step {
  if (existsSync(path)) return { outcome: "same", path, apply: () => {} }
  return { outcome: "install", path, apply: () => mkdirSync(path, { recursive: true }) }
}

function fileStep(path: string, { text, mode, isUsers }: InstallFile): Step {
  const apply = () => replace(path, { mode, write: (copy) => writeFileSync(copy, text) })
  if (!existsSync(path)) return { outcome: "install", path, apply }
  if (isUsers) return { outcome: "keep", path, apply: () => {} }
  const isSame = readFileSync(path, "utf8") === text
  return isSame ? { outcome: "same", path, apply: () => {} } : { outcome: "update", path, apply }
}

/** Beside the target, then moved over it: a running program cannot be written to. */
function replace(
  path: string,
  { mode, write }: { readonly mode: number; readonly write: (path: string) => void },
): void {
  mkdirSync(dirname(path), { recursive: true })
  const copy = `${path}.new`
  write(copy)
  chmodSync(copy, mode)
  renameSync(copy, path)
}

function attempt(path: string, action: () => void): void {
  try {
    action()
  } catch (error) {
    const { code = String(error) } = error as NodeJS.ErrnoException
    const advice = code === "EACCES" || code === "EPERM" ? " (run it as root)" : ""
    throw new CommandFailure(`Cannot write ${path}: ${code}${advice}`)
  }
}

/** Each helps but none is worth stopping for: a container has no systemd, a kernel no modules. */
function runHostCommand(command: readonly string[]): void {
  const [program = ""] = command
  if (Bun.which(program) === null) {
    printError(`warning: there is no ${program} here`)
    return
  }
  const { exitCode, stderr } = Bun.spawnSync([...command], { stdout: "ignore", stderr: "pipe" })
  if (exitCode !== 0) printError(`warning: ${command.join(" ")}: ${stderr.toString().trim()}`)
}

const HOST_COMMANDS: readonly (readonly string[])[] = [
  ["systemd-sysusers", "/etc/sysusers.d/causeway.conf"],
  ["chgrp", "causeway", "/etc/causeway/causeway.toml"],
  ["modprobe", "tun"],
  ["sysctl", "--quiet", "--load=/etc/sysctl.d/60-causeway.conf"],
  ["systemctl", "daemon-reload"],
]

const OUTCOME_WIDTH = "install".length

const NEXT_STEPS = `
Next: edit /etc/causeway/causeway.toml, then
  causeway check
  systemctl enable --now causeway
  causeway status`
