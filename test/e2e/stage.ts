/**
 * The usual stage of an end-to-end test: an edge, a client and some servers on one LAN.
 *
 * 10.0.0.1 is the edge (10.0.0.2 a second one), 10.0.0.9 the client, 10.0.0.11, .12, … the servers
 * `s1`, `s2`, …
 */
import type { Status } from "../../src/admin/backend.ts"
import type { EndReason } from "../../src/stream/end-reason.ts"
import type { Edge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import type { ManagedProcess } from "../lab/process.ts"

export interface Stage {
  readonly lab: Lab
  readonly lan: Lan
  readonly edge: Host
  readonly client: Host
  readonly servers: readonly Host[]
}

export async function createStage(name: string, serverCount: number): Promise<Stage> {
  const lab = await createLab(name)
  const lan = await lab.lan("lan")
  const join = async (hostName: string, lastByte: number) => {
    const host = await lab.host(hostName)
    await lan.join(host, { addresses: [`10.0.0.${lastByte}/24`] })
    return host
  }
  const edge = await join("edge", 1)
  const client = await join("client", 9)
  const servers: Host[] = []
  for (let at = 1; at <= serverCount; at += 1) servers.push(await join(`s${at}`, 10 + at))
  return { lab, lan, edge, client, servers }
}

/** Starts `programs/odd-server.ts` on all addresses of a host. */
export async function startOddServer(
  host: Host,
  manners: "watch" | "flood" | "stall" | "silent" | "reset",
  port: number,
): Promise<ManagedProcess> {
  const program = `${import.meta.dir}/programs/odd-server.ts`
  const argv = [process.execPath, program, manners, "0.0.0.0", String(port)]
  const child = host.spawn(argv, { name: manners })
  await child.waitFor("listening")
  return child
}

/** The n-th of a list that a test has filled itself. */
export function nth<T>(list: readonly T[], at: number): T {
  const item = list.at(at)
  if (item === undefined) throw new RangeError(`no item ${at} of ${list.length}`)
  return item
}

/** `/v1/status` with everything in it. */
export async function fullStatus(edge: Edge): Promise<Status> {
  const response = await edge.request("/v1/status")
  return (await response.json()) as Status
}

/** Why a stream's connections ended, by reason, without those that did not occur. */
export async function endReasons(
  edge: Edge,
  stream: string,
): Promise<Partial<Record<EndReason, number>>> {
  const { streams } = await fullStatus(edge)
  const ended = Object.entries(streams.find(({ name }) => name === stream)?.ended ?? {})
  return Object.fromEntries(ended.filter(([, count]) => count > 0))
}
