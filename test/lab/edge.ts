/**
 * A running Causeway in a host: the compiled binary with a configuration file, an admin socket and
 * state and runtime folders of its own, watched through the same admin socket an operator uses.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Status } from "../../src/admin/backend.ts"
import type { Host } from "./host.ts"
import type { CommandResult, ManagedProcess, StopOptions } from "./process.ts"
import { eventually, type WaitOptions } from "./wait.ts"

export interface EdgeOptions {
  /** Default: `$CAUSEWAY_BINARY`, else dist/causeway. */
  readonly binary?: readonly string[]
  readonly env?: Record<string, string | undefined>
  /** Wait until `/readyz` says so; default true. */
  readonly ready?: boolean
  /** Put before the program, such as `["taskset", "-c", "0"]`. */
  readonly wrapper?: readonly string[]
}

/**
 * Starts an edge with a configuration in TOML. Where it has no `[admin]` or `[node]` table, one is
 * added: the admin socket in the host's folder, the host's name.
 */
export async function startEdge(
  host: Host,
  toml: string,
  options: EdgeOptions = {},
): Promise<Edge> {
  const edge = new Edge(host, host.processes.length, options)
  edge.writeConfig(toml)
  edge.start()
  if (options.ready !== false) await edge.waitReady()
  return edge
}

export class Edge {
  readonly host: Host
  readonly directory: string
  readonly configPath: string
  readonly socketPath: string
  readonly binary: readonly string[]
  readonly #options: EdgeOptions
  #process: ManagedProcess | undefined

  constructor(host: Host, number: number, options: EdgeOptions = {}) {
    this.host = host
    this.directory = join(host.directory, `edge-${number}`)
    this.configPath = join(this.directory, "causeway.toml")
    this.socketPath = join(this.directory, "admin.sock")
    this.binary = options.binary ?? defaultBinary()
    this.#options = options
    mkdirSync(join(this.directory, "state"), { recursive: true })
  }

  get process(): ManagedProcess {
    if (this.#process === undefined) throw new Error(`${this.host.name}: edge not started`)
    return this.#process
  }

  get pid(): number {
    return this.process.pid
  }

  /** Starts the program (again). Does not wait. */
  start(): void {
    const argv = [...(this.#options.wrapper ?? []), ...this.binary, "run", "-c", this.configPath]
    this.#process = this.host.spawn(argv, {
      name: "causeway",
      cwd: this.directory,
      env: {
        STATE_DIRECTORY: join(this.directory, "state"),
        RUNTIME_DIRECTORY: this.directory,
        NOTIFY_SOCKET: undefined,
        ...this.#options.env,
      },
    })
  }

  writeConfig(toml: string): void {
    writeFileSync(this.configPath, this.#withDefaults(toml))
  }

  /** Waits until `/readyz` answers 200; throws with the log when the program ends instead. */
  async waitReady(timeoutMs = 10_000): Promise<void> {
    const edge = this.process
    await eventually(async () => !edge.running || (await this.request("/readyz")).status === 200, {
      timeoutMs,
      intervalMs: 5,
      what: `${this.host.name} to be ready`,
    }).catch((error) => {
      throw new Error(`${error.message}\n${edge.tail()}`)
    })
    if (!edge.running) throw new Error(`${this.host.name}: edge ended early\n${edge.tail()}`)
  }

  /** A request over the admin socket. */
  request(path: string, init: RequestInit = {}): Promise<Response> {
    const signal = AbortSignal.timeout(ADMIN_TIMEOUT_MS)
    // Without keep-alive no pooled connection outlives a restart of the edge.
    return fetch(`http://edge${path}`, {
      signal,
      keepalive: false,
      ...init,
      unix: this.socketPath,
    })
  }

  async status(): Promise<Status> {
    const response = await this.request("/v1/status")
    if (!response.ok) throw new Error(`/v1/status: ${response.status} ${await response.text()}`)
    return (await response.json()) as Status
  }

  /** Waits until the status satisfies `condition`, and returns it. */
  async waitStatus(
    condition: (status: Status) => unknown,
    options: WaitOptions = {},
  ): Promise<Status> {
    let last: Status | undefined
    try {
      return await eventually(async () => {
        last = await this.status()
        return condition(last) ? last : undefined
      }, options)
    } catch (error) {
      const seen = JSON.stringify(last ?? null, undefined, 1)
      throw new Error(`${this.host.name}: ${(error as Error).message}\n${seen}`)
    }
  }

  /** Waits until the virtual router (the first, or by name) is in a state. */
  waitState(
    state: Status["vrrp"][number]["state"],
    options: WaitOptions & { readonly vrrp?: string } = {},
  ): Promise<Status> {
    return this.waitStatus(
      ({ vrrp }) =>
        vrrp.find(({ name }) => options.vrrp === undefined || name === options.vrrp)?.state ===
        state,
      { what: `state ${state}`, ...options },
    )
  }

  /** Waits until a server has a health. */
  waitHealth(
    pool: string,
    server: string,
    health: "up" | "down" | "unknown",
    options: WaitOptions = {},
  ): Promise<Status> {
    return this.waitStatus(
      ({ pools }) =>
        pools.find(({ name }) => name === pool)?.servers.find(({ name }) => name === server)
          ?.health === health,
      { what: `${pool}/${server} ${health}`, ...options },
    )
  }

  /** Samples of `/metrics`, keyed as printed: `name{label="value"}`. */
  async metrics(): Promise<Map<string, number>> {
    const response = await this.request("/metrics")
    return parseMetrics(await response.text())
  }

  /** The sum of all samples of a metric that have these labels; 0 when there are none. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    let sum = 0
    for (const [sample, value] of await this.metrics()) {
      const [sampleName, sampleLabels = ""] = sample.split("{")
      if (sampleName !== name) continue
      if (wanted.every((label) => sampleLabels.includes(label))) sum += value
    }
    return sum
  }

  /** Runs `causeway COMMAND …` against this edge, in its host. */
  command(...words: readonly string[]): Promise<CommandResult> {
    const [name = "", ...rest] = words
    return this.host.run([...this.binary, name, "-c", this.configPath, ...rest])
  }

  /** Writes a new configuration if given and reloads by signal; wait for the outcome yourself. */
  hangUp(toml?: string): void {
    if (toml !== undefined) this.writeConfig(toml)
    this.process.signal("SIGHUP")
  }

  /** Writes a new configuration if given and runs `causeway reload`. */
  reload(toml?: string): Promise<CommandResult> {
    if (toml !== undefined) this.writeConfig(toml)
    return this.command("reload")
  }

  /** Records the server-sent events of `/v1/events` from now on. */
  async watchEvents(): Promise<EventWatch> {
    const abort = new AbortController()
    // Resolves with the header, which the edge sends when the watch is in place.
    const response = await this.request("/v1/events", { signal: abort.signal })
    return new EventWatch(response, abort)
  }

  /** SIGKILL: what a crash looks like to the kernel. */
  kill(): Promise<number> {
    return this.process.stop({ signal: "SIGKILL" })
  }

  /** A graceful stop. */
  stop(options: StopOptions = {}): Promise<number> {
    return this.process.stop({ timeoutMs: 15_000, ...options })
  }

  /** Resident memory in KiB. */
  async residentKib(): Promise<number> {
    const status = await Bun.file(`/proc/${this.pid}/status`).text()
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1])
  }

