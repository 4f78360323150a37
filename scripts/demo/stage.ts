/**
 * What the demo plays on. With the right to make network namespaces: two edges and a client on one
 * LAN, three servers on another, a virtual address between. Without: one edge on loopback, which
 * can still show balancing and health checks.
 */
import { createServer } from "node:net"
import { type Edge, startEdge } from "../../test/lab/edge.ts"
import type { Host } from "../../test/lab/host.ts"
import { createLab, type Lab } from "../../test/lab/lab.ts"
import type { Lan } from "../../test/lab/lan.ts"
import { startTcpServer } from "../../test/lab/servers.ts"

export interface Stage {
  readonly lab: Lab
  readonly edges: readonly Edge[]
  readonly servers: readonly Host[]
  readonly client: Host
  /** What the client connects to. */
  readonly target: string
  /** The virtual address; undefined on loopback. */
  readonly virtualAddress: string | undefined
}

export async function namespaceStage(): Promise<Stage> {
  const lab = await createLab("demo")
  const clients = await lab.lan("clients")
  const backend = await lab.lan("servers")
  const client = await lab.host("client")
  await clients.join(client, { addresses: ["10.42.0.9/24"] })
  const servers = await Promise.all([1, 2, 3].map((number) => server(lab, backend, number)))
  const edges = await Promise.all([
    edge(lab, clients, backend, { name: "edge-a", number: 2, priority: 100 }),
    edge(lab, clients, backend, { name: "edge-b", number: 3, priority: 90 }),
  ])
  const target = `${VIRTUAL_ADDRESS}:${PORT}`
  return { lab, edges, servers, client, target, virtualAddress: VIRTUAL_ADDRESS }
}

export async function loopbackStage(): Promise<Stage> {
  const lab = await createLab("demo")
  const servers = ["s1", "s2", "s3"].map((name) => lab.local(name))
  const ports = await Promise.all(servers.map((host) => localServer(host)))
  const target = `127.0.0.1:${await freePort()}`
  const list = servers.map((host, index) => ({
    name: host.name,
    address: `127.0.0.1:${ports[index]}`,
  }))
  const only = await startEdge(lab.local("edge"), streamConfig(target, list))
  const client = lab.local("client")
  return { lab, edges: [only], servers, client, target, virtualAddress: undefined }
}

/** Starts (again) the server of a host that `namespaceStage` or `loopbackStage` made. */
export async function restartServer(stage: Stage, host: Host): Promise<void> {
  const port = Number(/listening on port (\d+)/.exec(host.processes[0]?.output ?? "")?.[1])
  const address = stage.virtualAddress === undefined ? "127.0.0.1" : "0.0.0.0"
  await startTcpServer(host, { port, address })
}

interface EdgePlan {
  readonly name: string
  readonly number: number
  readonly priority: number
}

async function edge(lab: Lab, clients: Lan, backend: Lan, plan: EdgePlan): Promise<Edge> {
  const host = await lab.host(plan.name)
  await clients.join(host, { addresses: [`10.42.0.${plan.number}/24`] })
  await backend.join(host, { addresses: [`10.43.0.${plan.number}/24`] })
  const servers = [1, 2, 3].map((number) => ({
    name: `s${number}`,
    address: `10.43.0.1${number}:${PORT}`,
  }))
  const target = `${VIRTUAL_ADDRESS}:${PORT}`
  return startEdge(host, vrrpConfig(plan.priority) + streamConfig(target, servers))
}

async function server(lab: Lab, backend: Lan, number: number): Promise<Host> {
  const host = await lab.host(`s${number}`)
  await backend.join(host, { addresses: [`10.43.0.1${number}/24`] })
  await startTcpServer(host, { port: PORT })
  return host
}

async function localServer(host: Host): Promise<number> {
  const child = await startTcpServer(host, { port: 0, address: "127.0.0.1" })
  return Number(/listening on port (\d+)/.exec(child.output)?.[1])
}

function vrrpConfig(priority: number): string {
  return `[[vrrp]]
name = "demo"
interface = "eth0"
virtual_router_id = 51
priority = ${priority}
addresses = ["${VIRTUAL_ADDRESS}"]

`
}

function streamConfig(
  bind: string,
  servers: readonly { readonly name: string; readonly address: string }[],
): string {
  const list = servers
    .map(({ name, address }) => `  { name = "${name}", address = "${address}" },`)
    .join("\n")
  return `[[stream]]
name = "demo"
bind = ["${bind}"]
pool = "servers"

[[pool]]
name = "servers"
balance = "round_robin"
fail_timeout = "2s"
servers = [
${list}
]
[pool.check]
type = "tcp"
interval = "500ms"
timeout = "300ms"
rise = 1
fall = 2
`
}

function freePort(): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const probe = createServer()
  probe.on("error", reject)
  probe.listen(0, "127.0.0.1", () => {
    const address = probe.address()
    probe.close(() => resolve(typeof address === "object" ? (address?.port ?? 0) : 0))
  })
  return promise
}

const VIRTUAL_ADDRESS = "10.42.0.40"
const PORT = 7000
