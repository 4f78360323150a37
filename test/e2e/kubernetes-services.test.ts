/** Services of type LoadBalancer through an edge: where connections to them go, and from whom. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { SliceWriter } from "../lab/api-server/slice-writer.ts"
import type { Edge } from "../lab/edge.ts"
import { eventually } from "../lab/wait.ts"
import { startHttpLoad } from "./http-load.ts"
import { addressOf, conditionOf, eventOf, serviceStatus } from "./kubernetes-service-status.ts"
import {
  createKubernetesStage,
  createService,
  type KubernetesStage,
  type Pod,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

let stage: KubernetesStage
let edge: Edge
let first: Pod
let second: Pod

const TOML = `${vrrpToml({ priority: 100, addresses: ["192.168.1.40"] })}
[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240-192.168.1.250"]
vrrp = ["edge"]

[[address_pool]]
name = "second-pool"
addresses = ["192.168.1.200-192.168.1.220"]
vrrp = ["edge"]
`

/** As the tutorials have it. */
const TUTORIAL = `
apiVersion: v1
kind: Service
metadata:
  name: nginx
spec:
  type: LoadBalancer
  selector:
    app: nginx
  ports:
    - port: 80
      targetPort: 80
`

/** The body's text, without the line end; throws where there is no answer. */
async function get(url: string, ...words: string[]): Promise<string> {
  return (await stage.client.exec(["curl", "-sS", "-m", "5", ...words, url])).trim()
}

/** Who answers `count` new connections, in order of names. */
async function whoAnswers(address: string, count = 8, ...words: string[]): Promise<string[]> {
  const names = new Set<string>()
  for (let asked = 0; asked < count; asked++) {
    names.add(nameIn(await get(`http://${address}/`, ...words)))
  }
  return [...names].sort()
}

/** Whether a connection is reset at once: at the connect, at the request or at the answer. */
async function isTurnedAway(url: string, ...words: string[]): Promise<boolean> {
  const { exitCode } = await stage.client.run(["curl", "-s", "-m", "5", ...words, url])
  return [7, 52, 56].includes(exitCode)
}

/** Waits until new connections meet just these. */
async function untilAnsweredBy(address: string, names: readonly string[]): Promise<void> {
  await eventually(
    async () => {
      const seen = await whoAnswers(address, 6)
      if (!Bun.deepEquals(seen, names)) throw new Error(seen.join(" "))
      return true
    },
    { what: `answers by ${names.join(" and ")}` },
  )
}

function nameIn(answer: string): string {
  return answer.split(" ")[0] ?? ""
}

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-services")
  for (const last of [101, 102, 103, 104, 105, 106]) {
    await stage.client.ip(`address add 192.168.1.${last}/24 dev eth0`)
  }
  first = await startPod(stage, "pod-1", { node: 1, last: 5 })
  second = await startPod(stage, "pod-2", { node: 2, last: 5 })
  edge = await startClusterEdge(stage, stage.a, TOML)
  await edge.waitState("active")
}, 30_000)

afterAll(() => stage.lab.close())

describe("a tutorial's nginx of type LoadBalancer", () => {
  test("gets the first address of the pool", async () => {
    const pods = [
      await startPod(stage, "nginx-1", { node: 1, last: 6, port: 80 }),
      await startPod(stage, "nginx-2", { node: 2, last: 6, port: 80 }),
    ]
    await stage.api.apply(TUTORIAL)
    const ports = [{ name: "", port: 80 }]
    await new SliceWriter(stage.api, { namespace: "default", service: "nginx", ports }).write(pods)
    await addressOf(stage.api, "default/nginx")
    const status = await serviceStatus(stage.api, "default/nginx")
    expect([status?.addresses, status?.ipModes]).toEqual([["192.168.1.240"], ["Proxy"]])
    await eventOf(stage.api, "nginx", /^IPAllocated: Assigned IP \["192.168.1.240"\]/)
  })

  test("is reached there by a client that has no route to pods", async () => {
    await untilAnsweredBy("192.168.1.240", ["nginx-1", "nginx-2"])
    expect((await stage.client.run(["ip", "route", "get", "10.244.1.6"])).exitCode).not.toBe(0)
  })
})

