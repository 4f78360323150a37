import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { decodeLine, decodeObject, decodePage } from "./decode.ts"
import type { MirroredKind } from "./objects.ts"

/** As kube-apiserver 1.32 answers, shortened to what the tests are about. */
const METADATA = {
  name: "web",
  namespace: "shop",
  uid: "9a3f0d2c-0d2b-4b8e-9a55-0a1d6a0b7a11",
  resourceVersion: "71234",
  creationTimestamp: "2026-03-01T10:20:30Z",
  labels: { app: "web" },
  annotations: {
    "kubectl.kubernetes.io/last-applied-configuration": "{}",
    "metallb.io/address-pool": "first",
  },
  managedFields: [{ manager: "kubectl", operation: "Update" }],
}

const META = {
  namespace: "shop",
  name: "web",
  uid: "9a3f0d2c-0d2b-4b8e-9a55-0a1d6a0b7a11",
  resourceVersion: "71234",
  createdEpochMs: 1_772_360_430_000,
  isDeleting: false,
  labels: { app: "web" },
  annotations: { "metallb.io/address-pool": "first" },
}

function decoded(kind: MirroredKind, rest: Record<string, unknown>, metadata: object = METADATA) {
  const result = decodeObject(kind, { metadata, ...rest })
  return result.ok ? (result.object as unknown) : result
}

