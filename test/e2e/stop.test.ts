/**
 * Stopping: what came in by an edge's own address may finish, what came in by a virtual address is
 * told at once that it cannot, and nobody waits longer than they must.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startProbe } from "../lab/probe.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { startHttpServer, startTcpServer } from "../lab/servers.ts"
import { StallWatch } from "../lab/stall-watch.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { startCrowd } from "./crowd.ts"
import type { WatchedEnd } from "./programs/odd-server.ts"
import { ServiceManager } from "./service-manager.ts"
import { createStage, fullStatus, nth, type Stage, startOddServer } from "./stage.ts"

let stage: Stage
let watched: ManagedProcess
let edge: Edge

beforeAll(async () => {
  stage = await createStage("stop", 1)
  const server = nth(stage.servers, 0)
  await startTcpServer(server, { port: 4000 })
  await startHttpServer(server, { port: 4001 })
  watched = await startOddServer(server, "watch", 4002)
}, 30_000)

afterEach(() => edge.stop())
afterAll(() => stage?.lab.close())

function config({ drain = "30s", more = "" } = {}): string {
  return `[node]
threads = 2
drain_timeout = "${drain}"
${pool("echo", 4000, ["10.0.0.1:5000"])}
${pool("web", 4001, ["10.0.0.1:5001"])}
${more}`
}

function pool(name: string, port: number, bind: readonly string[]): string {
  return `[[pool]]
name = "${name}"
servers = ["10.0.0.11:${port}"]
[[stream]]
name = "${name}"
bind = ${JSON.stringify(bind)}
pool = "${name}"`
}

/** What the watched server saw end, oldest first. */
function watchedEnds(): WatchedEnd[] {
  const lines = watched.stdout.split("\n").filter((line) => line.startsWith('{"end":'))
  return lines.map((line) => JSON.parse(line).end)
}

test("a slow download finishes, and then the edge ends", async () => {
  using manager = new ServiceManager()
  edge = await startEdge(stage.edge, config(), { env: { NOTIFY_SOCKET: manager.path } })
  const slow = ["--limit-rate", "8M", "-w", "%{http_code} %{size_download}"]
  const url = "http://10.0.0.1:5001/mib/16"
  const download = stage.client.run(["curl", "-s", "-o", "/dev/null", ...slow, url])
  await edge.waitStatus(({ streams }) => streams[1]?.connections === 1)
  const probe = await startProbe(stage.client, "10.0.0.1:5000", { intervalMs: 2 })
  await probe.successes(50)
  const stoppedAt = performance.now()
  edge.process.signal("SIGTERM")
  await eventually(async () => (await edge.request("/readyz")).status === 503)
  expect((await edge.request("/healthz")).status).toBe(200)
  await Bun.sleep(200)
  const probed = await probe.stop()
  const { stdout, exitCode } = await download
  const downloadedMs = performance.now() - stoppedAt
  expect(await edge.process.ended()).toBe(0)
  const endedMs = performance.now() - stoppedAt
  report("SIGTERM during a download of 16 MiB", {
    "downloaded after ms": downloadedMs,
    "ended after ms": endedMs,
    "new connections meanwhile": JSON.stringify(probed.failed),
  })
  expect([exitCode, stdout]).toEqual([0, "200 16777216"])
  expect(downloadedMs).toBeGreaterThan(300)
  // New ones are turned away; the few that were on their way may be cut.
  const { ECONNREFUSED: refused = 0 } = probed.failed
  expect(refused).toBeGreaterThan(10)
  expect(endedMs - downloadedMs).toBeLessThan(2_000)
  expect(manager.count("STOPPING=1")).toBe(1)
})

test.each(["SIGTERM", "SIGINT"] as const)("a second %s cuts", async (signal) => {
  edge = await startEdge(stage.edge, config())
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", { connections: 10 })
  edge.process.signal(signal)
  await edge.process.waitFor("Draining connections=10 seconds=30")
  await Bun.sleep(300)
  expect(await crowd.ask()).toEqual({ open: 10, answered: 10 })
  const cutAt = epochMs()
  edge.process.signal(signal)
  expect(await edge.process.ended()).toBe(0)
  const endedMs = epochMs() - cutAt
  const ends = await crowd.waitEnds(10)
  report(`second ${signal}`, { "cut after ms": nth(ends, -1).atMs - cutAt, "ended ms": endedMs })
  expect(ends.map(({ how }) => how)).toEqual(Array(10).fill("ECONNRESET"))
  expect(endedMs).toBeLessThan(2_000)
  await crowd.stop()
})

