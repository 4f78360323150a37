/**
 * `[[publish]]` at an API server, which adds its defaults and refuses what is not allowed: what the
 * publisher writes is taken, and is afterwards as it should be.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { decodeObject } from "../../src/kubernetes/decode.ts"
import type { ClusterView } from "../../src/kubernetes/objects.ts"
import { at, publishConfig } from "../../src/kubernetes/publish/fixtures/cluster.ts"
import { Publisher, type PublishRow } from "../../src/kubernetes/publish/publisher.ts"
import { ApiClient, apiPath } from "../../src/kubernetes/shell/api-client.ts"
import { loadClusterAccess } from "../../src/kubernetes/shell/cluster-access.ts"
import type { Write } from "../../src/kubernetes/writes.ts"
import { instant } from "../../src/net/time.ts"
import { type ApiServer, startApiServer } from "../lab/api-server/api-server.ts"

const KEY = "release/lb-mysql-server"
const MESS = [
  ["a selector and external addresses", { selector: { app: "x" }, externalIPs: ["192.0.2.3"] }],
  ["another type", { type: "NodePort" }],
  ["another port", { ports: [{ name: "other", port: 1, protocol: "TCP" }] }],
  [
    "an external name",
    { type: "ExternalName", externalName: "a.example", clusterIP: null, clusterIPs: null },
  ],
] as const

let api: ApiServer
let client: ApiClient
let clockMs = 0

beforeAll(async () => {
  api = await startApiServer({ families: ["IPv4", "IPv6"] })
  await api.apply("apiVersion: v1\nkind: Namespace\nmetadata: { name: release }")
  const kubeconfig = await api.kubeconfigFile("admin")
  const none = { context: "", apiServer: "", caFile: "", tokenFile: "" }
  const access = await loadClusterAccess({ kubeconfig, ...none } as never)
  if (!access.ok) throw new Error(access.message)
  client = new ApiClient(access.access)
})

afterAll(() => api.close())

test("what is published is taken by the server, and left alone then", async () => {
  const publisher = new Publisher("kube-system/causeway")
  expect(await settle(publisher)).toMatchObject([{ state: "published" }])
  expect(await api.get("services", KEY)).toMatchObject({
    spec: { type: "ClusterIP", ipFamilyPolicy: "SingleStack", ipFamilies: ["IPv4"] },
  })
})

test.each(MESS)("a Service that somebody gave %s is mended", async (_what, spec) => {
  const publisher = new Publisher("kube-system/causeway")
  await settle(publisher)
  await api.patch("services", KEY, { spec })
  expect(await settle(publisher)).toMatchObject([{ state: "published" }])
  const service = await api.get("services", KEY)
  expect(service).toMatchObject({
    spec: { type: "ClusterIP", ports: [{ name: "tcp", port: 3306 }] },
  })
  expect(service).not.toMatchObject({ spec: { selector: expect.anything() } })
})

test("a stream may move to the other family, to both, and back", async () => {
  const publisher = new Publisher("kube-system/causeway")
  const endpoints = [
    [at("192.168.0.40:3306")],
    [at("192.168.0.40:3306"), at("[fd00::40]:3306")],
    [at("[fd00::40]:3306")],
    [at("192.168.0.40:3306")],
  ]
  for (const each of endpoints) {
    const rows = await settle(publisher, [publishConfig({ endpoints: each })])
    expect(rows).toMatchObject([{ state: "published" }])
  }
  expect((await api.list("endpointslices", "release")).length).toBe(1)
})

test("nothing is left of what is not published any more", async () => {
  await settle(new Publisher("kube-system/causeway"), [])
  expect(await api.get("services", KEY)).toBeUndefined()
  expect(await api.list("endpointslices", "release")).toEqual([])
})

/** Until nothing is left to write, a minute apart; a refusal fails the test. */
async function settle(
  publisher: Publisher,
  publish = [publishConfig()],
): Promise<readonly PublishRow[]> {
  for (let round = 0; round < 10; round++) {
    clockMs += 60_000
    const input = {
      publish,
      servers: new Map(),
      view: await view(),
      isSynced: true,
      isWriter: true,
    }
    const { writes, rows } = publisher.update(input, instant(clockMs))
    if (writes.length === 0) return rows
    for (const write of writes) await carryOut(write)
  }
  throw new Error("It writes for ever")
}

async function view(): Promise<Pick<ClusterView, "services" | "endpointSlices" | "namespaces">> {
  return {
    services: await mapOf("services"),
    endpointSlices: await mapOf("endpointSlices"),
    namespaces: await mapOf("namespaces"),
  }
}

async function mapOf<Kind extends "services" | "endpointSlices" | "namespaces">(
  kind: Kind,
): Promise<ClusterView[Kind]> {
  const objects = await api.list(kind.toLowerCase())
  const decoded = objects.map((object) => {
    const result = decodeObject(kind, object)
    if (!result.ok) throw new Error(JSON.stringify(result))
    return [result.key, result.object] as const
  })
  return new Map(decoded) as unknown as ClusterView[Kind]
}

async function carryOut(write: Write): Promise<void> {
  if (write.type === "event") return
  const { resource, namespace, name } = write
  const groupVersion = resource === "services" ? "v1" : "discovery.k8s.io/v1"
  const list = apiPath({ groupVersion, resource, namespace })
  const path = apiPath({ groupVersion, resource, namespace, name })
  const answer =
    write.type === "create"
      ? await client.create(list, write.object)
      : write.type === "patch"
        ? await client.patch(path, write.patch)
        : await client.delete(path, { uid: write.uid })
  expect(answer).toMatchObject({ ok: true })
}
