/**
 * Edges that start while the API server cannot be reached: with the state that an earlier run left
 * on the disk, with a damaged one, and with none.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { rmSync, statSync, truncateSync } from "node:fs"
import { join } from "node:path"
import type { SliceWriter } from "../lab/api-server/slice-writer.ts"
import type { Edge } from "../lab/edge.ts"
import type { Disturbance } from "../lab/lan.ts"
import { report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import { startHttpLoad } from "./http-load.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  type Pod,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

const VIP = "192.168.1.40"
const BALANCED = "192.168.1.240"

function toml(priority: number): string {
  return `${vrrpToml({ priority, addresses: [VIP] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]

[[pool]]
name = "greeting"
servers = ["192.168.1.100:4000"]

[[stream]]
name = "greeting"
bind = ["${VIP}:3306"]
pool = "greeting"
`
}

let stage: KubernetesStage
let pods: Pod[]
let slices: SliceWriter

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-restart", { bookmarkIntervalMs: 1_000 })
  pods = [
    await startPod(stage, "pod-1", { node: 1, last: 5 }),
    await startPod(stage, "pod-2", { node: 2, last: 5 }),
  ]
  slices = await createService(stage, { name: "balanced", spec: "  type: LoadBalancer" })
  await slices.write(pods)
  await startTcpServer(stage.client, { port: 4000, name: "outside" })
}, 40_000)

afterAll(() => stage.lab.close())

async function answerOf(...words: string[]): Promise<string> {
  return (await stage.client.exec(["curl", "-sS", "-m", "5", ...words])).trim()
}

/** A connection to the stream of the file. */
async function greeting(): Promise<string> {
  const { stdout } = await stage.client.run([
    ...["bash", "-c", `exec 3<>/dev/tcp/${VIP}/3306 && read -t 5 -u 3 line && echo "$line"`],
  ])
  return stdout.trim()
}

function servers({ pools }: Awaited<ReturnType<Edge["status"]>>): number {
  return pools.find(({ name }) => name === "default/balanced:http")?.servers.length ?? 0
}

describe("An edge whose API server is away", () => {
  let edge: Edge
  let partition: Disturbance
  let statePath: string

  beforeAll(async () => {
    edge = await startClusterEdge(stage, stage.a, toml(100), {
      kubernetes: 'watch_silence = "5s"',
    })
    statePath = join(edge.directory, "state", "kubernetes.jsonl")
    await edge.waitStatus((status) => status.kubernetes?.services[0]?.state === "served", {
      what: "the Service to be served",
    })
    partition = await stage.lan.partition([stage.a, stage.b], stage.master)
  }, 40_000)

  test("stops quickly, and leaves the state where only root can read it", async () => {
    const startedAt = performance.now()
    expect(await edge.stop()).toBe(0)
    const tookMs = performance.now() - startedAt
    report("stop while the API is away", { ms: tookMs })
    expect(tookMs).toBeLessThan(10_000)
    expect(statSync(statePath).mode & 0o777).toBe(0o600)
    const routes = await stage.a.ip("route")
    expect(routes).not.toContain("10.244.")
  }, 20_000)

  test("serves what it knew when it starts again, ready, and says how old that is", async () => {
    const startedAt = performance.now()
    edge.start()
    await edge.waitReady(20_000)
    const status = await edge.waitState("active")
    report("start from the disk", { "ms to ready and active": performance.now() - startedAt })
    expect(servers(status)).toBe(2)
    expect(status.kubernetes).toMatchObject({
      connected: false,
      synced: false,
      restored: true,
      services: [{ service: "default/balanced", addresses: [BALANCED], state: "served" }],
      nodes: [{ state: "routed" }, { state: "routed" }],
    })
    expect(status.kubernetes?.age_seconds).toBeGreaterThan(0)
    expect(await edge.metric("causeway_kubernetes_restored")).toBe(1)
    expect(await edge.metric("causeway_kubernetes_connected")).toBe(0)
    expect(await edge.metric("causeway_kubernetes_state_age_seconds")).toBeGreaterThan(0)
    expect(await answerOf(`http://${BALANCED}/x`)).toMatch(/^pod-\d \/x$/)
    expect(await greeting()).toBe("outside")
    const { stdout } = await edge.command("status")
    expect(stdout).toMatch(/last known state|restored/)
  }, 40_000)

  test("loses nothing when the server is back, and follows it", async () => {
    const load = await startHttpLoad(stage.client, `${BALANCED}:80`, {
      connections: 4,
      intervalMs: 20,
      closes: true,
    })
    await slices.write(pods.slice(0, 1))
    await partition.heal()
    const startedAt = performance.now()
    await edge.waitStatus(
      (status) =>
        status.kubernetes?.connected && !status.kubernetes.restored && servers(status) === 1,
      { what: "the cluster to be followed", timeoutMs: 40_000 },
    )
    report("followed after the partition", { ms: performance.now() - startedAt })
    await load.requests(100)
    const { failed, requests } = await load.stop()
    expect({ failed }).toEqual({ failed: {} })
    expect(requests).toBeGreaterThan(100)
    expect(await edge.metric("causeway_kubernetes_restored")).toBe(0)
    await slices.write(pods)
    await edge.waitStatus((status) => servers(status) === 2)
  }, 60_000)

  test.each([
    ["is damaged", () => truncateSync(statePath, statSync(statePath).size - 20)],
    ["is not there", () => rmSync(statePath)],
  ])(
    "serves the file's part alone when the state on disk %s",
    async (_, spoil) => {
      await edge.stop()
      partition = await stage.lan.partition([stage.a, stage.b], stage.master)
      spoil()
      const startedAt = performance.now()
      edge.start()
      const status = await edge.waitState("active", { timeoutMs: 20_000 })
      report("start without state", { "ms to active": performance.now() - startedAt })
      expect(status.ready).toBe(false)
      expect(status.not_ready.join()).toStartWith("kubernetes: not all of the cluster is known yet")
      expect(status.vrrp[0]?.effective_priority).toBe(1)
      expect((await edge.request("/readyz")).status).toBe(503)
      expect(await greeting()).toBe("outside")
      await partition.heal()
      await edge.waitStatus((now) => now.ready && now.vrrp[0]?.effective_priority === 100, {
        what: "the cluster to be known",
        timeoutMs: 40_000,
      })
      await eventually(async () => (await answerOf(`http://${BALANCED}/`)).startsWith("pod-"))
    },
    60_000,
  )
})