describe("an endpoint that terminates but still serves", () => {
  test("takes nothing new while another is ready, keeps what it has, and is the last resort", async () => {
    const slices = await createService(stage, { name: "drain", spec: "  type: LoadBalancer" })
    await slices.write([first, second])
    const address = await addressOf(stage.api, "default/drain")
    await untilAnsweredBy(address, ["pod-1", "pod-2"])

    const kept = await startHttpLoad(stage.client, `${address}:80`, { connections: 6 })
    await kept.requests(60)
    const before = kept.progress.servers
    expect(Object.keys(before).sort()).toEqual(["pod-1", "pod-2"])

    await slices.write([first, { ...second, state: "terminating" }])
    await untilAnsweredBy(address, ["pod-1"])
    await kept.requests(60)
    expect(kept.progress.servers["pod-2"]).toBeGreaterThan(before["pod-2"] ?? 0)

    await slices.write([
      { ...first, state: "terminating" },
      { ...second, state: "terminating" },
    ])
    await untilAnsweredBy(address, ["pod-1", "pod-2"])
    await slices.write([
      { ...first, state: "ending" },
      { ...second, state: "terminating" },
    ])
    await untilAnsweredBy(address, ["pod-2"])
    const { failed, reopened } = await kept.stop()
    expect({ failed, reopened }).toEqual({ failed: {}, reopened: 0 })
  }, 20_000)

  test("is no use once it serves no more", async () => {
    const slices = await createService(stage, { name: "ended", spec: "  type: LoadBalancer" })
    await slices.write([first])
    const address = await addressOf(stage.api, "default/ended")
    await untilAnsweredBy(address, ["pod-1"])
    await slices.write([{ ...first, state: "ending" }])
    const pool = "default/ended:http"
    const { kubernetes } = await edge.waitStatus(
      (status) => status.kubernetes?.pools.find(({ name }) => name === pool)?.servers === 0,
    )
    expect(kubernetes?.pools.find(({ name }) => name === pool)?.reason).toBe(
      "0 of 1 endpoints of default/ended ready",
    )
    expect(await isTurnedAway(`http://${address}/`)).toBe(true)
  })
})

