/** The tables about a cluster: what they take, and how they go with the others (`fixtures/`). */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { Endpoint } from "../net/address.ts"
import type { Config } from "./config.ts"
import { diffConfig, formatDiff } from "./diff.ts"
import { loadText, parseCases, problems } from "./fixtures/load-text.ts"
import { formatPlan, planJson } from "./plan.ts"

const VALUES = casesOf("kubernetes-values.txt")
const DOCUMENTS = casesOf("kubernetes-documents.txt")

test.each(VALUES.map((one) => [one.kind, one.text.trim(), one] as const))(
  "kubernetes-values.txt: in %s: %s",
  (_kind, _text, { kind, text, expected }) => {
    const said = problems(document(kind, text)).map((line) => line.replace(/^\d+:\d+ /, ""))
    expect(said).toEqual([...expected])
  },
)

test.each(DOCUMENTS.map((one, index) => [index + 1, one.expected[0] ?? "accepted", one] as const))(
  "kubernetes-documents.txt, case %d: %s",
  (_number, _title, { text, files, expected }) => {
    expect(problems(text, files)).toEqual([...expected])
  },
)

test("the files of cases are read to their ends", () => {
  expect([VALUES.length, DOCUMENTS.length]).toEqual([40, 14])
})

test("loadConfig() reads every key about a cluster", () => {
  const { kubernetes, addressPools, publish, pools } = load(EVERYTHING)
  expect(kubernetes).toEqual({
    kubeconfig: "/k",
    context: "admin@cluster",
    apiServer: "",
    caFile: "",
    tokenFile: "",
    namespaces: ["release", "training"],
    ingressClass: "edge",
    loadBalancerClass: "example.com/lb",
    claimUnclassed: false,
    podRoutes: "off",
    lease: { namespace: "release", name: "edge.lease" },
    watchSilenceMs: 120_000,
  })
  expect(addressPools as unknown).toEqual([
    {
      name: "first",
      addresses: [
        { first: "192.0.3.0", last: "192.0.3.255" },
        { first: "192.0.4.1", last: "192.0.4.9" },
      ],
      vrrp: ["v"],
      autoAssign: false,
    },
  ])
  expect(pools[1]?.kubernetes).toEqual({
    namespace: "training",
    service: "api",
    port: "http",
    reach: "node_port",
  })
  expect(publish[1]).toMatchObject({ service: "servers", port: 3307, direct: true, pool: "db" })
})

test.each([
  ['["192.0.2.1:3306"]', ["192.0.2.1:3306"]],
  ['[":3306"]', ["192.0.2.1:3306", "192.0.2.2:3306"]],
  ['["0.0.0.0:3306", "192.0.2.1:3306"]', ["192.0.2.1:3306", "192.0.2.2:3306"]],
  ['["192.0.2.1:3306", "192.0.2.2:3307"]', ["192.0.2.1:3306", "192.0.2.2:3307"]],
  ['["192.0.2.1:3306", "127.0.0.1:3306", "[fe80::1]:3306"]', ["192.0.2.1:3306"]],
])("a stream bound to %s is published at %p", (bind, expected) => {
  const { publish } = load(EVERYTHING.replace('["192.0.2.1:3306"]', bind))
  const shown = (publish[0]?.endpoints ?? []).map(({ address, port }: Endpoint) => {
    return `${address}:${port}`
  })
  expect(shown).toEqual(expected)
})

test("formatPlan() says what of the cluster is served", () => {
  const text = EVERYTHING.replace("claim_unclassed = false", "").replace('pod_routes = "off"', "")
  const lines = formatPlan(load(text))
  expect(lines.slice(lines.findIndex((line) => line.startsWith("kubernetes")))).toEqual([
    "kubernetes: /k, context admin@cluster",
    "    watches release, training; asks anew after 2m of silence",
    "    Ingress class edge on http web",
    "    LoadBalancer Services of class example.com/lb and without a class",
    "    routes to the pods of each node",
    "    one edge at a time writes: the one with Lease release/edge.lease",
    "address pool first: 265 addresses, only when asked for",
    "    192.0.3.0-192.0.3.255, 192.0.4.1-192.0.4.9",
    "    carried by vrrp v",
    "publish mysql.release.svc:3306 → 192.0.2.1:3306 (stream s)",
    "publish servers.release.svc:3307 → the servers of pool db that are up (stream s)",
  ])
  expect(lines).toContain(
    "pool api: round_robin over the node ports of Service training/api, port http",
  )
  expect(lines).toContain("    and the Ingress objects of [kubernetes]")
})

test.each([
  [
    "",
    "    LoadBalancer Services of class causeway.dev/edge and without a class, where the cluster",
  ],
  ["claim_unclassed = false", "    LoadBalancer Services of class causeway.dev/edge, where the"],
  ['claim_unclassed = false\nload_balancer_class = ""', "    no Services of type LoadBalancer"],
])("formatPlan() says which Services are served without an address pool: %p", (keys, start) => {
  const lines = formatPlan(load([...KUBERNETES, keys, ...BASE, ""].join("\n")))
  expect(lines.filter((line) => line.includes("LoadBalancer"))).toEqual([
    expect.stringMatching(new RegExp(`^${start}`)),
  ])
})

