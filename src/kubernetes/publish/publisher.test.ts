/** Services for what is outside the cluster: made, mended, removed, and never anybody else's. */
import { expect, test } from "bun:test"
import type { PublishConfig } from "../../config/config.ts"
import { instant } from "../../net/time.ts"
import {
  endpoint,
  meta,
  service,
  servicePort,
  slice,
  slicePorts,
} from "../fixtures/endpoint-objects.ts"
import type { Service } from "../objects.ts"
import type { Write } from "../writes.ts"
import { at, Cluster, publishConfig, servers } from "./fixtures/cluster.ts"
import { Publisher, type PublishInput } from "./publisher.ts"

const KEY = "release/lb-mysql-server"
const SLICE = "release/lb-mysql-server-ipv4-3306"
const OWNER = "kube-system/causeway"

function input(cluster: Cluster, rest: Partial<PublishInput> = {}): PublishInput {
  return {
    publish: [publishConfig()],
    servers: new Map(),
    view: cluster,
    isSynced: true,
    isWriter: true,
    ...rest,
  }
}

/** Lets the publisher write until it has nothing to write, a minute apart. */
function settle(publisher: Publisher, asked: PublishInput, cluster: Cluster): readonly Write[] {
  const all: Write[] = []
  for (let round = 0; round < 10; round++) {
    clockMs += 60_000
    const { writes } = publisher.update(asked, instant(clockMs))
    if (writes.length === 0) return all
    all.push(...writes)
    cluster.take(writes)
  }
  throw new Error(`It writes for ever: ${JSON.stringify(all.slice(-2))}`)
}

let clockMs = 0

function short(write: Write): string {
  if (write.type === "event") return `event ${write.reason} ${write.about.name}`
  return `${write.type} ${write.resource} ${write.namespace}/${write.name}`
}

function published(rest: Partial<PublishInput> = {}) {
  const cluster = new Cluster("release")
  const publisher = new Publisher(OWNER)
  settle(publisher, input(cluster, rest), cluster)
  return { cluster, publisher }
}

const SERVICE_CREATION: Write = {
  type: "create",
  resource: "services",
  namespace: "release",
  name: "lb-mysql-server",
  object: {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      namespace: "release",
      name: "lb-mysql-server",
      labels: { "app.kubernetes.io/managed-by": "causeway" },
      annotations: { "causeway.dev/published-by": "kube-system/causeway" },
    },
    spec: {
      type: "ClusterIP",
      ports: [{ name: "tcp", protocol: "TCP", port: 3306, targetPort: 3306 }],
      ipFamilyPolicy: "SingleStack",
      ipFamilies: ["IPv4"],
    },
  },
}

const SLICE_CREATION: Write = {
  type: "create",
  resource: "endpointslices",
  namespace: "release",
  name: "lb-mysql-server-ipv4-3306",
  object: {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      namespace: "release",
      name: "lb-mysql-server-ipv4-3306",
      labels: {
        "app.kubernetes.io/managed-by": "causeway",
        "endpointslice.kubernetes.io/managed-by": "causeway.dev",
        "kubernetes.io/service-name": "lb-mysql-server",
      },
      annotations: { "causeway.dev/published-by": "kube-system/causeway" },
    },
    addressType: "IPv4",
    ports: [{ name: "tcp", protocol: "TCP", port: 3306 }],
    endpoints: [
      {
        addresses: ["192.168.0.40"],
        conditions: { ready: true, serving: true, terminating: false },
      },
    ],
  },
}

test("update() makes the Service, and the slice only when the Service is seen to be ours", () => {
  const cluster = new Cluster("release")
  const publisher = new Publisher(OWNER)
  const first = publisher.update(input(cluster), instant(0))
  expect(first.writes).toEqual([SERVICE_CREATION])
  cluster.take(first.writes)
  const second = publisher.update(input(cluster), instant(10))
  expect(second.writes).toEqual([SLICE_CREATION])
  expect(second.rows[0]?.state).toBe("pending")
  cluster.take(second.writes)
  const third = publisher.update(input(cluster), instant(20))
  expect(third.writes).toEqual([])
  expect(third.rows).toEqual([
    {
      service: KEY,
      port: 3306,
      stream: "mysql-read",
      state: "published",
      message: "",
      endpoints: ["192.168.0.40:3306"],
    },
  ])
  expect(publisher.deadline()).toBeUndefined()
})

test("update() writes nothing twice when both edges look, and the other goes on with it", () => {
  const { cluster } = published()
  const other = new Publisher(OWNER)
  expect(other.update(input(cluster), instant(0)).writes).toEqual([])
})

