/**
 * The lab's API server keeps to kube-apiserver's behaviour, asked over the wire. Expectations are
 * literals from the sources that its files name; `api-server-kubectl.test.ts` has a second opinion.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type ApiServer, startApiServer } from "../lab/api-server/api-server.ts"
import { ApiClient } from "../lab/api-server/client.ts"
import { type ApiObject, at } from "../lab/api-server/object.ts"

let api: ApiServer
let client: ApiClient

beforeAll(async () => {
  api = await startApiServer({ custom: ["metallb"] })
  client = new ApiClient(api, await api.issueToken("admin"))
})

afterAll(() => api.close())

describe("objects", () => {
  test("POST answers 201 with the metadata that the server gives", async () => {
    const { status, body } = await client.post(configMaps("default"), configMap("made"))
    expect(status).toBe(201)
    expect(body).toMatchObject({ kind: "ConfigMap", apiVersion: "v1", data: { a: "1" } })
    expect(at(body, "metadata", "uid")).toMatch(/^[0-9a-f-]{36}$/)
    expect(at(body, "metadata", "resourceVersion")).toMatch(/^41\d{3}$/)
    expect(at(body, "metadata", "creationTimestamp")).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    expect(at(body, "metadata", "managedFields", 0)).toMatchObject({ operation: "Update" })
  })

  test("POST of a name that is there answers 409 AlreadyExists", async () => {
    await client.post(configMaps("default"), configMap("twice"))
    const { status, body } = await client.post(configMaps("default"), configMap("twice"))
    expect(status).toBe(409)
    expect(body).toEqual({
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: 'configmaps "twice" already exists',
      reason: "AlreadyExists",
      details: { name: "twice", kind: "configmaps" },
      code: 409,
    })
  })

  test("GET of a name that is not there answers 404", async () => {
    const { status, body } = await client.get("/apis/networking.k8s.io/v1/namespaces/x/ingresses/y")
    expect(status).toBe(404)
    expect(body).toMatchObject({
      message: 'ingresses.networking.k8s.io "y" not found',
      reason: "NotFound",
      details: { name: "y", group: "networking.k8s.io", kind: "ingresses" },
    })
  })

  test("POST into a namespace that is not there answers 404 of the namespace", async () => {
    const { status, body } = await client.post(configMaps("nowhere"), configMap("x"))
    expect(status).toBe(404)
    expect(body).toMatchObject({ message: 'namespaces "nowhere" not found' })
  })

  test("POST with generateName adds five letters", async () => {
    const object = { metadata: { generateName: "gen-" } }
    const { body } = await client.post(configMaps("default"), object)
    expect(at(body, "metadata", "name")).toMatch(/^gen-[a-z0-9]{5}$/)
  })

  test("PUT with an old resourceVersion answers 409 Conflict", async () => {
    const { body } = await client.post(configMaps("default"), configMap("old"))
    const path = `${configMaps("default")}/old`
    await client.put(path, { ...Object(body), data: { a: "2" } })
    const late = await client.put(path, { ...Object(body), data: { a: "3" } })
    expect(late.status).toBe(409)
    expect(late.body).toMatchObject({
      message:
        'Operation cannot be fulfilled on configmaps "old": the object has been modified; please apply your changes to the latest version and try again',
      reason: "Conflict",
    })
  })

  test("PUT without a resourceVersion overwrites, but not a Lease", async () => {
    await client.post(configMaps("default"), configMap("free"))
    const free = await client.put(`${configMaps("default")}/free`, configMap("free", { b: "2" }))
    expect(free.body).toMatchObject({ data: { b: "2" } })
    await client.post(leases, lease("l1"))
    const held = await client.put(`${leases}/l1`, lease("l1"))
    expect(held.status).toBe(422)
    expect(held.body).toMatchObject({
      message:
        'leases.coordination.k8s.io "l1" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update',
    })
  })

  test("a write that changes nothing keeps the resourceVersion", async () => {
    const made = await client.post(configMaps("default"), configMap("same"))
    const path = `${configMaps("default")}/same`
    const again = await client.patch(path, { data: { a: "1" } })
    expect(versionIn(again.body)).toBe(versionIn(made.body))
  })

  test("DELETE answers a Status with the uid, and with preconditions checks it", async () => {
    const { body } = await client.post(configMaps("default"), configMap("gone"))
    const path = `${configMaps("default")}/gone`
    const wrong = await client.delete(path, { preconditions: { uid: "other" } })
    expect(wrong.status).toBe(409)
    expect(wrong.body).toMatchObject({ reason: "Conflict" })
    const right = await client.delete(path, {
      preconditions: { uid: at(body, "metadata", "uid") },
    })
    expect(right.body).toMatchObject({
      kind: "Status",
      status: "Success",
      details: { name: "gone", kind: "configmaps", uid: at(body, "metadata", "uid") },
    })
    expect((await client.get(path)).status).toBe(404)
  })

  test("DELETE of a Service answers the Service", async () => {
    await client.post(services, service80("deleted"))
    const { body } = await client.delete(`${services}/deleted`)
    expect(body).toMatchObject({ kind: "Service", metadata: { name: "deleted" } })
  })

  test("DELETE waits for finalizers", async () => {
    const object = { metadata: { name: "held", finalizers: ["lab.test/hold"] } }
    await client.post(configMaps("default"), object)
    const path = `${configMaps("default")}/held`
    const { status, body } = await client.delete(path)
    expect(status).toBe(200)
    expect(at(body, "metadata", "deletionTimestamp")).toBeString()
    expect((await client.get(path)).status).toBe(200)
    await client.patch(path, { metadata: { finalizers: null } })
    expect((await client.get(path)).status).toBe(404)
  })

  test("generation counts spec changes only, and only of kinds that have it", async () => {
    const made = await client.post(ingresses, ingress("counted"))
    expect(at(made.body, "metadata", "generation")).toBe(1)
    const path = `${ingresses}/counted`
    const labelled = await client.patch(path, { metadata: { labels: { a: "b" } } })
    expect(at(labelled.body, "metadata", "generation")).toBe(1)
    const changed = await client.patch(path, { spec: { ingressClassName: "x" } })
    expect(at(changed.body, "metadata", "generation")).toBe(2)
    const service = await client.post(services, service80("uncounted"))
    expect(at(service.body, "metadata", "generation")).toBeUndefined()
  })

  test("what an owner leaves behind is deleted", async () => {
    const { body } = await client.post(configMaps("default"), configMap("owner"))
    const owner = { apiVersion: "v1", kind: "ConfigMap", name: "owner" }
    const reference = { ...owner, uid: at(body, "metadata", "uid") }
    const owned = { metadata: { name: "owned", ownerReferences: [reference] } }
    await client.post(configMaps("default"), owned)
    await client.delete(`${configMaps("default")}/owner`)
    expect((await client.get(`${configMaps("default")}/owned`)).status).toBe(404)
  })

  test("a namespace that is deleted takes its objects along", async () => {
    await api.apply({ ...configMap("inside"), metadata: { name: "inside", namespace: "doomed" } })
    await client.delete("/api/v1/namespaces/doomed")
    expect((await client.get("/api/v1/namespaces/doomed")).status).toBe(404)
    expect((await client.get(`${configMaps("doomed")}/inside`)).status).toBe(404)
  })
})

describe("patches", () => {
  test("a merge patch replaces lists and removes nulls", async () => {
    await client.post(services, service80("merged"))
    const { body } = await client.patch(`${services}/merged`, {
      spec: { selector: { app: "b", tier: null }, ports: [{ port: 81 }] },
    })
    expect(at(body, "spec", "selector")).toEqual({ app: "b" })
    expect(at(body, "spec", "ports")).toEqual([{ port: 81, protocol: "TCP", targetPort: 81 }])
  })

  test("a strategic merge patch merges ports by number and conditions by type", async () => {
    await client.post(services, service80("strategic"))
    const strategic = "application/strategic-merge-patch+json"
    const patch = {
      spec: {
        ports: [
          { port: 80, name: "a" },
          { port: 81, name: "b" },
        ],
      },
    }
    const { body } = await client.patch(`${services}/strategic`, patch, strategic)
    expect(at(body, "spec", "ports")).toEqual([
      { name: "a", port: 80, protocol: "TCP", targetPort: 80 },
      { name: "b", port: 81, protocol: "TCP", targetPort: 81 },
    ])
    const path = `${services}/strategic/status`
    const first = { type: "A", status: "True", reason: "R", message: "" }
    const second = { ...first, type: "B" }
    await client.patch(path, { status: { conditions: [first] } }, strategic)
    const both = await client.patch(path, { status: { conditions: [second] } }, strategic)
    expect(at(both.body, "status", "conditions")).toEqual([first, second])
  })

  test("a JSON patch tests, adds and removes; what does not fit answers 422", async () => {
    await client.post(configMaps("default"), configMap("pointed"))
    const path = `${configMaps("default")}/pointed`
    const type = "application/json-patch+json"
    const good = [
      { op: "test", path: "/data/a", value: "1" },
      { op: "add", path: "/data/b~1c", value: "2" },
      { op: "remove", path: "/data/a" },
    ]
    const { body } = await client.patch(path, good, type)
    expect(at(body, "data")).toEqual({ "b/c": "2" })
    const bad = await client.patch(path, [{ op: "test", path: "/data/a", value: "1" }], type)
    expect(bad.status).toBe(422)
    expect(bad.body).toMatchObject({
      message: "the server rejected our request due to an error in our request",
      reason: "Invalid",
    })
  })

  test("a patch with a stale resourceVersion answers 409", async () => {
    const made = await client.post(configMaps("default"), configMap("guarded"))
    const path = `${configMaps("default")}/guarded`
    await client.patch(path, { data: { a: "2" } })
    const metadata = { resourceVersion: versionIn(made.body) }
    const late = await client.patch(path, { metadata, data: { a: "3" } })
    expect(late.status).toBe(409)
  })

  test("a strategic merge patch of a custom resource answers 415", async () => {
    await api.apply(pool("typed"))
    const path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/typed"
    const reply = await client.patch(path, {}, "application/strategic-merge-patch+json")
    expect(reply.status).toBe(415)
    expect(reply.body).toMatchObject({ reason: "UnsupportedMediaType" })
  })
})

describe("status", () => {
  test("a write to the object ignores status, a write to /status ignores all else", async () => {
    const balancer = { ...service80("apart"), spec: { ...spec80, type: "LoadBalancer" } }
    const status = { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } }
    const made = await client.post(services, { ...balancer, status })
    expect(at(made.body, "status")).toEqual({ loadBalancer: {} })
    const path = `${services}/apart`
    const ignored = await client.patch(path, { status })
    expect(at(ignored.body, "status")).toEqual({ loadBalancer: {} })
    const written = await client.patch(`${path}/status`, { status, spec: { type: "ClusterIP" } })
    expect(at(written.body, "spec", "type")).toBe("LoadBalancer")
    expect(at(written.body, "status")).toEqual({
      loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }] },
    })
  })

  test("a write to /status writes labels too, but not of custom resources", async () => {
    await client.post(services, service80("labelled"))
    const patch = { metadata: { labels: { a: "b" } } }
    const service = await client.patch(`${services}/labelled/status`, patch)
    expect(at(service.body, "metadata", "labels")).toEqual({ a: "b" })
    await api.apply(pool("labelled"))
    const path = "/apis/metallb.io/v1beta1/namespaces/metallb-system/ipaddresspools/labelled"
    const custom = await client.patch(`${path}/status`, patch)
    expect(at(custom.body, "metadata", "labels")).toBeUndefined()
  })

  test("an ipMode needs an ip, and an ip must be one", async () => {
    const reply = await patchIngress("modes", [{ hostname: "a.test", ipMode: "Proxy" }])
    expect(reply.status).toBe(422)
    expect(reply.body).toMatchObject({
      message:
        'Service "modes" is invalid: status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set',
      details: { kind: "Service", name: "modes" },
    })
    const bad = await patchIngress("modes2", [{ ip: "1.2.3", ipMode: "Half" }])
    expect(at(bad.body, "message")).toBe(
      'Service "modes2" is invalid: [status.loadBalancer.ingress[0].ip: Invalid value: "1.2.3": must be a valid IP address, status.loadBalancer.ingress[0].ipMode: Unsupported value: "Half": supported values: "Proxy", "VIP"]',
    )
  })

  test("a Service of another type has no addresses", async () => {
    await client.post(services, service80("plain"))
    const status = { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } }
    const { body } = await client.patch(`${services}/plain/status`, { status })
    expect(at(body, "message")).toBe(
      'Service "plain" is invalid: status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is "LoadBalancer"',
    )
  })

  test("a kind without the subresource answers 404 to it", async () => {
    const { status, body } = await client.get(`${configMaps("default")}/x/status`)
    expect(status).toBe(404)
    expect(body).toMatchObject({ message: "the server could not find the requested resource" })
  })

  async function patchIngress(name: string, ingress: object[]) {
    const balancer = { ...service80(name), spec: { ...spec80, type: "LoadBalancer" } }
    await client.post(services, balancer)
    return client.patch(`${services}/${name}/status`, { status: { loadBalancer: { ingress } } })
  }
})

describe("Services", () => {
  test("get the API's defaults and a cluster address", async () => {
    const { body } = await client.post(services, service80("defaults"))
    expect(at(body, "spec")).toEqual({
      clusterIP: at(body, "spec", "clusterIP"),
      clusterIPs: [at(body, "spec", "clusterIP")],
      internalTrafficPolicy: "Cluster",
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      ports: [{ port: 80, protocol: "TCP", targetPort: 80 }],
      selector: { app: "a", tier: "x" },
      sessionAffinity: "None",
      type: "ClusterIP",
    })
    expect(at(body, "spec", "clusterIP")).toMatch(/^10\.96\.\d+\.\d+$/)
  })

  test("of type LoadBalancer get node ports unless told not to", async () => {
    const balancer = { ...spec80, type: "LoadBalancer" }
    const one = await client.post(services, { ...service80("ports"), spec: balancer })
    expect(at(one.body, "spec", "ports", 0, "nodePort")).toBeWithin(30_000, 32_768)
    expect(at(one.body, "spec", "externalTrafficPolicy")).toBe("Cluster")
    const spec = { ...balancer, allocateLoadBalancerNodePorts: false }
    const other = await client.post(services, { ...service80("no-ports"), spec })
    expect(at(other.body, "spec", "ports", 0)).toEqual({
      port: 80,
      protocol: "TCP",
      targetPort: 80,
    })
  })

  test("lose what belonged to the type that they had", async () => {
    const balancer = { ...spec80, type: "LoadBalancer", loadBalancerClass: "a.test/b" }
    await client.post(services, { ...service80("turned"), spec: balancer })
    const status = { loadBalancer: { ingress: [{ ip: "192.0.2.7" }] } }
    await client.patch(`${services}/turned/status`, { status })
    const { body } = await client.patch(`${services}/turned`, { spec: { type: "ClusterIP" } })
    expect(at(body, "status")).toEqual({ loadBalancer: {} })
    const fields = Object.keys(Object(at(body, "spec")))
    expect(fields).not.toContain("loadBalancerClass")
    expect(fields).not.toContain("allocateLoadBalancerNodePorts")
    expect(at(body, "spec", "ports", 0, "nodePort")).toBeUndefined()
  })

  test("keep their address when an update leaves it out", async () => {
    const made = await client.post(services, service80("kept"))
    const put = await client.put(`${services}/kept`, service80("kept"))
    expect(at(put.body, "spec", "clusterIP")).toBe(at(made.body, "spec", "clusterIP"))
  })

  test("without selector and address are of both families", async () => {
    const spec = { clusterIP: "None", ports: [{ port: 1 }] }
    const { body } = await client.post(services, { metadata: { name: "headless" }, spec })
    expect(at(body, "spec")).toMatchObject({
      clusterIPs: ["None"],
      ipFamilies: ["IPv4", "IPv6"],
      ipFamilyPolicy: "RequireDualStack",
    })
  })

  test.each<[string, object, string]>([
    [
      "ports without names",
      { ports: [{ port: 80 }, { port: 81, name: "b" }] },
      "spec.ports[0].name: Required value",
    ],
    [
      "a port out of range",
      { ports: [{ port: 70_000, targetPort: 80 }] },
      "spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
    ],
    ["no ports", { ports: [] }, "spec.ports: Required value"],
    [
      "a class on another type",
      { ports: [{ port: 80 }], loadBalancerClass: "a.test/b" },
      "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ],
    [
      "an address from elsewhere",
      { ports: [{ port: 80 }], clusterIP: "10.1.2.3" },
      'spec.clusterIPs: Invalid value: ["10.1.2.3"]: failed to allocate IP 10.1.2.3: the provided IP (10.1.2.3) is not in the valid range. The range of valid IPs is 10.96.0.0/16',
    ],
    [
      "a node port out of range",
      { type: "NodePort", ports: [{ port: 80, nodePort: 80 }] },
      "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767",
    ],
  ])("with %s are refused", async (_, spec, message) => {
    const { status, body } = await client.post(services, { metadata: { name: "bad" }, spec })
    expect(status).toBe(422)
    expect(at(body, "message")).toBe(`Service "bad" is invalid: ${message}`)
  })

  test("cannot be called like an address", async () => {
    const { body } = await client.post(services, service80("1a"))
    expect(at(body, "message")).toStartWith(
      'Service "1a" is invalid: metadata.name: Invalid value: "1a": a DNS-1035 label must',
    )
  })
})

describe("other kinds", () => {
  const ns = "/namespaces/default"
  const slices = `/apis/discovery.k8s.io/v1${ns}/endpointslices`

  test("an EndpointSlice gets its ports' defaults and a generation", async () => {
    const object = { ...slice("s1", ["192.0.2.1"]), ports: [{ port: 80 }] }
    const { body } = await client.post(slices, object)
    expect(at(body, "ports")).toEqual([{ name: "", protocol: "TCP", port: 80 }])
    expect(at(body, "metadata", "generation")).toBe(1)
  })

  test.each<[string, object, string]>([
    ["no address type", { addressType: undefined }, "addressType: Required value"],
    [
      "an IPv6 address in an IPv4 slice",
      { endpoints: [{ addresses: ["2001:db8::1"] }] },
      'endpoints[0].addresses[0]: Invalid value: "2001:db8::1": must be a valid IPv4 address',
    ],
    [
      "a loopback address",
      { endpoints: [{ addresses: ["127.0.0.1"] }] },
      'endpoints[0].addresses[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ],
    [
      "an endpoint without addresses",
      { endpoints: [{ addresses: [] }] },
      "endpoints[0].addresses: Required value: must contain at least 1 address",
    ],
  ])("an EndpointSlice with %s is refused", async (_, change, message) => {
    const { body } = await client.post(slices, { ...slice("bad", ["192.0.2.1"]), ...change })
    expect(at(body, "message")).toBe(`EndpointSlice.discovery.k8s.io "bad" is invalid: ${message}`)
  })

  test("a Lease's times have six digits, JavaScript's own are refused", async () => {
    const bad = lease("times", "2026-01-02T03:04:05.678Z")
    const refused = await client.post(leases, bad)
    expect(refused.status).toBe(400)
    expect(at(refused.body, "message")).toBe(
      'Lease in version "v1" cannot be handled as a Lease: parsing time "2026-01-02T03:04:05.678Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ".678Z" as ".000000"',
    )
    const good = await client.post(leases, lease("times", "2026-01-02T04:04:05.678000+01:00"))
    expect(at(good.body, "spec", "renewTime")).toBe("2026-01-02T03:04:05.678000Z")
  })

  test("a Lease cannot last no time", async () => {
    const object = { metadata: { name: "short" }, spec: { leaseDurationSeconds: 0 } }
    const { body } = await client.post(leases, object)
    expect(at(body, "message")).toBe(
      'Lease.coordination.k8s.io "short" is invalid: spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0',
    )
  })

  test("an Event lives where its object does, and drops fractions of seconds", async () => {
    const path = `/api/v1${ns}/events`
    const involvedObject = { kind: "Service", namespace: "other", name: "x" }
    const bad = await client.post(path, { metadata: { name: "e1" }, involvedObject })
    expect(at(bad.body, "message")).toBe(
      'Event "e1" is invalid: involvedObject.namespace: Invalid value: "other": does not match event.namespace',
    )
    const event = {
      metadata: { name: "e1" },
      involvedObject: { ...involvedObject, namespace: "default" },
      firstTimestamp: "2026-01-02T03:04:05.678Z",
    }
    const good = await client.post(path, event)
    expect(at(good.body, "firstTimestamp")).toBe("2026-01-02T03:04:05Z")
  })

  test("an Event with eventTime needs the fields of the new API", async () => {
    const event = {
      metadata: { name: "e2" },
      involvedObject: { kind: "Service", namespace: "default", name: "x" },
      eventTime: "2026-01-02T03:04:05.678000Z",
      reason: "Because",
    }
    const { body } = await client.post(`/api/v1${ns}/events`, event)
    expect(at(body, "message")).toBe(
      'Event "e2" is invalid: [reportingComponent: Required value, reportingInstance: Required value, action: Required value]',
    )
  })

  test("an Ingress needs pathType and a backend's port", async () => {
    const paths = [{ path: "/", backend: { service: { name: "a" } } }]
    const object = { metadata: { name: "i1" }, spec: { rules: [{ http: { paths } }] } }
    const { body } = await client.post(ingresses, object)
    expect(at(body, "message")).toBe(
      'Ingress.networking.k8s.io "i1" is invalid: [spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified, spec.rules[0].http.paths[0].backend: Required value: port name or number is required]',
    )
  })

  test("an Ingress without a class gets the default one, when it is made", async () => {
    const annotations = { "ingressclass.kubernetes.io/is-default-class": "true" }
    const spec = { controller: "lab.test/controller" }
    const kind = { apiVersion: "networking.k8s.io/v1", kind: "IngressClass" }
    await api.apply({ ...kind, metadata: { name: "usual", annotations }, spec })
    const { body } = await client.post(ingresses, ingress("classless"))
    expect(at(body, "spec", "ingressClassName")).toBe("usual")
    await api.remove("ingressclasses", "usual")
  })

  test("a TLS Secret needs both halves, and stringData becomes data", async () => {
    const path = `/api/v1${ns}/secrets`
    const half = {
      metadata: { name: "t" },
      type: "kubernetes.io/tls",
      stringData: { "tls.crt": "ü" },
    }
    const bad = await client.post(path, half)
    expect(at(bad.body, "message")).toBe('Secret "t" is invalid: data[tls.key]: Required value')
    const stringData = { "tls.crt": "ü", "tls.key": "k" }
    const good = await client.post(path, { ...half, stringData })
    expect(at(good.body, "data")).toEqual({ "tls.crt": "w7w=", "tls.key": "aw==" })
    expect(at(good.body, "stringData")).toBeUndefined()
  })
})

describe("bodies", () => {
  test("lose fields that the kind does not have, with a warning", async () => {
    const object = { ...service80("unknown"), status: { loadBalancers: {} }, specs: 1 }
    const { status, headers, body } = await client.post(services, object)
    expect(status).toBe(201)
    expect(headers.get("warning")).toBe(
      '299 - "unknown field \\"status.loadBalancers\\"", 299 - "unknown field \\"specs\\""',
    )
    expect(at(body, "specs")).toBeUndefined()
    const [request] = (await api.requests()).slice(-1)
    expect(request?.warnings).toEqual([
      'unknown field "status.loadBalancers"',
      'unknown field "specs"',
    ])
  })

  test("are refused for them where the client asks to be strict", async () => {
    const object = { ...service80("strict"), spec: { ...spec80, clusterIp: "None" } }
    const { status, body } = await client.post(`${services}?fieldValidation=Strict`, object)
    expect(status).toBe(400)
    expect(at(body, "message")).toBe(
      'Service in version "v1" cannot be handled as a Service: strict decoding error: unknown field "spec.clusterIp"',
    )
  })

  test("with a wrong type are refused: 400 in an object, 422 in a patch", async () => {
    const object = { ...service80("typed"), spec: { ports: [{ port: "80" }] } }
    const posted = await client.post(services, object)
    expect(posted.status).toBe(400)
    expect(at(posted.body, "message")).toBe(
      'Service in version "v1" cannot be handled as a Service: json: cannot unmarshal string into Go struct field Service.spec.ports.port of type int32',
    )
    await client.post(configMaps("default"), configMap("typed"))
    const labels = { metadata: { annotations: { a: 1 } } }
    const patched = await client.patch(`${configMaps("default")}/typed`, labels)
    expect(patched.status).toBe(422)
  })

  test("that are no JSON are refused", async () => {
    const { status } = await client.call("POST", services, { body: "{" })
    expect(status).toBe(400)
    const type = "text/plain"
    expect((await client.call("POST", services, { body: "{}", type })).status).toBe(415)
  })

  test("are answered for kubectl's dry run and not kept", async () => {
    const made = await client.post(`${configMaps("default")}?dryRun=All`, configMap("dry"))
    expect(made.status).toBe(201)
    expect((await client.get(`${configMaps("default")}/dry`)).status).toBe(404)
  })
})

const services = "/api/v1/namespaces/default/services"
const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
const ingresses = "/apis/networking.k8s.io/v1/namespaces/default/ingresses"
const spec80 = { ports: [{ port: 80 }], selector: { app: "a", tier: "x" } }

function configMaps(namespace: string): string {
  return `/api/v1/namespaces/${namespace}/configmaps`
}

function configMap(name: string, data: object = { a: "1" }) {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data }
}

function service80(name: string) {
  return { apiVersion: "v1", kind: "Service", metadata: { name }, spec: spec80 }
}

function lease(name: string, renewTime?: string) {
  return { metadata: { name }, spec: { holderIdentity: "a", renewTime } }
}

function ingress(name: string) {
  const backend = { service: { name: "web", port: { number: 80 } } }
  return { metadata: { name }, spec: { defaultBackend: backend } }
}

function slice(name: string, addresses: readonly string[]) {
  return { metadata: { name }, addressType: "IPv4", endpoints: [{ addresses }], ports: [] }
}

function pool(name: string): ApiObject {
  return {
    apiVersion: "metallb.io/v1beta1",
    kind: "IPAddressPool",
    metadata: { name, namespace: "metallb-system" },
    spec: { addresses: ["192.0.2.0/28"] },
  }
}

function versionIn(body: unknown): unknown {
  return at(body, "metadata", "resourceVersion")
}
