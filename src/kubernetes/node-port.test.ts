import { describe, expect, test } from "bun:test"
import type { ServersQuery } from "./endpoints.ts"
import {
  endpoint,
  NOT_READY,
  type NodeParts,
  node,
  service,
  servicePort,
  slice,
  slicePorts,
  TERMINATING,
} from "./fixtures/endpoint-objects.ts"
import { type NodePortView, nodePortServers } from "./node-port.ts"
import type { Service } from "./objects.ts"

const PORTS = [servicePort(80, { name: "http", nodePort: 30080 })]
const WEB = service(PORTS, { type: "NodePort" })
const LOCAL = service(PORTS, { type: "LoadBalancer", externalTrafficPolicy: "Local" })
const QUERY: ServersQuery = { namespace: "training", service: "web", port: "http" }
const EXCLUDE = { "node.kubernetes.io/exclude-from-external-load-balancers": "" }

const N1 = node("n1", { internalIPs: ["192.0.2.11"] })
const N2 = node("n2", { internalIPs: ["192.0.2.12"] })

const find = (view: Partial<NodePortView>, query: Partial<ServersQuery> = {}) =>
  nodePortServers({ ...QUERY, ...query }, { service: WEB, nodes: [], slices: [], ...view })
const text = (found: ReturnType<typeof find>) =>
  found.servers.map(
    ({ name, endpoint: { address, port }, backup }) =>
      `${name} ${address} ${port}${backup ? " (backup)" : ""}`,
  )

describe("nodePortServers()", () => {
  test("takes the InternalIP of each Ready node, sorted", () => {
    expect(find({ nodes: [N2, N1] })).toEqual({
      servers: [
        {
          name: "n1",
          endpoint: { address: N1.internalIPs[0] as never, port: 30080 },
          weight: 1,
          backup: false,
          maxConnections: 0,
        },
        {
          name: "n2",
          endpoint: { address: N2.internalIPs[0] as never, port: 30080 },
          weight: 1,
          backup: false,
          maxConnections: 0,
        },
      ],
      whyEmpty: undefined,
      omitted: {},
    })
    expect(text(find({ nodes: [N1] }, { port: 80 }))).toEqual(["n1 192.0.2.11 30080"])
  })

  test("leaves out nodes not Ready or excluded, and keeps a deleted one in reserve", () => {
    const nodes = [
      node("down", { internalIPs: ["192.0.2.21"], isReady: false }),
      node("excluded", { internalIPs: ["192.0.2.22"], meta: { labels: EXCLUDE } }),
      node("leaving", { internalIPs: ["192.0.2.23"], meta: { isDeleting: true } }),
      N1,
    ]
    const found = find({ nodes })
    expect(text(found)).toEqual(["n1 192.0.2.11 30080", "leaving 192.0.2.23 30080 (backup)"])
    expect(found.omitted).toEqual({ not_ready: 2 })
  })

  test("goes by the Service's families", () => {
    const nodes = [
      node("dual", { internalIPs: ["2001:db8::11", "192.0.2.11", "192.0.2.111"] }),
      node("v6", { internalIPs: ["2001:db8::12"] }),
    ]
    const ofFamilies = (...ipFamilies: Service["ipFamilies"]) =>
      text(find({ service: service(PORTS, { ipFamilies }), nodes }))
    expect(ofFamilies("IPv4")).toEqual(["dual 192.0.2.11 30080"])
    expect(ofFamilies("IPv6")).toEqual(["dual 2001:db8::11 30080", "v6 2001:db8::12 30080"])
    expect(ofFamilies("IPv4", "IPv6")).toEqual([
      "192.0.2.11:30080 192.0.2.11 30080",
      "[2001:db8::11]:30080 2001:db8::11 30080",
      "v6 2001:db8::12 30080",
    ])
    const dual = service(PORTS, { ipFamilies: ["IPv4", "IPv6"] })
    expect(text(find({ service: dual, nodes }, { families: [4] }))).toEqual([
      "dual 192.0.2.11 30080",
    ])
  })

  test("takes with policy Local only nodes with an endpoint of their own", () => {
    const ports = slicePorts(["http", 8080])
    const nodes = [N1, N2, node("n3", { internalIPs: ["192.0.2.13"] })]
    const slices = [
      slice("a", ports, [
        endpoint("10.244.1.5", "web-1", { node: "n1" }),
        endpoint("10.244.1.6", "web-2", { node: "n1", ...TERMINATING }),
        endpoint("10.244.2.5", "web-3", { node: "n2", ...TERMINATING }),
        endpoint("10.244.3.5", "web-4", { node: "n3", ...NOT_READY }),
      ]),
      slice("other", slicePorts(["metrics", 9100]), [
        endpoint("10.244.3.6", "web-5", { node: "n3" }),
      ]),
    ]
    expect(text(find({ service: LOCAL, nodes, slices }))).toEqual([
      "n1 192.0.2.11 30080",
      "n2 192.0.2.12 30080 (backup)",
    ])
    expect(find({ service: WEB, nodes, slices }).servers).toHaveLength(3)
  })

  const down = (name: string, parts: Partial<NodeParts> = {}) =>
    node(name, { internalIPs: ["192.0.2.9"], isReady: false, ...parts })
  const reasons: readonly [string, Partial<NodePortView>][] = [
    ["no Service training/web", { service: undefined }],
    [
      'port "http" is not in Service training/web; it has: https (443)',
      { service: service([servicePort(443, { name: "https" })]) },
    ],
    [
      'port "http" of training/web has no nodePort (ClusterIP)',
      { service: service([servicePort(80, { name: "http" })]) },
    ],
    ["no Nodes are known", {}],
    ["0 of 2 Nodes ready", { nodes: [down("a"), down("b")] }],
    [
      "no Ready Node has an InternalIP of IPv4",
      { nodes: [node("v6", { internalIPs: ["2001:db8::1"] })] },
    ],
    [
      "no Ready Node has an endpoint of training/web (externalTrafficPolicy Local)",
      { service: LOCAL, nodes: [N1] },
    ],
  ]
  test.each(reasons)("says: %s", (reason, view) => {
    expect(find(view)).toMatchObject({ servers: [], whyEmpty: reason })
  })
})