test("update() writes nothing without the Lease", () => {
  const cluster = new Cluster("release")
  const publisher = new Publisher(OWNER)
  const { writes, rows } = publisher.update(input(cluster, { isWriter: false }), instant(0))
  expect(writes).toEqual([])
  expect(rows[0]).toMatchObject({ state: "pending", message: "The other edge writes" })
  expect(publisher.deadline()).toBeUndefined()
})

test("update() waits until the cluster is known", () => {
  const cluster = new Cluster("release")
  const outcome = new Publisher(OWNER).update(input(cluster, { isSynced: false }), instant(0))
  expect(outcome.writes).toEqual([])
  expect(outcome.rows[0]?.state).toBe("unknown")
})

test("update() waits for the namespace, and says so", () => {
  const cluster = new Cluster("default")
  const publisher = new Publisher(OWNER)
  const { writes, rows } = publisher.update(input(cluster), instant(0))
  expect(writes).toEqual([])
  expect(rows[0]).toMatchObject({
    state: "missing_namespace",
    message: "There is no namespace release",
  })
  cluster.namespaces.set("release", { meta: meta("release") })
  expect(publisher.update(input(cluster), instant(1)).writes.map(short)).toEqual([
    `create services ${KEY}`,
  ])
})

test("update() tries on where namespaces cannot be listed, more and more seldom", () => {
  const cluster = new Cluster()
  const publisher = new Publisher(OWNER)
  const times: number[] = []
  let now = 0
  while (times.length < 9) {
    const { writes } = publisher.update(input(cluster), instant(now))
    if (writes.length > 0) times.push(now)
    const [write] = writes
    if (write?.type === "create") publisher.failed(write, 'namespaces "release" not found')
    now = publisher.deadline() ?? Number.NaN
  }
  const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
  expect(gaps).toEqual([2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000])
  expect(publisher.update(input(cluster), instant(now - 1)).rows[0]).toMatchObject({
    state: "failed",
    message: 'namespaces "release" not found',
  })
})

const MISSHAPEN: readonly (readonly [string, Partial<Service>])[] = [
  ["a selector", { hasSelector: true }],
  ["another port", { ports: [servicePort(3307, { name: "tcp" })] }],
  ["a second port", { ports: [servicePort(3306, { name: "tcp" }), servicePort(1, { name: "x" })] }],
  ["another type", { type: "NodePort" }],
  ["external addresses", { externalIPs: ["192.0.2.66" as never] }],
]

test.each(MISSHAPEN)("update() mends a Service that somebody gave %s", (_what, change) => {
  const { cluster, publisher } = published()
  const before = cluster.services.get(KEY)
  if (before === undefined) throw new Error("There is no Service")
  cluster.services.set(KEY, { ...before, ...change })
  const writes = settle(publisher, input(cluster), cluster)
  expect(writes.map(short)).toEqual([`patch services ${KEY}`])
  expect(writes[0]).toMatchObject({
    resourceVersion: before.meta.resourceVersion,
    patch: { spec: { type: "ClusterIP", selector: null, externalIPs: null } },
  })
  expect(cluster.services.get(KEY)).toMatchObject({ ports: [{ port: 3306 }], hasSelector: false })
})

test("update() leaves alone what others add to our objects", () => {
  const { cluster, publisher } = published()
  const before = cluster.services.get(KEY)
  if (before === undefined) throw new Error("There is no Service")
  const labels = { ...before.meta.labels, team: "db" }
  cluster.services.set(KEY, {
    ...before,
    sessionAffinity: "ClientIP",
    meta: { ...before.meta, labels },
  })
  expect(settle(publisher, input(cluster), cluster)).toEqual([])
})

test("update() makes again what was deleted", () => {
  const { cluster, publisher } = published()
  cluster.services.delete(KEY)
  cluster.endpointSlices.delete(SLICE)
  expect(settle(publisher, input(cluster), cluster).map(short)).toEqual([
    `create services ${KEY}`,
    `create endpointslices ${SLICE}`,
  ])
})

test("update() mends a slice that somebody changed", () => {
  const { cluster, publisher } = published()
  const before = cluster.endpointSlices.get(SLICE)
  if (before === undefined) throw new Error("There is no slice")
  cluster.endpointSlices.set(SLICE, { ...before, endpoints: [endpoint("192.0.2.66")] })
  expect(settle(publisher, input(cluster), cluster).map(short)).toEqual([
    `patch endpointslices ${SLICE}`,
  ])
  expect(cluster.endpointSlices.get(SLICE)?.endpoints[0]?.addresses).toEqual([
    "192.168.0.40" as never,
  ])
})

