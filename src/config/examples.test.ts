/** The files that ship in `config/`: they load, say what they promise, and document every key. */
import { describe, expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Address } from "../net/address.ts"
import type { Config } from "./config.ts"
import { keysOf, type TableSchema } from "./decode.ts"
import { diskFiles } from "./files.ts"
import { KNOWN_KEYS } from "./known-keys.ts"
import { loadConfig } from "./load.ts"
import { adminSchema, logSchema, nodeSchema, poolSchema, streamSchema } from "./schema.ts"
import { httpSchema, tlsSchema } from "./schema-http.ts"
import {
  addressPoolSchema,
  kubernetesSchema,
  poolKubernetesSchema,
  publishSchema,
} from "./schema-kubernetes.ts"
import {
  basicAuthSchema,
  corsSchema,
  forwardAuthSchema,
  retrySchema,
  stickySchema,
} from "./schema-route-policy.ts"
import { announceSchema, vrrpSchema } from "./schema-vrrp.ts"
import { parseToml, type TomlNode, type TomlTable } from "./toml.ts"

const FOLDER = join(import.meta.dir, "../../config")
const EXAMPLES = readdirSync(join(FOLDER, "examples")).sort()

/** As on any host: the one program the reference names is there. */
function load(name: string) {
  const files = { ...diskFiles, mode: () => ({ ok: true, value: 0o750 }) as const, read }
  const result = loadConfig(join(FOLDER, name), { files, hostName: "edge-a" })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics, null, 2))
  return result
}

/** The files that ship, and in place of those they name something that fits. */
function read(path: string) {
  if (path.endsWith(".toml")) return diskFiles.read(path)
  const pem = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"
  const text = path.endsWith("users") ? `somebody:$2y$05$${"x".repeat(53)}\n` : pem
  return { ok: true, value: { text, mode: 0o640 } } as const
}

test.each([...EXAMPLES.map((name) => `examples/${name}`), "reference.toml"])(
  "%s loads without a warning",
  (name) => {
    expect(load(name).warnings).toEqual([])
  },
)

