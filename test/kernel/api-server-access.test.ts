/** Who may do what on the lab's API server: tokens, certificates, RBAC, reviews, discovery. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { type ApiServer, startApiServer } from "../lab/api-server/api-server.ts"
import { ApiClient } from "../lab/api-server/client.ts"
import { at, textAt } from "../lab/api-server/object.ts"
import { unusedRights } from "../lab/api-server/rights.ts"

let api: ApiServer
let edge: ApiClient

beforeAll(async () => {
  api = await startApiServer()
  await api.apply(ROLES)
  edge = new ApiClient(api, await api.issueToken("edge"))
})

afterAll(() => api.close())

test("no credentials are system:anonymous, who may ask for the version", async () => {
  const nobody = new ApiClient(api, "")
  expect((await nobody.get("/version")).body).toMatchObject({ major: "1", minor: "32" })
  const { status, body } = await nobody.get("/api/v1/services")
  expect(status).toBe(403)
  expect(at(body, "message")).toBe(
    'services is forbidden: User "system:anonymous" cannot list resource "services" in API group "" at the cluster scope',
  )
})

test("a wrong token answers 401, a revoked one too, a further one not", async () => {
  const { status, body } = await new ApiClient(api, "wrong").get("/version")
  expect(status).toBe(401)
  expect(body).toEqual({
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message: "Unauthorized",
    reason: "Unauthorized",
    code: 401,
  })
  const old = new ApiClient(api, await api.issueToken("rotated"))
  expect((await old.get("/version")).status).toBe(200)
  await api.revokeTokens("rotated")
  expect((await old.get("/version")).status).toBe(401)
  const next = new ApiClient(api, await api.issueToken("rotated"))
  expect((await next.get("/version")).status).toBe(200)
})

test("a client certificate names user and groups", async () => {
  await api.addUser("alice", { groups: ["readers"] })
  const config: unknown = Bun.YAML.parse(await api.kubeconfig("alice", { form: "certificate" }))
  const user = at(config, "users", 0, "user")
  const pair = {
    cert: atob(textAt(user, "client-certificate-data")),
    key: atob(textAt(user, "client-key-data")),
  }
  const alice = new ApiClient(api, "", pair)
  expect((await alice.get("/api/v1/nodes")).status).toBe(200)
  const { body } = await alice.get("/api/v1/namespaces/default/secrets/x")
  expect(at(body, "message")).toBe(
    'secrets "x" is forbidden: User "alice" cannot get resource "secrets" in API group "" in the namespace "default"',
  )
})

test("a certificate of another authority answers 401", async () => {
  const other = await startApiServer()
  try {
    const path = await other.kubeconfigFile("alice", { form: "certificate-files" })
    const user = at(Bun.YAML.parse(readFileSync(path, "utf8")), "users", 0, "user")
    const cert = readFileSync(textAt(user, "client-certificate"), "utf8")
    const key = readFileSync(textAt(user, "client-key"), "utf8")
    const stranger = new ApiClient(api, "", { cert, key })
    expect((await stranger.get("/version")).status).toBe(401)
  } finally {
    await other.close()
  }
})

test("rules hold for verbs, subresources and names", async () => {
  const services = "/api/v1/namespaces/default/services/kubernetes"
  expect((await edge.get(services)).status).toBe(200)
  expect((await edge.patch(`${services}/status`, {})).status).toBe(200)
  const { body } = await edge.patch(services, {})
  expect(at(body, "message")).toBe(
    'services "kubernetes" is forbidden: User "edge" cannot patch resource "services" in API group "" in the namespace "default"',
  )
  const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
  expect((await edge.get(`${leases}/writer`)).status).toBe(404)
  expect((await edge.get(`${leases}/other`)).status).toBe(403)
})

test("a Role holds in its namespace only", async () => {
  expect((await edge.get("/api/v1/namespaces/kube-system/secrets")).status).toBe(200)
  expect((await edge.get("/api/v1/namespaces/default/secrets")).status).toBe(403)
  expect((await edge.get("/api/v1/secrets")).status).toBe(403)
})

test("a watch of one name is allowed by that name", async () => {
  const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
  const one = await edge.watch(leases, "fieldSelector=metadata.name%3Dwriter")
  expect(one.status).toBe(200)
  one.close()
  expect((await edge.watch(leases)).status).toBe(403)
})

test("a service account's token brings its groups", async () => {
  const robot = new ApiClient(api, await api.issueToken("system:serviceaccount:kube-system:robot"))
  expect((await robot.get("/api/v1/nodes")).status).toBe(200)
})

test("a binding without its role says so", async () => {
  await api.apply(`
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: dangling}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: missing}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: lost}]
`)
  const lost = new ApiClient(api, await api.issueToken("lost"))
  const { body } = await lost.get("/api/v1/pods")
  expect(textAt(body, "message")).toEndWith(
    'at the cluster scope: RBAC: clusterrole.rbac.authorization.k8s.io "missing" not found',
  )
})

test("SelfSubjectAccessReview answers 201 and who allowed it", async () => {
  const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
  const ask = (resourceAttributes: object) => edge.post(path, { spec: { resourceAttributes } })
  const yes = await ask({ verb: "patch", resource: "services", subresource: "status" })
  expect(yes.status).toBe(201)
  expect(at(yes.body, "status")).toEqual({
    allowed: true,
    reason: 'RBAC: allowed by ClusterRoleBinding "edge" of ClusterRole "edge" to User "edge"',
  })
  const no = await ask({ verb: "delete", resource: "services" })
  expect(at(no.body, "status")).toEqual({ allowed: false })
})

test("SelfSubjectRulesReview lists what holds in a namespace", async () => {
  const path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
  const { body } = await edge.post(path, { spec: { namespace: "kube-system" } })
  expect(at(body, "status", "resourceRules")).toContainEqual({
    verbs: ["get", "update"],
    apiGroups: ["coordination.k8s.io"],
    resources: ["leases"],
    resourceNames: ["writer"],
  })
})

test("usage() is what was asked for and allowed", async () => {
  const user = new ApiClient(api, await api.issueToken("counted"))
  await api.apply(ROLES.replaceAll(/name: edge\b/g, "name: counted"))
  await user.get("/api/v1/namespaces/default/services/kubernetes")
  await user.patch("/api/v1/namespaces/default/services/kubernetes/status", {})
  await user.delete("/api/v1/namespaces/default/services/kubernetes")
  const rest = { group: "", resource: "services", namespace: "default", name: "kubernetes" }
  expect(await api.usage("counted")).toEqual([
    { verb: "get", subresource: "", ...rest },
    { verb: "patch", subresource: "status", ...rest },
  ])
})

test("unusedRights() names the rights in roles that nobody made use of", async () => {
  const user = new ApiClient(api, await api.issueToken("counted"))
  await user.get("/api/v1/services")
  const roles = [...(await api.list("clusterroles")), ...(await api.list("roles"))]
  const own = roles.filter(({ metadata }) => metadata.name === "counted")
  expect(await unusedRights(api, "counted", own)).toEqual([
    "watch services",
    "get coordination.k8s.io/leases writer",
    "update coordination.k8s.io/leases writer",
    "watch coordination.k8s.io/leases writer",
    "get secrets",
    "list secrets",
    "watch secrets",
    "get coordination.k8s.io/leases writer",
    "update coordination.k8s.io/leases writer",
  ])
})

test("requests() tells verb, user and how it ended", async () => {
  await api.clearRequests()
  await edge.get("/api/v1/namespaces/default/pods/x?timeout=1s")
  expect(await api.requests()).toMatchObject([
    {
      method: "GET",
      path: "/api/v1/namespaces/default/pods/x",
      query: "timeout=1s",
      user: "edge",
      verb: "get",
      resource: "pods",
      namespace: "default",
      name: "x",
      status: 403,
    },
  ])
})

test("resources that are not installed are pages that are not found, after authorization", async () => {
  const admin = new ApiClient(api, await api.issueToken("admin"))
  const path = "/apis/metallb.io/v1beta1/ipaddresspools"
  expect((await edge.get(path)).status).toBe(403)
  const { status, text, headers } = await admin.get(path)
  expect([status, text]).toEqual([404, "404 page not found\n"])
  expect(headers.get("content-type")).toBe("text/plain; charset=utf-8")
  await api.install("metallb")
  expect((await admin.get(path)).status).toBe(200)
  await api.uninstall("metallb")
  expect((await admin.get(path)).status).toBe(404)
})

test("an unknown resource of a known group is a Status", async () => {
  const admin = new ApiClient(api, await api.issueToken("admin"))
  const { status, body } = await admin.get("/api/v1/things")
  expect(status).toBe(404)
  expect(body).toMatchObject({
    reason: "NotFound",
    message: "the server could not find the requested resource",
  })
})

test("discovery lists groups, resources and their verbs", async () => {
  const groups = await edge.get("/apis")
  expect(at(groups.body, "groups", 0, "name")).toBe("discovery.k8s.io")
  const { body } = await edge.get("/apis/discovery.k8s.io/v1")
  expect(body).toMatchObject({
    kind: "APIResourceList",
    groupVersion: "discovery.k8s.io/v1",
    resources: [{ name: "endpointslices", namespaced: true, kind: "EndpointSlice" }],
  })
  expect((await edge.get("/apis/nothing.test")).status).toBe(404)
})

const ROLES = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: edge}
rules:
- {apiGroups: [""], resources: [services], verbs: [get, list, watch]}
- {apiGroups: [""], resources: [services/status], verbs: [patch]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [writer], verbs: [get, update, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: edge}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: edge}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edge}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: edge, namespace: kube-system}
rules:
- {apiGroups: [""], resources: [secrets], verbs: [get, list, watch]}
- {apiGroups: [coordination.k8s.io], resources: [leases], resourceNames: [writer], verbs: [get, update]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: edge, namespace: kube-system}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: edge}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: edge}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes}
rules: [{apiGroups: [""], resources: [nodes], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nodes}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: readers}
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:serviceaccounts:kube-system"}
`
