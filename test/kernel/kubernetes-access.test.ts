/**
 * config/kubernetes/rbac.yaml at an API server: it is enough for every feature, and `causeway check
 * --kubernetes` names the rule that is taken away.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { loadConfig } from "../../src/config/load.ts"
import { type AccessRule, neededRules } from "../../src/kubernetes/access-rules.ts"
import { type AccessReport, reviewAccess } from "../../src/kubernetes/shell/access-review.ts"
import { ApiClient } from "../../src/kubernetes/shell/api-client.ts"
import { loadClusterAccess } from "../../src/kubernetes/shell/cluster-access.ts"
import { type ApiServer, startApiServer } from "../lab/api-server/api-server.ts"

const CONFIG = resolve(import.meta.dir, "../../config")
const RBAC = readFileSync(`${CONFIG}/kubernetes/rbac.yaml`, "utf8")
const USER = "system:serviceaccount:kube-system:causeway"
const PUBLISH_BINDING = RBAC.split("[[publish]]:\n#\n").at(-1)?.replace(/^# ?/gm, "") ?? ""

let api: ApiServer

beforeAll(async () => {
  api = await startApiServer({ custom: ["metallb"] })
  await api.apply(RBAC)
  await api.apply(PUBLISH_BINDING)
})

afterAll(() => api.close())

/** Every feature, with the access of a user of the lab's server. */
async function review(
  user: string,
  change = (rules: AccessRule[]) => rules,
): Promise<AccessReport> {
  const environment = { files: files(await api.kubeconfigFile(user)), hostName: "edge-a" }
  const loaded = loadConfig("/causeway.toml", environment)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.diagnostics))
  const { kubernetes } = loaded.config
  if (kubernetes === undefined) throw new Error("There is no [kubernetes]")
  const access = await loadClusterAccess(kubernetes)
  if (!access.ok) throw new Error(access.message)
  const rules = change(neededRules({ ...loaded.config, kubernetes }))
  const result = await reviewAccess(new ApiClient(access.access), rules)
  if (!result.ok) throw new Error(JSON.stringify(result.failure))
  return result.report
}

function files(kubeconfig: string) {
  const text = `
[kubernetes]
kubeconfig = "${kubeconfig}"
[[vrrp]]
name = "v"
interface = "lo"
virtual_router_id = 1
addresses = ["192.0.2.1"]
[[pool]]
name = "nodes"
kubernetes = { namespace = "training", service = "a", port = 80, reach = "node_port" }
[[stream]]
name = "s"
bind = ["192.0.2.1:3306"]
pool = "nodes"
[[http]]
name = "h"
bind = ["192.0.2.1:80"]
ingress = true
[[address_pool]]
name = "a"
addresses = ["192.0.2.9"]
vrrp = ["v"]
[[publish]]
stream = "s"
namespace = "release"
service = "c"
port = 80
`
  return {
    read: () => ({ ok: true, value: { text, mode: 0o600 } }) as const,
    find: () => ({ ok: true, value: [] }) as const,
    mode: () => ({ ok: true, value: 0o600 }) as const,
  }
}

test("rbac.yaml is enough for everything", async () => {
  const report = await review(USER)
  expect(report.denied).toEqual([])
  expect(report.version).toStartWith("v1.32.")
  // MetalLB is in this cluster, and its rules were asked about.
  expect(report.absent).toEqual(["crd.projectcalico.org", "cilium.io"])
})

test("what is missing is named, with the verb and the namespace", async () => {
  await api.patch("roles", "kube-system/causeway", {
    rules: [{ apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: ["create"] }],
  })
  await api.remove("rolebindings", "release/causeway-publish")
  const { denied } = await review(USER)
  await api.apply(RBAC)
  await api.apply(PUBLISH_BINDING)
  expect(denied.map((rule) => [rule.resource, rule.namespace, rule.name, rule.verbs])).toEqual([
    ["leases", "kube-system", "causeway", expect.any(Array)],
    ["services", "release", "", ["create", "patch", "delete"]],
    ["endpointslices", "release", "", ["create", "patch", "delete"]],
  ])
})

test("somebody without any right is told of every rule", async () => {
  const { denied } = await review("nobody")
  expect(denied.length).toBeGreaterThan(14)
})

test("a token that is not taken is a failure, and not a list of rules", async () => {
  const path = await api.kubeconfigFile("former")
  await api.revokeTokens("former")
  const access = await loadClusterAccess({
    ...{ kubeconfig: path, context: "", apiServer: "", caFile: "", tokenFile: "" },
  } as never)
  if (!access.ok) throw new Error(access.message)
  expect(await reviewAccess(new ApiClient(access.access), [])).toMatchObject({
    ok: false,
    failure: { kind: "status", code: 401 },
  })
})
