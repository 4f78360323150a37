/**
 * From the words of the command line to one command and its exit code: 0, 1 (it failed), 2 (the
 * words make no sense; the usage goes to standard error).
 */
import { type ParseArgsConfig, parseArgs } from "node:util"
import { nearest } from "../config/nearest.ts"
import { type Command, CommandFailure, type CommandInput, type OptionName } from "./command.ts"
import { COMMANDS } from "./command-table.ts"
import { restoreHangUp } from "./early-signals.ts"
import { commandHelp, generalHelp, usageLine } from "./help.ts"
import { flushOutput, printError, printLine } from "./output.ts"

/** Resolves with the exit code, when everything printed is written. */
export async function runCommandLine(argv: readonly string[]): Promise<number> {
  const exitCode = await dispatch(argv)
  await flushOutput()
  return exitCode
}

async function dispatch([name, ...rest]: readonly string[]): Promise<number> {
  switch (name) {
    case undefined:
      return misuse(generalHelp(COMMANDS))
    case "help":
    case "--help":
    case "-h":
      return help(rest)
    case "--version":
      return start("version", rest)
    default:
      return start(name, rest)
  }
}

function help([name]: readonly string[]): number {
  if (name === undefined) {
    printLine(generalHelp(COMMANDS))
    return 0
  }
  const command = findCommand(name)
  if (command === undefined) return misuse(unknownCommand(name))
  printLine(commandHelp(command))
  return 0
}

async function start(name: string, argv: readonly string[]): Promise<number> {
  const command = findCommand(name)
  if (command === undefined) return misuse(unknownCommand(name))
  if (argv.includes("--help") || argv.includes("-h")) return help([command.name])
  const input = parseInput(command, argv)
  if (typeof input === "string") return misuse(`causeway ${name}: ${input}`, usageLine(command))
  if (command.name !== "run") restoreHangUp()
  try {
    return await command.run(input)
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error
    printError(`causeway ${name}: ${error.message}`)
    return 1
  }
}

/** The input, or what is wrong with the words. */
function parseInput(command: Command, argv: readonly string[]): CommandInput | string {
  try {
    const options = Object.fromEntries(command.options.map((option) => [option, OPTIONS[option]]))
    const { values, positionals } = parseArgs({
      args: [...argv],
      options,
      allowPositionals: true,
      strict: true,
    })
    const wordsMin = command.words.filter((word) => !word.startsWith("[")).length
    if (positionals.length < wordsMin) return `${command.words[positionals.length]} is missing`
    const excess = positionals[command.words.length]
    if (excess !== undefined) return `"${excess}" is too much`
    return toInput(values, positionals)
  } catch (error) {
    // "Unknown option '--jsn'. To specify a positional …": the first sentence says it.
    return (error as Error).message.split(". ")[0] ?? "the options make no sense"
  }
}

function toInput(
  values: Readonly<Record<string, unknown>>,
  words: readonly string[],
): CommandInput {
  const textOf = (name: OptionName) => {
    const value = values[name]
    return typeof value === "string" ? value : undefined
  }
  const textsOf = (name: OptionName) => (values[name] ?? []) as readonly string[]
  const isGiven = (name: OptionName) => values[name] === true
  return {
    configPath: textOf("config") ?? DEFAULT_CONFIG_PATH,
    isConfigGiven: textOf("config") !== undefined,
    admin: textOf("admin"),
    json: isGiven("json"),
    watch: isGiven("watch"),
    dryRun: isGiven("dry-run"),
    root: textOf("root") ?? "/",
    method: textOf("method") ?? "GET",
    headers: textsOf("header"),
    tls: isGiven("tls"),
    kubernetes: isGiven("kubernetes"),
    words,
  }
}

function findCommand(name: string): Command | undefined {
  return COMMANDS.find((command) => command.name === name)
}

function unknownCommand(name: string): string {
  const similar = nearest(
    name,
    COMMANDS.map((command) => command.name),
  )
  const advice = similar === undefined ? 'see "causeway help"' : `did you mean "${similar}"?`
  return `causeway: there is no command "${name}": ${advice}`
}

function misuse(...lines: readonly string[]): number {
  for (const line of lines) printError(line)
  return 2
}

const DEFAULT_CONFIG_PATH = "/etc/causeway/causeway.toml"

type Option = NonNullable<ParseArgsConfig["options"]>[string]

const OPTIONS: Readonly<Record<OptionName, Option>> = {
  config: { type: "string", short: "c" },
  admin: { type: "string" },
  json: { type: "boolean" },
  watch: { type: "boolean", short: "w" },
  "dry-run": { type: "boolean" },
  root: { type: "string" },
  method: { type: "string" },
  header: { type: "string", multiple: true },
  tls: { type: "boolean" },
  kubernetes: { type: "boolean" },
}