test("drain_timeout ends the patience", async () => {
  edge = await startEdge(stage.edge, config({ drain: "1s" }))
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", { connections: 10 })
  const stoppedAt = epochMs()
  edge.process.signal("SIGTERM")
  const ends = await crowd.waitEnds(10)
  expect(await edge.process.ended()).toBe(0)
  const drainedMs = nth(ends, 0).atMs - stoppedAt
  report("drain_timeout 1s", { "first cut after ms": drainedMs })
  expect(drainedMs).toBeGreaterThan(950)
  expect(ends.map(({ how }) => how)).toEqual(Array(10).fill("ECONNRESET"))
  await crowd.stop()
})

test("an edge without connections ends at once", async () => {
  edge = await startEdge(stage.edge, config())
  const stoppedAt = performance.now()
  expect(await edge.stop()).toBe(0)
  report("nothing to drain", { "ended after ms": performance.now() - stoppedAt })
  expect(performance.now() - stoppedAt).toBeLessThan(2_000)
})

test("a thread that hangs does not keep the edge from ending", async () => {
  edge = await startEdge(stage.edge, config(), { env: { CAUSEWAY_FAULT_INJECTION: "1" } })
  await edge.request("/v1/debug/threads/0/hang", { method: "POST" })
  const stoppedAt = performance.now()
  expect(await edge.stop()).toBe(0)
  report("SIGTERM with a hanging thread", { "ended after ms": performance.now() - stoppedAt })
  expect(performance.now() - stoppedAt).toBeLessThan(8_000)
})

test("connections through a virtual address are reset on both sides at once", async () => {
  const virtual = `[[vrrp]]
name = "v"
interface = "eth0"
virtual_router_id = 51
advertisement_interval = "100ms"
addresses = ["10.0.0.40"]
${pool("watched", 4002, ["10.0.0.40:5002", "10.0.0.1:5002"])}`
  edge = await startEdge(stage.edge, config({ more: virtual }))
  await edge.waitState("active")
  const addresses = await stage.edge.watchAddresses()
  const own = await startCrowd(stage.client, "10.0.0.1:5002", { connections: 5 })
  const crowd = await startCrowd(stage.client, "10.0.0.40:5002", { connections: 40 })
  const idle = await startCrowd(stage.client, "10.0.0.40:5002", {
    connections: 40,
    behaviour: "idle",
  })
  using stalls = new StallWatch()
  const stoppedAt = epochMs()
  edge.process.signal("SIGTERM")
  const ends = [...(await crowd.waitEnds(40)), ...(await idle.waitEnds(40))]
  const serverEnds = await eventually(() => {
    const seen = watchedEnds()
    return seen.length >= 80 ? seen : undefined
  })
  const goneAt = await eventually(
    () => addresses.events("10.0.0.40").find(({ type }) => type === "removed")?.atMs,
  )
  const last = (all: readonly { atMs: number }[]) => Math.max(...all.map(({ atMs }) => atMs))
  report("SIGTERM with 80 connections through a VIP", {
    "last client told after ms": last(ends) - stoppedAt,
    "last server told after ms": last(serverEnds) - stoppedAt,
    "address gone after ms": goneAt - stoppedAt,
    "the machine's longest stall ms": stalls.longestMs,
  })
  expect(new Set(ends.map(({ how }) => how))).toEqual(new Set(["ECONNRESET"]))
  expect(new Set(serverEnds.map(({ how }) => how))).toEqual(new Set(["ECONNRESET"]))
  const limitMs = 100 + stalls.longestMs
  expect(last(ends) - stoppedAt).toBeLessThan(limitMs)
  expect(last(serverEnds) - stoppedAt).toBeLessThan(limitMs)
  // Those of the edge's own address go on.
  expect(await own.ask()).toEqual({ open: 5, answered: 5 })
  expect((await fullStatus(edge)).streams.find(({ name }) => name === "watched")).toMatchObject({
    connections: 5,
    ended: { address_released: 80 },
  })
  expect((await own.stop()).open).toBe(5)
  expect(await edge.process.ended()).toBe(0)
  await Promise.all([crowd.stop(), idle.stop()])
})
