/**
 * Rights: an edge that does everything there is to do uses every verb that
 * config/kubernetes/rbac.yaml grants, is denied nothing, and sends nothing that the server does not
 * know; one that does less needs no more than the rules of what it does; and `causeway check
 * --kubernetes` names what is missing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import type { ApiObject } from "../lab/api-server/object.ts"
import { unusedRights } from "../lab/api-server/rights.ts"
import type { SliceWriter } from "../lab/api-server/slice-writer.ts"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { makeAuthority, makeCertificate } from "./certificates.ts"
import { ask, ingressObject, secretObject, tlsSecret } from "./kubernetes-ingress-stage.ts"
import {
  createKubernetesStage,
  createService,
  EDGE_USER,
  type KubernetesStage,
  type Pod,
  startClusterEdge,
  startPod,
  vrrpToml,
} from "./kubernetes-stage.ts"

const VIP = "192.168.1.40"
const MANIFESTS = `${import.meta.dir}/../../config/kubernetes`

const BASE = `${vrrpToml({ priority: 100, addresses: [VIP] })}
[[pool]]
name = "pods"
[pool.kubernetes]
namespace = "default"
service = "web"
port = "http"

[[pool]]
name = "nodes"
[pool.kubernetes]
namespace = "default"
service = "web"
port = "http"
reach = "node_port"

[[stream]]
name = "pods"
bind = ["${VIP}:8080"]
pool = "pods"

[[http]]
name = "web"
bind = ["${VIP}:80", { address = "${VIP}:443", tls = true }]
ingress = true

[[address_pool]]
name = "first-pool"
addresses = ["192.168.1.240"]
vrrp = ["edge"]
`

const PUBLISH = `
[[publish]]
stream = "pods"
namespace = "release"
service = "lb-pods"
port = 8080
`

let stage: KubernetesStage
let rbac: string
let slices: SliceWriter
let pods: Pod[]

beforeAll(async () => {
  stage = await createKubernetesStage("k8s-access", {
    custom: ["metallb", "calico", "cilium"],
    bookmarkIntervalMs: 1_000,
  })
  const { api } = stage
  rbac = await Bun.file(`${MANIFESTS}/rbac.yaml`).text()
  await api.apply(publishBinding())
  await api.apply(await Bun.file(`${MANIFESTS}/ingress-class.yaml`).text())
  pods = [await startPod(stage, "pod-1", { node: 1, last: 5 })]
  slices = await createService(stage, { name: "web", spec: "  type: LoadBalancer" })
  await slices.write(pods)
}, 40_000)

afterAll(() => stage.lab.close())

/** What the manifest has in its comments for each namespace of `[[publish]]`. */
function publishBinding(): string {
  return rbac.split("[[publish]]:\n#\n").at(-1)?.replace(/^# ?/gm, "") ?? ""
}

/** With password and certificate, from Secrets of both kinds. */
async function applyIngress(annotations: Readonly<Record<string, string>> = {}): Promise<void> {
  await stage.api.apply([
    ingressObject({
      name: "web",
      annotations: { "auth-type": "basic", "auth-secret": "web-users", ...annotations },
      rules: [["k8s.com/", "web:http"]],
      tls: [{ hosts: ["k8s.com"], secretName: "web-tls" }],
    }),
  ])
}

async function applySecrets(): Promise<void> {
  const { directory } = stage.client
  const pair = await makeCertificate(await makeAuthority(directory, "authority"), "web", [
    "k8s.com",
  ])
  const auth = `reader:${await Bun.password.hash("open sesame", { algorithm: "bcrypt", cost: 4 })}`
  await stage.api.apply([await tlsSecret(pair, "web-tls"), secretObject("web-users", { auth })])
}

async function roles(): Promise<ApiObject[]> {
  const found = await Promise.all([
    stage.api.get("clusterroles", "causeway"),
    stage.api.get("clusterroles", "causeway-publish"),
    stage.api.get("roles", "kube-system/causeway"),
  ])
  return found.flatMap((role) => role ?? [])
}

const REST = `
apiVersion: crd.projectcalico.org/v1
kind: BlockAffinity
metadata: { name: node-1-10-244-1-0-26 }
spec: { cidr: 10.244.1.0/26, node: node-1, state: confirmed, deleted: "false" }
---
apiVersion: cilium.io/v2
kind: CiliumNode
metadata: { name: node-2 }
spec: { ipam: { podCIDRs: [10.246.2.0/24] } }
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: other-pool, namespace: metallb-system }
spec: { addresses: [192.168.1.250/32] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: all, namespace: metallb-system }
spec: {}
`

async function eventCounts(kind: string): Promise<number[]> {
  return (await stage.api.events(kind)).map((event) => Number(event["count"] ?? 1))
}

describe("An edge that does everything", () => {
  let edge: Edge

  beforeAll(async () => {
    const { api } = stage
    await api.apply(REST)
    await applySecrets()
    await applyIngress()
    // As before 1.27, for the state is listed then; later, all of it comes by watches.
    await api.setWatchList(false)
    await api.clearRequests()
    edge = await startClusterEdge(stage, stage.a, `${BASE}${PUBLISH}`)
  }, 20_000)

  test("serves each part", async () => {
    const status = await edge.waitStatus(
      ({ kubernetes }) =>
        kubernetes?.writer.active &&
        kubernetes.published[0]?.state === "published" &&
        kubernetes.services[0]?.state === "served",
      { what: "everything to be served", timeoutMs: 20_000 },
    )
    const networks = status.kubernetes?.nodes.flatMap((node) => node.networks).toSorted()
    expect(networks).toContain("10.244.1.0/26")
    expect(status.kubernetes?.resources.map(({ state }) => state)).toEqual(
      status.kubernetes?.resources.map(() => "watching"),
    )
    const asking = { tls: true, words: ["-u", "reader:open sesame"] }
    await eventually(async () => (await ask(stage, "k8s.com/", asking)).pod === "pod-1")
    await eventually(async () => {
      const ingress = await stage.api.get("ingresses", "default/web")
      return JSON.stringify(ingress?.["status"]).includes(VIP)
    })
  }, 40_000)

  test("mends, tells, tells again, and takes away", async () => {
    const { api } = stage
    const [slice] = (await api.list("endpointslices", "release")).map(
      ({ metadata }) => metadata.name,
    )
    await api.patch("services", "release/lb-pods", { spec: { ports: [{ name: "tcp", port: 9 }] } })
    await api.patch("endpointslices", `release/${slice}`, { endpoints: [] })
    await eventually(
      async () => {
        const service = JSON.stringify(await api.get("services", "release/lb-pods"))
        const mended = JSON.stringify(await api.get("endpointslices", `release/${slice}`))
        return service.includes('"port":8080') && mended.includes(VIP)
      },
      { what: "what somebody changed to be mended", timeoutMs: 20_000 },
    )
    for (const count of [1, 2]) {
      await applyIngress({ "proxy-body-size": "many" })
      await eventually(async () => (await eventCounts("Ingress")).includes(count), {
        what: `Event number ${count}`,
      })
      await applyIngress()
      await edge.waitStatus(({ kubernetes }) => kubernetes?.problems.length === 0)
    }
    await edge.reload(
      `${BASE}\n[kubernetes]\nkubeconfig = "${await api.kubeconfigFile(EDGE_USER)}"\n`,
    )
    await eventually(
      async () => {
        const left = [...(await api.list("services", "release"))]
        return left.length + (await api.list("endpointslices", "release")).length === 0
      },
      { what: "what is not published any more to go", timeoutMs: 20_000 },
    )
  }, 60_000)

  test("has used every right, was denied nothing, and sent nothing odd", async () => {
    const { api } = stage
    const requests = (await api.requests()).filter(({ user }) => user === EDGE_USER)
    const denied = requests.filter(({ status }) => status === 403 || status === 401)
    const odd = requests.filter(({ warnings }) => warnings.length > 0)
    report("requests of an edge that does everything", { all: requests.length })
    expect(denied.map(({ method, path }) => `${method} ${path}`)).toEqual([])
    expect(odd.map(({ method, path, warnings }) => `${method} ${path} ${warnings}`)).toEqual([])
    expect(await unusedRights(api, EDGE_USER, await roles())).toEqual([])
    await edge.stop()
  }, 20_000)
})

test("An edge that only looks needs the rules of what it looks at", async () => {
  const { api } = stage
  const user = "system:serviceaccount:kube-system:onlooker"
  await api.addUser(user)
  await api.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: { name: onlooker }
rules:
  - { apiGroups: [""], resources: ["services"], verbs: ["list", "watch"] }
  - { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: onlooker }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: onlooker }
subjects: [{ kind: User, name: "${user}", apiGroup: rbac.authorization.k8s.io }]
`)
  const toml = `
[[pool]]
name = "pods"
kubernetes = { namespace = "default", service = "web", port = "http" }
[[stream]]
name = "pods"
bind = ["192.168.1.3:8080"]
pool = "pods"
`
  const kubeconfig = await api.kubeconfigFile(user)
  const edge = await startClusterEdge(stage, stage.b, toml, {
    kubeconfig,
    kubernetes: 'pod_routes = "off"',
  })
  await edge.waitStatus(({ pools }) => pools[0]?.servers.length === 1)
  const requests = (await api.requests()).filter((each) => each.user === user)
  expect(requests.length).toBeGreaterThan(0)
  expect(requests.filter(({ status }) => status === 401 || status === 403)).toEqual([])
  const { exitCode, stdout } = await edge.command("check", "--kubernetes")
  expect({ exitCode, stdout }).toEqual({
    exitCode: 0,
    stdout: expect.stringContaining("it allows all that is configured"),
  })
  await edge.stop()
}, 30_000)

describe("causeway check --kubernetes", () => {
  let edge: Edge

  beforeAll(async () => {
    const toml = `${BASE}${PUBLISH}`
    edge = await startClusterEdge(stage, stage.b, toml)
    await edge.stop()
  }, 20_000)

  test("finds that the manifest is enough", async () => {
    const { exitCode, stdout, stderr } = await edge.command("check", "--kubernetes")
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
    expect(stdout).toMatch(/^kubernetes: https:\/\/192\.168\.1\.10:6443 answers.*, v1\.32\./m)
    expect(stdout).toContain("it allows all that is configured")
  })

  test("names each rule that is missing, ready to be added", async () => {
    const { api } = stage
    const rulesOf = ({ rules }: ApiObject) => rules as readonly Record<string, string[]>[]
    for (const role of await roles()) {
      const { name, namespace } = role.metadata
      const key = namespace === undefined ? (name ?? "") : `${namespace}/${name}`
      const resource = namespace === undefined ? "clusterroles" : "roles"
      for (const [index, rule] of rulesOf(role).entries()) {
        const rules = rulesOf(role).filter((_, other) => other !== index)
        await api.patch(resource, key, { rules })
        const { exitCode, stderr, stdout } = await edge.command("check", "--kubernetes", "--json")
        const { missing } = JSON.parse(stdout).kubernetes
        const named = missing.flatMap((each: typeof rule) => each["resources"])
        expect({ exitCode, key, named: named.toSorted() }).toEqual({
          exitCode: 1,
          key,
          named: [...(rule["resources"] ?? [])].toSorted(),
        })
        expect(stderr).toBe("")
      }
      await api.patch(resource, key, { rules: rulesOf(role) })
    }
    await api.remove("rolebindings", "release/causeway-publish")
    const { exitCode, stderr, stdout } = await edge.command("check", "--kubernetes")
    await api.apply(publishBinding())
    expect(exitCode).toBe(1)
    expect(`${stdout}${stderr}`).toContain("# Add to a Role in namespace release")
    expect(`${stdout}${stderr}`).toContain('verbs: ["create", "patch", "delete"]')
  }, 60_000)
})