test("causeway.toml loads as it is, and with its comments taken away", () => {
  const text = readFileSync(join(FOLDER, "causeway.toml"), "utf8")
  const active = text.replace(/^# (?=\[|\w+ = )/gm, "")
  expect(load("causeway.toml").config.vrrp).toEqual([])
  const files = {
    ...diskFiles,
    read: () => ({ ok: true, value: { text: active, mode: 0 } }) as const,
  }
  const result = loadConfig("/etc/causeway/causeway.toml", { files, hostName: "edge-a" })
  expect(result).toMatchObject({
    ok: true,
    config: {
      vrrp: [{ name: "edge" }],
      pools: [{ name: "mysql-replicas", balance: "least_conn", check: { type: "mysql" } }],
      streams: [{ name: "mysql-read" }],
    },
  })
})

describe("kube-apiserver.toml is kubeadm's keepalived and HAProxy", () => {
  const { vrrp, checks, pools, streams } = load("examples/kube-apiserver.toml").config

  test("vrrp_script check_apiserver: interval 3, weight -2, fall 10, rise 2", () => {
    expect(vrrp[0]?.track).toEqual([{ type: "check", target: "apiserver", weight: -2 }])
    expect(checks).toMatchObject([
      {
        name: "apiserver",
        address: { address: "127.0.0.1", port: 6443 },
        check: { type: "http", tls: true, path: "/healthz", intervalMs: 3000, fall: 10, rise: 2 },
      },
    ])
  })

  test("vrrp_instance: version 2 with a password", () => {
    expect(vrrp[0]).toMatchObject({
      version: 2,
      virtualRouterId: 51,
      authentication: { type: "pass", password: "42" },
    })
  })

  test("backend: three masters on 6443 behind an HTTPS health check", () => {
    expect(pools[0]?.servers.map(({ endpoint }) => endpoint.port)).toEqual([6443, 6443, 6443])
    expect(pools[0]).toMatchObject({
      balance: "round_robin",
      check: { type: "http", tls: true, path: "/healthz", expectStatus: [{ from: 200, to: 200 }] },
    })
    expect(streams[0]?.bind).toEqual([
      { address: vrrp[0]?.addresses[0]?.address, port: 8443 },
    ] as never)
  })

  test("and on machines of its own the edge follows the pool", () => {
    const own = load("examples/kube-apiserver-own-vm.toml").config
    expect(own.checks).toEqual([])
    expect(own.vrrp[0]?.track).toEqual([{ type: "pool", target: "kube-apiserver", weight: -2 }])
    expect(own.pools[0]?.check).toMatchObject({ intervalMs: 3000, fall: 10, rise: 2 })
    expect(own.streams[0]?.bind[0]?.port).toBe(6443)
  })
})

test("mysql-replicas.toml has the timings of the nginx it replaces", () => {
  const { pools, streams } = load("examples/mysql-replicas.toml").config
  expect(pools[0]).toMatchObject({
    balance: "least_conn",
    maxFails: 2,
    failTimeoutMs: 30_000,
    connectTimeoutMs: 1000,
    check: { type: "mysql", user: "" },
  })
  expect(streams[0]).toMatchObject({ idleTimeoutMs: 600_000, pool: "mysql-replicas" })
})

test("http-routes.toml sends two paths of one host to two pools, without their prefix", () => {
  const { http } = load("examples/http-routes.toml").config
  expect(http[0]?.routes.slice(0, 2)).toMatchObject([
    { host: "k8s.com", path: "/api/v1", action: { pool: "apiv1" }, rewrite: "/" },
    { host: "k8s.com", path: "/api/v2", action: { pool: "apiv2" }, rewrite: "/" },
  ])
  expect(http[0]).toMatchObject({ tls: { redirect: true }, bind: [{ tls: false }, { tls: true }] })
})

describe("the examples of Kubernetes", () => {
  test("kubernetes-pools.toml sends two paths to the pods of two Services", () => {
    const { pools, http, kubernetes } = load("examples/kubernetes-pools.toml").config
    expect(pools.map((pool) => pool.kubernetes)).toEqual([
      { namespace: "training", service: "service-apiv1", port: "http", reach: "pod" },
      { namespace: "training", service: "service-apiv2", port: 80, reach: "pod" },
    ])
    expect(http[0]?.routes.map(({ path, rewrite }) => [path, rewrite])).toEqual([
      ["/api/v1", "/"],
      ["/api/v2", "/"],
    ])
    expect(kubernetes).toMatchObject({ podRoutes: "auto", watchSilenceMs: 90_000 })
    expect(kubernetes).toMatchObject({ claimUnclassed: false, loadBalancerClass: "" })
  })

  test("kubernetes-services.toml has the pool of the common tutorials", () => {
    const { addressPools } = load("examples/kubernetes-services.toml").config
    expect(addressPools).toMatchObject([
      {
        addresses: [{ first: "192.168.1.240", last: "192.168.1.250" }],
        vrrp: ["services-a", "services-b"],
        autoAssign: true,
      },
      { name: "reserved", autoAssign: false },
    ])
  })

  test("kubernetes-ingress.toml has TLS without a certificate of its own", () => {
    const { http } = load("examples/kubernetes-ingress.toml").config
    expect(http[0]).toMatchObject({
      ingress: true,
      tls: { certificates: [], minVersion: "1.2", redirect: false },
    })
  })

  test("kubernetes-publish.toml leads pods to the virtual address", () => {
    const { publish } = load("examples/kubernetes-publish.toml").config
    expect(publish).toEqual([
      {
        stream: "mysql-read",
        namespace: "release",
        service: "lb-mysql-server",
        port: 3306,
        direct: false,
        endpoints: [{ address: "192.168.0.40" as Address, port: 3306 }],
        pool: "mysql-replicas",
      },
    ])
  })
})

describe("reference.toml", () => {
  const text = readFileSync(join(FOLDER, "reference.toml"), "utf8")
  const { config } = load("reference.toml")
  const { limits, timeouts, routes, ...listener } = first(config.http)
  const httpKeys = { ...listener, ...limits, ...timeouts }
  const { tls: _tls, ...httpFields } = httpSchema.fields
  const httpTable = { ...httpSchema, fields: httpFields } as TableSchema<typeof httpKeys>

  test.each([...KNOWN_KEYS])("has every key of %s", (_title, keys) => {
    const written = new Set([...keysIn(tree(text)), ...COMMENTED_KEYS])
    expect(keys.filter((key) => !written.has(key))).toEqual([])
  })

  test.each([
    ["[node]", differences(nodeSchema, { ...config.node, name: "" })],
    ["[admin]", differences(adminSchema, config.admin)],
    ["[log]", differences(logSchema, config.log)],
    ["the first [[vrrp]]", differences(vrrpSchema, first(config.vrrp))],
    ["announce", differences(announceSchema, first(config.vrrp).announce)],
    ["the first [[stream]]", differences(streamSchema, first(config.streams))],
    ["the first [[http]], but for TLS", differences(httpTable, httpKeys)],
    ["[pool.kubernetes]", differences(poolKubernetesSchema, kubernetesOf(config))],
    ["[[address_pool]]", differences(addressPoolSchema, first(config.addressPools))],
    ["[[publish]]", differences(publishSchema, first(config.publish))],
    ["retry", differences(retrySchema, first(routes).retry)],
    ["sticky", differences(stickySchema, present(first(routes).sticky))],
    ["cors", differences(corsSchema, present(first(routes).cors))],
    ["basic_auth", differences(basicAuthSchema, present(first(routes).basicAuth))],
    ["forward_auth", differences(forwardAuthSchema, present(first(routes).forwardAuth))],
  ])("shows the defaults of %s", (_title, different) => {
    expect(different).toEqual([])
  })

  test("shows the defaults of tls, but for the certificates", () => {
    expect(differences(tlsSchema, present(listener.tls))).toEqual(["certificates"])
  })

  test("shows the defaults of [kubernetes], but for the access", () => {
    expect(differences(kubernetesSchema, present(config.kubernetes))).toEqual(["kubeconfig"])
  })

  test("shows the defaults of the first [[pool]], but for the servers and the check", () => {
    expect(differences(poolSchema, first(config.pools))).toEqual(["servers", "check"])
  })

  test("shows the defaults of checks", () => {
    const bare = '[[check]]\nname="c"\naddress="127.0.0.1:6443"\ntype="http"\n'
    expect(first(config.checks).check).toEqual(first(parsed(bare).checks).check)
    const mysql = '[[pool]]\nname="p"\n[pool.check]\ntype="mysql"\n'
    expect(first(config.pools).check).toEqual(first(parsed(mysql).pools).check)
  })

  test("shows the defaults of routes", () => {
    const http = '[[http]]\nname="h"\nbind=[":80"]\n[[http.route]]\npool="p"\n'
    const bare = first(first(parsed(`[[pool]]\nname="p"\n${http}`).http).routes)
    const { name, host, path, rewrite, timeoutMs, timeouts, retry, ...shown } = first(routes)
    const { rateLimit, basicAuth, forwardAuth, cors, sticky, action, ...defaults } = shown
    expect(bare).toMatchObject(defaults)
    expect(rateLimit).toEqual({
      requests: 100,
      perMs: 1000,
      burst: 100,
      header: "",
      scope: "",
      exempt: [],
    })
  })

  test("names what this version does not have", () => {
    const missing = LATER.filter((name) => !new RegExp(`^# .*${name}`, "m").test(text))
    expect(missing).toEqual([])
  })
})

/** Keys that cannot stand beside the others, and keys in the list at the end. */
const COMMENTED_KEYS = [
  ...["password_file", "port", "unicast_peers", "virtual_mac"],
  ...["api_server", "ca_file", "token_file"],
]

const LATER = [
  "unicast_peers",
  "virtual_mac",
  "maglev",
  "grpc",
  "udp",
  "kernel",
  "transparent",
  "\\[\\[stream.sni\\]\\]",
]

function parsed(text: string): Config {
  const files = { ...diskFiles, read: () => ({ ok: true, value: { text, mode: 0 } }) as const }
  const result = loadConfig("/test.toml", { files, hostName: "edge-a" })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  return result.config
}

function tree(text: string): TomlTable {
  const result = parseToml({ path: "reference.toml", text })
  if (!result.ok) throw new Error(result.diagnostic.message)
  return result.table
}

function keysIn(node: TomlNode): string[] {
  if (node.type === "array") return node.items.flatMap(keysIn)
  if (node.type !== "table") return []
  return [...node.entries].flatMap(([key, value]) => [key, ...keysIn(value)])
}

/** The keys with a default that `value` does not have. */
function differences<T extends object>({ fields }: TableSchema<T>, value: T): string[] {
  const names = Object.keys(fields) as (keyof T & string)[]
  return keysOf(fields).filter((_key, index) => {
    const name = names[index] as keyof T & string
    const { fallback } = fields[name]
    return typeof fallback !== "symbol" && !Bun.deepEquals(fallback, value[name])
  })
}

function kubernetesOf({ pools }: Config) {
  return present(pools.find(({ name }) => name === "apiv1")?.kubernetes)
}

function present<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("It is missing")
  return value
}

function first<T>([item]: readonly T[]): T {
  if (item === undefined) throw new Error("There is none")
  return item
}
