/** Which address a Service gets, from where, with whom, and what is said when there is none. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { startCapture } from "../lab/capture.ts"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import {
  addressOf,
  conditionOf,
  eventOf,
  serviceStatus,
  serviceStatuses,
} from "./kubernetes-service-status.ts"
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
const BALANCED = "  type: LoadBalancer"

/** The body's text, without the line end; throws where there is no answer. */
async function get({ client }: KubernetesStage, url: string): Promise<string> {
  return (await client.exec(["curl", "-sS", "-m", "5", url])).trim()
}

describe("addresses of the file's pools", () => {
  let stage: KubernetesStage
  let edge: Edge
  let pod: Pod

  beforeAll(async () => {
    stage = await createKubernetesStage("k8s-addresses")
    pod = await startPod(stage, "pod-1", { node: 1, last: 5 })
    edge = await startClusterEdge(
      stage,
      stage.a,
      `${vrrpToml({ priority: 100, addresses: [VIP] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]

[[address_pool]]
name = "small"
addresses = ["192.168.1.230"]
vrrp = ["edge"]
auto_assign = false
`,
    )
    await edge.waitState("active")
  }, 30_000)

  afterAll(() => stage.lab.close())

  test("spec.loadBalancerIP is what it gets, and nobody else", async () => {
    const spec = `${BALANCED}\n  loadBalancerIP: 192.168.1.248`
    const slices = await createService(stage, { name: "wished", spec })
    await slices.write([pod])
    expect(await addressOf(stage.api, "default/wished")).toBe("192.168.1.248")
    await eventually(() => get(stage, "http://192.168.1.248/"))

    await createService(stage, { name: "too-late", spec })
    const words = await eventOf(stage.api, "too-late", /^AllocationFailed/)
    expect(words).toContain("192.168.1.248")
    await conditionOf(stage.api, "default/too-late", "causeway.dev/Ready", /^False AddressInUse/)
    expect((await serviceStatus(stage.api, "default/too-late"))?.addresses).toEqual([])
    await stage.api.remove("services", "default/too-late")
  })

  test("Services with one sharing key share it as long as their ports differ", async () => {
    const annotations = { "metallb.io/allow-shared-ip": "web" }
    const one = await createService(stage, { name: "one", port: 80, spec: BALANCED, annotations })
    const two = await createService(stage, { name: "two", port: 8080, spec: BALANCED, annotations })
    const same = { name: "same", port: 80, spec: BALANCED, annotations }
    const three = await createService(stage, same)
    for (const slices of [one, two, three]) await slices.write([pod])
    const address = await addressOf(stage.api, "default/one")
    expect(await addressOf(stage.api, "default/two")).toBe(address)
    expect(await addressOf(stage.api, "default/same")).not.toBe(address)
    await eventually(() => get(stage, `http://${address}/`))
    await eventually(() => get(stage, `http://${address}:8080/`))

    await stage.api.remove("services", "default/one")
    await edge.waitStatus(({ streams }) => !streams.some(({ name }) => name === "default/one:http"))
    // It belongs to the other one now.
    expect(await stage.a.holds(address)).toBe(true)
    expect(await get(stage, `http://${address}:8080/`)).toBe("pod-1 /")
    expect(await addressOf(stage.api, "default/two")).toBe(address)
  })

  test("a pool that is exhausted is said so, and what is freed goes to who waits", async () => {
    const annotations = { "metallb.universe.tf/address-pool": "small" }
    const first = await createService(stage, { name: "first", spec: BALANCED, annotations })
    await first.write([pod])
    expect(await addressOf(stage.api, "default/first")).toBe("192.168.1.230")
    const second = await createService(stage, { name: "second", spec: BALANCED, annotations })
    await second.write([pod])
    await eventOf(stage.api, "second", /^AllocationFailed: .*small/)
    await conditionOf(stage.api, "default/second", "causeway.dev/Ready", /^False PoolExhausted/)
    const { kubernetes } = await edge.status()
    expect(kubernetes?.address_pools.find(({ name }) => name === "small")).toEqual({
      name: "small",
      used: 1,
      size: 1,
    })

    await stage.api.remove("services", "default/first")
    expect(await addressOf(stage.api, "default/second")).toBe("192.168.1.230")
    await conditionOf(stage.api, "default/second", "causeway.dev/Ready", /^True Assigned/)
    await eventOf(stage.api, "second", /^IPAllocated: Assigned IP \["192.168.1.230"\]/)
    await eventually(() => get(stage, "http://192.168.1.230/"))
  })

  test("allocateLoadBalancerNodePorts: false is no hindrance", async () => {
    const spec = `${BALANCED}\n  allocateLoadBalancerNodePorts: false`
    const slices = await createService(stage, { name: "no-ports", spec })
    await slices.write([pod])
    const address = await addressOf(stage.api, "default/no-ports")
    const service = (await stage.api.get("services", "default/no-ports")) as unknown as {
      spec: { ports: { nodePort?: number }[] }
    }
    expect(service.spec.ports.map(({ nodePort }) => nodePort)).toEqual([undefined])
    await eventually(() => get(stage, `http://${address}/`))
  })

  test("a Service that is a ClusterIP again gives its address back", async () => {
    const slices = await createService(stage, { name: "changed", spec: BALANCED })
    await slices.write([pod])
    const address = await addressOf(stage.api, "default/changed")
    await eventually(() => get(stage, `http://${address}/`))
    await stage.api.patch("services", "default/changed", {
      spec: { type: "ClusterIP", allocateLoadBalancerNodePorts: null },
    })
    await eventually(async () => !(await stage.a.holds(address)), { what: `${address} to go` })
    const next = await createService(stage, { name: "next", spec: BALANCED })
    await next.write([pod])
    expect(await addressOf(stage.api, "default/next")).toBe(address)
  })
})

