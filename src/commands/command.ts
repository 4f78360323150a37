/** What a command is: words for the help, the options it takes, and what it does. */

/** All options of all commands; a command names those it takes in `options`. */
export interface CommandInput {
  readonly configPath: string
  /** `-c` was given: the file is meant to be there. */
  readonly isConfigGiven: boolean
  /** Where to find the admin API instead of what the configuration says. */
  readonly admin: string | undefined
  readonly json: boolean
  readonly watch: boolean
  readonly dryRun: boolean
  /** Folder that stands for `/`. */
  readonly root: string
  /** Of a request: its method, "Name: value" of each header, and whether it came over TLS. */
  readonly method: string
  readonly headers: readonly string[]
  readonly tls: boolean
  /** Ask the API server too. */
  readonly kubernetes: boolean
  /** What is not an option. */
  readonly words: readonly string[]
}

export type OptionName =
  | "config"
  | "admin"
  | "json"
  | "watch"
  | "dry-run"
  | "root"
  | "method"
  | "header"
  | "tls"
  | "kubernetes"

export interface Command {
  readonly name: string
  /** As in the usage line, without options: "POOL/SERVER". */
  readonly words: readonly string[]
  /** A word in brackets, such as "[VRRP]", may be left out. */
  readonly options: readonly OptionName[]
  /** One line. */
  readonly summary: string
  /** What `causeway help NAME` adds; may be empty. */
  readonly details: string
  /** Resolves with the exit code. Loads its code only now: `causeway version` shall be quick. */
  readonly run: (input: CommandInput) => Promise<number>
}

/** What was asked for cannot be done; the message is for the operator, the exit code 1. */
export class CommandFailure extends Error {}
