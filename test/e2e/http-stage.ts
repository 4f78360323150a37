/**
 * The stage of the HTTP tests: `createStage` with two edges (10.0.0.1 and 10.0.0.2), nginx on every
 * server at port 8080, and doors for the client (10.0.0.9; 10.0.0.8 is another address of its).
 */

import { openDoor } from "../lab/door.ts"
import { type Edge, type EdgeOptions, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { startWebServer, type WebServer, type WebServerOptions } from "./http-servers.ts"
import { createStage, nth, type Stage } from "./stage.ts"

export interface HttpStage extends Stage {
  readonly secondEdge: Host
  readonly web: readonly WebServer[]
  /** A door of the client's; the same one when asked again. */
  door(target?: string, from?: string): Promise<string>
}

export async function createHttpStage(
  name: string,
  serverCount: number,
  options: (host: Host) => Partial<WebServerOptions> = () => ({}),
): Promise<HttpStage> {
  const stage = await createStage(name, serverCount)
  const secondEdge = await stage.lab.host("edge2")
  await stage.lan.join(secondEdge, { addresses: ["10.0.0.2/24"] })
  await stage.client.ip("address add 10.0.0.8/24 dev eth0")
  const web: WebServer[] = []
  for (const host of stage.servers) {
    web.push(await startWebServer(host, { port: 8080, ...options(host) }))
  }
  const doors = new Map<string, Promise<string>>()
  const door = (target = "10.0.0.1:80", from = "10.0.0.9") => {
    const key = `${from} ${target}`
    const known = doors.get(key) ?? openDoor(stage.client, target, { from })
    doors.set(key, known)
    return known
  }
  return { ...stage, secondEdge, web, door }
}

/** Starts an edge and waits until every server with a check is up. */
export async function startHttpEdge(
  host: Host,
  toml: string,
  options: EdgeOptions = {},
): Promise<Edge> {
  const edge = await startEdge(host, toml, options)
  await edge.waitStatus(
    ({ pools }) =>
      pools.every(({ servers }) =>
        servers.every(({ health, checks_total }) => health === "up" || checks_total === 0),
      ),
    { what: "every server to be up" },
  )
  return edge
}

/** A `[[pool]]` of servers of the stage by number, at port 8080 unless another is given. */
export function poolOf(
  name: string,
  servers: readonly number[],
  { port = 8080, more = "" }: { readonly port?: number; readonly more?: string } = {},
): string {
  const list = servers.map(
    (number) => `{ name = "s${number}", address = "10.0.0.${10 + number}:${port}" }`,
  )
  return `[[pool]]\nname = "${name}"\nservers = [${list.join(", ")}]\n${more}\n`
}

/** The `[[http]]` of this name in `/v1/status`. */
export async function httpStatus(edge: Edge, name: string) {
  const { http } = await edge.status()
  return nth(
    http.filter((listener) => listener.name === name),
    0,
  )
}
