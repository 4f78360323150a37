/** What clients ask before anything else: groups, resources, version, health. */
import { apiVersionOf, type Resource, VERBS } from "./resources.ts"

/** The answer to a path that is not about a resource's objects; undefined: there is none. */
export function discovery(path: string, resources: readonly Resource[]): object | undefined {
  const parts = path.split("/").filter((part) => part !== "")
  const [root, first, second] = parts
  if (path === "/version") return VERSION
  if (root === "api" && parts.length === 1) {
    return {
      kind: "APIVersions",
      versions: ["v1"],
      serverAddressByClientCIDRs: [{ clientCIDR: "0.0.0.0/0", serverAddress: "127.0.0.1:6443" }],
    }
  }
  if (root === "api" && parts.length === 2 && first === "v1") return resourceList("v1", resources)
  if (root !== "apis") return undefined
  const groups = groupsOf(resources)
  if (parts.length === 1) return { kind: "APIGroupList", apiVersion: "v1", groups }
  const group = groups.find(({ name }) => name === first)
  if (parts.length === 2 && group !== undefined) {
    return { kind: "APIGroup", apiVersion: "v1", ...group }
  }
  const isServed = group?.versions.some(({ version }) => version === second) ?? false
  if (parts.length === 3 && isServed) return resourceList(`${first}/${second}`, resources)
  return undefined
}

/** Is this group in this version there at all? Without it a path is unknown to the server. */
export function isServed(resources: readonly Resource[], group: string, version: string): boolean {
  if (group === VIRTUAL.group) return version === VIRTUAL.version
  return resources.some((each) => each.group === group && each.version === version)
}

interface Group {
  readonly name: string
  readonly versions: readonly { readonly groupVersion: string; readonly version: string }[]
  readonly preferredVersion: object
}

function groupsOf(resources: readonly Resource[]): Group[] {
  const all = [...resources.map(({ group, version }) => ({ group, version })), VIRTUAL]
  const names = new Map(all.filter(({ group }) => group !== "").map((each) => [each.group, each]))
  return [...names.values()].map(({ group, version }) => {
    const entry = { groupVersion: `${group}/${version}`, version }
    return { name: group, versions: [entry], preferredVersion: entry }
  })
}

function resourceList(groupVersion: string, resources: readonly Resource[]): object {
  const served = resources.filter((resource) => apiVersionOf(resource) === groupVersion)
  const virtual = groupVersion === `${VIRTUAL.group}/${VIRTUAL.version}` ? REVIEWS : []
  return {
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion,
    resources: [...served.flatMap(entriesOf), ...virtual],
  }
}

function entriesOf(resource: Resource): object[] {
  const { plural, singular, isNamespaced, kind, shortNames } = resource
  const entry = {
    name: plural,
    singularName: singular,
    namespaced: isNamespaced,
    kind,
    verbs: VERBS,
    ...(shortNames.length === 0 ? {} : { shortNames }),
  }
  if (!resource.hasStatus) return [entry]
  const status = { name: `${plural}/status`, singularName: "", namespaced: isNamespaced, kind }
  return [entry, { ...status, verbs: ["get", "patch", "update"] }]
}

const VIRTUAL = { group: "authorization.k8s.io", version: "v1" }

const REVIEWS = ["SelfSubjectAccessReview", "SelfSubjectRulesReview"].map((kind) => ({
  name: `${kind.toLowerCase()}s`,
  singularName: kind.toLowerCase(),
  namespaced: false,
  kind,
  verbs: ["create"],
}))

const VERSION = {
  major: "1",
  minor: "32",
  gitVersion: "v1.32.4",
  gitCommit: "0000000000000000000000000000000000000000",
  gitTreeState: "clean",
  buildDate: "2025-04-22T15:56:15Z",
  goVersion: "go1.23.6",
  compiler: "gc",
  platform: "linux/amd64",
}
