/**
 * The loads: well-known tools where they measure what we ask, programs of ours where none does.
 * Each runs on the load core, has a bounded size, and fails loudly: a proxy that answers errors
 * quickly must not look fast.
 */
import { join } from "node:path"
import type { Host } from "../../test/lab/host.ts"
import type { ManagedProcess } from "../../test/lab/process.ts"
import { BULK_PATH, ON_LOAD_CORE, SMALL_PATH } from "./arena.ts"
import type { HandshakeOptions } from "./handshake-client.ts"
import type { IdleOptions } from "./idle-client.ts"
import type { PacedOptions, PacedResult } from "./paced-client.ts"

/** Answers received and over what time. */
export interface LoadResult {
  readonly requests: number
  readonly seconds: number
}

export interface WrkOptions {
  readonly seconds: number
  readonly connections: number
  /** A new connection for each request. */
  readonly close?: boolean
  readonly scheme?: "http" | "https"
  /** Default: the target. */
  readonly host?: string
  readonly path?: string
}

/** Closed loop: every connection sends its next request when it has its answer. */
export async function wrk(client: Host, target: string, options: WrkOptions): Promise<LoadResult> {
  const { scheme = "http", host = target, path = SMALL_PATH } = options
  const header = ["-H", `Host: ${host}`]
  if (options.close === true) header.push("-H", "Connection: close")
  const sizes = ["-t1", `-c${options.connections}`, `-d${options.seconds}s`, "--timeout", "5s"]
  const argv = ["wrk", ...sizes, ...header, `${scheme}://${target}${path}`]
  const output = await client.exec([...ON_LOAD_CORE, ...argv])
  if (/Socket errors|Non-2xx/.test(output)) throw new Error(`wrk against ${target}:\n${output}`)
  const match = /(\d+) requests in ([\d.]+)s/.exec(output)
  const requests = Number(match?.[1] ?? 0)
  if (requests === 0) throw new Error(`wrk got no answer from ${target}:\n${output}`)
  return { requests, seconds: Number(match?.[2]) }
}

/** Downloads the large file `files` times over one connection; returns bytes. */
export async function download(client: Host, target: string, files: number): Promise<number> {
  const format = ["--write-out", "%{size_download}\\n"]
  const one = ["--output", "/dev/null", `http://${target}${BULK_PATH}`]
  const all = Array.from({ length: files }, () => one).flat()
  const output = await client.exec([...ON_LOAD_CORE, "curl", ...QUIET, ...format, ...all])
  return sumOfLines(output)
}

/** Uploads a file `files` times over one connection; returns the bytes that arrived. */
export async function upload(
  client: Host,
  target: string,
  file: string,
  files: number,
): Promise<number> {
  // Without "Expect: 100-continue", which would add a wait of curl's own.
  const one = ["--header", "Expect:", "--upload-file", file, `http://${target}/`]
  const all = Array.from({ length: files }, (_, at) => (at === 0 ? one : one.slice(2))).flat()
  return sumOfLines(await client.exec([...ON_LOAD_CORE, "curl", ...QUIET, ...all]))
}

/** Open loop at a fixed rate (`paced-client.ts`). */
export async function paced(client: Host, options: PacedOptions): Promise<PacedResult> {
  const argv = await pacedArgv(client, options)
  const seconds = (options.warmUpRequests + options.requests) / options.requestsPerSecond
  return JSON.parse(await client.exec(argv, { timeoutMs: 30_000 + 2_000 * seconds }))
}

async function pacedArgv(client: Host, options: PacedOptions): Promise<string[]> {
  const rank = options.sleeps === true ? FIRST : LEAST
  const path = join(client.directory, "paced.json")
  await Bun.write(path, JSON.stringify(options))
  return [...ON_LOAD_CORE, ...rank, process.execPath, program("paced-client"), path]
}

/**
 * The same load one time after another by one program, whose own warming up is over after the
 * first. What is compared can be changed in between: within the part of a time that is not counted.
 */
export class LastingLoad {
  readonly #process: ManagedProcess
  readonly #settleMs: number
  #lastLineAt = Number.NEGATIVE_INFINITY

  static async start(client: Host, options: PacedOptions): Promise<LastingLoad> {
    const argv = await pacedArgv(client, { ...options, again: true })
    const settleMs = (1_000 * options.warmUpRequests) / options.requestsPerSecond
    const load = new LastingLoad(client.spawn(argv, { name: "paced-client" }), settleMs)
    await load.#nextLine()
    return load
  }

  private constructor(process: ManagedProcess, settleMs: number) {
    this.#process = process
    this.#settleMs = settleMs
  }

  /** The next time that is counted as a whole; calls `begun` when the counting begins. */
  async next(begun: () => void): Promise<PacedResult> {
    if (performance.now() - this.#lastLineAt > this.#settleMs / 2) await this.#nextLine()
    await Bun.sleep(this.#settleMs - (performance.now() - this.#lastLineAt))
    begun()
    return JSON.parse(await this.#nextLine())
  }

  async stop(): Promise<void> {
    await this.#process.stop()
  }

  async #nextLine(): Promise<string> {
    const from = this.#process.mark()
    const line = await this.#process.waitFor(/.*\n/, { from, timeoutMs: LASTING_WAIT_MS })
    this.#lastLineAt = performance.now()
    return line
  }
}

/** Full TLS handshakes, each with one request (`handshake-client.ts`). */
export async function handshakes(client: Host, options: HandshakeOptions): Promise<LoadResult> {
  const startedAt = performance.now()
  const argv = [process.execPath, program("handshake-client"), JSON.stringify(options)]
  const output = await client.exec([...ON_LOAD_CORE, ...argv])
  const seconds = (performance.now() - startedAt) / 1e3
  return { requests: Number(/done (\d+)/.exec(output)?.[1]), seconds }
}

/** Resolves when all connections are open and quiet; stop the program to close them. */
export async function holdIdle(client: Host, options: IdleOptions): Promise<ManagedProcess> {
  const argv = [process.execPath, program("idle-client"), JSON.stringify(options)]
  const holder = client.spawn([...ON_LOAD_CORE, ...argv], { name: "idle-client" })
  await holder.waitFor(/idle \d+\n/, { timeoutMs: 60_000 })
  return holder
}

/** Put before a program, lets all others go first. */
export const LEAST = ["chrt", "--idle", "0"]

/** Put before a program, lets it come before all others: for one that mostly sleeps. */
const FIRST = ["chrt", "--fifo", "1"]

/** The text of a small request over a connection that stays open. */
export const SMALL_REQUEST = `GET ${SMALL_PATH} HTTP/1.1\r\nHost: bench\r\n\r\n`

function sumOfLines(output: string): number {
  return output
    .trim()
    .split("\n")
    .map(Number)
    .reduce((sum, each) => sum + each, 0)
}

function program(name: string): string {
  return join(import.meta.dir, `${name}.ts`)
}

/** For one time of a lasting load. */
const LASTING_WAIT_MS = 60_000
const QUIET = ["--silent", "--show-error", "--fail"]