describe("a Service's own words", () => {
  test("a named target port may be another in each pod", async () => {
    const other = await startPod(stage, "pod-3", { node: 1, last: 7, port: 9090 })
    const slices = await createService(stage, { name: "named", spec: "  type: LoadBalancer" })
    await slices.write([second, { ...other, ports: { http: 9090 } }])
    await untilAnsweredBy(await addressOf(stage.api, "default/named"), ["pod-2", "pod-3"])
  })

  test("publishNotReadyAddresses: what the slices call ready is used, serving or not", async () => {
    const spec = "  type: LoadBalancer\n  publishNotReadyAddresses: true"
    const slices = await createService(stage, { name: "early", spec })
    await slices.write([first])
    const address = await addressOf(stage.api, "default/early")
    // The controller's words for a pod of such a Service that is not ready and terminates.
    const [slice] = (await stage.api.list("endpointslices")).filter(({ metadata }) =>
      metadata.name.startsWith("early-"),
    )
    await stage.api.patch("endpointslices", `default/${slice?.metadata.name}`, {
      endpoints: [
        {
          addresses: [second.address],
          conditions: { ready: true, serving: false, terminating: true },
          targetRef: { kind: "Pod", namespace: "default", name: "pod-2" },
        },
      ],
    })
    await untilAnsweredBy(address, ["pod-2"])
  })

  test("sessionAffinity ClientIP: a client stays with its pod, others have others", async () => {
    const spec = "  type: LoadBalancer\n  sessionAffinity: ClientIP"
    const slices = await createService(stage, { name: "sticky", spec })
    await slices.write([first, second])
    const address = await addressOf(stage.api, "default/sticky")
    await eventually(() => get(`http://${address}/`))
    const all = new Set<string>()
    for (const last of [100, 101, 102, 103, 104, 105, 106]) {
      const names = await whoAnswers(address, 4, "--interface", `192.168.1.${last}`)
      expect(names).toHaveLength(1)
      for (const name of names) all.add(name)
    }
    expect([...all].sort()).toEqual(["pod-1", "pod-2"])
  })

  test("loadBalancerSourceRanges: others are turned away", async () => {
    const spec = "  type: LoadBalancer\n  loadBalancerSourceRanges: [192.168.1.101/32]"
    const slices = await createService(stage, { name: "ranges", spec })
    await slices.write([first])
    const address = await addressOf(stage.api, "default/ranges")
    const url = `http://${address}/`
    await eventually(() => get(url, "--interface", "192.168.1.101"))
    expect(await isTurnedAway(url, "--interface", "192.168.1.102")).toBe(true)
    // Live: the range grows.
    await stage.api.patch("services", "default/ranges", {
      spec: { loadBalancerSourceRanges: ["192.168.1.96/27"] },
    })
    await eventually(() => get(url, "--interface", "192.168.1.102"))
  })

  test("causeway.dev/proxy-protocol: pods are told who the client is", async () => {
    const pod = await startPod(stage, "pod-4", {
      node: 1,
      last: 8,
      more: `
        listen 10.244.1.8:8081 proxy_protocol;
        location = /client { return 200 "$proxy_protocol_addr\\n"; }`,
    })
    for (const version of ["v1", "v2"]) {
      const name = `proxy-${version}`
      const annotations = { "causeway.dev/proxy-protocol": version }
      const spec = "  type: LoadBalancer"
      const slices = await createService(stage, { name, targetPort: 8081, annotations, spec })
      await slices.write([pod])
      const address = await addressOf(stage.api, `default/${name}`)
      const url = `http://${address}/client`
      const told = await eventually(() => get(url, "--interface", "192.168.1.103"))
      expect(told).toBe("192.168.1.103")
    }
  })

  test("a UDP port is said not to be served, by an Event and in the status; its TCP port is", async () => {
    await stage.api.apply(`
apiVersion: v1
kind: Service
metadata: { name: dns, namespace: default }
spec:
  type: LoadBalancer
  selector: { app: dns }
  ports:
    - { name: http, port: 80, targetPort: 8080 }
    - { name: dns, port: 53, targetPort: 53, protocol: UDP }`)
    const ports = [
      { name: "http", port: 8080 },
      { name: "dns", port: 53, protocol: "UDP" } as const,
    ]
    const slices = new SliceWriter(stage.api, { namespace: "default", service: "dns", ports })
    await slices.write([first])
    const address = await addressOf(stage.api, "default/dns")
    await untilAnsweredBy(address, ["pod-1"])
    const words = /port 53\/UDP is not served/
    await eventOf(stage.api, "dns", /^ProtocolNotServed: port 53\/UDP is not served/)
    expect(await conditionOf(stage.api, "default/dns", "causeway.dev/Degraded", words)).toBe(
      "True ProtocolNotServed: port 53/UDP is not served: only TCP is, in this version",
    )
    const { kubernetes } = await edge.status()
    const row = kubernetes?.services.find(({ service }) => service === "default/dns")
    expect([row?.state, row?.reason]).toEqual([
      "degraded",
      "port 53/UDP is not served: only TCP is, in this version",
    ])
  })

  test("loadBalancerClass of somebody else: nothing is done to it", async () => {
    const spec = "  type: LoadBalancer\n  loadBalancerClass: example.com/other"
    const slices = await createService(stage, { name: "theirs", spec })
    await slices.write([first])
    const before = (await stage.api.get("services", "default/theirs"))?.metadata.resourceVersion
    // Whoever came after it is done.
    const next = await createService(stage, {
      name: "ours",
      spec: "  type: LoadBalancer\n  loadBalancerClass: causeway.dev/edge",
    })
    await next.write([first])
    await addressOf(stage.api, "default/ours")
    const theirs = await stage.api.get("services", "default/theirs")
    expect(theirs?.metadata.resourceVersion).toBe(before)
    expect((await stage.api.events("Service", "theirs")).length).toBe(0)
  })
})

describe("a Service that goes", () => {
  test("takes its address and its connections' way with it, and others go on", async () => {
    const slices = await createService(stage, { name: "going", spec: "  type: LoadBalancer" })
    await slices.write([first])
    const address = await addressOf(stage.api, "default/going")
    await untilAnsweredBy(address, ["pod-1"])
    const others = await startHttpLoad(stage.client, "192.168.1.240:80", { connections: 3 })
    await stage.api.remove("services", "default/going")
    await eventually(async () => !(await stage.a.holds(address)), {
      what: `${address} to be gone`,
    })
    await others.requests(30)
    const { failed, reopened } = await others.stop()
    expect({ failed, reopened }).toEqual({ failed: {}, reopened: 0 })
    const { streams, pools } = await edge.status()
    const left = [...streams, ...pools].filter(({ name }) => name.startsWith("default/going"))
    expect(left).toEqual([])
  })
})
