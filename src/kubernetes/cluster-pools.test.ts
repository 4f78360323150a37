import { beforeEach, describe, expect, test } from "bun:test"
import type { PoolConfig } from "../config/config.ts"
import { ClusterPools } from "./cluster-pools.ts"
import {
  endpoint,
  node,
  service,
  servicePort,
  slice,
  slicePorts,
} from "./fixtures/endpoint-objects.ts"
import { Mirror, type MirroredObject } from "./mirror.ts"
import type { MirroredKind } from "./objects.ts"
import { SERVICE_POOL } from "./service-pool.ts"

const KEY = "training/web"
const HTTP = slicePorts(["http", 8080])

let mirror: Mirror
let pools: ClusterPools

beforeEach(() => {
  mirror = new Mirror()
  pools = new ClusterPools(mirror)
})

function put(kind: MirroredKind, key: string, object: MirroredObject): void {
  mirror.apply({ id: kind, kind }, [{ key, object }])
}

function template(name: string, reach: "pod" | "node_port" = "pod"): PoolConfig {
  const kubernetes = { namespace: "training", service: "web", port: "http", reach }
  return { ...SERVICE_POOL, name, kubernetes }
}

function serversOf(name: string): string[] | undefined {
  const found = pools.pools().find((pool) => pool.name === name)
  return found?.servers.map(({ endpoint: { address, port } }) => `${address}:${port}`)
}

describe("setTemplates()", () => {
  test("gives a pool the servers that the view has, and others none", () => {
    put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("10.0.0.1")]))
    pools.setTemplates([template("p"), { ...SERVICE_POOL, name: "q", kubernetes: undefined }])
    expect(serversOf("p")).toEqual(["10.0.0.1:8080"])
    expect(serversOf("q")).toBeUndefined()
  })

  test("keeps the very pool that was, where nothing is other", () => {
    pools.setTemplates([template("p")])
    const [before] = pools.pools()
    pools.setTemplates([template("p"), template("q")])
    expect(pools.pools()[0]).toBe(before as PoolConfig)
  })

  test("takes over another option, and forgets what is not named", () => {
    pools.setTemplates([template("p"), template("q")])
    pools.setTemplates([{ ...template("q"), balance: "source" }])
    expect(pools.pools().map(({ name, balance }) => [name, balance])).toEqual([["q", "source"]])
  })
})

describe("refresh()", () => {
  test("returns the pools of the Service that are others now, and only those", () => {
    pools.setTemplates([template("p"), template("q")])
    put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("10.0.0.1")]))
    expect(pools.refresh(["training/other"], { nodes: false })).toEqual([])
    const changed = pools.refresh([KEY], { nodes: false })
    expect(changed.map(({ name }) => name)).toEqual(["p", "q"])
    expect(pools.refresh([KEY], { nodes: false })).toEqual([])
  })

  test("looks at the nodes for pools that go through them", () => {
    const ports = [servicePort(80, { name: "http", nodePort: 30_080 })]
    put("services", KEY, service(ports, { type: "NodePort" }))
    pools.setTemplates([template("p"), template("n", "node_port")])
    put("nodes", "n1", node("n1", { internalIPs: ["192.0.2.11"] }))
    expect(pools.refresh([], { nodes: true }).map(({ name }) => name)).toEqual(["n"])
    expect(serversOf("n")).toEqual(["192.0.2.11:30080"])
  })
})

test("status() says why a pool is empty", () => {
  pools.setTemplates([template("p")])
  expect(pools.status()).toEqual([
    {
      pool: "p",
      service: KEY,
      port: "http",
      servers: 0,
      reason: "no EndpointSlices for training/web",
    },
  ])
})
