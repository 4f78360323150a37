/** Reloads that add the cluster, change the way to it, get it wrong, and take it away. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import type { ApiServer } from "../lab/api-server/api-server.ts"
import { SliceWriter } from "../lab/api-server/slice-writer.ts"
import { startApiServerIn } from "../lab/api-server-host.ts"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import { type HttpLoad, startHttpLoad } from "./http-load.ts"
import {
  API_ADDRESS,
  createKubernetesStage,
  createService,
  EDGE_USER,
  type KubernetesStage,
  type Pod,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

const VIP = "192.168.1.40"
const BALANCED = "192.168.1.240"
const SERVICE = "default/balanced:http"

const FILE_PART = `${vrrpToml({ priority: 100, addresses: [VIP] })}
[[pool]]
name = "greeting"
servers = ["192.168.1.100:4000"]

[[stream]]
name = "greeting"
bind = ["${VIP}:3306"]
pool = "greeting"
`

function withCluster(kubeconfig: string): string {
  return `${FILE_PART}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]

[kubernetes]
kubeconfig = "${kubeconfig}"
`
}

let stage: KubernetesStage
let edge: Edge
let pods: Pod[]
let kubeconfig: string

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-reload")
  pods = [
    await startPod(stage, "pod-1", { node: 1, last: 5 }),
    await startPod(stage, "pod-2", { node: 2, last: 5 }),
  ]
  const slices = await createService(stage, { name: "balanced", spec: "  type: LoadBalancer" })
  await slices.write(pods)
  await startTcpServer(stage.client, { port: 4000, name: "outside" })
  kubeconfig = await stage.api.kubeconfigFile(EDGE_USER)
  edge = await startEdge(stage.a, FILE_PART)
  await edge.waitState("active")
}, 40_000)

afterAll(() => stage.lab.close())

function serversOf({ pools }: Awaited<ReturnType<Edge["status"]>>): string[] {
  const pool = pools.find(({ name }) => name === SERVICE)
  return (pool?.servers ?? []).map(({ address }) => address).toSorted()
}

function startLoad(): Promise<HttpLoad> {
  const options = { connections: 4, intervalMs: 20, closes: true }
  return startHttpLoad(stage.client, `${BALANCED}:80`, options)
}

test("a reload that adds [kubernetes] serves its Services beside the file's part", async () => {
  const { exitCode, stdout, stderr } = await edge.reload(withCluster(kubeconfig))
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  expect(stdout).toContain("kubernetes")
  await edge.waitStatus((status) => serversOf(status).length === 2)
  await eventually(async () => {
    const answer = await stage.client.exec(["curl", "-sS", "-m", "2", `http://${BALANCED}/`])
    return answer.startsWith("pod-")
  })
  const status = await edge.status()
  expect(status.vrrp[0]).toMatchObject({ state: "active", effective_priority: 100 })
}, 30_000)

describe("a reload with an access that cannot be used", () => {
  const wrong = (name: string) => join(stage.a.directory, name)

  test.each([
    ["is not there", () => {}, /Cannot read .*wrong.*ENOENT/],
    ["is no kubeconfig", (path: string) => writeFileSync(path, "hello"), /kubeconfig/],
    [
      "runs a program for its credentials",
      async (path: string) => {
        const text = await stage.api.kubeconfig("somebody")
        writeFileSync(path, text.replace(/token: \S+/, "exec: { command: aws, args: [token] }"))
      },
      /exec/,
    ],
  ])(
    "is refused when the kubeconfig %s, and nothing is lost",
    async (what, make, message) => {
      const load = await startLoad()
      const path = wrong(`wrong-${what.replaceAll(" ", "-")}`)
      await make(path)
      const { exitCode, stderr } = await edge.reload(withCluster(path))
      expect(exitCode).toBe(1)
      expect(stderr).toMatch(message)
      await load.requests(50)
      expect(await load.stop()).toMatchObject({ failed: {} })
      const status = await edge.status()
      expect(status.config.last_error).toMatch(message)
      expect(status.kubernetes).toMatchObject({ connected: true, server: stage.api.url })
    },
    30_000,
  )
})

describe("a reload with another API server", () => {
  let other: ApiServer

  beforeAll(async () => {
    const hosted = await startApiServerIn(stage.master, API_ADDRESS, { port: 7443 })
    other = hosted.api
    await other.apply(await Bun.file(`${import.meta.dir}/../../config/kubernetes/rbac.yaml`).text())
    for (const resource of ["nodes", "services"]) await other.apply(await stage.api.list(resource))
    const ports = [{ name: "http", port: 8080 }]
    const slices = new SliceWriter(other, { namespace: "default", service: "balanced", ports })
    await slices.write(pods.slice(1))
  }, 20_000)

  test("goes on with what is known while that one does not answer", async () => {
    const path = await other.kubeconfigFile(EDGE_USER)
    await other.faults.stop()
    const load = await startLoad()
    const { exitCode } = await edge.reload(withCluster(path))
    expect(exitCode).toBe(0)
    await load.requests(100)
    const status = await edge.status()
    expect(status).toMatchObject({ ready: true, kubernetes: { server: other.url } })
    expect(status.kubernetes?.connected).toBe(false)
    expect(status.vrrp[0]).toMatchObject({ state: "active", effective_priority: 100 })
    expect(serversOf(status)).toEqual(["10.244.1.5:8080", "10.244.2.5:8080"])
    await other.faults.start()
    const after = await edge.waitStatus(({ kubernetes }) => kubernetes?.connected, {
      timeoutMs: 30_000,
    })
    expect(serversOf(after)).toEqual(["10.244.2.5:8080"])
    await load.requests(100)
    expect(await load.stop()).toMatchObject({ failed: {} })
    expect(await stage.api.watchCount()).toBe(0)
  }, 60_000)
})

test("a reload that removes [kubernetes] takes its part away, and only that", async () => {
  const lease = async () => {
    const { stdout } = await edge.command("status", "--json")
    return JSON.parse(stdout).kubernetes?.writer.active
  }
  await eventually(lease, { what: "the edge to be the writer", timeoutMs: 30_000 })
  expect(await stage.a.ip("route")).toContain("10.244.2.0/24")
  const { exitCode } = await edge.reload(FILE_PART)
  expect(exitCode).toBe(0)
  const status = await edge.status()
  expect(status.kubernetes).toBeNull()
  expect(status.streams.map(({ name }) => name)).toEqual(["greeting"])
  expect(status.pools.map(({ name }) => name)).toEqual(["greeting"])
  expect(status.vrrp[0]).toMatchObject({ state: "active", addresses: [`${VIP}/32`] })
  expect(await stage.a.ip("route")).not.toContain("10.244.")
  await eventually(async () => !(await stage.a.ip("address")).includes(BALANCED))
  const { stdout } = await stage.client.run([
    ...["bash", "-c", `exec 3<>/dev/tcp/${VIP}/3306 && read -t 5 -u 3 line && echo "$line"`],
  ])
  expect(stdout.trim()).toBe("outside")
}, 60_000)
