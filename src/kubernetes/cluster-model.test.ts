import { beforeEach, describe, expect, test } from "bun:test"
import { diskFiles } from "../config/files.ts"
import { parseConfig } from "../config/load.ts"
import type { Address } from "../net/address.ts"
import { instant } from "../net/time.ts"
import { ClusterModel } from "./cluster-model.ts"
import { endpoint, slice, slicePorts } from "./fixtures/endpoint-objects.ts"
import { ingressOf, metaOf, portOf, serviceOf } from "./fixtures/services.ts"
import { Mirror, type MirroredObject } from "./mirror.ts"
import type { Ingress, MirroredKind } from "./objects.ts"
import type { Write } from "./writes.ts"

const TOML = `
[kubernetes]
api_server = "http://127.0.0.1:1"
[[vrrp]]
name = "edge"
interface = "eth0"
virtual_router_id = 51
addresses = ["192.0.2.40"]
[[address_pool]]
name = "first"
addresses = ["192.0.2.240-192.0.2.250"]
vrrp = ["edge"]
[[pool]]
name = "v1"
[pool.kubernetes]
namespace = "training"
service = "web"
port = "http"
[[stream]]
name = "v1"
bind = ["192.0.2.40:80", "0.0.0.0:8081"]
pool = "v1"
`

function configOf(text: string) {
  const loaded = parseConfig([{ path: "t.toml", text }], { files: diskFiles, hostName: "edge-a" })
  if (!loaded.ok) throw new Error(loaded.diagnostics.map(({ message }) => message).join("\n"))
  const { kubernetes } = loaded.config
  if (kubernetes === undefined) throw new Error("no [kubernetes]")
  return { ...loaded.config, kubernetes }
}

let mirror: Mirror
let model: ClusterModel

beforeEach(() => {
  mirror = new Mirror()
  model = new ClusterModel(configOf(TOML), mirror, {
    readCertificate: () => ({ ok: false, blame: "cert", reason: "is not read here" }),
    families: [4, 6],
    hostAddresses: ["192.0.2.21" as Address],
  })
  model.rebuild()
})

/** Returns the pools that take the short way. */
function put(kind: MirroredKind, key: string, object: MirroredObject): string[] {
  const changes = mirror.apply({ id: kind, kind }, [{ key, object }])
  return model.changed(changes).map(({ name }) => name)
}

const isPatch = ({ type }: Write) => type === "patch"
const HTTP = slicePorts(["http", 8080])

test("endpoints of a pool of the file take the short way", () => {
  expect(model.contribution.pools.map(({ name }) => name)).toEqual(["v1"])
  const changed = put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("10.0.0.1")]))
  expect(changed).toEqual(["v1"])
  expect(model.isStale).toBe(false)
  expect(model.contribution.pools[0]?.servers).toHaveLength(1)
})

describe("endpoints where an edge listens itself", () => {
  const servers = () => model.contribution.pools[0]?.servers.map(({ endpoint: at }) => at.address)

  test.each([
    ["192.0.2.40", 8080, "a virtual address"],
    ["192.0.2.241", 8080, "an address of a pool"],
    ["192.0.2.21", 8081, "this host, where a stream listens"],
  ])("%s:%d is no server: it is %s", (address, port) => {
    const ports = slicePorts(["http", port])
    const endpoints = [endpoint("10.0.0.1"), endpoint(address)]
    put("endpointSlices", "training/a", slice("a", ports, endpoints))
    expect(servers()).toEqual(["10.0.0.1" as Address])
    put("endpointSlices", "training/a", slice("a", ports, [endpoint(address)]))
    const reason = "the endpoints of training/web lead back to the edge itself"
    expect(model.status().pools[0]).toMatchObject({ servers: 0, reason })
  })

  test("the host's other ports are for whoever runs there", () => {
    put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("192.0.2.21")]))
    expect(servers()).toEqual(["192.0.2.21" as Address])
  })

  test("are looked at again when the file names other addresses", () => {
    put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("192.0.2.41")]))
    expect(servers()).toEqual(["192.0.2.41" as Address])
    model.configure(configOf(TOML.replace('["192.0.2.40"]', '["192.0.2.40", "192.0.2.41"]')))
    model.rebuild()
    expect(servers()).toEqual([])
  })
})

