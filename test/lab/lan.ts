/**
 * A switch of the lab: a bridge in a namespace of its own, with a veth pair to each host. What
 * happens between hosts (a cut cable, a partition, lost frames) is done here, where the hosts
 * cannot see the cause, by nftables rules of the bridge family that are replaced as a whole.
 */
import { type Capture, type CaptureOptions, startCapture } from "./capture.ts"
import type { Host } from "./host.ts"

export interface JoinOptions {
  /** Default: the first free of eth0, eth1, … */
  readonly interface?: string
  /** With prefix length. */
  readonly addresses?: readonly string[]
  readonly mac?: string
  readonly mtu?: number
}

/** Which frames a disturbance takes. Unset: any. */
export interface FrameSelector {
  readonly from?: Host | readonly Host[]
  readonly to?: Host | readonly Host[]
  /** A further nftables match, such as `ip protocol 112`. */
  readonly match?: string
}

export interface Disturbance {
  heal(): Promise<void>
}

interface Port {
  readonly host: Host
  readonly interface: string
  /** The bridge's end of the cable. */
  readonly name: string
}

export class Lan {
  readonly name: string
  /** The namespace that holds the bridge `br0`. */
  readonly bridge: Host
  readonly #ports: Port[] = []
  readonly #rules = new Set<readonly string[]>()

  constructor(name: string, bridge: Host) {
    this.name = name
    this.bridge = bridge
  }

  /** Plugs a host in; returns the name of its new interface. */
  async join(host: Host, options: JoinOptions = {}): Promise<string> {
    const interfaceName = options.interface ?? (await freeInterface(host))
    const port = { host, interface: interfaceName, name: `p${this.#ports.length}-${host.name}` }
    const portName = port.name.slice(0, INTERFACE_NAME_CHARS_MAX)
    const mac = options.mac === undefined ? "" : `address ${options.mac}`
    const peer = `peer name ${interfaceName} ${mac} netns ${host.namespace}`
    await this.bridge.ip(`link add ${portName} type veth ${peer}`)
    await this.bridge.ip(`link set ${portName} master br0 mtu ${options.mtu ?? 1500} up`)
    if (options.mtu !== undefined) await host.ip(`link set ${interfaceName} mtu ${options.mtu}`)
    for (const address of options.addresses ?? []) {
      const noDad = address.includes(":") ? "nodad" : ""
      await host.ip(`address add ${address} dev ${interfaceName} ${noDad}`)
    }
    await host.linkUp(interfaceName)
    this.#ports.push({ ...port, name: portName })
    return interfaceName
  }

  /** Pulls the cable: the host sees its carrier go. */
  unplug(host: Host): Promise<void> {
    return this.#setPorts(host, "down")
  }

  plug(host: Host): Promise<void> {
    return this.#setPorts(host, "up")
  }

  /** No frame passes between the two sides, in either direction; carriers stay up. */
  partition(source: Host | readonly Host[], target: Host | readonly Host[]): Promise<Disturbance> {
    return this.#disturb([
      ...this.#rulesFor({ from: source, to: target }, "drop"),
      ...this.#rulesFor({ from: target, to: source }, "drop"),
    ])
  }

  /** Takes every frame that matches, in one direction. */
  drop(selector: FrameSelector): Promise<Disturbance> {
    return this.#disturb(this.#rulesFor(selector, "drop"))
  }

  /** Takes each matching frame with a probability of `percent`. */
  lose(percent: number, selector: FrameSelector = {}): Promise<Disturbance> {
    const chance = `numgen random mod 1000 < ${Math.round(percent * 10)} drop`
    return this.#disturb(this.#rulesFor(selector, chance))
  }

  /** Takes back all partitions, drops and losses. */
  async heal(): Promise<void> {
    this.#rules.clear()
    await this.#apply()
  }

  /** Records what passes the bridge. */
  capture(options: CaptureOptions = {}): Promise<Capture> {
    return startCapture(this.bridge, { interface: "br0", ...options })
  }

  async #setPorts(host: Host, state: "up" | "down"): Promise<void> {
    for (const name of this.#portNames(host)) await this.bridge.ip(`link set ${name} ${state}`)
  }

  async #disturb(rules: readonly string[]): Promise<Disturbance> {
    this.#rules.add(rules)
    await this.#apply()
    return {
      heal: async () => {
        this.#rules.delete(rules)
        await this.#apply()
      },
    }
  }

  #rulesFor(selector: FrameSelector, verdict: string): string[] {
    const source = this.#portSet("iifname", selector.from)
    const target = this.#portSet("oifname", selector.to)
    return [`${source} ${target} ${selector.match ?? ""} ${verdict}`]
  }

  #portSet(key: "iifname" | "oifname", hosts: Host | readonly Host[] | undefined): string {
    if (hosts === undefined) return ""
    const list = Array.isArray(hosts) ? hosts : [hosts]
    const names = list.flatMap((host) => this.#portNames(host)).map((name) => `"${name}"`)
    return `${key} { ${names.join(", ")} }`
  }

  #portNames(host: Host): string[] {
    const names = this.#ports.filter((port) => port.host === host).map((port) => port.name)
    if (names.length === 0) throw new Error(`${host.name} is not on ${this.name}`)
    return names
  }

  async #apply(): Promise<void> {
    const rules = [...this.#rules].flat().join("\n    ")
    await this.bridge.nft(`table bridge lab
delete table bridge lab
table bridge lab {
  chain forward {
    type filter hook forward priority 0; policy accept;
    ${rules}
  }
}
`)
  }
}

async function freeInterface(host: Host): Promise<string> {
  const links: { readonly ifname: string }[] = JSON.parse(await host.ip("-json link show"))
  const taken = new Set(links.map((link) => link.ifname))
  for (let index = 0; ; index += 1) if (!taken.has(`eth${index}`)) return `eth${index}`
}

/** IFNAMSIZ - 1. */
const INTERFACE_NAME_CHARS_MAX = 15