describe("a cluster that used MetalLB", () => {
  let stage: KubernetesStage

  beforeAll(async () => {
    stage = await createKubernetesStage("k8s-metallb", { custom: ["metallb"] })
  }, 30_000)

  afterAll(() => stage.lab.close())

  test("is served from its IPAddressPool, and addresses that MetalLB gave stay", async () => {
    await stage.api.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: first-pool, namespace: metallb-system }
spec: { addresses: [192.168.1.240-192.168.1.250] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: example, namespace: metallb-system }
spec: { ipAddressPools: [first-pool] }`)
    const pod = await startPod(stage, "pod-1", { node: 1, last: 5 })
    const old = await createService(stage, { name: "old", spec: BALANCED })
    await old.write([pod])
    await stage.api.patchStatus("services", "default/old", {
      loadBalancer: { ingress: [{ ip: "192.168.1.243", ipMode: "VIP" }] },
    })
    const fresh = await createService(stage, { name: "fresh", spec: BALANCED })
    await fresh.write([pod])

    const toml = vrrpToml({ priority: 100, addresses: [VIP] })
    const edge = await startClusterEdge(stage, stage.a, toml)
    expect(await addressOf(stage.api, "default/fresh")).toBe("192.168.1.240")
    expect(await addressOf(stage.api, "default/old")).toBe("192.168.1.243")
    for (const address of ["192.168.1.240", "192.168.1.243"]) {
      expect(await eventually(() => get(stage, `http://${address}/`))).toBe("pod-1 /")
    }

    // A pool that comes later, for one namespace.
    await stage.api.apply(`
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: production, namespace: metallb-system }
spec:
  addresses: [192.168.1.200/30]
  avoidBuggyIPs: true
  serviceAllocation: { priority: 10, namespaces: [production] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: all, namespace: metallb-system }`)
    const its = { namespace: "production", name: "web", spec: BALANCED }
    await (await createService(stage, its)).write([pod])
    expect(await addressOf(stage.api, "production/web")).toBe("192.168.1.200")
    expect((await edge.status()).kubernetes?.problems).toEqual([])
  }, 20_000)
})

