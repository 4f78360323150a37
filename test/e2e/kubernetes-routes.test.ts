/** How an edge gets to pods: by routes of its own through their nodes, or by node ports. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { Edge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { eventually } from "../lab/wait.ts"
import { addressOf } from "./kubernetes-service-status.ts"
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

let stage: KubernetesStage
let pods: readonly Pod[]

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-routes", { custom: ["calico"] })
  pods = [
    await startPod(stage, "pod-1", { node: 1, last: 5 }),
    await startPod(stage, "pod-2", { node: 2, last: 5 }),
  ]
}, 30_000)

afterAll(() => stage.lab.close())

async function setReady(node: string, isReady: boolean): Promise<void> {
  const conditions = [{ type: "Ready", status: isReady ? "True" : "Unknown" }]
  await stage.api.patchStatus("nodes", node, { conditions })
}

/** "DESTINATION via GATEWAY", in order. */
async function ourRoutes(host: Host): Promise<string[]> {
  const routes: { dst: string; gateway: string }[] = JSON.parse(
    await host.ip("-json route show proto 203"),
  )
  return routes.map(({ dst, gateway }) => `${dst} via ${gateway}`).sort()
}

async function untilRoutes(host: Host, wanted: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      const routes = await ourRoutes(host)
      if (!Bun.deepEquals(routes, wanted)) throw new Error(routes.join(", "))
      return true
    },
    { what: `the routes ${wanted.join(", ")}` },
  )
}

async function whoAnswers(url: string, count = 6): Promise<string[]> {
  const names = new Set<string>()
  for (let asked = 0; asked < count; asked++) {
    const answer = await stage.client.exec(["curl", "-sS", "-m", "2", url])
    names.add(answer.split(" ")[0] ?? "")
  }
  return [...names].sort()
}

async function untilAnsweredBy(url: string, wanted: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      const names = await whoAnswers(url)
      if (!Bun.deepEquals(names, wanted)) throw new Error(names.join(" "))
      return true
    },
    { what: `answers by ${wanted.join(" and ")}` },
  )
}

const FIRST = "10.244.1.0/24 via 192.168.1.11"
const SECOND = "10.244.2.0/24 via 192.168.1.12"

describe("routes to pods", () => {
  const toml = `${vrrpToml({ priority: 100, addresses: [VIP] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]
`
  let edge: Edge
  let address: string

  beforeAll(async () => {
    const spec = "  type: LoadBalancer"
    const slices = await createService(stage, { name: "routed", spec })
    await slices.write(pods)
    // Somebody's own, which nobody may touch.
    await stage.a.ip("route add 10.99.0.0/16 via 192.168.1.11 proto static")
    edge = await startClusterEdge(stage, stage.a, toml)
    await edge.waitState("active")
    address = await addressOf(stage.api, "default/routed")
  }, 30_000)

  afterAll(() => edge.stop())

  test("lead through each Ready node; only the edge has them", async () => {
    await untilRoutes(stage.a, [FIRST, SECOND])
    await untilAnsweredBy(`http://${address}/`, ["pod-1", "pod-2"])
    const direct = await stage.client.run(["curl", "-s", "-m", "1", "http://10.244.1.5:8080/"])
    expect(direct.exitCode).not.toBe(0)
    const { kubernetes } = await edge.status()
    expect(kubernetes?.nodes.map(({ node, state, reason }) => [node, state, reason])).toEqual([
      ["node-1", "routed", "via 192.168.1.11 on eth0"],
      ["node-2", "routed", "via 192.168.1.12 on eth0"],
    ])
  })

  test("go with a node that is not Ready, and come back with it", async () => {
    await setReady("node-2", false)
    await untilRoutes(stage.a, [FIRST])
    const { kubernetes } = await edge.status()
    expect(kubernetes?.nodes.find(({ node }) => node === "node-2")?.state).toBe("not_ready")
    // Its pod is still in the slices: who picks it goes on to the other.
    await untilAnsweredBy(`http://${address}/`, ["pod-1"])
    await setReady("node-2", true)
    await untilRoutes(stage.a, [FIRST, SECOND])
  }, 20_000)

  test("follow Calico's blocks where there are any", async () => {
    await stage.api.apply(`
apiVersion: crd.projectcalico.org/v1
kind: BlockAffinity
metadata: { name: node-1-10-245-7-0-26 }
spec: { cidr: 10.245.7.0/26, node: node-1, state: confirmed, deleted: "false" }`)
    await untilRoutes(stage.a, ["10.245.7.0/26 via 192.168.1.11"])
    await stage.api.remove("blockaffinities", "node-1-10-245-7-0-26")
    await untilRoutes(stage.a, [FIRST, SECOND])
  })

  test("are not made through a node that is not on our subnet, and that is said", async () => {
    await stage.api.apply(`
apiVersion: v1
kind: Node
metadata: { name: far }
spec: { podCIDR: 10.244.9.0/24, podCIDRs: [10.244.9.0/24] }
status:
  addresses: [{ type: InternalIP, address: 172.30.0.9 }]
  conditions: [{ type: Ready, status: "True" }]`)
    const { kubernetes } = await edge.waitStatus((status) =>
      status.kubernetes?.nodes.some(({ node }) => node === "far"),
    )
    expect(kubernetes?.nodes.find(({ node }) => node === "far")?.state).toBe("not_on_subnet")
    await untilRoutes(stage.a, [FIRST, SECOND])
    await stage.api.remove("nodes", "far")
  })

  test("outlive a crash and are taken over; a stop takes them along, and nothing else", async () => {
    await edge.kill()
    expect(await ourRoutes(stage.a)).toEqual([FIRST, SECOND])
    // Meanwhile a node has gone.
    await setReady("node-2", false)
    edge.start()
    await edge.waitReady()
    await untilRoutes(stage.a, [FIRST])
    await setReady("node-2", true)
    await untilRoutes(stage.a, [FIRST, SECOND])
    await edge.stop()
    expect(await ourRoutes(stage.a)).toEqual([])
    expect(await stage.a.ip("route show 10.99.0.0/16")).toContain("proto static")
  }, 20_000)
})

