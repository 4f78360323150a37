/**
 * `npm start`: builds the executable and shows it at work. Two edges hold a virtual address for
 * three servers while a client connects every 10 ms; after some seconds the active edge is killed
 * with SIGKILL, the other takes over, and the first comes back. Then everything stays up to be
 * tried until Ctrl-C.
 *
 * Options: `--seconds N` ends by itself after N seconds (exit code 1 if the takeover was not seen),
 * `--kill-after N` seconds instead of 5, `--no-build`, `--loopback` even where namespaces work.
 */
import { parseArgs } from "node:util"
import type { Edge } from "../test/lab/edge.ts"
import type { AddressWatch } from "../test/lab/host.ts"
import { type Probe, startProbe } from "../test/lab/probe.ts"
import { epochMs, eventually } from "../test/lab/wait.ts"
import { build } from "./build.ts"
import {
  findRights,
  type Rights,
  runInUserNamespace,
  USER_NAMESPACE_VARIABLE,
} from "./demo/rights.ts"
import { loopbackStage, namespaceStage, restartServer, type Stage } from "./demo/stage.ts"
import { type EdgeView, View } from "./demo/view.ts"

async function main(words: readonly string[]): Promise<number> {
  const options = parseOptions(words)
  if (options.build) {
    say("Building dist/causeway …")
    await build()
  }
  const rights = options.loopback ? LOOPBACK_WANTED : findRights()
  if (rights.type === "user-namespace") return runInUserNamespace([...words, "--no-build"])
  if (rights.type === "loopback")
    say(`On loopback, one edge, no virtual address: ${rights.missing}.`)
  say("Starting edges, servers and a client …")
  const stage = await (rights.type === "loopback" ? loopbackStage() : namespaceStage())
  try {
    const demo = new Demo(stage, new View(isTerminal, (text) => process.stdout.write(text)))
    return await demo.run(options)
  } finally {
    await stage.lab.close()
  }
}

interface Options {
  readonly build: boolean
  readonly loopback: boolean
  readonly endAfterMs: number
  readonly killAfterMs: number
}

class Demo {
  readonly #stage: Stage
  readonly #view: View
  readonly #startedAtMs = epochMs()
  readonly #watches = new Map<Edge, AddressWatch>()
  #probe: Probe | undefined

  constructor(stage: Stage, view: View) {
    this.#stage = stage
    this.#view = view
  }

  /** Resolves when the time is up, with the exit code. */
  async run(options: Options): Promise<number> {
    const { edges, client, target, virtualAddress } = this.#stage
    if (virtualAddress !== undefined) {
      for (const edge of edges) this.#watches.set(edge, await edge.host.watchAddresses())
      await Promise.all(edges.map((edge, index) => settled(edge, index)))
    }
    this.#probe = await startProbe(client, target)
    const ticker = setInterval(() => this.#tick().catch(() => {}), TICK_MS)
    const scene =
      virtualAddress === undefined ? this.#serverScene(options) : this.#edgeScene(options)
    const played = scene.then(() => 0)
    const end = Bun.sleep(options.endAfterMs).then(() => 1)
    const exitCode = await Promise.race([played, end])
    if (exitCode === 0) this.#view.print(hints(this.#stage).join("\n"))
    else this.#event("the time was up before all was shown")
    await end
    clearInterval(ticker)
    return exitCode
  }

  /** Kills the active edge, waits for the other, brings the first back. */
  async #edgeScene(options: Options): Promise<void> {
    const [active] = this.#stage.edges
    if (active === undefined) return
    this.#event(`${active.host.name} holds ${this.#stage.virtualAddress}`)
    await Bun.sleep(options.killAfterMs)
    const killedAtMs = epochMs()
    await active.kill()
    this.#event(`kill -9 ${active.host.name}`)
    await this.#takeover(active, killedAtMs)
    await Bun.sleep(PAUSE_MS)
    const restartedAtMs = epochMs()
    active.start()
    this.#event(`${active.host.name} starts again`)
    await active.waitState("active", { timeoutMs: 15_000 })
    await Bun.sleep(PAUSE_MS)
    const gap = this.#longestGapSince(restartedAtMs)
    const waited = gap === undefined ? "nobody noticed" : `clients waited ${milliseconds(gap)}`
    this.#event(`${active.host.name} is active again; ${waited}`)
  }

  async #takeover(dead: Edge, killedAtMs: number): Promise<void> {
    const { edges, virtualAddress = "" } = this.#stage
    const other = edges.find((edge) => edge !== dead)
    if (other === undefined) return
    await other.waitState("active", { timeoutMs: 15_000, intervalMs: 10 })
    const gap = await eventually(() => this.#probe?.gaps.find(({ toMs }) => toMs > killedAtMs))
    const answered = milliseconds(gap.toMs - killedAtMs)
    const removal = this.#watches
      .get(dead)
      ?.events(virtualAddress)
      .find(({ type, atMs }) => type === "removed" && atMs >= killedAtMs - CLOCK_SLACK_MS)
    const gone = removal === undefined ? "not seen to go" : milliseconds(removal.atMs - killedAtMs)
    this.#event(`takeover: ${other.host.name} answers ${answered} after the kill`)
    this.#event(`the address left ${dead.host.name} after: ${gone}`)
  }