  #withDefaults(toml: string): string {
    const admin = /^\s*\[admin\]/m.test(toml)
      ? ""
      : `\n[admin]\nlisten = [${JSON.stringify(`unix:${this.socketPath}`)}]\n`
    const node = /^\s*\[node\]/m.test(toml)
      ? ""
      : `\n[node]\nname = ${JSON.stringify(this.host.name)}\n`
    return `${toml}${admin}${node}`
  }
}

export interface EdgeEvent {
  readonly event: string
  readonly data: unknown
}

export class EventWatch {
  readonly events: EdgeEvent[] = []
  readonly #abort: AbortController

  constructor(response: Response, abort: AbortController) {
    this.#abort = abort
    this.#read(response).catch(() => {
      // Closed by us, or the edge has ended: there is nothing more to record.
    })
  }

  /** The first event of this kind, come or to come. */
  waitFor(event: string, options: WaitOptions = {}): Promise<EdgeEvent> {
    const what = `event ${event}`
    return eventually(() => this.events.find((each) => each.event === event), { what, ...options })
  }

  close(): void {
    this.#abort.abort()
  }

  async #read(response: Response): Promise<void> {
    const decoder = new TextDecoder()
    let buffered = ""
    for await (const chunk of response.body ?? []) {
      buffered += decoder.decode(chunk, { stream: true })
      const blocks = buffered.split("\n\n")
      buffered = blocks.pop() ?? ""
      this.events.push(...blocks.flatMap((block) => parseEvent(block) ?? []))
    }
  }
}

/** Prometheus text: samples by name with labels, as printed. */
export function parseMetrics(text: string): Map<string, number> {
  const samples = new Map<string, number>()
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("#")) continue
    const match = /^([^{\s]+(?:\{.*\})?)\s+(\S+)/.exec(line)
    if (match !== null) samples.set(match[1] ?? "", Number(match[2]?.replace("Inf", "Infinity")))
  }
  return samples
}

/** Undefined for a comment. */
function parseEvent(block: string): EdgeEvent | undefined {
  const lines = block.split("\n")
  const field = (name: string) =>
    lines
      .filter((line) => line.startsWith(`${name}:`))
      .map((line) => line.slice(name.length + 1).trimStart())
      .join("\n")
  const data = field("data")
  if (data === "") return undefined
  return { event: field("event") || "message", data: JSON.parse(data) }
}

/** What runs unless told otherwise; throws when it is not built. */
export function defaultBinary(): readonly string[] {
  const { CAUSEWAY_BINARY = `${import.meta.dir}/../../dist/causeway` } = process.env
  const path = resolve(CAUSEWAY_BINARY)
  if (!existsSync(path)) throw new Error(`${path} does not exist: run \`npm run build\` first`)
  return [path]
}

const ADMIN_TIMEOUT_MS = 5_000
