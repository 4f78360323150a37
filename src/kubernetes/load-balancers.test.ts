import { describe, expect, test } from "bun:test"
import type { VrrpConfig } from "../config/config.ts"
import type { Address } from "../net/address.ts"
import { formatPrefix, parsePrefix } from "../net/address.ts"
import { type Instant, instant } from "../net/time.ts"
import { patchedService } from "./fixtures/service-patch.ts"
import { ingressOf, portOf, serviceOf } from "./fixtures/services.ts"
import { emptyView } from "./fixtures/view.ts"
import { LoadBalancers, type LoadBalancersConfig } from "./load-balancers.ts"
import { keyOf, type Service } from "./objects.ts"
import type { Write } from "./writes.ts"

const KUBERNETES: NonNullable<LoadBalancersConfig["kubernetes"]> = {
  kubeconfig: "",
  context: "",
  apiServer: "https://192.0.2.10:6443",
  caFile: "",
  tokenFile: "",
  namespaces: [],
  ingressClass: "causeway",
  loadBalancerClass: "causeway.dev/edge",
  claimUnclassed: true,
  podRoutes: "off",
  lease: { namespace: "causeway", name: "causeway" },
  watchSilenceMs: 60_000,
}

function configOf(more: Partial<LoadBalancersConfig> = {}): LoadBalancersConfig {
  return {
    kubernetes: KUBERNETES,
    addressPools: [poolOf("pool", "192.0.2.1", "192.0.2.9")],
    vrrp: [routerOf("a"), routerOf("b")],
    streams: [],
    http: [],
    admin: { listen: [], tokenFile: "" },
    ...more,
  }
}

function poolOf(name: string, first: string, last: string, vrrp = ["a", "b"]) {
  const addresses = [{ first: first as Address, last: last as Address }]
  return { name, addresses, vrrp, autoAssign: true }
}

function routerOf(name: string, addresses: readonly string[] = []): VrrpConfig {
  const prefixes = addresses.flatMap((text) => parsePrefix(text) ?? [])
  return {
    name,
    interface: "eth0",
    addresses: prefixes,
    unadvertisedAddresses: [],
  } as unknown as VrrpConfig
}

type Spec = Parameters<typeof serviceOf>[1]

/** An edge over a view that the test changes; writes are applied only where it says so. */
class Bench {
  readonly edge = new LoadBalancers()
  readonly services = new Map<string, Service>()
  epochMs = Date.UTC(2026, 0, 1)
  now: Instant = instant(0)
  /** Services whose writes the server does not take. */
  readonly refused = new Set<string>()
  #version = 100

  constructor(config: LoadBalancersConfig = configOf()) {
    this.edge.configure(config)
    this.edge.update(this.view(), "everything")
  }

  view() {
    return { ...emptyView(), services: this.services }
  }

  put(name: string, spec: Spec = {}): this {
    this.#version += 1
    const { meta, ...rest } = spec ?? {}
    const resourceVersion = `${this.#version}`
    const service = serviceOf(`shop/${name}`, { ...rest, meta: { ...meta, resourceVersion } })
    this.services.set(keyOf(service.meta), service)
    this.edge.update(this.view(), { services: [keyOf(service.meta)] })
    return this
  }

  remove(name: string): this {
    this.services.delete(`shop/${name}`)
    this.edge.update(this.view(), { services: [`shop/${name}`] })
    return this
  }

  writer(term = "edge-a/1"): this {
    this.edge.setWriter(term)
    return this
  }

  take(): Write[] {
    return this.edge.takeWrites(this)
  }

  /** Carries the writes out, like an API server, until there are none; returns them in short. */
  settle(): string[] {
    const log: string[] = []
    for (let round = 0; round < 20; round++) {
      const writes = this.take()
      if (writes.length === 0) return log
      for (const write of writes) log.push(this.#apply(write))
    }
    throw new Error("It writes for ever")
  }

  #apply(write: Write): string {
    if (write.type === "event") return `${write.severity} ${write.reason} ${write.about.name}`
    if (write.type !== "patch") throw new Error(write.type)
    const key = `${write.namespace}/${write.name}`
    if (this.refused.has(key)) return "500"
    const service = this.services.get(key)
    if (service === undefined || service.meta.resourceVersion !== write.resourceVersion) {
      return "409"
    }
    this.#version += 1
    this.services.set(key, patchedService(service, write.patch, `${this.#version}`))
    this.edge.update(this.view(), { services: [key] })
    return `${write.name} ${write.subresource}`
  }
}

function routersOf({ edge }: Bench): Record<string, string> {
  const entries = [...edge.contribution().addressesByRouter]
  return Object.fromEntries(entries.map(([name, list]) => [name, list.map(formatPrefix).join()]))
}