describe("a LoadBalancer Service", () => {
  const web = { ports: [portOf(80, { name: "http" })] }

  test("with an address in its status is a stream, a pool and an address of the router", () => {
    put(
      "services",
      "training/web",
      serviceOf("training/web", { ...web, ingress: ingressOf("192.0.2.240") }),
    )
    expect(model.isStale).toBe(true)
    expect(model.rebuild()).toBe(true)
    const { streams, pools, addresses } = model.contribution
    expect(streams.map(({ name, bind }) => [name, bind])).toEqual([
      ["training/web:http", [{ address: "192.0.2.240" as Address, port: 80 }]],
    ])
    expect(pools.map(({ name }) => name)).toEqual(["v1", "training/web:http"])
    expect(addresses.get("edge")).toEqual([{ address: "192.0.2.240" as Address, length: 32 }])
    expect(model.rebuild()).toBe(false)
  })

  test("without one is given one by the writer, once, and served when the view shows it", () => {
    put("services", "training/web", serviceOf("training/web", web))
    const context = {
      now: instant(0),
      epochMs: 0,
      isSynced: true,
      isWriter: true,
      servers: new Map(),
    }
    expect(model.takeWrites({ ...context, isWriter: false })).toEqual([])
    model.setWriter("term-1")
    const patches = () => JSON.stringify(model.takeWrites(context).filter(isPatch))
    // First of all, whatever a writer before us may still send is made harmless.
    expect(patches()).toContain("TookOver")
    put(
      "services",
      "training/web",
      serviceOf("training/web", {
        ...web,
        meta: { resourceVersion: "2" },
        conditions: [
          { type: "causeway.dev/Writer", status: "True", reason: "TookOver", message: "term-1" },
        ],
      }),
    )
    expect(patches()).toContain('"ip":"192.0.2.240"')
    expect(patches()).toBe("[]")
    expect(model.rebuild()).toBe(true) // it is ours, with nothing to serve yet
    expect(model.contribution.streams).toEqual([])
  })
})

test("another file with the same cluster is taken over", () => {
  put("endpointSlices", "training/a", slice("a", HTTP, [endpoint("10.0.0.1")]))
  model.configure(
    configOf(TOML.replace('name = "v1"', 'name = "v2"').replace('pool = "v1"', 'pool = "v2"')),
  )
  expect(model.rebuild()).toBe(true)
  expect(model.contribution.pools.map(({ name, servers }) => [name, servers.length])).toEqual([
    ["v2", 1],
  ])
})

describe("Ingresses", () => {
  const INGRESS_TOML = `${TOML}
[[http]]
name = "web"
bind = ["192.0.2.40:8080"]
ingress = true
`
  const LISTED = ingressOf("192.0.2.40")
  const context = {
    now: instant(0),
    epochMs: 0,
    isSynced: true,
    isWriter: true,
    servers: new Map(),
  }
  const served = (change: Partial<Ingress> = {}): Ingress => ({
    meta: metaOf("training/web", { resourceVersion: "1" }),
    className: "causeway",
    defaultBackend: undefined,
    rules: [{ host: "k8s.com", paths: [{ path: "/", pathType: "Prefix", backend: BACKEND }] }],
    tls: [],
    ingress: [],
    ...change,
  })

  beforeEach(() => {
    model.configure(configOf(INGRESS_TOML))
    put("services", "training/web", serviceOf("training/web", { type: "ClusterIP" }))
    put("ingresses", "training/web", served())
    model.rebuild()
  })

  test("are translated anew when a path changes, not when their status does", () => {
    put("ingresses", "training/web", served({ ingress: LISTED, meta: versioned("2") }))
    expect(model.isStale).toBe(false)
    put("ingresses", "training/web", served({ ingress: LISTED, meta: versioned("3"), rules: [] }))
    expect(model.isStale).toBe(true)
  })

  test("are translated anew when a port of a Service changes, not when its status does", () => {
    const web = { type: "ClusterIP", meta: { resourceVersion: "2" } } as const
    put("services", "training/web", serviceOf("training/web", { ...web, ingress: LISTED }))
    expect(model.isStale).toBe(false)
    put("services", "training/web", serviceOf("training/web", { ...web, ports: [portOf(81)] }))
    expect(model.isStale).toBe(true)
  })

  test("are written to again after a while, until the view shows it", () => {
    expect(model.takeWrites(context)).toHaveLength(1)
    expect(model.takeWrites(context)).toEqual([])
    expect(model.deadline()).toBe(instant(5_000))
    expect(model.takeWrites({ ...context, now: instant(5_000) })).toHaveLength(1)
    put("ingresses", "training/web", served({ ingress: LISTED, meta: versioned("2") }))
    expect(model.takeWrites({ ...context, now: instant(5_001) })).toEqual([])
    expect(model.takeWrites({ ...context, now: instant(10_000) })).toEqual([])
    expect(model.deadline()).toBeUndefined()
  })

  test("are written to again at once when somebody else changes their status", () => {
    put("ingresses", "training/web", served({ ingress: LISTED, meta: versioned("2") }))
    expect(model.takeWrites(context)).toEqual([])
    put("ingresses", "training/web", served({ meta: versioned("3") }))
    expect(model.takeWrites(context)).toHaveLength(1)
  })

  test("are written to by an edge that becomes the writer later", () => {
    expect(model.takeWrites({ ...context, isWriter: false })).toEqual([])
    expect(model.takeWrites(context)).toHaveLength(1)
  })
})

const BACKEND = { type: "service", service: "web", port: 80 } as const

function versioned(resourceVersion: string) {
  return metaOf("training/web", { resourceVersion })
}
