/** What is asked of the API, and config/kubernetes/rbac.yaml, which grants just that. */
import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { loadText } from "../config/fixtures/load-text.ts"
import {
  type AccessConfig,
  type AccessRule,
  FEATURES,
  featuresOf,
  formatRule,
  neededRules,
} from "./access-rules.ts"
import { wantedResources } from "./resources.ts"

const FOLDER = join(import.meta.dir, "../../config/kubernetes")

const EVERYTHING = `
[kubernetes]
api_server = "http://127.0.0.1:8001"
[[vrrp]]
name = "v"
interface = "e"
virtual_router_id = 1
addresses = ["192.0.2.1"]
[[pool]]
name = "pods"
kubernetes = { namespace = "training", service = "a", port = 80 }
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

function configOf(text: string): AccessConfig {
  const result = loadText(text)
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  const { kubernetes } = result.config
  if (kubernetes === undefined) throw new Error("There is no [kubernetes]")
  return { ...result.config, kubernetes }
}

const KUBERNETES = '[kubernetes]\napi_server = "http://127.0.0.1:8001"\n'

interface Role {
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string }
  readonly rules: readonly {
    readonly apiGroups: readonly string[]
    readonly resources: readonly string[]
    readonly verbs: readonly string[]
    readonly resourceNames?: readonly string[]
  }[]
}

function manifests(name: string): Role[] {
  const parsed = Bun.YAML.parse(readFileSync(join(FOLDER, name), "utf8")) as Role | Role[]
  return Array.isArray(parsed) ? parsed : [parsed]
}

/** "watch core/services everywhere", "get coordination.k8s.io/leases causeway in kube-system". */
function granted(): string[] {
  return manifests("rbac.yaml").flatMap(({ kind, metadata, rules }) => {
    if (kind !== "ClusterRole" && kind !== "Role") return []
    const published = metadata.name === "causeway-publish" ? "in release" : "everywhere"
    const where = metadata.namespace === undefined ? published : `in ${metadata.namespace}`
    return rules.flatMap(({ apiGroups, resources, verbs, resourceNames = [""] }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((path) =>
          resourceNames.flatMap((name) =>
            verbs.map((verb) => sentence({ verb, group, path, name, where })),
          ),
        ),
      ),
    )
  })
}

function needed(rules: readonly AccessRule[]): string[] {
  return rules.flatMap(({ group, resource, subresource, verbs, namespace, name }) => {
    const path = subresource === "" ? resource : `${resource}/${subresource}`
    const where = namespace === "" ? "everywhere" : `in ${namespace}`
    return verbs.map((verb) => sentence({ verb, group, path, name, where }))
  })
}

function sentence(parts: Record<"verb" | "group" | "path" | "name" | "where", string>): string {
  const { verb, group, path, name, where } = parts
  return `${verb} ${group || "core"}/${path}${name === "" ? "" : ` ${name}`} ${where}`
}

test("rbac.yaml grants exactly what is needed with every feature", () => {
  const config = configOf(EVERYTHING)
  expect(featuresOf(config)).toEqual(Object.keys(FEATURES) as never)
  expect(granted().sort()).toEqual(needed(neededRules(config)).sort())
})

test("what is mirrored is what may be listed and watched", () => {
  const config = configOf(EVERYTHING)
  const sources = wantedResources(featuresOf(config), []).map(({ groupVersion, resource }) => {
    const group = groupVersion.includes("/") ? groupVersion.replace(/\/.*/, "") : ""
    return `${group || "core"}/${resource} everywhere`
  })
  const read = needed(neededRules(config)).filter((each) => each.startsWith("list "))
  expect(read.map((each) => each.replace("list ", "")).sort()).toEqual(sources.sort())
})

test("rbac.yaml grants nothing twice, and no wildcard", () => {
  const all = granted()
  expect(new Set(all).size).toBe(all.length)
  expect(all.filter((each) => each.includes("*"))).toEqual([])
})

test("neededRules() asks for nothing where nothing is configured", () => {
  expect(neededRules(configOf(`${KUBERNETES}pod_routes = "off"`))).toEqual([])
})

test("neededRules() asks a pool of pods for two lists, and nothing to write", () => {
  const pool = `[[pool]]\nname = "p"\nkubernetes = { namespace = "a", service = "b", port = 80 }\n`
  expect(needed(neededRules(configOf(`${KUBERNETES}pod_routes = "off"\n${pool}`)))).toEqual([
    "list core/services everywhere",
    "watch core/services everywhere",
    "list discovery.k8s.io/endpointslices everywhere",
    "watch discovery.k8s.io/endpointslices everywhere",
  ])
})

test("neededRules() stays within the namespaces that are watched", () => {
  const limited = 'namespaces = ["release", "training"]\nlease = "release/edge"\n'
  const text = EVERYTHING.replace(
    '"http://127.0.0.1:8001"\n',
    `"http://127.0.0.1:8001"\n${limited}`,
  )
  const rules = needed(neededRules(configOf(text)))
  expect(rules.filter((rule) => rule.endsWith("everywhere"))).toEqual([
    "list core/nodes everywhere",
    "watch core/nodes everywhere",
    "list crd.projectcalico.org/blockaffinities everywhere",
    "watch crd.projectcalico.org/blockaffinities everywhere",
    "list cilium.io/ciliumnodes everywhere",
    "watch cilium.io/ciliumnodes everywhere",
    "list core/namespaces everywhere",
    "watch core/namespaces everywhere",
    "list metallb.io/ipaddresspools everywhere",
    "watch metallb.io/ipaddresspools everywhere",
    "list metallb.io/l2advertisements everywhere",
    "watch metallb.io/l2advertisements everywhere",
    "list networking.k8s.io/ingressclasses everywhere",
    "watch networking.k8s.io/ingressclasses everywhere",
  ])
  expect(rules).toContain("list core/secrets in release")
  expect(rules).toContain("list core/secrets in training")
  expect(rules).toContain("patch coordination.k8s.io/leases edge in release")
})

test("formatRule() writes a rule as it stands in a Role", () => {
  const rules = neededRules(configOf(EVERYTHING))
  const lease = rules.find(({ name }) => name !== "")
  const status = rules.find(({ subresource }) => subresource !== "")
  expect([lease, status].flatMap((rule) => (rule === undefined ? [] : formatRule(rule)))).toEqual([
    '- apiGroups: ["coordination.k8s.io"]',
    '  resources: ["leases"]',
    '  resourceNames: ["causeway"]',
    '  verbs: ["get", "patch"]',
    '- apiGroups: [""]',
    '  resources: ["services/status"]',
    '  verbs: ["patch"]',
  ])
})
