/**
 * The mirror on disk, so that an edge that restarts while the API is away serves what was last
 * known.
 *
 * Lines of JSON: a head, an object a line, an end with their number and hash; a file that was cut
 * or damaged is told from a whole one. Written aside, synced and moved over the old one, mode 0600
 * (it has the keys of TLS certificates). Objects never change once decoded, so what is written is
 * the state of one instant although writing it takes turns with everything else on this thread.
 *
 * While nothing changes and everything is followed, only the file's time is moved forward: the
 * state it holds is still the newest.
 */
import { createReadStream } from "node:fs"
import { type FileHandle, mkdir, open, rename, rm, stat, utimes } from "node:fs/promises"
import { dirname } from "node:path"
import type { Logger } from "../../log/logger.ts"
import {
  type MirroredObject,
  type MirrorSnapshot,
  SNAPSHOT_VERSION,
  type SourceSnapshot,
} from "../mirror.ts"

export type StateFileResult =
  | {
      readonly ok: true
      readonly snapshot: MirrorSnapshot
      /** When the state was last known to be the cluster's. */
      readonly savedAtEpochMs: number
    }
  | { readonly ok: false; readonly reason: StateFileProblem; readonly message: string }

export type StateFileProblem =
  | "missing"
  | "unreadable"
  | "damaged"
  | "other_version"
  | "other_cluster"
  | "too_large"

/** @param cluster What tells this cluster from another: its server's URL. */
export async function readStateFile(path: string, cluster: string): Promise<StateFileResult> {
  try {
    const { size, mtimeMs } = await stat(path)
    if (size > FILE_BYTES_MAX) return problem("too_large", path, `has ${size} bytes`)
    const reader = new StateReader(cluster)
    for await (const line of linesOf(path)) {
      const refusal = reader.line(line)
      if (refusal !== undefined) return problem(refusal.reason, path, refusal.message)
    }
    const result = reader.end()
    if (!result.ok) return problem("damaged", path, "ends early or was changed")
    return { ...result, savedAtEpochMs: Math.max(result.savedAtEpochMs, Math.floor(mtimeMs)) }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    return problem(code === "ENOENT" ? "missing" : "unreadable", path, code)
  }
}

export interface StateFileOptions {
  readonly path: string
  /** Whose state the snapshot is. */
  readonly cluster: () => string
  readonly log: Logger
  /** At most one write in this time. */
  readonly intervalMs?: number
  readonly snapshot: () => MirrorSnapshot
  /** Everything is followed: the state is that of the cluster now. */
  readonly isCurrent: () => boolean
}

export class StateFile {
  readonly #options: StateFileOptions
  #isDirty = false
  #hasFile = false
  #writing: Promise<void> = Promise.resolve()
  #isWriting = false
  #hasFailed = false
  readonly #timer: Timer

  constructor(options: StateFileOptions) {
    this.#options = options
    this.#timer = setInterval(() => this.#tick(), options.intervalMs ?? INTERVAL_MS)
    this.#timer.unref()
  }

  /** The mirror has changed. */
  touch(): void {
    this.#isDirty = true
  }