describe("An edge of a higher priority", () => {
  let peer: Edge

  beforeAll(async () => {
    // The one that the tests above left goes on as the peer, of priority 100.
    peer = await startClusterEdge(stage, stage.b, toml(150), { ready: false })
    await peer.stop()
  }, 20_000)

  test("takes the addresses only when it serves what they lead to", async () => {
    const load = await startHttpLoad(stage.client, `${BALANCED}:80`, {
      connections: 4,
      intervalMs: 10,
      closes: true,
    })
    await stage.api.faults.delay(1_000)
    peer.start()
    const status = await peer.waitState("active", { timeoutMs: 20_000, intervalMs: 5 })
    await stage.api.faults.clear()
    expect(servers(status)).toBe(2)
    expect(status.streams.map(({ name }) => name)).toContain("default/balanced:http")
    await load.requests(200)
    const { failed } = await load.stop()
    report("a start with priority", { failed: JSON.stringify(failed) })
    // What was under way when the address left is reset: at most one request a connection.
    const resets = Object.values(failed).reduce((sum, count) => sum + count, 0)
    expect(resets).toBeLessThanOrEqual(4)
    expect(Object.keys(failed).filter((how) => /REFUSED|status/.test(how))).toEqual([])
  }, 40_000)

  test("leaves them to one that knows the cluster while it does not", async () => {
    await peer.stop()
    rmSync(join(peer.directory, "state", "kubernetes.jsonl"), { force: true })
    const partition = await stage.lan.partition(stage.b, stage.master)
    peer.start()
    const status = await peer.waitStatus(
      ({ uptime_seconds: uptime, vrrp }) => uptime > 5 && vrrp[0]?.state !== "initialize",
      { timeoutMs: 20_000 },
    )
    expect(status.vrrp[0]).toMatchObject({ state: "backup", effective_priority: 1 })
    expect(await answerOf(`http://${BALANCED}/`)).toStartWith("pod-")
    await partition.heal()
    await peer.waitState("active", { timeoutMs: 40_000 })
    await eventually(async () => (await answerOf(`http://${BALANCED}/`)).startsWith("pod-"))
  }, 60_000)
})
