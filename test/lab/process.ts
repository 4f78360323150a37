/**
 * Programs the lab runs: short commands (`runCommand`) and long-lived ones (`ManagedProcess`).
 *
 * Output of a long-lived program goes to a log file in full and to memory in part, so that a test
 * can wait for a line and a failure can show the last ones, and a chatty program cannot fill the
 * memory of the test.
 */
import { appendFileSync } from "node:fs"

export interface CommandResult {
  /** Exit code; 128 + signal number when a signal ended it. */
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

export interface CommandOptions {
  readonly stdin?: string
  readonly timeoutMs?: number
  readonly env?: Record<string, string>
  readonly cwd?: string
}

/** Runs a command to its end. Killed after `timeoutMs` (30 s), which counts as exit code 137. */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<CommandResult> {
  const child = Bun.spawn([...argv], {
    stdin: options.stdin === undefined ? "ignore" : new TextEncoder().encode(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    timeout: options.timeoutMs ?? 30_000,
    killSignal: "SIGKILL",
  })
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ])
  return { exitCode, stdout, stderr }
}

/** Runs a command to its end and returns its standard output; throws when it fails. */
export async function execCommand(
  argv: readonly string[],
  options: CommandOptions = {},
): Promise<string> {
  const result = await runCommand(argv, options)
  if (result.exitCode !== 0) {
    const output = `${result.stderr}${result.stdout}`.trim()
    throw new Error(`Command failed (${result.exitCode}): ${argv.join(" ")}\n${output}`)
  }
  return result.stdout
}

export interface ProcessOptions {
  readonly name: string
  readonly logPath: string
  readonly env?: Record<string, string | undefined>
  readonly cwd?: string
}

export interface WaitForOptions {
  readonly timeoutMs?: number
  /** Only look at output written after this `mark()`. */
  readonly from?: number
}

export interface StopOptions {
  readonly signal?: NodeJS.Signals
  /** After this the process gets SIGKILL. */
  readonly timeoutMs?: number
}

export class ManagedProcess {
  readonly name: string
  readonly argv: readonly string[]
  readonly logPath: string
  readonly #child: Bun.Subprocess<"ignore", "pipe", "pipe">
  readonly #output = new BoundedText(OUTPUT_CHARS_MAX)
  readonly #stdout = new BoundedText(OUTPUT_CHARS_MAX)
  readonly #listeners = new Set<() => void>()
  readonly #drained: Promise<unknown>

  constructor(argv: readonly string[], options: ProcessOptions) {
    this.name = options.name
    this.argv = argv
    this.logPath = options.logPath
    this.#child = Bun.spawn([...argv], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...process.env, ...options.env },
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    })
    this.#drained = Promise.all([
      this.#read(this.#child.stdout, true),
      this.#read(this.#child.stderr, false),
    ])
  }

  get pid(): number {
    return this.#child.pid
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Resolves with the exit code (128 + signal number after a signal) once it has ended. */
  get exited(): Promise<number> {
    return this.#child.exited
  }

  /** The last part of what it wrote, both streams in the order they were read. */
  get output(): string {
    return this.#output.text
  }

  get stdout(): string {
    return this.#stdout.text
  }

  /** A position in the output, for `waitFor(…, { from })`. */
  mark(): number {
    return this.#output.end
  }

  /** Waits until the output contains `pattern`; throws when the process ends or time runs out. */
  async waitFor(pattern: string | RegExp, options: WaitForOptions = {}): Promise<string> {
    const { timeoutMs = 10_000, from = 0 } = options
    const expired = Promise.withResolvers<"expired">()
    const timer = setTimeout(() => expired.resolve("expired"), timeoutMs)
    const ended = this.ended().then(() => "ended" as const)
    try {
      for (;;) {
        const found = this.#output.find(pattern, from)
        if (found !== undefined) return found
        const event = await Promise.race([this.#nextOutput(), ended, expired.promise])
        if (event === "written") continue
        const late = this.#output.find(pattern, from)
        if (late !== undefined) return late
        throw new Error(`${this.name} ${event} before it wrote ${pattern}\n${this.tail()}`)
      }
    } finally {
      clearTimeout(timer)
    }
  }

  /** The last lines, for error messages. */
  tail(lines = 30): string {
    return this.output.split("\n").slice(-lines).join("\n")
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Resolves with the exit code when it has ended and all its output has been read. */
  async ended(): Promise<number> {
    const exitCode = await this.#child.exited
    // A grandchild may hold the pipe open; its output is not worth waiting for.
    await Promise.race([this.#drained, Bun.sleep(500)])
    return exitCode
  }

  /** SIGTERM (or `signal`), then SIGKILL after `timeoutMs` (5 s). Returns the exit code. */
  async stop(options: StopOptions = {}): Promise<number> {
    if (this.running) {
      this.signal(options.signal ?? "SIGTERM")
      this.signal("SIGCONT")
      const timer = setTimeout(() => this.signal("SIGKILL"), options.timeoutMs ?? 5_000)
      await this.#child.exited
      clearTimeout(timer)
    }
    return this.ended()
  }

  #nextOutput(): Promise<"written"> {
    const { promise, resolve } = Promise.withResolvers<"written">()
    const listener = () => {
      this.#listeners.delete(listener)
      resolve("written")
    }
    this.#listeners.add(listener)
    return promise
  }

  async #read(stream: ReadableStream<Uint8Array>, isStdout: boolean): Promise<void> {
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true })
      this.#output.append(text)
      if (isStdout) this.#stdout.append(text)
      appendLog(this.logPath, chunk)
      for (const listener of this.#listeners) listener()
    }
  }
}

/** The last `max` characters of a text, addressed by their position in the whole. */
class BoundedText {
  text = ""
  readonly #charsMax: number
  #start = 0

  constructor(charsMax: number) {
    this.#charsMax = charsMax
  }

  get end(): number {
    return this.#start + this.text.length
  }

  append(text: string): void {
    this.text += text
    const excess = this.text.length - this.#charsMax
    if (excess <= 0) return
    this.text = this.text.slice(excess)
    this.#start += excess
  }

  find(pattern: string | RegExp, from: number): string | undefined {
    const text = this.text.slice(Math.max(0, from - this.#start))
    if (typeof pattern === "string") return text.includes(pattern) ? pattern : undefined
    return pattern.exec(text)?.[0]
  }
}

function appendLog(path: string, chunk: Uint8Array): void {
  try {
    appendFileSync(path, chunk)
  } catch {
    // The lab's folder is already gone: the process outlived `close()` by a line.
  }
}

const OUTPUT_CHARS_MAX = 1024 * 1024
