/**
 * The way back in: pods reach what is outside by the name of a Service that the edges make. Two
 * edges, three servers outside, and a pod that goes by what the EndpointSlices say, as kube-proxy
 * would.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { type ApiObject, recordsAt, textAt } from "../lab/api-server/object.ts"
import type { Edge } from "../lab/edge.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import {
  createKubernetesStage,
  EDGE_USER,
  type KubernetesStage,
  startClusterEdge,
  vrrpToml,
} from "./kubernetes-stage.ts"

const VIP = "192.168.1.40"
const NAME = "release/lb-mysql-server"

function toml(priority: number, publish: string): string {
  return `${vrrpToml({ priority, addresses: [VIP] })}
[[pool]]
name = "mysql-replicas"
servers = ["192.168.1.100:3301", "192.168.1.100:3302", "192.168.1.100:3303"]
check = { type = "tcp", interval = "100ms", timeout = "1s", rise = 1, fall = 2 }

[[stream]]
name = "mysql-read"
bind = ["${VIP}:3306"]
pool = "mysql-replicas"
${publish}`
}

const THROUGH_THE_EDGE = published("lb-mysql-server")
const DIRECT = `${THROUGH_THE_EDGE}direct = true\n`

function published(service: string): string {
  return `
[[publish]]
stream = "mysql-read"
namespace = "release"
service = "${service}"
port = 3306
`
}

let stage: KubernetesStage
let a: Edge
let b: Edge
let kubeconfig: string
let servers: ManagedProcess[]

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-publish")
  const { api } = stage
  const rbac = await Bun.file(`${import.meta.dir}/../../config/kubernetes/rbac.yaml`).text()
  // What the manifest has in its comments for each namespace that is published to.
  await api.apply(rbac.split("[[publish]]:\n#\n").at(-1)?.replace(/^# ?/gm, "") ?? "")
  // Where pods' addresses are not masqueraded, servers that they are to reach know the way back.
  await stage.client.ip("route add 10.244.1.0/24 via 192.168.1.11")
  servers = await Promise.all(
    [1, 2, 3].map((number) =>
      startTcpServer(stage.client, { port: 3300 + number, name: `replica-${number}` }),
    ),
  )
  kubeconfig = await api.kubeconfigFile(EDGE_USER)
  a = await startClusterEdge(stage, stage.a, toml(150, THROUGH_THE_EDGE), { kubeconfig })
  b = await startClusterEdge(stage, stage.b, toml(100, THROUGH_THE_EDGE), { kubeconfig })
}, 40_000)

afterAll(() => stage.lab.close())

async function reload(edge: Edge, priority: number, publish: string): Promise<void> {
  const cluster = `[kubernetes]\nkubeconfig = "${kubeconfig}"\n`
  const { exitCode, stderr } = await edge.reload(`${toml(priority, publish)}\n${cluster}`)
  expect({ exitCode, stderr: exitCode === 0 ? "" : stderr }).toEqual({ exitCode: 0, stderr: "" })
}

/** "address:port" of what is ready, by the slices of the Service. */
async function endpoints(): Promise<string[]> {
  const slices = await stage.api.list("endpointslices", "release")
  return slices
    .filter(({ metadata }) => metadata.labels?.[SERVICE_LABEL] === "lb-mysql-server")
    .flatMap((slice) => {
      const [port] = recordsAt(slice, "ports")
      return recordsAt(slice, "endpoints").flatMap((endpoint) => {
        const conditions = endpoint["conditions"] as { ready?: boolean } | undefined
        const [address] = endpoint["addresses"] as string[]
        return conditions?.ready === false ? [] : [`${address}:${port?.["port"]}`]
      })
    })
    .toSorted()
}

function eventuallyEndpoints(expected: string[], timeoutMs = 10_000): Promise<unknown> {
  return eventually(async () => Bun.deepEquals(await endpoints(), expected), {
    what: `the endpoints ${expected}`,
    timeoutMs,
  })
}

/** What a pod reads that connects to the first endpoint. */
async function greetingInPod(): Promise<string> {
  const [endpoint = ""] = await endpoints()
  const [host, port] = endpoint.split(":")
  const pod = stage.podHosts.get(1)
  const result = await pod?.run([
    ...["timeout", "5", "bash", "-c"],
    `exec 3<>/dev/tcp/${host}/${port} && read -t 4 -u 3 line && echo "$line"`,
  ])
  return result?.stdout.trim() ?? ""
}