describe("decodeObject()", () => {
  test("decodeObject() reads a Service of type LoadBalancer", () => {
    const service = decoded("services", {
      spec: {
        type: "LoadBalancer",
        ports: [
          { name: "http", protocol: "TCP", port: 80, targetPort: "web", nodePort: 30_080 },
          { name: "dns", protocol: "UDP", port: 53, appProtocol: "kubernetes.io/h2c" },
        ],
        selector: { app: "web" },
        clusterIP: "10.96.0.20",
        loadBalancerClass: "causeway.dev/edge",
        loadBalancerIP: "192.168.1.241",
        loadBalancerSourceRanges: ["10.0.0.0/8 "],
        sessionAffinity: "ClientIP",
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } },
        ipFamilies: ["IPv6", "IPv4"],
        ipFamilyPolicy: "PreferDualStack",
        allocateLoadBalancerNodePorts: false,
        externalTrafficPolicy: "Local",
        externalIPs: ["198.51.100.7"],
      },
      status: {
        loadBalancer: { ingress: [{ ip: "192.168.1.241", ipMode: "Proxy" }, { hostname: "a.b" }] },
        conditions: [
          { type: "X", status: "True", reason: "R", message: "m", observedGeneration: 1 },
        ],
      },
    })
    expect(service).toEqual({
      meta: META,
      type: "LoadBalancer",
      ports: [
        { name: "http", protocol: "TCP", port: 80, nodePort: 30_080, appProtocol: "" },
        { name: "dns", protocol: "UDP", port: 53, nodePort: 0, appProtocol: "kubernetes.io/h2c" },
      ],
      hasSelector: true,
      loadBalancerClass: "causeway.dev/edge",
      loadBalancerIP: "192.168.1.241",
      loadBalancerSourceRanges: [{ address: "10.0.0.0", length: 8 }],
      sessionAffinity: "ClientIP",
      sessionAffinitySeconds: 60,
      ipFamilies: ["IPv6", "IPv4"],
      ipFamilyPolicy: "PreferDualStack",
      allocateLoadBalancerNodePorts: false,
      externalTrafficPolicy: "Local",
      externalIPs: ["198.51.100.7"],
      ingress: [
        { ip: "192.168.1.241", hostname: "", ipMode: "Proxy" },
        { ip: undefined, hostname: "a.b", ipMode: undefined },
      ],
      conditions: [{ type: "X", status: "True", reason: "R", message: "m" }],
    })
  })

  test("decodeObject() gives a Service the API's defaults", () => {
    expect(decoded("services", { spec: {} })).toMatchObject({
      type: "ClusterIP",
      ports: [],
      hasSelector: false,
      sessionAffinity: "None",
      sessionAffinitySeconds: 10_800,
      ipFamilies: ["IPv4"],
      ipFamilyPolicy: "SingleStack",
      allocateLoadBalancerNodePorts: true,
      externalTrafficPolicy: "Cluster",
    })
  })

  test("decodeObject() refuses a Service whose source ranges it cannot read", () => {
    // Left out, an empty list would let everybody in.
    const result = decoded("services", { spec: { loadBalancerSourceRanges: ["10.0.0.0/33"] } })
    expect(result).toEqual({
      ok: false,
      key: "shop/web",
      reason: "bad_field",
      message: '"10.0.0.0/33" is not a network',
    })
  })

  test("decodeObject() reads an EndpointSlice, missing conditions as true", () => {
    const slice = decoded(
      "endpointSlices",
      {
        addressType: "IPv6",
        ports: [{ name: "http", port: 8080 }, { protocol: "UDP" }],
        endpoints: [
          {
            addresses: ["2001:DB8::0:1"],
            conditions: { ready: false, serving: true, terminating: true },
            nodeName: "node-1",
            targetRef: { kind: "Pod", name: "web-1" },
            zone: "a",
          },
          { addresses: ["2001:db8::2"], targetRef: { kind: "Node", name: "n" } },
          { addresses: ["host.example"] },
        ],
      },
      {
        ...METADATA,
        name: "web-x1",
        labels: { "kubernetes.io/service-name": "web", "pod-template-hash": "1" },
      },
    )
    expect(slice).toEqual({
      meta: { ...META, name: "web-x1", labels: { "kubernetes.io/service-name": "web" } },
      service: "web",
      addressType: "IPv6",
      ports: [
        { name: "http", protocol: "TCP", port: 8080 },
        { name: "", protocol: "UDP", port: undefined },
      ],
      endpoints: [
        {
          addresses: ["2001:db8::1"],
          isReady: false,
          isServing: true,
          isTerminating: true,
          pod: "web-1",
          node: "node-1",
        },
        {
          addresses: ["2001:db8::2"],
          isReady: true,
          isServing: true,
          isTerminating: false,
          pod: "",
          node: "",
        },
      ],
    })
  })

  test("decodeObject() reads a Node's readiness, addresses and pod networks", () => {
    const status = {
      conditions: [
        { type: "MemoryPressure", status: "False" },
        { type: "Ready", status: "True" },
      ],
      addresses: [
        { type: "Hostname", address: "node-1" },
        { type: "InternalIP", address: "192.168.1.11" },
        { type: "ExternalIP", address: "198.51.100.1" },
        { type: "InternalIP", address: "fd00::11" },
      ],
    }
    const spec = { podCIDR: "10.244.1.0/24", podCIDRs: ["10.244.1.0/24", "fd10:1::/64"] }
    expect(decoded("nodes", { spec, status })).toEqual({
      meta: META,
      isReady: true,
      internalIPs: ["192.168.1.11", "fd00::11"],
      podCIDRs: [
        { address: "10.244.1.0", length: 24 },
        { address: "fd10:1::", length: 64 },
      ],
    })
    expect(decoded("nodes", { spec: { podCIDR: "10.244.1.0/24" } })).toMatchObject({
      isReady: false,
      podCIDRs: [{ address: "10.244.1.0", length: 24 }],
    })
  })

  test("decodeObject() reads Calico's and Cilium's pod networks", () => {
    const spec = { cidr: "10.244.64.0/26", deleted: "false", node: "node-1", state: "confirmed" }
    expect(decoded("blockAffinities", { spec })).toEqual({
      meta: { ...META, labels: {} },
      node: "node-1",
      cidr: { address: "10.244.64.0", length: 26 },
      state: "confirmed",
      isDeleted: false,
    })
    expect(decoded("blockAffinities", { spec: { ...spec, deleted: "true" } })).toMatchObject({
      isDeleted: true,
    })
    expect(decoded("blockAffinities", { spec: {} })).toMatchObject({ reason: "bad_field" })
    const pools = { allocated: [{ pool: "default", cidrs: ["10.1.0.0/24"] }] }
    const ipam = { podCIDRs: ["10.0.1.0/24"], pools }
    expect(decoded("ciliumNodes", { spec: { ipam } })).toMatchObject({
      podCIDRs: [
        { address: "10.0.1.0", length: 24 },
        { address: "10.1.0.0", length: 24 },
      ],
    })
  })

  test("decodeObject() reads an Ingress with every kind of backend", () => {
    const ingress = decoded("ingresses", {
      spec: {
        ingressClassName: "causeway",
        defaultBackend: { resource: { apiGroup: "k8s.example", kind: "Bucket", name: "b" } },
        rules: [
          {
            host: "k8s.com",
            http: {
              paths: [
                {
                  path: "/api/v1",
                  pathType: "Prefix",
                  backend: { service: { name: "v1", port: { number: 80 } } },
                },
                {
                  pathType: "ImplementationSpecific",
                  backend: { service: { name: "v2", port: { name: "http" } } },
                },
              ],
            },
          },
          { http: { paths: [] } },
        ],
        tls: [{ hosts: ["k8s.com"], secretName: "cert" }, {}],
      },
      status: { loadBalancer: {} },
    })
    expect(ingress).toEqual({
      meta: META,
      className: "causeway",
      defaultBackend: { type: "resource", description: "k8s.example/Bucket/b" },
      rules: [
        {
          host: "k8s.com",
          paths: [
            {
              path: "/api/v1",
              pathType: "Prefix",
              backend: { type: "service", service: "v1", port: 80 },
            },
            {
              path: "",
              pathType: "ImplementationSpecific",
              backend: { type: "service", service: "v2", port: "http" },
            },
          ],
        },
        { host: "", paths: [] },
      ],
      tls: [
        { hosts: ["k8s.com"], secretName: "cert" },
        { hosts: [], secretName: "" },
      ],
      ingress: [],
    })
  })

  test("decodeObject() knows the default IngressClass by its annotation", () => {
    const metadata = {
      name: "causeway",
      annotations: { "ingressclass.kubernetes.io/is-default-class": "true" },
    }
    expect(decoded("ingressClasses", { spec: { controller: "x/y" } }, metadata)).toMatchObject({
      meta: { namespace: "", name: "causeway" },
      controller: "x/y",
      isDefault: true,
    })
  })

  test("decodeObject() takes from a TLS Secret what TLS needs, from another one all", () => {
    const data = { "tls.crt": "Q0VSVA==", "tls.key": "S0VZ", "ca.crt": "Q0E=", other: "eA==" }
    expect(decoded("secrets", { type: "kubernetes.io/tls", data })).toMatchObject({
      meta: { labels: {} },
      data: { "tls.crt": "CERT", "tls.key": "KEY", "ca.crt": "CA" },
    })
    expect(decoded("secrets", { data: { auth: "YTpi", "QsOkcg==": 1 } })).toMatchObject({
      type: "Opaque",
      data: { auth: "a:b" },
    })
  })

  test("decodeObject() reads MetalLB's objects", () => {
    const selector = {
      matchLabels: { tier: "front" },
      matchExpressions: [{ key: "env", operator: "In", values: ["a", "b"] }],
    }
    const pool = decoded("metalLbPools", {
      spec: {
        addresses: ["192.168.1.240-192.168.1.250", "10.0.0.0/24"],
        avoidBuggyIPs: true,
        serviceAllocation: {
          priority: 50,
          namespaces: ["shop"],
          namespaceSelectors: [selector],
          serviceSelectors: [{ matchExpressions: [{ key: "env", operator: "Exists" }] }],
        },
      },
    })
    expect(pool).toEqual({
      meta: META,
      addresses: ["192.168.1.240-192.168.1.250", "10.0.0.0/24"],
      autoAssign: true,
      avoidBuggyIPs: true,
      allocateTo: {
        priority: 50,
        namespaces: ["shop"],
        namespaceSelectors: [selector],
        serviceSelectors: [
          { matchLabels: {}, matchExpressions: [{ key: "env", operator: "Exists", values: [] }] },
        ],
      },
    })
    const spec = { ipAddressPools: ["a"], ipAddressPoolSelectors: [selector], interfaces: ["eth0"] }
    expect(decoded("l2Advertisements", { spec })).toEqual({
      meta: META,
      pools: ["a"],
      poolSelectors: [selector],
      nodeSelectors: [],
      interfaces: ["eth0"],
    })
    const odd = { matchExpressions: [{ key: "a", operator: "Near" }] }
    expect(decoded("l2Advertisements", { spec: { nodeSelectors: [odd] } })).toMatchObject({
      reason: "bad_field",
      message: '"Near" is not a selector\'s operator',
    })
  })

  const KINDS: readonly MirroredKind[] = [
    ...(["services", "endpointSlices", "nodes", "namespaces", "ingresses", "secrets"] as const),
    ...(["ingressClasses", "metalLbPools", "l2Advertisements"] as const),
    ...(["blockAffinities", "ciliumNodes"] as const),
  ]
  test("decodeObject() never throws, whatever an object is made of", () => {
    const names = fc.constantFrom(
      ...["metadata", "spec", "status", "name", "ports", "endpoints", "addresses", "conditions"],
      ...["rules", "http", "paths", "backend", "service", "data", "ipam", "podCIDRs", "labels"],
      ...["loadBalancer", "ingress", "serviceAllocation", "namespaceSelectors", "annotations"],
    )
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom<unknown>(null, "x", "10.0.0.0/8", -1, 1e300, true, "__proto__"),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(names, tie("value"), { maxKeys: 6 }),
      ),
    }))
    fc.assert(
      fc.property(value, fc.constantFrom(...KINDS), (any, kind) => {
        expect(typeof decodeObject(kind, any).ok).toBe("boolean")
        const named = { ...(any as object), metadata: { name: "n", labels: any } }
        expect(typeof decodeObject(kind, named).ok).toBe("boolean")
      }),
      { numRuns: 2000 },
    )
  })
})

