/**
 * The only place that writes to standard output and standard error.
 *
 * Text that came from a file, a server or the network passes `printable` before it reaches a
 * terminal: nobody but us may send it escape sequences.
 */

/** One or more whole lines, without the last line end. */
export function printLine(text: string): void {
  write(process.stdout, `${text}\n`)
}

/** The same to standard error. */
export function printError(text: string): void {
  write(process.stderr, `${text}\n`)
}

/** Bytes as they are, for control sequences. */
export function printRaw(text: string): void {
  write(process.stdout, text)
}

/** Resolves when what was printed is written, or nobody reads it any more, or time is up. */
export async function flushOutput(): Promise<void> {
  const written = [process.stdout, process.stderr].map((stream) => {
    const done = Promise.withResolvers<void>()
    stream.write("", () => done.resolve())
    return done.promise
  })
  await Promise.race([Promise.all(written), Bun.sleep(FLUSH_WAIT_MS)])
}

/** Whether the reader of standard output is gone (`causeway status --watch | head`). */
export function isOutputClosed(): boolean {
  return isClosed
}

/** Control characters and other invisible ones replaced, as in the configuration's diagnostics. */
export function printable(text: string): string {
  return text.replace(/[^\P{C}\n]/gu, "\u{FFFD}")
}

export interface Terminal {
  /** Colour and control sequences are wanted (https://no-color.org). */
  readonly isColored: boolean
  readonly isTty: boolean
  /** Characters per line; `Infinity` where lines go to a file or a program. */
  readonly width: number
  readonly height: number
}

export function terminal(environment: NodeJS.ProcessEnv = process.env): Terminal {
  const isTty = process.stdout.isTTY === true
  const { NO_COLOR = "", TERM } = environment
  return {
    isTty,
    isColored: isTty && NO_COLOR === "" && TERM !== "dumb",
    width: isTty ? process.stdout.columns : Number.POSITIVE_INFINITY,
    height: isTty ? process.stdout.rows : Number.POSITIVE_INFINITY,
  }
}

function write(stream: NodeJS.WriteStream, text: string): void {
  listenForErrors()
  stream.write(text)
}

/** EPIPE is an event here, and without a listener the end of the process. */
function listenForErrors(): void {
  if (isListening) return
  isListening = true
  process.stdout.on("error", () => {
    isClosed = true
  })
  process.stderr.on("error", () => {})
}

let isListening = false
let isClosed = false

/** A reader that has stopped reading must not keep a command from ending. */
const FLUSH_WAIT_MS = 5_000