describe('reach = "node_port"', () => {
  const NODE_PORT = 30_080
  let edge: Edge

  beforeAll(async () => {
    // What kube-proxy does, as far as a node port goes.
    for (const [number, pod] of pods.entries()) {
      await stage.nodes.get(number + 1)?.nft(`
        table ip nat {
          chain prerouting {
            type nat hook prerouting priority dstnat
            tcp dport ${NODE_PORT} dnat to ${pod.address}:8080
          }
          chain postrouting {
            type nat hook postrouting priority srcnat
            ip daddr ${pod.address} masquerade
          }
        }`)
    }
    await stage.api.apply(`
apiVersion: v1
kind: Service
metadata: { name: ported, namespace: default }
spec:
  type: NodePort
  selector: { app: ported }
  ports: [{ name: http, port: 80, targetPort: 8080, nodePort: ${NODE_PORT} }]`)
    edge = await startClusterEdge(
      stage,
      stage.b,
      `${vrrpToml({ priority: 100, addresses: [VIP] })}
[[pool]]
name = "ported"
[pool.kubernetes]
namespace = "default"
service = "ported"
port = "http"
reach = "node_port"

[[stream]]
name = "ported"
bind = ["${VIP}:80"]
pool = "ported"
`,
      { kubernetes: 'pod_routes = "off"' },
    )
    await edge.waitState("active")
  }, 30_000)

  afterAll(() => edge.stop())

  test("goes through every Ready node, and needs no route", async () => {
    await untilAnsweredBy(`http://${VIP}/`, ["pod-1", "pod-2"])
    expect(await ourRoutes(stage.b)).toEqual([])
    const { pools } = await edge.status()
    expect(pools.find(({ name }) => name === "ported")?.servers.map(({ name }) => name)).toEqual([
      "node-1",
      "node-2",
    ])
  })

  test("leaves out a node that is not Ready, until it is again", async () => {
    await setReady("node-1", false)
    await untilAnsweredBy(`http://${VIP}/`, ["pod-2"])
    await setReady("node-1", true)
    await untilAnsweredBy(`http://${VIP}/`, ["pod-1", "pod-2"])
  })

  test("follows another node port", async () => {
    await stage.api.patch("services", "default/ported", {
      spec: { ports: [{ name: "http", port: 80, targetPort: 8080, nodePort: 30_081 }] },
    })
    await edge.waitStatus(({ pools }) =>
      pools
        .find(({ name }) => name === "ported")
        ?.servers.every(({ address }) => address.endsWith(":30081")),
    )
  })
})