test("planJson() has the cluster as data", () => {
  expect(planJson(load(EVERYTHING))).toMatchObject({
    kubernetes: { kubeconfig: "/k", lease: "release/edge.lease", watch_silence_ms: 120_000 },
    address_pools: [{ name: "first", addresses: ["192.0.3.0-192.0.3.255", "192.0.4.1-192.0.4.9"] }],
    publish: [{ service: "mysql", endpoints: ["192.0.2.1:3306"] }, { direct: true }],
    http: [{ ingress: true }],
  })
})

test("diffConfig() sees what changed about the cluster", () => {
  const old = load(EVERYTHING)
  const diffTo = (from: string | RegExp, to: string) => {
    return formatDiff(diffConfig(old, load(EVERYTHING.replace(from, to))))
  }
  expect(diffTo("", "")).toEqual([])
  expect(diffTo('context = "admin@cluster"', "")).toEqual(["[kubernetes]: changed"])
  expect(diffTo("auto_assign = false", "")).toEqual(['address_pool "first": changed auto_assign'])
  expect(diffTo("direct = true", "")).toEqual(['publish "release/servers": changed direct'])
  expect(diffTo("192.0.2.1:3306", "192.0.2.2:3306")).toEqual([
    'stream "s": changed bind',
    'publish "release/mysql": changed endpoints',
    'publish "release/servers": changed endpoints',
  ])
  expect(diffTo('service = "mysql"', 'service = "replicas"')).toEqual([
    'publish "release/mysql": removed',
    'publish "release/replicas": added',
  ])
})

function load(text: string): Config {
  const result = loadText(text, { "/k": "apiVersion: v1\n" })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config
}

function casesOf(name: string) {
  return parseCases(readFileSync(`${import.meta.dir}/fixtures/${name}`, "utf8"))
}

/** The smallest document with these lines in the table of that kind. */
function document(kind: string, lines: string): string {
  const keys = [...lines.matchAll(/^(\w+) =/gm)].map(([, key]) => key)
  const table = (TABLES[kind] ?? []).filter(
    (line) => !keys.some((key) => line === keyOf(line, key)),
  )
  const rest = kind === "kubernetes" || kind === "api" ? [] : KUBERNETES
  return [...rest, ...BASE, ...table, lines, ""].join("\n")
}

function keyOf(line: string, key: string | undefined): string | undefined {
  return line.startsWith(`${key} =`) ? line : undefined
}

const KUBERNETES = ["[kubernetes]", 'api_server = "http://127.0.0.1:8001"']
const BASE = [
  ...["[[vrrp]]", 'name = "edge"', 'interface = "e"', "virtual_router_id = 1"],
  'addresses = ["192.0.2.1"]',
  ...["[[pool]]", 'name = "db"', 'servers = ["192.0.5.1:3306"]'],
  ...["[[stream]]", 'name = "mysql"', 'bind = ["192.0.2.1:3306"]', 'pool = "db"'],
]
const TABLES: Readonly<Record<string, readonly string[]>> = {
  kubernetes: KUBERNETES,
  api: KUBERNETES,
  pool: [
    ...["[[pool]]", 'name = "p"', "[pool.kubernetes]"],
    ...['namespace = "a"', 'service = "b"', "port = 80"],
  ],
  address_pool: ["[[address_pool]]", 'name = "a"', 'addresses = ["192.0.2.9"]', 'vrrp = ["edge"]'],
  publish: [
    ...["[[publish]]", 'stream = "mysql"', 'namespace = "a"', 'service = "b"', "port = 3306"],
  ],
}

const EVERYTHING = `
[kubernetes]
kubeconfig = "/k"
context = "admin@cluster"
namespaces = ["release", "training"]
ingress_class = "edge"
load_balancer_class = "example.com/lb"
claim_unclassed = false
pod_routes = "off"
lease = "release/edge.lease"
watch_silence = "2m"
[[vrrp]]
name = "v"
interface = "eth0"
virtual_router_id = 7
addresses = ["192.0.2.1"]
unadvertised_addresses = ["192.0.2.2"]
[[pool]]
name = "db"
servers = ["192.0.5.1:3306"]
[[pool]]
name = "api"
[pool.kubernetes]
namespace = "training"
service = "api"
port = "http"
reach = "node_port"
[[stream]]
name = "s"
bind = ["192.0.2.1:3306"]
pool = "db"
[[http]]
name = "web"
bind = ["192.0.2.1:80"]
ingress = true
[[address_pool]]
name = "first"
addresses = ["192.0.3.0/24", "192.0.4.1-192.0.4.9"]
vrrp = ["v"]
auto_assign = false
[[publish]]
stream = "s"
namespace = "release"
service = "mysql"
port = 3306
[[publish]]
stream = "s"
namespace = "release"
service = "servers"
port = 3307
direct = true
`
