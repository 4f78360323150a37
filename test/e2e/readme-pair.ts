/**
 * The stage that README.md describes, at its addresses: two VMs, each with a systemd of its own and
 * nothing of Causeway on it yet; three MariaDB servers on another LAN; a client.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Status } from "../../src/admin/backend.ts"
import { defaultBinary } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { type MariaDb, startMariaDb } from "../lab/mariadb.ts"
import type { CommandResult } from "../lab/process.ts"
import { type Systemd, startSystemd } from "../lab/systemd.ts"
import { eventually } from "../lab/wait.ts"

export const VIRTUAL_ADDRESS = "192.168.0.40"
export const CONFIG_PATH = "/etc/causeway/causeway.toml"

export async function createPair(name: string): Promise<ReadmePair> {
  const lab = await createLab(name)
  try {
    const [clients, backend] = [await lab.lan("clients"), await lab.lan("servers")]
    const client = await lab.host("client")
    await clients.join(client, { addresses: ["192.168.0.9/24"] })
    const [edgeA, edgeB, ...servers] = await Promise.all([
      createVm(lab, [clients, backend], { name: "edge-a", number: 2 }),
      createVm(lab, [clients, backend], { name: "edge-b", number: 3 }),
      ...[11, 12, 13].map((number) => createServer(lab, backend, number)),
    ])
    return new ReadmePair({ lab, lan: clients, client, edgeA, edgeB, servers })
  } catch (error) {
    await lab.close()
    throw error
  }
}

interface Parts {
  readonly lab: Lab
  /** Where the edges hear each other. */
  readonly lan: Lan
  readonly client: Host
  readonly edgeA: Vm
  readonly edgeB: Vm
  readonly servers: readonly MariaDb[]
}

export class ReadmePair implements AsyncDisposable {
  readonly lab: Lab
  readonly lan: Lan
  readonly client: Host
  readonly edgeA: Vm
  readonly edgeB: Vm
  /** At 192.168.1.11, .12 and .13. */
  readonly servers: readonly MariaDb[]

  constructor({ lab, lan, client, edgeA, edgeB, servers }: Parts) {
    this.lab = lab
    this.lan = lan
    this.client = client
    this.edgeA = edgeA
    this.edgeB = edgeB
    this.servers = servers
  }

  get vms(): readonly Vm[] {
    return [this.edgeA, this.edgeB]
  }

  vm(name: string): Vm {
    const found = this.vms.find((vm) => vm.name === name)
    if (found === undefined) throw new Error(`There is no VM ${name}`)
    return found
  }

  /** What the README does, with its configuration: edge-b gets the lower priority. */
  async install(toml: string): Promise<void> {
    for (const vm of this.vms) {
      await vm.typed(`cp ${defaultBinary()[0]} /usr/local/bin/causeway && causeway install`)
      const own = vm === this.edgeA ? toml : toml.replace("priority = 100", "priority = 90")
      await vm.write(CONFIG_PATH, own)
      await vm.typed("systemctl enable --now causeway")
    }
  }

  /** Waits until an edge holds the address and finds all servers up, and the other is backup. */
  async settled(active: Vm = this.edgeA): Promise<void> {
    const backup = this.vms.find((vm) => vm !== active) ?? active
    await active.waitStatus(({ vrrp, pools }) => {
      const servers = pools.flatMap((pool) => pool.servers)
      return vrrp[0]?.state === "active" && servers.every(({ health }) => health === "up")
    })
    await backup.waitStatus(({ vrrp }) => vrrp[0]?.state === "backup")
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.vms.map((vm) => vm.systemd.stop()))
    await Promise.all(this.servers.map((server) => server.stop()))
    await this.lab.close()
  }
}

export class Vm {
  readonly name: string
  readonly host: Host
  readonly systemd: Systemd

  constructor(host: Host, systemd: Systemd) {
    this.name = host.name
    this.host = host
    this.systemd = systemd
  }

  /** A line as typed by root. */
  type(line: string): Promise<CommandResult> {
    return this.systemd.run(["sh", "-c", line])
  }

  /** The same; throws with what it wrote and the end of the services' log when it fails. */
  async typed(line: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.type(line)
    if (exitCode === 0) return stdout
    const log = (await this.systemd.log()).trimEnd().split("\n").slice(-LOG_LINES_SHOWN)
    const shown = log.map((each) => each.slice(0, LOG_COLUMNS_SHOWN))
    const output = [stdout, stderr, ...shown].join("\n")
    throw new Error(`${this.name}: "${line}" ended with ${exitCode}\n${output}`)
  }

  /** Gives a file this text; what exists keeps its owner and mode. */
  async write(path: string, text: string): Promise<void> {
    const source = join(this.host.directory, "written")
    writeFileSync(source, text)
    await this.typed(`cat ${source} > ${path}`)
  }

  /** Takes a text into the configuration for as long as `use` takes. */
  async withConfig<T>(change: (toml: string) => string, use: () => Promise<T>): Promise<T> {
    const before = await this.typed(`cat ${CONFIG_PATH}`)
    await this.write(CONFIG_PATH, change(before))
    try {
      await this.typed("causeway reload")
      return await use()
    } finally {
      await this.write(CONFIG_PATH, before)
      await this.typed("causeway reload")
    }
  }

  async status(): Promise<Status> {
    return JSON.parse(await this.typed("causeway status --json"))
  }

  async waitStatus(condition: (status: Status) => unknown): Promise<Status> {
    let last: Status | undefined
    try {
      return await eventually(
        async () => {
          last = await this.status()
          return condition(last) ? last : undefined
        },
        { timeoutMs: 30_000, intervalMs: 100 },
      )
    } catch (error) {
      throw new Error(`${this.name}: ${(error as Error).message}\n${JSON.stringify(last?.vrrp)}`)
    }
  }
}

async function createVm(
  lab: Lab,
  lans: readonly Lan[],
  { name, number }: { readonly name: string; readonly number: number },
): Promise<Vm> {
  const host = await lab.host(name)
  for (const [index, lan] of lans.entries()) {
    await lan.join(host, { addresses: [`192.168.${index}.${number}/24`] })
  }
  const vm = new Vm(host, await startSystemd(host))
  await vm.typed(`hostname ${name}`)
  return vm
}

async function createServer(lab: Lab, lan: Lan, number: number): Promise<MariaDb> {
  const host = await lab.host(`mysql-${number - 10}`)
  const address = `192.168.1.${number}`
  await lan.join(host, { addresses: [`${address}/24`] })
  return startMariaDb({ host, address, serverId: number - 10 })
}

const LOG_LINES_SHOWN = 10
const LOG_COLUMNS_SHOWN = 200