test("update() never touches a Service that somebody else made, and tells of it once", () => {
  const cluster = new Cluster("release")
  const uid = "theirs"
  const theirs = service([servicePort(3306)], {
    meta: meta("lb-mysql-server", { namespace: "release", uid }),
  })
  cluster.services.set(KEY, theirs)
  const publisher = new Publisher(OWNER)
  const { writes, rows } = publisher.update(input(cluster), instant(0))
  expect(writes).toEqual([
    {
      type: "event",
      about: { kind: "Service", namespace: "release", name: "lb-mysql-server", uid: "theirs" },
      severity: "Warning",
      reason: "PublishConflict",
      message:
        "release/lb-mysql-server was not made by Causeway and is left as it is: publish under " +
        "another name, or delete it",
    },
  ])
  expect(rows[0]).toMatchObject({
    state: "conflict",
    message: "release/lb-mysql-server was not made by Causeway",
  })
  expect(publisher.update(input(cluster), instant(60_000)).writes).toEqual([])
  const none = publisher.update(input(cluster, { publish: [] }), instant(120_000))
  expect(none.writes).toEqual([])
})

test("update() does not take over what another pair of edges publishes", () => {
  const { cluster } = published()
  const other = new Publisher("edge-b/causeway")
  const { writes, rows } = other.update(input(cluster), instant(0))
  expect(writes.map(short)).toEqual(["event PublishConflict lb-mysql-server"])
  expect(rows[0]?.message).toBe(
    "release/lb-mysql-server is published by the edges with Lease kube-system/causeway",
  )
  expect(other.update(input(cluster, { publish: [] }), instant(1)).writes).toEqual([])
})

test("update() takes our slice away from a Service that somebody put in place of ours", () => {
  const { cluster, publisher } = published()
  cluster.services.set(
    KEY,
    service([], { meta: meta("lb-mysql-server", { namespace: "release" }) }),
  )
  expect(settle(publisher, input(cluster), cluster).map(short)).toEqual([
    "event PublishConflict lb-mysql-server",
    `delete endpointslices ${SLICE}`,
  ])
})

test("update() reports a slice of our name that is not ours", () => {
  const { cluster, publisher } = published()
  const name = "lb-mysql-server-ipv4-3306"
  const theirs = slice(name, slicePorts(["tcp", 1]), [], {
    meta: meta(name, { namespace: "release" }),
  })
  cluster.endpointSlices.set(SLICE, theirs)
  const { writes, rows } = publisher.update(input(cluster), instant(clockMs + 60_000))
  expect(writes).toEqual([])
  expect(rows[0]).toMatchObject({ state: "conflict", message: `${SLICE} was not made by Causeway` })
})

test("update() removes what is not published any more, by an earlier process too", () => {
  const { cluster } = published()
  const next = new Publisher(OWNER)
  const writes = settle(next, input(cluster, { publish: [] }), cluster)
  expect(writes.map(short)).toEqual([`delete endpointslices ${SLICE}`, `delete services ${KEY}`])
  expect([cluster.services.size, cluster.endpointSlices.size]).toEqual([0, 0])
})

test("update() says what is to go, and why it cannot", () => {
  const { cluster, publisher } = published()
  const none = input(cluster, { publish: [] })
  const { writes } = publisher.update(none, instant(clockMs + 60_000))
  for (const write of writes) if (write.type !== "event") publisher.failed(write, "403 Forbidden")
  expect(publisher.update(none, instant(clockMs + 60_001)).rows).toEqual([
    {
      service: KEY,
      port: 3306,
      stream: "",
      state: "removing",
      message: "403 Forbidden",
      endpoints: [],
    },
  ])
})

test("update() removes exactly the object it saw", () => {
  const { cluster, publisher } = published()
  const uid = cluster.services.get(KEY)?.meta.uid
  const { writes } = publisher.update(input(cluster, { publish: [] }), instant(clockMs + 60_000))
  expect(writes.at(-1)).toMatchObject({ type: "delete", resource: "services", uid })
})

test("update() moves a Service that got another name", () => {
  const { cluster, publisher } = published()
  const publish = [publishConfig({ service: "mysql" })]
  settle(publisher, input(cluster, { publish }), cluster)
  expect([...cluster.services.keys()]).toEqual(["release/mysql"])
  expect([...cluster.endpointSlices.keys()]).toEqual(["release/mysql-ipv4-3306"])
})

test("update() follows the virtual address and the port of the stream", () => {
  const { cluster, publisher } = published()
  const publish = [publishConfig({ endpoints: [at("192.168.0.41:3307")] })]
  settle(publisher, input(cluster, { publish }), cluster)
  expect([...cluster.endpointSlices.values()]).toMatchObject([
    { ports: [{ port: 3307 }], endpoints: [{ addresses: ["192.168.0.41"] }] },
  ])
  expect(cluster.services.get(KEY)?.ports[0]?.port).toBe(3306)
})