describe("300 Services on one virtual router", () => {
  const COUNT = 300
  let stage: KubernetesStage
  let a: Edge
  let b: Edge

  const toml = (priority: number) => `${vrrpToml({ priority, addresses: [VIP] })}
[[address_pool]]
name = "large"
addresses = ["172.16.0.1-172.16.3.232"]
vrrp = ["edge"]
`

  /** The first ${COUNT} of the pool: answers by status. */
  async function askAll(): Promise<Record<string, number>> {
    const { stdout } = await stage.client.run(
      [
        ...["curl", "-s", "-m", "5", "--parallel", "--parallel-max", "20"],
        ...["-w", "%{http_code}\\n", "-o", "/dev/null", "-o", "/dev/null"],
        ...["http://172.16.0.[1-255]/", "http://172.16.1.[0-44]/"],
      ],
      { timeoutMs: 60_000 },
    )
    const statuses: Record<string, number> = {}
    for (const code of stdout.trim().split("\n")) statuses[code] = (statuses[code] ?? 0) + 1
    return statuses
  }

  async function heldBy(edge: Edge): Promise<number> {
    const held = await edge.host.addresses()
    return held.filter((address) => address.startsWith("172.16.")).length
  }

  beforeAll(async () => {
    stage = await createKubernetesStage("k8s-many")
    await stage.client.ip("route add 172.16.0.0/22 dev eth0")
    const pod = await startPod(stage, "pod-1", { node: 1, last: 5 })
    await stage.api.apply([...manyServices(COUNT, pod)])
    a = await startClusterEdge(stage, stage.a, toml(100))
    await a.waitState("active")
    b = await startClusterEdge(stage, stage.b, toml(90))
    await b.waitState("backup")
  }, 60_000)

  afterAll(() => stage.lab.close())

  test("all get an address of their own, and answer there", async () => {
    const startedMs = epochMs()
    const statuses = await eventually(
      async () => {
        const all = [...(await serviceStatuses(stage.api)).values()]
        return all.every(({ addresses }) => addresses.length === 1) ? all : undefined
      },
      { what: "an address for each", timeoutMs: 40_000, intervalMs: 200 },
    )
    const givenMs = epochMs() - startedMs
    expect(new Set(statuses.map(({ addresses }) => addresses[0])).size).toBe(COUNT)
    await eventually(async () => (await heldBy(a)) === COUNT, { what: "all to be held" })
    report("300 addresses", {
      "given within ms of the edge's start": givenMs,
      "held after ms": epochMs() - startedMs,
    })
    expect(await askAll()).toEqual({ "200": COUNT })
  }, 60_000)

  test("the adverts name only the file's address", async () => {
    const capture = await startCapture(stage.client, { filter: "proto 112" })
    await Bun.sleep(500)
    await capture.stop()
    const adverts = await capture.fields(["ip.len", "vrrp.addr_count"], "vrrp")
    expect(adverts.length).toBeGreaterThan(2)
    // IPv4 header, 8 bytes and one address.
    expect(new Set(adverts.map((fields) => fields.join(" ")))).toEqual(new Set(["32 1"]))
  })

  test("a takeover moves them all", async () => {
    const before = new Map(
      [...(await serviceStatuses(stage.api))].map(([key, { addresses }]) => [key, addresses]),
    )
    const killedMs = epochMs()
    await a.kill()
    await eventually(async () => (await heldBy(b)) === COUNT, {
      what: "all to be held",
      intervalMs: 5,
    })
    const heldMs = epochMs() - killedMs
    const answers = await askAll()
    report("takeover of 300 addresses", {
      "held after ms": heldMs,
      "all have answered after ms": epochMs() - killedMs,
    })
    expect(answers).toEqual({ "200": COUNT })
    expect(await heldBy(a)).toBe(0)
    const after = [...(await serviceStatuses(stage.api))].map(([key, { addresses }]) => {
      return [key, addresses] as const
    })
    expect(new Map(after)).toEqual(before)
  }, 60_000)
})

function* manyServices(count: number, pod: Pod) {
  for (let number = 0; number < count; number++) {
    const name = `web-${number}`
    const metadata = { name, namespace: "default" }
    yield {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: { type: "LoadBalancer", ports: [{ name: "http", port: 80, targetPort: 8080 }] },
    }
    yield {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, labels: { "kubernetes.io/service-name": name } },
      addressType: "IPv4",
      endpoints: [{ addresses: [pod.address], conditions: { ready: true } }],
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
    }
  }
}
