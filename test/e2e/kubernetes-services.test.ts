import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { Edge } from "../lab/edge.ts"
import { eventually } from "../lab/wait.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

let stage: KubernetesStage

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-services")
}, 30_000)

afterAll(() => stage.lab.close())

const VIP = "192.168.1.40"

function toml(priority: number): string {
  return `${vrrpToml({ priority, addresses: [VIP] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]
`
}

async function get(url: string, ...words: string[]): Promise<string> {
  return (await stage.client.exec(["curl", "-sS", "-m", "5", ...words, url])).trim()
}

describe("a Service of type LoadBalancer", () => {
  let edge: Edge

  beforeAll(async () => {
    const pods = [
      await startPod(stage, "nginx-1", { node: 1, last: 5 }),
      await startPod(stage, "nginx-2", { node: 2, last: 5 }),
    ]
    const slices = await createService(stage, { name: "nginx", spec: "  type: LoadBalancer" })
    await slices.write(pods)
    edge = await startClusterEdge(stage, stage.a, toml(100))
  }, 30_000)

  test("gets the first address of the pool", async () => {
    const service = await eventually(
      async () => {
        const found = await stage.api.get("services", "default/nginx")
        const status = found?.["status"] as { loadBalancer?: { ingress?: object[] } } | undefined
        return status?.loadBalancer?.ingress?.length ? status : undefined
      },
      { what: "an address", timeoutMs: 10_000 },
    ).catch(async (error) => {
      throw new Error(
        `${error}\n${JSON.stringify((await edge.status()).kubernetes, null, 1)}\n${edge.process.tail()}`,
      )
    })
    expect(service.loadBalancer?.ingress).toEqual([{ ip: "192.168.1.240", ipMode: "Proxy" }])
  })

  test("is reached there by a client that has no route to pods", async () => {
    await eventually(async () => (await get("http://192.168.1.240/")).startsWith("nginx-"), {
      what: "an answer",
    })
    const answers = new Set<string>()
    for (let count = 0; count < 6; count++) answers.add(await get("http://192.168.1.240/x"))
    expect([...answers].sort()).toEqual(["nginx-1 /x", "nginx-2 /x"])
  })
})