test("a stream becomes a Service without selector, and its slice leads to the address", async () => {
  await eventuallyEndpoints([`${VIP}:3306`])
  const service = (await stage.api.get("services", NAME)) as ApiObject
  expect(service["spec"]).not.toHaveProperty("selector")
  expect(recordsAt(service, "spec", "ports")).toMatchObject([{ port: 3306, protocol: "TCP" }])
  expect(textAt(service, "metadata", "labels", "app.kubernetes.io/managed-by")).toBe("causeway")
  for (const edge of [a, b]) {
    await edge.waitStatus(({ kubernetes }) => kubernetes?.published[0]?.state === "published")
  }
  const { stdout } = await a.command("status")
  expect(stdout).toContain(`${NAME}  published  mysql-read  3306  ${VIP}:3306`)
}, 30_000)

test("a pod reaches the servers outside through it", async () => {
  const greetings = new Set<string>()
  await eventually(async () => (await greetingInPod()).startsWith("replica-"))
  for (let count = 0; count < 6; count++) greetings.add(await greetingInPod())
  expect([...greetings].toSorted()).toEqual(["replica-1", "replica-2", "replica-3"])
}, 30_000)

test("with direct = true the slice follows the health of the servers", async () => {
  const all = ["192.168.1.100:3301", "192.168.1.100:3302", "192.168.1.100:3303"]
  await reload(a, 150, DIRECT)
  await reload(b, 100, DIRECT)
  await eventuallyEndpoints(all)
  expect(await greetingInPod()).toBe("replica-1")
  await servers[0]?.stop()
  await eventuallyEndpoints(all.slice(1))
  expect(await greetingInPod()).toBe("replica-2")
}, 40_000)

test("the other edge takes it over when the writer dies", async () => {
  const [writer, other] = (await a.status()).kubernetes?.writer.active ? [a, b] : [b, a]
  await writer.kill()
  const startedAt = performance.now()
  await servers[1]?.stop()
  await eventuallyEndpoints(["192.168.1.100:3303"], 40_000)
  report("published by the other edge", {
    "s after the kill": (performance.now() - startedAt) / 1000,
  })
  expect(await greetingInPod()).toBe("replica-3")
  const { kubernetes } = await other.status()
  expect(kubernetes?.writer.active).toBe(true)
  writer.start()
  await writer.waitReady()
}, 60_000)

test("a Service that somebody else made is left alone, and its owner is told", async () => {
  await stage.api.apply(`
apiVersion: v1
kind: Service
metadata: { name: taken, namespace: release }
spec:
  selector: { app: db }
  ports: [{ name: db, port: 3306 }]
`)
  const before = await stage.api.get("services", "release/taken")
  await reload(a, 150, `${DIRECT}${published("taken")}`)
  await reload(b, 100, `${DIRECT}${published("taken")}`)
  const [event] = await eventually(
    async () => {
      const events = await stage.api.events("Service", "taken")
      return events.length > 0 ? events : undefined
    },
    { what: "an Event" },
  )
  expect(event).toMatchObject({ type: "Warning", reason: "PublishConflict" })
  const status = await a.waitStatus(
    ({ kubernetes }) => kubernetes?.published[1]?.state === "conflict",
  )
  expect(status.kubernetes?.published[1]?.message).toBe("release/taken was not made by Causeway")
  expect(await stage.api.get("services", "release/taken")).toEqual(before)
  const slices = await stage.api.list("endpointslices", "release")
  const owners = slices.map((slice) => textAt(slice, "metadata", "labels", SERVICE_LABEL))
  expect(new Set(owners)).toEqual(new Set(["lb-mysql-server"]))
}, 30_000)

test("what is not published any more goes, and nothing else", async () => {
  await reload(a, 150, "")
  await reload(b, 100, "")
  await eventually(
    async () => {
      const names = (await stage.api.list("services", "release")).map(
        ({ metadata }) => metadata.name,
      )
      const slices = await stage.api.list("endpointslices", "release")
      return Bun.deepEquals(names, ["taken"]) && slices.length === 0
    },
    { what: "the Service to go", timeoutMs: 20_000 },
  )
  const requests = await stage.api.requests()
  expect(requests.filter(({ status }) => status === 403)).toEqual([])
}, 40_000)

const SERVICE_LABEL = "kubernetes.io/service-name"