test("update() makes one slice for each family and port, and asks for both families", () => {
  const endpoints = [at("192.168.0.40:3306"), at("[fd00::40]:3306"), at("192.168.0.41:3307")]
  const { cluster } = published({ publish: [publishConfig({ endpoints })] })
  expect([...cluster.endpointSlices.keys()]).toEqual([
    SLICE,
    "release/lb-mysql-server-ipv6-3306",
    "release/lb-mysql-server-ipv4-3307",
  ])
  expect(cluster.services.get(KEY)?.ipFamilyPolicy).toBe("PreferDualStack")
})

test("update() makes a Service anew when its family cannot be changed", () => {
  const { cluster, publisher } = published()
  const publish = [publishConfig({ endpoints: [at("[fd00::40]:3306")] })]
  const writes = settle(publisher, input(cluster, { publish }), cluster)
  expect(writes.map(short).slice(0, 2)).toEqual([
    `delete services ${KEY}`,
    `delete endpointslices ${SLICE}`,
  ])
  expect(cluster.services.get(KEY)?.ipFamilies).toEqual(["IPv6"])
  expect([...cluster.endpointSlices.keys()]).toEqual(["release/lb-mysql-server-ipv6-3306"])
})

const DIRECT: readonly PublishConfig[] = [publishConfig({ direct: true })]

function direct(...texts: readonly string[]): Partial<PublishInput> {
  return { publish: DIRECT, servers: new Map([["mysql", servers(...texts)]]) }
}

function ready(cluster: Cluster): string[] {
  return [...cluster.endpointSlices.values()].flatMap(({ endpoints, ports }) =>
    endpoints.map(({ addresses, isReady }) => {
      return `${addresses[0]}:${ports[0]?.port} ${isReady ? "ready" : "not ready"}`
    }),
  )
}

test("update() leads straight to the servers that are up when direct", () => {
  const { cluster, publisher } = published(direct("192.168.1.12:3306 up", "192.168.1.11:3306 down"))
  expect(ready(cluster)).toEqual(["192.168.1.11:3306 not ready", "192.168.1.12:3306 ready"])
  const next = direct("192.168.1.12:3306 up", "192.168.1.11:3306 up", "192.168.1.13:3307 up")
  settle(publisher, input(cluster, next), cluster)
  expect(ready(cluster)).toEqual([
    "192.168.1.11:3306 ready",
    "192.168.1.12:3306 ready",
    "192.168.1.13:3307 ready",
  ])
})

test("update() leaves a server as it is published until its checks have spoken", () => {
  const { cluster } = published(direct("192.168.1.11:3306 down", "192.168.1.12:3306 up"))
  const unknown = input(cluster, direct("192.168.1.11:3306", "192.168.1.12:3306"))
  expect(new Publisher(OWNER).update(unknown, instant(0)).writes).toEqual([])
})

test("update() writes a flapping server at most every two seconds, and its last state", () => {
  const { cluster, publisher } = published(direct("192.168.1.11:3306 up"))
  const start = clockMs + 60_000
  const times: number[] = []
  for (let ms = 0; ms <= 10_000; ms += 100) {
    const state = (ms / 100) % 2 === 0 ? "down" : "up"
    const asked = input(cluster, direct(`192.168.1.11:3306 ${state}`))
    const { writes } = publisher.update(asked, instant(start + ms))
    if (writes.length > 0) times.push(ms)
    cluster.take(writes)
  }
  expect(times).toEqual([0, 2100, 4200, 6300, 8400])
  clockMs = start + 60_000
  settle(publisher, input(cluster, direct("192.168.1.11:3306 down")), cluster)
  expect(ready(cluster)).toEqual(["192.168.1.11:3306 not ready"])
})

test("update() publishes a Service without endpoints where a pool has no servers", () => {
  const { cluster, publisher } = published(direct())
  const { rows } = publisher.update(input(cluster, direct()), instant(clockMs + 1))
  expect(rows[0]).toMatchObject({ state: "empty", endpoints: [] })
  expect([...cluster.endpointSlices.keys()]).toEqual([])
})

test("update() splits more servers than a slice takes", () => {
  const many = Array.from({ length: 1001 }, (_, i) => `10.0.${i >> 8}.${i & 255}:3306 up`)
  const { cluster } = published(direct(...many))
  const sizes = [...cluster.endpointSlices].map(([key, { endpoints }]) => [key, endpoints.length])
  expect(sizes).toEqual([
    [SLICE, 1000],
    [`${SLICE}-2`, 1],
  ])
})