  /** On loopback there is nobody to take over: a server dies instead. */
  async #serverScene(options: Options): Promise<void> {
    const [host] = this.#stage.servers
    const [edge] = this.#stage.edges
    if (host === undefined || edge === undefined) return
    await Bun.sleep(options.killAfterMs)
    this.#event(`kill -9 ${host.name}`)
    await host.processes[0]?.stop({ signal: "SIGKILL" })
    await edge.waitHealth("servers", host.name, "down")
    this.#event(`${host.name} found down; its share goes to the others`)
    await Bun.sleep(PAUSE_MS)
    await restartServer(this.#stage, host)
    await edge.waitHealth("servers", host.name, "up")
    this.#event(`${host.name} is back`)
  }

  async #tick(): Promise<void> {
    const edges = await Promise.all(this.#stage.edges.map((edge) => this.#edgeView(edge)))
    const { attempts, successes, servers } = this.#probe?.progress ?? NO_PROGRESS
    this.#view.draw({
      elapsedMs: this.#elapsedMs(),
      target: this.#stage.target,
      edges,
      attempts,
      successes,
      servers: this.#stage.servers.map(({ name }) => ({ name, count: servers[name] ?? 0 })),
    })
  }

  async #edgeView(edge: Edge): Promise<EdgeView> {
    const { virtualAddress } = this.#stage
    const status = await edge.status().catch(() => undefined)
    const router = status?.vrrp[0]
    const alive = virtualAddress === undefined ? "running" : "starting"
    return {
      name: edge.host.name,
      state: edge.process.running ? (router?.state ?? alive) : "dead",
      priority: router?.effective_priority,
      holdsAddress: virtualAddress !== undefined && (await edge.host.holds(virtualAddress)),
    }
  }

  /** Undefined when no success came later than ten intervals after the last. */
  #longestGapSince(sinceMs: number): number | undefined {
    const gaps = this.#probe?.gaps.filter(({ toMs }) => toMs >= sinceMs) ?? []
    return gaps.map(({ ms }) => ms).toSorted((a, b) => b - a)[0]
  }

  #event(text: string): void {
    this.#view.event(this.#elapsedMs(), text)
  }

  #elapsedMs(): number {
    return epochMs() - this.#startedAtMs
  }
}

/** Commands to try, with what this run named things. */
function hints({ edges, client, target, servers }: Stage): string[] {
  const inside = (namespace: string) => (namespace === "" ? "" : `ip netns exec ${namespace} `)
  const [first] = edges
  const [server] = servers
  if (first === undefined || server === undefined) return []
  const [host = "", port = ""] = target.split(":")
  return [
    "Everything stays up until Ctrl-C. To try, in another terminal:",
    ...enterHint(),
    `${inside(first.host.namespace)}${first.binary.join(" ")} status -c ${first.configPath}`,
    `curl -s --unix-socket ${first.socketPath} http://edge/metrics`,
    `${inside(client.namespace)}bash -c 'head -n 1 < /dev/tcp/${host}/${port}'`,
    `edit ${first.configPath}, then: kill -HUP ${first.pid}`,
    `kill -9 ${first.pid}    (${first.host.name}), kill -STOP instead for a hang`,
    `kill -9 ${server.processes.at(-1)?.pid}    (server ${server.name})`,
  ]
}

/** Names of a user namespace are known inside it alone. */
function enterHint(): string[] {
  if (process.env[USER_NAMESPACE_VARIABLE] === undefined) return []
  return [`nsenter --preserve-credentials -U -m -n -t ${process.pid}    (first)`]
}

/** The first edge has the higher priority: it is the one that ends up active. */
async function settled(edge: Edge, index: number): Promise<void> {
  await edge.waitState(index === 0 ? "active" : "backup", { timeoutMs: 15_000 })
}

function parseOptions(words: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...words],
    options: {
      seconds: { type: "string", default: "0" },
      "kill-after": { type: "string", default: "5" },
      "no-build": { type: "boolean", default: false },
      loopback: { type: "boolean", default: false },
    },
  })
  return {
    build: !values["no-build"],
    loopback: values.loopback,
    endAfterMs: Number(values.seconds) * 1000 || FOREVER_MS,
    killAfterMs: Number(values["kill-after"]) * 1000,
  }
}

function milliseconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

const LOOPBACK_WANTED: Rights = { type: "loopback", missing: "as asked" }
const isTerminal = process.stdout.isTTY === true
const TICK_MS = 250
const PAUSE_MS = 3_000
/** Between our clock and the one that stamps address events. */
const CLOCK_SLACK_MS = 50
/** The longest a timer takes. */
const FOREVER_MS = 2 ** 31 - 1
const NO_PROGRESS = { attempts: 0, successes: 0, servers: {} as Record<string, number> }

if (import.meta.main) {
  const exitCode = await main(process.argv.slice(2)).catch((error: Error) => {
    process.stderr.write(`${error.message}\n`)
    return 1
  })
  process.exit(exitCode)
}
