/**
 * The access log: one line per finished connection, with its times and why it ended.
 *
 * Lines go through a bounded buffer and are dropped, with a count in the log, when the disk cannot
 * keep up: an access log must never stop traffic. The file is opened anew at a reload (logrotate).
 */
import { createWriteStream, type WriteStream } from "node:fs"
import type { LogConfig } from "../config/config.ts"
import type { AccessRecord } from "../dataplane/messages.ts"
import type { HttpRecord } from "../http/shell/context.ts"
import type { Logger } from "../log/logger.ts"
import { formatEndpoint } from "../net/address.ts"
import type { StreamRecord } from "../stream/context.ts"

const BUFFERED_BYTES_MAX = 8 * 1024 * 1024

export class AccessLog {
  readonly #log: Logger
  #format: LogConfig["format"] = "text"
  #output: WriteStream | typeof process.stdout | undefined
  #dropped = 0

  constructor(log: Logger) {
    this.#log = log
  }

  get isEnabled(): boolean {
    return this.#output !== undefined
  }

  /** Opens what `config` names, again if it is open already. */
  configure({ access, format }: Pick<LogConfig, "access" | "format">): void {
    this.close()
    this.#format = format
    if (access === "") return
    if (access === "stdout") this.#output = process.stdout
    else {
      const file = createWriteStream(access, { flags: "a", mode: 0o640 })
      file.on("error", (error) => {
        this.#log.error("log", "Cannot write the access log", {
          path: access,
          error: String(error),
        })
        if (this.#output === file) this.#output = undefined
      })
      this.#output = file
    }
  }

  write(records: readonly AccessRecord[], now: Date): void {
    const output = this.#output
    if (output === undefined) return
    if (output.writableLength > BUFFERED_BYTES_MAX) {
      this.#dropped += records.length
      return
    }
    if (this.#dropped > 0) {
      this.#log.warn("log", "Access lines dropped: the log is too slow", { lines: this.#dropped })
      this.#dropped = 0
    }
    const time = now.toISOString()
    output.write(records.map((record) => `${formatAccess(record, time, this.#format)}\n`).join(""))
  }

  close(): void {
    if (this.#output !== undefined && this.#output !== process.stdout) this.#output.end()
    this.#output = undefined
  }
}

/**
 * Text: `time stream client listen pool/server connect/total ms in/out bytes retries reason`, in
 * the order of HAProxy's TCP log.
 */
export function formatAccess(
  record: AccessRecord,
  time: string,
  format: LogConfig["format"],
): string {
  return "method" in record
    ? formatHttpAccess(record, time, format)
    : formatStreamAccess(record, time, format)
}

/** Text: nginx's combined format, then what a balancer's operator wants to know. */
function formatHttpAccess(record: HttpRecord, time: string, format: LogConfig["format"]): string {
  const { method, target, version, status } = record
  const times = [record.connectMs, record.firstByteMs, record.durationMs].map(round)
  if (format === "text") {
    const server = record.server === "" ? "-" : record.server
    return (
      `${record.client} - - [${time}] ${quote(`${method} ${target} ${version}`)} ${status} ` +
      `${record.bytesOut} ${quote(record.referer)} ${quote(record.userAgent)} ${record.listener} ` +
      `${quote(record.host)} ${quote(record.route)} ${record.pool}/${server} ${times.join("/")} ` +
      `${record.retries} ${record.tlsVersion === "" ? "-" : record.tlsVersion} ${record.reason}`
    )
  }
  const [connectMs, firstByteMs, durationMs] = times
  return JSON.stringify({
    time,
    listener: record.listener,
    client: record.client,
    method,
    host: record.host,
    target,
    version,
    status,
    route: record.route,
    pool: record.pool,
    server: record.server,
    bytes_in: record.bytesIn,
    bytes_out: record.bytesOut,
    connect_ms: connectMs,
    first_byte_ms: firstByteMs,
    duration_ms: durationMs,
    retries: record.retries,
    referer: record.referer,
    user_agent: record.userAgent,
    tls_version: record.tlsVersion,
    reason: record.reason,
  })
}

/** What a client wrote must not look like the end of a field or of a line (nginx escapes so). */
function quote(text: string): string {
  if (text === "") return '"-"'
  let quoted = '"'
  for (const char of text) {
    const code = char.charCodeAt(0)
    const isPlain = code >= 0x20 && code < 0x7f && char !== '"' && char !== "\\"
    quoted += isPlain ? char : `\\x${code.toString(16).padStart(2, "0")}`
  }
  return `${quoted}"`
}

function formatStreamAccess(
  record: StreamRecord,
  time: string,
  format: LogConfig["format"],
): string {
  const client = formatEndpoint(record.client)
  const listen = formatEndpoint(record.listen)
  const connectMs = round(record.connectMs)
  const durationMs = round(record.durationMs)
  if (format === "text") {
    const server = record.server === "" ? "-" : record.server
    return (
      `${time} ${record.stream} ${client} ${listen} ${record.pool}/${server} ` +
      `${connectMs}/${durationMs} ${record.bytesIn}/${record.bytesOut} ` +
      `${record.retries} ${record.reason}`
    )
  }
  return JSON.stringify({
    time,
    stream: record.stream,
    client,
    listen,
    pool: record.pool,
    server: record.server,
    connect_ms: connectMs,
    duration_ms: durationMs,
    bytes_in: record.bytesIn,
    bytes_out: record.bytesOut,
    retries: record.retries,
    reason: record.reason,
  })
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10
}
