/**
 * `type = "command"`: a program whose exit code 0 means up. Its last line of output is the reason.
 *
 * The program leads a process group of its own, and the whole group gets SIGKILL when the check is
 * over, timed out or not: a check that runs every two seconds must not leave anything behind. Its
 * environment holds what HAProxy's external checks get, under our prefix, and nothing of ours:
 * secrets and the BUN_… variables that steer the runtime stay here.
 */
import type { CommandCheckConfig } from "../../config/config.ts"
import type { Finding, Probe, ProbeTarget } from "./probe.ts"

export const probeCommand: Probe<CommandCheckConfig> = async (target, run) => {
  run.signal.throwIfAborted()
  run.phase = "starting the command"
  const child = start(target)
  const kill = () => killGroup(child.pid)
  run.signal.addEventListener("abort", kill, { once: true })
  run.phase = "running the command"
  const stdout = new LastLine(child.stdout)
  const stderr = new LastLine(child.stderr)
  try {
    await child.exited
  } finally {
    run.signal.removeEventListener("abort", kill)
    kill()
  }
  const [line, errorLine] = await Promise.all([stdout.read(), stderr.read()])
  return finding(child, line || errorLine)
}

/** The program's environment, complete. */
export function commandEnvironment({
  name,
  check,
  address,
  env,
}: ProbeTarget<CommandCheckConfig>): Record<string, string> {
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    LANG: "C.UTF-8",
    CAUSEWAY_SERVER_NAME: name,
    ...(address === undefined
      ? {}
      : {
          CAUSEWAY_SERVER_ADDR: address.address,
          CAUSEWAY_SERVER_PORT: String(check.port ?? address.port),
        }),
    ...env,
  }
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">

function start(target: ProbeTarget<CommandCheckConfig>): Child {
  return Bun.spawn([...target.check.command], {
    cwd: "/",
    env: commandEnvironment(target),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    detached: true,
  })
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, "SIGKILL")
  } catch {
    // ESRCH: the last of them has ended.
  }
}

function finding(child: Child, line: string): Finding {
  const { exitCode, signalCode } = child
  if (exitCode === 0) return { ok: true, reason: line || "exit code 0" }
  const ending = signalCode === null ? `exit code ${exitCode}` : `ended by ${signalCode}`
  return { ok: false, reason: line === "" ? ending : `${ending}: ${line}` }
}

/** Drains a stream, lest the program block on a full pipe, and keeps its end. */
class LastLine {
  #tail = ""
  readonly #reader: ByteReader
  readonly #drained: Promise<void>

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader()
    this.#drained = this.#drain()
  }

  /**
   * To be called when the program has ended: all it wrote is in the pipe by then, and is read
   * within a turn of the event loop. Waiting for the end of the stream will not do, because a
   * process that left the group may hold the pipe open for ever.
   */
  async read(): Promise<string> {
    await Promise.race([this.#drained, nextTurn().then(nextTurn)])
    await this.#reader.cancel()
    return this.#tail.trimEnd().split("\n").at(-1)?.trim() ?? ""
  }

  async #drain(): Promise<void> {
    const decoder = new TextDecoder()
    for (;;) {
      const { value, done } = await this.#reader.read()
      if (done) return
      this.#tail = (this.#tail + decoder.decode(value, { stream: true })).slice(-TAIL_CHARS_MAX)
    }
  }
}

/** Of the reader of a stream; its declarations in Bun's and Node's types do not agree. */
interface ByteReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>
  cancel(): Promise<void>
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve)
  })
}

const TAIL_CHARS_MAX = 4096
