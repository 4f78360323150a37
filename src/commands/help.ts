/** The help texts, made of the command table. */
import type { Command, OptionName } from "./command.ts"

export function generalHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => heading(command).length))
  return [
    "usage: causeway COMMAND [OPTION…]",
    "",
    ...commands.map((command) => `  ${heading(command).padEnd(width)}  ${command.summary}`),
    "",
    "The configuration is /etc/causeway/causeway.toml unless -c names another.",
    '"causeway help COMMAND" says more.',
  ].join("\n")
}

export function commandHelp(command: Command): string {
  const options = command.options.map((option) => `  ${OPTION_HELP[option]}`)
  return [
    usageLine(command),
    "",
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    ...(command.details === "" ? [] : [command.details]),
    ...(options.length === 0 ? [] : ["", ...options]),
  ].join("\n")
}

export function usageLine(command: Command): string {
  const options = command.options.map((option) => `[${OPTION_USAGE[option]}]`)
  return ["usage: causeway", command.name, ...options, ...command.words].join(" ")
}

function heading({ name, words }: Command): string {
  return [name, ...words].join(" ")
}

const OPTION_USAGE: Readonly<Record<OptionName, string>> = {
  config: "-c FILE",
  admin: "--admin ADDRESS",
  json: "--json",
  watch: "--watch",
  "dry-run": "--dry-run",
  root: "--root DIR",
  method: "--method METHOD",
  header: "--header TEXT",
  tls: "--tls",
  kubernetes: "--kubernetes",
}

const OPTION_HELP: Readonly<Record<OptionName, string>> = {
  config: "-c, --config FILE  the configuration; it also says where the admin socket is",
  admin: "--admin ADDRESS    the admin API: a socket's path, unix:PATH or http://HOST:PORT",
  json: "--json             JSON, for programs",
  watch: "-w, --watch        renew every second",
  "dry-run": "--dry-run          only say what would be done",
  root: "--root DIR         install into this folder, as for a package; no user is made",
  method: "--method METHOD    GET unless given",
  header: '--header TEXT      "Name: value"; may be given several times',
  kubernetes: "--kubernetes       ask the API server whether it allows all that is configured",
  tls: "--tls              the request comes over TLS",
}
