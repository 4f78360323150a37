/**
 * A laboratory network on one machine: hosts and LANs made of network namespaces, in which the real
 * programs run. Plain `ip` and `nft` commands, so that whoever debugs a test can type them too:
 * `ip netns exec cwlab-…-edge-a ip address`.
 *
 *     await using lab = await createLab("example")
 *     const lan = await lab.lan("lan")
 *     const edge = await lab.host("edge")
 *     await lan.join(edge, { addresses: ["10.0.0.1/24"] })
 *     await edge.exec(["ip", "address"])
 *
 * A lab never shares a name with another: its id holds the owner's pid, the owner's start time (a
 * pid alone may have been reused) and a random part. That is also how leftovers of a killed run are
 * told from a lab in use (`sweepStaleLabs`). Needs root, or the root of a user namespace whose /run
 * is writable.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Host } from "./host.ts"
import { Lan } from "./lan.ts"
import { execCommand } from "./process.ts"

/** Makes an empty lab. `await using` or a `finally` must close it; ending the process does too. */
export async function createLab(name: string): Promise<Lab> {
  sweepStaleLabs()
  const lab = new Lab(name)
  openLabs.add(lab)
  cleanUpAtExit()
  return lab
}

export class Lab implements AsyncDisposable {
  readonly name: string
  /** Begins every namespace of the lab. */
  readonly prefix: string
  /** For files of the lab; removed at the end unless CAUSEWAY_LAB_KEEP is set. */
  readonly directory: string
  readonly #hosts = new Map<string, Host>()
  readonly #lans = new Map<string, Lan>()

  constructor(name: string) {
    this.name = name
    this.prefix = ownedPrefix()
    this.directory = mkdtempSync(join(tmpdir(), `${this.prefix}-`))
  }

  /** A new host: a namespace with loopback up. */
  async host(name: string): Promise<Host> {
    const host = this.#add(name, `${this.prefix}-${name}`)
    await setUpHost(host)
    return host
  }

  /** No namespace: programs run in the machine's own network. Needs no rights; loopback only. */
  local(name: string): Host {
    return this.#add(name, "")
  }

  /** A new LAN: a bridge that hosts can join. */
  async lan(name: string): Promise<Lan> {
    if (this.#lans.has(name)) throw new Error(`Lab ${this.name} already has a LAN ${name}`)
    const bridge = await this.host(`lan-${name}`)
    // No snooping: VRRP's multicast must flood as on a plain switch. No ageing surprises either.
    await bridge.ip("link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0")
    await bridge.linkUp("br0")
    const lan = new Lan(name, bridge)
    this.#lans.set(name, lan)
    return lan
  }

  /** Ends every process, removes every namespace and file. Safe to call twice. */
  async close(): Promise<void> {
    await Promise.all([...this.#hosts.values()].map((host) => host.stopAll()))
    this.closeNow()
  }

  /** The same without grace and without waiting: for exit handlers. */
  closeNow(): void {
    if (!openLabs.delete(this)) return
    for (const host of this.#hosts.values()) tearDownHost(host)
    const { CAUSEWAY_LAB_KEEP } = process.env
    if (CAUSEWAY_LAB_KEEP === undefined) rmSync(this.directory, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #add(name: string, namespace: string): Host {
    if (this.#hosts.has(name)) throw new Error(`Lab ${this.name} already has a host ${name}`)
    const host = new Host(name, namespace, join(this.directory, name))
    this.#hosts.set(name, host)
    mkdirSync(host.directory)
    return host
  }
}

/** Begins a name, in /run/netns or the temp folder, that is swept once this process is gone. */
export function ownedPrefix(): string {
  const random = Math.random().toString(36).slice(2, 6)
  return `${PREFIX}-${process.pid}-${startTicks(process.pid)}-${random}`
}

/**
 * Removes namespaces, processes and files of labs whose owner is dead; returns their names. What
 * belongs to another user is left to them.
 */
export function sweepStaleLabs(): string[] {
  const namespaces = entries(NAMESPACES).filter(isStale)
  const directories = entries(tmpdir()).filter(isStale)
  if (process.getuid?.() === 0) namespaces.forEach(removeNamespace)
  for (const name of directories) {
    try {
      rmSync(join(tmpdir(), name), { recursive: true, force: true })
    } catch {
      // Another user's.
    }
  }
  return [...namespaces, ...directories]
}

async function setUpHost(host: Host): Promise<void> {
  await execCommand(["ip", "netns", "add", host.namespace])
  await host.linkUp("lo")
  // Addresses are usable at once; the duplicate check is for real networks.
  await host.sysctl({ "net.ipv6.conf.all.accept_dad": 0, "net.ipv6.conf.default.accept_dad": 0 })
}

function tearDownHost(host: Host): void {
  for (const child of host.processes) if (child.running) killHard(child.pid)
  if (host.namespace !== "") removeNamespace(host.namespace)
}

/** Namespaces are ours by name, so every process inside was started by the lab that made it. */
function removeNamespace(namespace: string): void {
  const pids = Bun.spawnSync(["ip", "netns", "pids", namespace]).stdout.toString()
  for (const pid of pids.split("\n").filter((line) => line !== "")) killHard(Number(pid))
  Bun.spawnSync(["ip", "netns", "delete", namespace])
}

function killHard(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended between the listing and the signal.
  }
}

function isStale(name: string): boolean {
  const match = OWNED_NAME.exec(name)
  if (match === null) return false
  const [, pid = "", ticks = ""] = match
  return startTicks(Number(pid)) !== ticks
}

/** When a process started, in clock ticks since boot, base 36; undefined when there is none. */
function startTicks(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
    // Field 22, counted after the command name, which may itself hold blanks and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return Number(fields[19]).toString(36)
  } catch {
    return undefined
  }
}

function entries(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

/** Ctrl-C, a kill, an uncaught error and a plain end of the process all close what is open. */
function cleanUpAtExit(): void {
  if (cleanUpInstalled) return
  cleanUpInstalled = true
  const closeAll = () => {
    for (const lab of [...openLabs]) lab.closeNow()
  }
  process.on("exit", closeAll)
  for (const [signal, exitCode] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const) {
    process.on(signal, () => {
      closeAll()
      process.exit(exitCode)
    })
  }
}

const openLabs = new Set<Lab>()
let cleanUpInstalled = false

const PREFIX = "cwlab"
const NAMESPACES = "/run/netns"
const OWNED_NAME = /^cwlab-(\d+)-([0-9a-z]+)-/