  /** Resolves when the last state is on disk, or cannot be. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#writing
    if (this.#isDirty) await this.#write()
  }

  #tick(): void {
    if (this.#isWriting) return
    if (this.#isDirty) this.#writing = this.#write()
    else if (this.#hasFile && this.#options.isCurrent()) this.#writing = this.#confirm()
  }

  async #write(): Promise<void> {
    this.#isWriting = true
    this.#isDirty = false
    const { path, cluster, snapshot } = this.#options
    try {
      const state = { cluster: cluster(), snapshot: snapshot(), savedAtEpochMs: Date.now() }
      await writeStateFile(path, state)
      this.#hasFile = true
      this.#succeeded()
    } catch (error) {
      this.#isDirty = true
      this.#failed(error)
    }
    this.#isWriting = false
  }

  async #confirm(): Promise<void> {
    const now = new Date()
    try {
      await utimes(this.#options.path, now, now)
    } catch {
      this.#isDirty = true // somebody removed it
    }
  }

  #succeeded(): void {
    if (!this.#hasFailed) return
    this.#hasFailed = false
    this.#options.log.info("kubernetes", "Saved the cluster's state again", {
      path: this.#options.path,
    })
  }

  #failed(error: unknown): void {
    if (this.#hasFailed) return
    this.#hasFailed = true
    const reason = (error as NodeJS.ErrnoException).code ?? String(error)
    this.#options.log.warn(
      "kubernetes",
      "Cannot save the cluster's state; after a restart without the API nothing would be known",
      { path: this.#options.path, reason },
    )
  }
}

export async function writeStateFile(
  path: string,
  state: {
    readonly cluster: string
    readonly snapshot: MirrorSnapshot
    readonly savedAtEpochMs: number
  },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  const aside = `${path}.${process.pid}.${crypto.randomUUID().slice(0, 8)}.tmp`
  try {
    const file = await open(aside, "wx", 0o600)
    try {
      await writeLines(file, state)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(aside, path)
  } catch (error) {
    await rm(aside, { force: true })
    throw error
  }
  await syncDirectory(dirname(path))
}

interface Head {
  readonly format: typeof FORMAT
  readonly version: number
  readonly cluster: string
  readonly savedAtEpochMs: number
  readonly sources: readonly { readonly id: string; readonly kind: SourceSnapshot["kind"] }[]
}

async function writeLines(
  file: FileHandle,
  { cluster, snapshot, savedAtEpochMs }: Parameters<typeof writeStateFile>[1],
): Promise<void> {
  const hash = new Bun.CryptoHasher("sha256")
  let bytes = 0
  const write = async (lines: readonly string[]) => {
    const text = lines.map((line) => `${line}\n`).join("")
    hash.update(text)
    bytes += Buffer.byteLength(text)
    if (bytes > FILE_BYTES_MAX) throw new Error(`The state is larger than ${FILE_BYTES_MAX} bytes`)
    await file.writeFile(text)
  }
  const sources = snapshot.sources.map(({ id, kind }) => ({ id, kind }))
  const head: Head = { format: FORMAT, version: snapshot.version, cluster, savedAtEpochMs, sources }
  await write([JSON.stringify(head)])
  let objects = 0
  for (const [index, source] of snapshot.sources.entries()) {
    for (let start = 0; start < source.objects.length; start += OBJECTS_PER_TURN) {
      const turn = source.objects.slice(start, start + OBJECTS_PER_TURN)
      await write(turn.map((object) => JSON.stringify([index, object])))
    }
    objects += source.objects.length
  }
  await file.writeFile(`${JSON.stringify({ end: objects, sha256: hash.digest("hex") })}\n`)
}

/** Takes the lines of a file one by one. */
class StateReader {
  readonly #cluster: string
  readonly #hash = new Bun.CryptoHasher("sha256")
  readonly #objects: MirroredObject[][] = []
  #head: Head | undefined
  #count = 0
  #isWhole = false

  constructor(cluster: string) {
    this.#cluster = cluster
  }

  /** Undefined: fine so far. */
  line(text: string): { reason: StateFileProblem; message: string } | undefined {
    const value = parsed(text)
    if (this.#head === undefined) return this.#first(value as Head | undefined, text)
    if (Array.isArray(value)) return this.#object(value as [number, MirroredObject], text)
    const end = value as { end?: unknown; sha256?: unknown } | undefined
    this.#isWhole =
      !this.#isWhole && end?.end === this.#count && end.sha256 === this.#hash.digest("hex")
    return this.#isWhole ? undefined : DAMAGED
  }

  end():
    | { readonly ok: true; readonly snapshot: MirrorSnapshot; readonly savedAtEpochMs: number }
    | { readonly ok: false } {
    if (!this.#isWhole || this.#head === undefined) return { ok: false }
    const sources = this.#head.sources.map((source, index) => ({
      ...source,
      objects: this.#objects[index] ?? [],
    }))
    const { savedAtEpochMs } = this.#head
    return { ok: true, snapshot: { version: SNAPSHOT_VERSION, sources }, savedAtEpochMs }
  }

  #first(head: Head | undefined, text: string): ReturnType<StateReader["line"]> {
    if (head?.format !== FORMAT) return { reason: "damaged", message: "is no saved state" }
    if (head.version !== SNAPSHOT_VERSION) {
      const message = `is of version ${head.version}, not ${SNAPSHOT_VERSION}`
      return { reason: "other_version", message }
    }
    if (head.cluster !== this.#cluster) {
      const message = `is of ${head.cluster}, not ${this.#cluster}`
      return { reason: "other_cluster", message }
    }
    this.#head = head
    this.#hash.update(`${text}\n`)
    return undefined
  }

  #object([index, object]: [number, MirroredObject], text: string): typeof DAMAGED | undefined {
    if (this.#isWhole) return DAMAGED
    this.#hash.update(`${text}\n`)
    this.#count++
    this.#objects[index] ??= []
    this.#objects[index]?.push(object)
    return undefined
  }
}

async function* linesOf(path: string): AsyncGenerator<string> {
  let rest = ""
  for await (const chunk of createReadStream(path, { encoding: "utf8", highWaterMark: 1 << 18 })) {
    const lines = (rest + chunk).split("\n")
    rest = lines.pop() ?? ""
    yield* lines
  }
  if (rest !== "") yield rest
}

/** So that the new name is on disk too. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r")
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function problem(reason: StateFileProblem, path: string, detail: string): StateFileResult {
  return { ok: false, reason, message: `The saved state ${path} ${detail}`.trim() }
}

const FORMAT = "causeway-kubernetes-state"
const DAMAGED = { reason: "damaged", message: "was changed or cut short" } as const
/** A cluster of 2,000 Services with ten endpoints each takes about 5 MiB. */
const FILE_BYTES_MAX = 256 * 1024 * 1024
const INTERVAL_MS = 10_000
/** About a millisecond's work. */
const OBJECTS_PER_TURN = 100