describe("decodePage()", () => {
  test("decodePage() gives objects, version and the token of the next page", () => {
    const items = [{ metadata: { name: "a" } }, { metadata: {} }, 7]
    const result = decodePage("namespaces", {
      kind: "NamespaceList",
      metadata: { resourceVersion: "5", continue: "token" },
      items,
    })
    expect(result).toMatchObject({
      ok: true,
      page: { objects: [{ key: "a" }], resourceVersion: "5", next: "token" },
      unreadable: [{ reason: "no_name" }, { reason: "not_an_object" }],
    })
  })

  for (const value of [null, {}, { items: {} }, { items: [] }, "<html>"]) {
    test(`decodePage() refuses ${JSON.stringify(value)}`, () => {
      expect(decodePage("nodes", value)).toMatchObject({
        ok: false,
        failure: { kind: "answer", reason: "not_an_object" },
      })
    })
  }
})

describe("decodeLine()", () => {
  function line(type: string, object: object): string {
    return JSON.stringify({ type, object })
  }
  const NAMESPACE = { kind: "Namespace", metadata: { name: "a", resourceVersion: "9" } }

  test("decodeLine() reads additions, changes and deletions", () => {
    for (const type of ["ADDED", "MODIFIED"]) {
      expect(decodeLine("namespaces", line(type, NAMESPACE))).toMatchObject({
        ok: true,
        event: { type: "object", key: "a", object: { meta: { name: "a" } }, resourceVersion: "9" },
      })
    }
    expect(decodeLine("namespaces", line("DELETED", NAMESPACE))).toEqual({
      ok: true,
      event: { type: "object", key: "a", object: undefined, resourceVersion: "9" },
      unreadable: undefined,
    })
  })

  test("decodeLine() tells the end of the initial events from an ordinary bookmark", () => {
    const metadata = { resourceVersion: "12", creationTimestamp: null }
    const annotations = { "k8s.io/initial-events-end": "true" }
    expect(decodeLine("nodes", line("BOOKMARK", { metadata }))).toMatchObject({
      event: { type: "bookmark", resourceVersion: "12", isInitialEnd: false },
    })
    expect(
      decodeLine("nodes", line("BOOKMARK", { metadata: { ...metadata, annotations } })),
    ).toMatchObject({ event: { isInitialEnd: true } })
  })

  test("decodeLine() reads an error event", () => {
    const status = {
      kind: "Status",
      status: "Failure",
      message: "too old resource version: 1 (9)",
      reason: "Expired",
      code: 410,
    }
    expect(decodeLine("nodes", line("ERROR", status))).toMatchObject({
      event: { type: "error", failure: { kind: "status", code: 410, reason: "Expired" } },
    })
  })

  test("decodeLine() takes an object that cannot be read for gone and says so", () => {
    const object = { metadata: { name: "a", resourceVersion: "9" }, spec: { cidr: "?" } }
    expect(decodeLine("blockAffinities", line("MODIFIED", object))).toMatchObject({
      event: { type: "object", key: "a", object: undefined },
      unreadable: { key: "a", reason: "bad_field", message: '"?" is not a network' },
    })
  })

  const REFUSED: readonly (readonly [string, string])[] = [
    ["{", "not_json"],
    ["[]", "not_an_event"],
    ['{"type":"NEWS","object":{}}', "not_an_event"],
    ['{"type":"ADDED","object":{"metadata":{}}}', "no_name"],
    ['{"type":"DELETED","object":{}}', "no_name"],
    ['{"type":"ADDED","object":{"metadata":{"name":"a"}}}', "no_version"],
    ['{"type":"BOOKMARK"}', "no_version"],
  ]
  for (const [text, reason] of REFUSED) {
    test(`decodeLine() refuses ${text} as ${reason}`, () => {
      expect(decodeLine("nodes", text)).toEqual({ ok: false, reason } as never)
    })
  }
})
