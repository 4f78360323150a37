/**
 * Recording frames with tcpdump and reading them back with tshark: an opinion on what was on the
 * wire that shares no code with ours.
 */
import { join } from "node:path"
import type { Host } from "./host.ts"
import { execCommand, type ManagedProcess } from "./process.ts"

export interface CaptureOptions {
  readonly interface?: string
  /** pcap filter, such as `proto 112 or arp`. */
  readonly filter?: string
}

let captures = 0

/** Starts recording on an interface of `host` (default: any); resolves when it is recording. */
export async function startCapture(host: Host, options: CaptureOptions = {}): Promise<Capture> {
  captures += 1
  const path = join(host.directory, `capture-${captures}.pcap`)
  const device = options.interface ?? "any"
  // --immediate-mode and -U: each frame is in the file at once. -Z: the folder is root's. In
  // immediate mode each frame takes room for the longest: with the usual 256 KiB of them the usual
  // buffer holds eight frames, and a burst is lost.
  const argv = ["tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-i", device, "-w", path]
  const room = ["-s", String(FRAME_BYTES_MAX), "-B", String(BUFFER_KIB)]
  const tcpdump = host.spawn([...argv, ...room, options.filter ?? ""], { name: "tcpdump" })
  await tcpdump.waitFor("listening on")
  return new Capture(path, tcpdump)
}

export class Capture {
  readonly path: string
  readonly #tcpdump: ManagedProcess

  constructor(path: string, tcpdump: ManagedProcess) {
    this.path = path
    this.#tcpdump = tcpdump
  }

  /** Frames that came too fast to be recorded; known after `stop`. */
  get lost(): number {
    return Number(/(\d+) packets? dropped by kernel/.exec(this.#tcpdump.output)?.[1] ?? 0)
  }

  /** Ends the recording. */
  async stop(): Promise<this> {
    await this.#tcpdump.stop({ signal: "SIGINT" })
    return this
  }

  /**
   * One row per frame that passes tshark's `displayFilter`, one text per field ("" when absent,
   * comma-separated when it occurs more than once). May be asked while the recording runs.
   */
  async fields(names: readonly string[], displayFilter = ""): Promise<string[][]> {
    const fields = names.flatMap((name) => ["-e", name])
    const output = await execCommand(
      ["tshark", "-n", "-r", this.path, "-Y", displayFilter, "-T", "fields", ...fields],
      { timeoutMs: 60_000 },
    )
    return output
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => line.split("\t"))
  }

  /** Whole dissections, as tshark's JSON has them. */
  async json(displayFilter = ""): Promise<unknown[]> {
    const argv = ["tshark", "-n", "-r", this.path, "-Y", displayFilter, "-T", "json"]
    return JSON.parse(await execCommand(argv, { timeoutMs: 60_000 }))
  }
}

/** What is recorded of a frame. */
const FRAME_BYTES_MAX = 2048
const BUFFER_KIB = 8192
