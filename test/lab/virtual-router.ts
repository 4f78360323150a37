/**
 * The vrrp thread alone in a host of the lab: `virtual-router-program.ts` runs it as the daemon
 * would and prints what it says, so that tests of failover need no binary and no other part.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { VrrpConfig } from "../../src/config/config.ts"
import { type Address, parseAddress, parsePrefix } from "../../src/net/address.ts"
import type { ToVrrpThread, VirtualRouterSnapshot } from "../../src/vrrp/messages.ts"
import type { Host } from "./host.ts"
import type { ManagedProcess } from "./process.ts"
import { eventually, type WaitOptions } from "./wait.ts"

export interface RouterEvent {
  /** Wall clock, from the moment the control side heard it. */
  readonly atMs: number
  readonly message:
    | { readonly type: "state"; readonly snapshot: VirtualRouterSnapshot }
    | { readonly type: "leaving"; readonly addresses: readonly Address[] }
    | { readonly type: "log"; readonly level: string; readonly message: string }
    | { readonly type: "failed"; readonly reason: string }
}

export interface RouterProcessOptions {
  /** Say that everything is known and bound; default true. */
  readonly ready?: boolean
  /** How long the sessions take to reset. */
  readonly leavingMs?: number
  /** Put before the program, such as `["setpriv", …]`. */
  readonly wrapper?: readonly string[]
}

/** A virtual router on eth0 with VRID 51, priority 100, 192.0.2.40 and adverts every second. */
export function routerConfig(change: Partial<VrrpConfig> = {}): VrrpConfig {
  return {
    name: "edge",
    interface: "eth0",
    virtualRouterId: 51,
    priority: 100,
    version: 3,
    advertisementIntervalMs: 1000,
    preempt: true,
    preemptDelayMs: 0,
    unicastPeers: [],
    authentication: undefined,
    virtualMac: false,
    addresses: prefixes("192.0.2.40"),
    unadvertisedAddresses: [],
    placement: "process",
    leaseMs: "auto",
    track: [],
    syncGroup: "",
    announce: { count: 5, delayMs: 5000, refreshMs: 60_000 },
    notify: "",
    ...change,
  }
}

export function prefixes(...texts: readonly string[]) {
  return texts.map((text) => {
    const prefix = parsePrefix(text)
    if (prefix === undefined) throw new Error(`Not a prefix: ${text}`)
    return prefix
  })
}

export async function startRouter(
  host: Host,
  routers: readonly VrrpConfig[],
  options: RouterProcessOptions = {},
): Promise<RouterProcess> {
  const base = join(host.directory, `vrrp-${host.processes.length}`)
  const settings = { routers, socket: `${base}.sock`, ready: true, leavingMs: 0, ...options }
  writeFileSync(`${base}.json`, JSON.stringify(settings))
  const program = `${import.meta.dir}/virtual-router-program.ts`
  const argv = [...(options.wrapper ?? []), process.execPath, program, `${base}.json`]
  const child = host.spawn(argv, { name: "vrrp" })
  await child.waitFor('"started"')
  return new RouterProcess(child, settings.socket)
}

export class RouterProcess {
  readonly process: ManagedProcess
  readonly #socket: string

  constructor(child: ManagedProcess, socket: string) {
    this.process = child
    this.#socket = socket
  }

  async post(message: ToVrrpThread): Promise<void> {
    const body = JSON.stringify(message)
    await fetch("http://router/", { method: "POST", body, unix: this.#socket })
  }

  events(): RouterEvent[] {
    const lines = this.process.stdout.split("\n").slice(0, -1)
    return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line))
  }

  /** Oldest first. */
  snapshots(name = "edge"): (VirtualRouterSnapshot & { readonly atMs: number })[] {
    return this.events().flatMap(({ atMs, message }) =>
      message.type === "state" && message.snapshot.name === name
        ? [{ ...message.snapshot, atMs }]
        : [],
    )
  }

  latest(name = "edge"): VirtualRouterSnapshot {
    const snapshot = this.snapshots(name).at(-1)
    if (snapshot === undefined) throw new Error(`No state of ${name}:\n${this.process.tail()}`)
    return snapshot
  }

  logs(): string[] {
    return this.events().flatMap(({ message }) =>
      message.type === "log" ? [`${message.level}: ${message.message}`] : [],
    )
  }

  async reaches(state: VirtualRouterSnapshot["state"], options: WaitOptions = {}): Promise<void> {
    const what = `${this.process.name} to be ${state}`
    await eventually(() => this.latest().state === state, { what, intervalMs: 5, ...options })
  }

  /** Waits for a snapshot of the router `edge` that passes. */
  shows(
    predicate: (snapshot: VirtualRouterSnapshot) => boolean,
    what: string,
    timeoutMs = 10_000,
  ): Promise<boolean> {
    return eventually(() => predicate(this.latest()), { what, timeoutMs })
  }
}

/** For literals in tests. */
export function address(text: string): Address {
  const parsed = parseAddress(text)
  if (parsed === undefined) throw new Error(`Not an address: ${text}`)
  return parsed
}
