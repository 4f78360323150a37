/**
 * The log: one line per event on standard output, where journald expects it.
 *
 * Only the control thread writes; the other threads send their records to it, because a pipe that
 * nobody empties must never stop an advert or a connection.
 */
export type LogLevel = "debug" | "info" | "warn" | "error"
export type LogFields = Readonly<Record<string, string | number | boolean>>

export interface LogRecord {
  readonly level: LogLevel
  /** The folder it comes from: vrrp, stream, health … */
  readonly component: string
  readonly message: string
  readonly fields: LogFields
}

export interface LogSettings {
  readonly level: LogLevel
  readonly format: "text" | "json"
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"]
/** sd-daemon(3) prefixes: journald files the line under this priority and drops the prefix. */
const SYSLOG_PRIORITY: Record<LogLevel, number> = { debug: 7, info: 6, warn: 4, error: 3 }

export class Logger {
  readonly #write: (line: string) => void
  readonly #now: () => Date
  readonly #isJournal: boolean
  #settings: LogSettings

  constructor(options: {
    readonly settings: LogSettings
    readonly write: (line: string) => void
    readonly now: () => Date
    /** Standard output is journald's stream ($JOURNAL_STREAM): it adds the time itself. */
    readonly isJournal: boolean
  }) {
    this.#settings = options.settings
    this.#write = options.write
    this.#now = options.now
    this.#isJournal = options.isJournal
  }

  configure(settings: LogSettings): void {
    this.#settings = settings
  }

  log(record: LogRecord): void {
    if (LEVELS.indexOf(record.level) < LEVELS.indexOf(this.#settings.level)) return
    this.#write(this.#settings.format === "json" ? this.#json(record) : this.#text(record))
  }

  debug(component: string, message: string, fields: LogFields = {}): void {
    this.log({ level: "debug", component, message, fields })
  }

  info(component: string, message: string, fields: LogFields = {}): void {
    this.log({ level: "info", component, message, fields })
  }

  warn(component: string, message: string, fields: LogFields = {}): void {
    this.log({ level: "warn", component, message, fields })
  }

  error(component: string, message: string, fields: LogFields = {}): void {
    this.log({ level: "error", component, message, fields })
  }

  #json({ level, component, message, fields }: LogRecord): string {
    return JSON.stringify({ time: this.#now().toISOString(), level, component, message, ...fields })
  }

  #text({ level, component, message, fields }: LogRecord): string {
    const head = this.#isJournal
      ? `<${SYSLOG_PRIORITY[level]}>`
      : `${this.#now().toISOString()} ${level.padEnd(5)} `
    return `${head}${component}: ${message}${formatFields(fields)}`
  }
}

function formatFields(fields: LogFields): string {
  let text = ""
  for (const [name, value] of Object.entries(fields)) {
    const plain =
      typeof value === "number" ? String(Math.round(value * 1000) / 1000) : String(value)
    text += ` ${name}=${/[\s"=\p{Cc}]/u.test(plain) || plain === "" ? quote(plain) : plain}`
  }
  return text
}

/** JSON leaves DEL and the second set of control characters as they are; a terminal obeys them. */
function quote(text: string): string {
  return JSON.stringify(text).replace(
    /\p{Cc}/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )
}