describe("LoadBalancers", () => {
  test("gives an address and a router in one write, and serves what the view shows", () => {
    const bench = new Bench().writer().put("web")
    const [status, event, ...rest] = bench.take()
    expect(status).toEqual({
      type: "patch",
      resource: "services",
      namespace: "shop",
      name: "web",
      subresource: "status",
      resourceVersion: "101",
      patch: {
        status: {
          loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "Proxy" }] },
          conditions: [
            {
              type: "causeway.dev/Ready",
              status: "True",
              reason: "Assigned",
              message: '192.0.2.1 on virtual router "a"',
              lastTransitionTime: "2026-01-01T00:00:00Z",
            },
            {
              type: "causeway.dev/VirtualRouter",
              status: "True",
              reason: "Chosen",
              message: "a",
              lastTransitionTime: "2026-01-01T00:00:00Z",
            },
          ],
        },
      },
      format: "strategic",
    })
    expect(event).toMatchObject({ type: "event", severity: "Normal", reason: "IPAllocated" })
    expect(rest).toEqual([])
    expect(bench.edge.contribution().streams).toEqual([])
  })

  test("has nothing more to write once the API shows it, also on the next edge", () => {
    const bench = new Bench().writer().put("web")
    expect(bench.settle()).toEqual(["web status", "Normal IPAllocated web"])
    expect(bench.edge.status()).toEqual([
      {
        service: "shop/web",
        addresses: ["192.0.2.1" as Address],
        routers: ["a"],
        ports: ["80/TCP"],
        state: "served",
        reason: "",
      },
    ])
    expect(routersOf(bench)).toEqual({ a: "192.0.2.1/32" })
    const [stream] = bench.edge.contribution().streams
    expect(stream).toMatchObject({ name: "shop/web:80", pool: "shop/web:80" })
    expect<unknown>(stream?.bind).toEqual([{ address: "192.0.2.1", port: 80 }])
    bench.writer("edge-b/1")
    expect(bench.settle()).toEqual([])
  })

  test("spreads addresses over the routers of the pool by count", () => {
    const bench = new Bench().writer()
    for (const name of ["s1", "s2", "s3", "s4", "s5"]) bench.put(name)
    bench.settle()
    expect(routersOf(bench)).toEqual({
      a: "192.0.2.1/32,192.0.2.3/32,192.0.2.5/32",
      b: "192.0.2.2/32,192.0.2.4/32",
    })
    bench.remove("s1").remove("s3").remove("s5").put("s6")
    bench.settle()
    expect(routersOf(bench)).toEqual({ a: "192.0.2.1/32", b: "192.0.2.2/32,192.0.2.4/32" })
  })

  test("serves and records addresses that MetalLB gave out, where both edges put them", () => {
    const spec = { ingress: [{ ip: "192.0.2.7" as Address, hostname: "", ipMode: "VIP" as const }] }
    const bench = new Bench().put("web", spec)
    const before = routersOf(bench)
    expect(Object.values(before)).toEqual(["192.0.2.7/32"])
    expect(bench.writer().settle()).toEqual(["web status", "Normal Served web"])
    expect(routersOf(bench)).toEqual(before)
  })

  test("does not rewrite for an ipMode that an old server drops", () => {
    const bench = new Bench().writer().put("web")
    bench.settle()
    const service = bench.services.get("shop/web") as Service
    bench.put("web", {
      ...service,
      ingress: [{ ip: "192.0.2.1" as Address, hostname: "", ipMode: undefined }],
    })
    expect(bench.settle()).toEqual([])
  })

  test("moves to another router when its own is gone from the file, and says so", () => {
    const bench = new Bench().writer().put("web")
    bench.settle()
    const addressPools = [poolOf("pool", "192.0.2.1", "192.0.2.9", ["b"])]
    bench.edge.configure(configOf({ addressPools }))
    expect(routersOf(bench)).toEqual({ b: "192.0.2.1/32" })
    expect(bench.settle()).toEqual(["web status", "Normal Served web"])
    expect(bench.services.get("shop/web")?.conditions.map(({ message }) => message)).toEqual([
      '192.0.2.1 on virtual router "b"',
      "b",
    ])
  })

  test("tells of an exhausted pool once, and helps itself when there is room", () => {
    const addressPools = [poolOf("pool", "192.0.2.1", "192.0.2.1")]
    const bench = new Bench(configOf({ addressPools })).writer()
    bench.put("web").put("late", { meta: { createdEpochMs: 1 } })
    expect(bench.settle()).toContain("Warning AllocationFailed late")
    expect(bench.services.get("shop/late")?.conditions[0]).toMatchObject({
      status: "False",
      reason: "PoolExhausted",
      message: 'no free IPv4 address in "pool"',
    })
    bench.writer("edge-b/1")
    // The fence touches it; there is no second Event.
    expect(bench.settle()).toEqual(["late status"])
    bench.remove("web")
    expect(bench.settle()).toEqual(["late status", "Normal IPAllocated late"])
  })

  test("gives nothing before all that may have a promise has another version", () => {
    const bench = new Bench().put("one").put("two").writer("edge-b/1")
    const touches = bench.take()
    const touch = {
      status: {
        conditions: [
          {
            type: "causeway.dev/Writer",
            status: "True",
            reason: "TookOver",
            message: "edge-b/1",
            lastTransitionTime: "2026-01-01T00:00:00Z",
          },
        ],
      },
    }
    expect(touches.map((write) => write.type === "patch" && write.patch)).toEqual([touch, touch])
    // The predecessor's write to one of them arrives late, with the address that is lowest.
    bench.put("two", { ingress: ingressOf("192.0.2.1") })
    expect(bench.take()).toEqual([])
    bench.put("one")
    bench.settle()
    expect(bench.edge.status().map(({ addresses }) => addresses.join())).toEqual([
      "192.0.2.2",
      "192.0.2.1",
    ])
  })

  test("reports UDP ports and clashes with the file, and serves the rest", () => {
    const config = configOf({
      streams: [
        { name: "mysql", bind: [{ address: "192.0.2.5" as Address, port: 3306 }] },
      ] as never,
    })
    const ports = [
      portOf(53, { name: "dns", protocol: "UDP" }),
      portOf(3306, { name: "db" }),
      portOf(80, { name: "http" }),
    ]
    const bench = new Bench(config).writer().put("web", { ports, loadBalancerIP: "192.0.2.5" })
    expect(bench.settle()).toContain("Warning ProtocolNotServed web")
    expect(bench.edge.contribution().streams.map(({ name }) => name)).toEqual(["shop/web:http"])
    expect(bench.edge.status()[0]).toMatchObject({
      state: "degraded",
      reason:
        "port 53/UDP is not served: only TCP is, in this version; " +
        '192.0.2.5:3306 is used by stream "mysql", which keeps it',
    })
    const types = bench.services.get("shop/web")?.conditions.map(({ type }) => type)
    expect(types?.toSorted()).toEqual([
      "causeway.dev/Degraded",
      "causeway.dev/Ready",
      "causeway.dev/VirtualRouter",
    ])
    bench.put("web", { ...(bench.services.get("shop/web") as Service), ports: [portOf(80)] })
    bench.settle()
    expect(bench.services.get("shop/web")?.conditions.map(({ type }) => type)).not.toContain(
      "causeway.dev/Degraded",
    )
  })

  test("gives a port that two Services claim to the older, and says it to the younger", () => {
    const bench = new Bench()
    bench.put("young", { ingress: ingressOf("192.0.2.1"), meta: { createdEpochMs: 2 } })
    bench.put("aged", {
      ingress: ingressOf("192.0.2.1"),
      meta: { createdEpochMs: 1 },
      ports: [portOf(80), portOf(81)],
    })
    const names = () => bench.edge.contribution().streams.map(({ name }) => name)
    expect(names()).toEqual(["shop/aged:80", "shop/aged:81"])
    expect(bench.edge.status()[1]?.reason).toContain("192.0.2.1:80 is used by Service shop/aged")
    bench.remove("aged")
    expect(names()).toEqual(["shop/young:80"])
  })

  test("translates affinity, source ranges and PROXY protocol", () => {
    const bench = new Bench().put("web", {
      ingress: ingressOf("192.0.2.1"),
      sessionAffinity: "ClientIP",
      loadBalancerSourceRanges: [{ address: "10.0.0.0" as Address, length: 8 }],
      meta: { annotations: { "causeway.dev/proxy-protocol": "v2" } },
      allocateLoadBalancerNodePorts: false,
    })
    const { streams, pools } = bench.edge.contribution()
    expect(pools[0]).toMatchObject({
      name: "shop/web:80+source+proxy=v2",
      balance: "source",
      proxyProtocol: "v2",
      kubernetes: { namespace: "shop", service: "web", port: 80, reach: "pod" },
    })
    expect(streams[0]?.allow.map(formatPrefix)).toEqual(["10.0.0.0/8"])
  })

  test("takes back only what it wrote when a Service stops being ours", () => {
    const bench = new Bench().writer().put("web")
    bench.settle()
    const web = bench.services.get("shop/web") as Service
    const others = [...web.ingress, ...ingressOf("203.0.113.1")]
    bench.put("web", { ...web, loadBalancerClass: "other/class", ingress: others })
    expect(bench.edge.contribution().streams).toEqual([])
    expect(bench.settle()).toEqual(["web status"])
    const released = bench.services.get("shop/web")
    expect(released?.ingress.map(({ ip }) => ip as string)).toEqual(["203.0.113.1"])
    expect(released?.conditions).toEqual([])
  })

  test("never touches Services that were never ours", () => {
    const bench = new Bench().writer()
    bench.put("cluster", { type: "ClusterIP" })
    bench.put("other", { loadBalancerClass: "x/y", ingress: ingressOf("192.0.2.1") })
    expect(bench.settle()).toEqual([])
    bench.put("web")
    bench.settle()
    expect<unknown>(bench.edge.status()[0]?.addresses).toEqual(["192.0.2.2"])
  })

  test("leaves alone a status from elsewhere, and explains", () => {
    const bench = new Bench().writer().put("web", { ingress: ingressOf("203.0.113.1") })
    expect(bench.settle()).toEqual(["web status", "Warning AllocationFailed web"])
    expect(bench.services.get("shop/web")?.ingress[0]?.ip as string).toBe("203.0.113.1")
    expect(bench.edge.status()[0]).toMatchObject({ state: "pending", addresses: [] })
    expect(routersOf(bench)).toEqual({})
  })

  test("repeats a write that had no effect, ever more slowly", () => {
    const bench = new Bench().writer().put("web")
    expect(bench.take()).toHaveLength(2)
    expect(bench.take()).toEqual([])
    expect<unknown>(bench.edge.deadline()).toBe(30_000)
    bench.now = instant(30_000)
    expect(bench.take()).toHaveLength(1)
    expect<unknown>(bench.edge.deadline()).toBe(90_000)
  })

  test("does not quarrel for ever with somebody who undoes its work", () => {
    const bench = new Bench().writer()
    let writes = 0
    for (let at = 0; at < 50; at++) {
      bench.put("web")
      writes += bench.take().filter(({ type }) => type === "patch").length
    }
    expect(writes).toBe(4)
  })

  test("does not repeat an address that the file gives to a virtual router itself", () => {
    const vrrp = [routerOf("a"), routerOf("b", ["192.0.2.3/32"])]
    const bench = new Bench(configOf({ vrrp })).writer().put("web", { loadBalancerIP: "192.0.2.3" })
    bench.settle()
    expect(routersOf(bench)).toEqual({})
    expect(bench.edge.status()[0]).toMatchObject({ routers: ["b"], state: "served" })
  })

  test("follows the annotation that asks for a router, on any edge", () => {
    const bench = new Bench().writer().put("web")
    bench.settle()
    const annotations = { "causeway.dev/virtual-router": "b" }
    bench.put("web", { ...(bench.services.get("shop/web") as Service), meta: { annotations } })
    expect(routersOf(bench)).toEqual({ b: "192.0.2.1/32" })
    expect(bench.settle()).toEqual(["web status", "Normal Served web"])
  })

  test("keeps its contribution the same object while nothing served changes", () => {
    const bench = new Bench().put("web", { ingress: ingressOf("192.0.2.1") })
    const before = bench.edge.contribution()
    bench.writer().settle()
    bench.put("cluster", { type: "ClusterIP" })
    expect(bench.edge.contribution()).toBe(before)
    bench.put("web", { ingress: ingressOf("192.0.2.2") })
    expect(bench.edge.contribution()).not.toBe(before)
  })

  test("serves 2,000 Services within a second, and gives them addresses in another", () => {
    const addressPools = [poolOf("pool", "10.0.0.1", "10.0.255.255")]
    const bench = new Bench(configOf({ addressPools }))
    for (let at = 0; at < 2000; at++) {
      const service = serviceOf(`shop/s${at}`)
      bench.services.set(keyOf(service.meta), service)
    }
    const start = performance.now()
    bench.edge.update(bench.view(), "everything")
    const given = bench.writer()
    // Nobody wrote before: the touches of the fence are the first writes.
    expect(given.take().filter(({ type }) => type === "patch")).toHaveLength(2000)
    for (const [key, service] of bench.services) {
      bench.services.set(key, { ...service, meta: { ...service.meta, resourceVersion: "2" } })
    }
    bench.edge.update(bench.view(), "everything")
    expect(bench.take().filter(({ type }) => type === "patch")).toHaveLength(2000)
    expect(performance.now() - start).toBeLessThan(5000)
  })

  test("waits a minute at most for a Service that nobody can write to", () => {
    const bench = new Bench().put("stuck").put("web")
    bench.refused.add("shop/stuck")
    bench.writer().settle()
    expect(bench.services.get("shop/web")?.ingress).toEqual([])
    expect<unknown>(bench.edge.deadline()).toBeLessThanOrEqual(60_000)
    bench.now = instant(60_000)
    bench.settle()
    expect(bench.services.get("shop/web")?.ingress).toHaveLength(1)
  })

  test("stops writing without a term", () => {
    const bench = new Bench().writer().put("web")
    bench.edge.setWriter(undefined)
    expect(bench.take()).toEqual([])
    expect(bench.edge.deadline()).toBeUndefined()
  })
})
