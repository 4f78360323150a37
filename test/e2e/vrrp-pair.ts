/**
 * Two edges on a LAN that share 10.0.0.40, with a client and a server:
 *
 *     edge-a 10.0.0.1   edge-b 10.0.0.2   client 10.0.0.9   server 10.0.0.11
 *
 * The server says its name on port 4000, and the edges pass it on at 10.0.0.40:3306.
 */
import { type Edge, type EdgeOptions, startEdge } from "../lab/edge.ts"
import type { AddressEvent, AddressWatch, Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"

export const VIP = "10.0.0.40"
export const SERVICE = `${VIP}:3306`

export interface Pair {
  readonly lab: Lab
  readonly lan: Lan
  readonly a: Host
  readonly b: Host
  readonly client: Host
  readonly server: Host
}

export async function createPair(name: string): Promise<Pair> {
  const lab = await createLab(name)
  const lan = await lab.lan("lan")
  const join = async (hostName: string, lastByte: number) => {
    const host = await lab.host(hostName)
    await lan.join(host, { addresses: [`10.0.0.${lastByte}/24`] })
    return host
  }
  const a = await join("edge-a", 1)
  const b = await join("edge-b", 2)
  const client = await join("client", 9)
  const server = await join("server", 11)
  await startTcpServer(server, { port: 4000 })
  return { lab, lan, a, b, client, server }
}

export interface EdgeSettings {
  readonly priority: number
  /** Default: 1s. */
  readonly interval?: string
  /** Further lines of the `[[vrrp]]` table. */
  readonly vrrp?: string
  /** Further tables, before which no key may follow. */
  readonly tables?: string
}

/** A configuration in which only what a test is about need be named. */
export function edgeToml({ priority, interval = "1s", vrrp = "", tables = "" }: EdgeSettings) {
  const addresses = /^addresses/m.test(vrrp) ? "" : `addresses = ["${VIP}"]`
  return `
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
priority = ${priority}
advertisement_interval = "${interval}"
${addresses}
${vrrp}
[[pool]]
name = "db"
servers = ["10.0.0.11:4000"]
[[stream]]
name = "db"
bind = ["${SERVICE}"]
pool = "db"
${tables}`
}

/** Priority 100 on `a`, which is active, and 90 on `b`. */
export async function startPair(
  { a, b }: Pair,
  settings: Partial<EdgeSettings> = {},
  options: EdgeOptions = {},
): Promise<readonly [Edge, Edge]> {
  const first = await startEdge(a, edgeToml({ priority: 100, ...settings }), options)
  await first.waitState("active")
  const second = await startEdge(b, edgeToml({ ...settings, priority: 90 }), options)
  await second.waitState("backup")
  return [first, second]
}

/** The first event of `type` for the virtual address at or after `sinceMs`. */
export function addressEvent(
  watch: AddressWatch,
  type: AddressEvent["type"],
  sinceMs = 0,
): Promise<AddressEvent> {
  const find = () => watch.events(VIP).find((event) => event.type === type && event.atMs >= sinceMs)
  return eventually(find, { what: `${VIP} to be ${type}`, intervalMs: 5 })
}

/** Who the client would send a frame for the virtual address to; "" when it does not know. */
export async function neighbour(client: Host, address = VIP): Promise<string> {
  const entries: { lladdr?: string }[] = JSON.parse(
    await client.ip(`-json neigh show ${address} dev eth0`),
  )
  return entries[0]?.lladdr ?? ""
}
