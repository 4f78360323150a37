/**
 * A machine of the lab: a named network namespace with its own links, addresses, routes, sysctls
 * and firewall. Files and process numbers are shared with the real machine; only the network is
 * apart, which is all that failover is about, and lets a test reach an admin socket by its path.
 */
import { join } from "node:path"
import {
  type CommandOptions,
  type CommandResult,
  execCommand,
  ManagedProcess,
  runCommand,
} from "./process.ts"

export interface SpawnOptions {
  /** Name in error messages and of the log file; default: the program's. */
  readonly name?: string
  readonly env?: Record<string, string | undefined>
  readonly cwd?: string
}

export interface AddressEvent {
  /** Wall-clock milliseconds, from the moment the kernel's message was read. */
  readonly atMs: number
  readonly type: "added" | "removed"
  readonly interface: string
  /** With its prefix length, as `ip` prints it. */
  readonly address: string
}

export class Host {
  readonly name: string
  /** Name under /run/netns; empty for the machine itself (`Lab.local`). */
  readonly namespace: string
  /** Folder for this host's files; removed with the lab. */
  readonly directory: string
  readonly #processes: ManagedProcess[] = []

  constructor(name: string, namespace: string, directory: string) {
    this.name = name
    this.namespace = namespace
    this.directory = directory
  }

  get processes(): readonly ManagedProcess[] {
    return this.#processes
  }

  /** Runs a command in this host to its end. */
  run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runCommand(this.#inside(argv), options)
  }

  /** Same, but a failure throws with the command's words. Returns standard output. */
  exec(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
    return execCommand(this.#inside(argv), options)
  }

  /** Starts a long-lived program; the lab stops it at the latest when it closes. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ManagedProcess {
    const name = options.name ?? argv[0]?.split("/").at(-1) ?? "process"
    const child = new ManagedProcess(this.#inside(argv), {
      ...options,
      name: `${this.name}/${name}`,
      logPath: join(this.directory, `${name}-${this.#processes.length}.log`),
    })
    this.#processes.push(child)
    return child
  }

  /** `ip -n NAMESPACE …` with the words of `command`. */
  ip(command: string): Promise<string> {
    return execCommand(["ip", "-n", this.namespace, ...words(command)])
  }

  linkUp(interfaceName: string): Promise<string> {
    return this.ip(`link set ${interfaceName} up`)
  }

  linkDown(interfaceName: string): Promise<string> {
    return this.ip(`link set ${interfaceName} down`)
  }

  /** Sets `net.…` keys of this host alone. */
  async sysctl(settings: Readonly<Record<string, string | number>>): Promise<void> {
    const assignments = Object.entries(settings).map(([key, value]) => `${key}=${value}`)
    await this.exec(["sysctl", "-qw", ...assignments])
  }

  /** Loads nftables rules, all or none. */
  async nft(ruleset: string): Promise<void> {
    await this.exec(["nft", "-f", "-"], { stdin: ruleset })
  }

  /** Addresses as `ip` prints them, with prefix length, of one interface or of all. */
  async addresses(interfaceName?: string): Promise<string[]> {
    const device = interfaceName === undefined ? "" : ` dev ${interfaceName}`
    const links: LinkJson[] = JSON.parse(await this.ip(`-json address show${device}`))
    return links.flatMap((link) =>
      (link.addr_info ?? []).flatMap(({ local, prefixlen }) =>
        local === undefined ? [] : [`${local}/${prefixlen}`],
      ),
    )
  }

  /** Does any interface hold this address, whatever the prefix length? */
  async holds(address: string): Promise<boolean> {
    const held = await this.addresses()
    return held.some((each) => each.split("/")[0] === address)
  }

  /** The Ethernet address of an interface. */
  async mac(interfaceName: string): Promise<string> {
    const links: LinkJson[] = JSON.parse(await this.ip(`-json link show dev ${interfaceName}`))
    const mac = links[0]?.address
    if (mac === undefined) throw new Error(`${this.name}: no link ${interfaceName}`)
    return mac
  }

  /** Records every address added or removed from now on, to the millisecond. */
  async watchAddresses(): Promise<AddressWatch> {
    const watch = new AddressWatch(
      this.spawn(["ip", "-tshort", "-oneline", "monitor", "address"], { name: "ip-monitor" }),
    )
    // `ip monitor` says nothing when it is ready: changes of our own show that it is.
    for (let attempt = 0; watch.all().length === 0; attempt += 1) {
      if (attempt === 100) throw new Error(`${this.name}: ip monitor does not report`)
      await this.ip(`address add ${WATCH_MARKER} dev lo`)
      await this.ip(`address del ${WATCH_MARKER} dev lo`)
      await Bun.sleep(10)
    }
    return watch
  }

  /** Ends what still runs, politely first. */
  async stopAll(): Promise<void> {
    await Promise.all(this.#processes.map((each) => each.stop({ timeoutMs: 2_000 })))
  }

  #inside(argv: readonly string[]): string[] {
    const enter = this.namespace === "" ? [] : ["ip", "netns", "exec", this.namespace]
    return [...enter, ...DIE_WITH_US, ...argv]
  }
}

export class AddressWatch {
  readonly #monitor: ManagedProcess

  constructor(monitor: ManagedProcess) {
    this.#monitor = monitor
  }

  /** What happened to `address` (without prefix length), oldest first. */
  events(address: string): AddressEvent[] {
    return this.all().filter((event) => event.address.split("/")[0] === address)
  }

  all(): AddressEvent[] {
    return this.#monitor.stdout.split("\n").flatMap((line) => parseAddressEvent(line) ?? [])
  }

  async stop(): Promise<void> {
    await this.#monitor.stop()
  }
}

/** A line of `ip -tshort -oneline monitor address`. */
export function parseAddressEvent(line: string): AddressEvent | undefined {
  const match = ADDRESS_EVENT.exec(line)
  if (match === null) return undefined
  const [, time = "", deleted, interfaceName = "", address = ""] = match
  return {
    atMs: Date.parse(time),
    type: deleted === undefined ? "added" : "removed",
    interface: interfaceName,
    address: address.includes("/") ? address : `${address}/${address.includes(":") ? 128 : 32}`,
  }
}

/** Splits at blanks; for commands without quoting. */
export function words(command: string): string[] {
  return command.split(/\s+/).filter((word) => word !== "")
}

interface LinkJson {
  readonly address?: string
  readonly addr_info?: readonly { readonly local?: string; readonly prefixlen?: number }[]
}

/** A killed test must not leave programs behind: the kernel ends them with their parent. */
const DIE_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
const WATCH_MARKER = "127.255.255.77/32"
const ADDRESS_EVENT = /^\[([^\]]+)\] (Deleted )?\d+: (\S+)\s+inet6? (\S+)/
