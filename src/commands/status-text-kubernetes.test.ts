import { expect, test } from "bun:test"
import type { KubernetesStatus } from "../admin/backend.ts"
import { sampleKubernetes } from "../admin/fixtures/sample-kubernetes.ts"
import { kubernetesSections } from "./status-text-kubernetes.ts"
import { paintPlain } from "./tone.ts"

function lines(fields: Partial<KubernetesStatus> = {}, width = 120): string[] {
  const options = { width, paint: paintPlain }
  return kubernetesSections({ ...sampleKubernetes, ...fields }, options)
    .flat()
    .map((line) => line.trimEnd())
}

test("kubernetesSections() shows what is served, and names what is not", () => {
  expect(lines()).toEqual([
    "Kubernetes  followed  https://192.0.2.10:6443, 3 LoadBalancer Services, 4 Ingresses, " +
      "1 of 2 nodes routed, this edge writes",
    "  missing rule: patch services/status",
    "SERVICE        STATE     PORTS            ROUTER  ADDRESSES",
    "default/nginx  served    80/TCP, 443/TCP  edge    192.0.2.240",
    "dns/resolver   degraded  53/TCP           edge    192.0.2.241",
    "  port 53/UDP is not served yet",
    "shop/front     pending",
    "  no address is free in first-pool",
    "ADDRESS POOL  USED  OF",
    "first-pool       2   2",
    "PUBLISHED                STATE      STREAM      PORT  LEADS TO",
    "release/lb-mysql-server  published  mysql-read  3306  192.0.2.40:3306",
    "release/db               conflict   mysql-read  3306",
    "  release/db was not made by Causeway",
    "NODE NOT ROUTED  STATE          NETWORKS     REASON",
    "node-2           not_on_subnet  10.1.1.0/24  198.51.100.22 is on no network of this host",
    "Ingress shop/back: Conflict: shop.example/ is served for shop/front, which is older",
    "Ingress shop/front: UnsupportedAnnotation: server-snippet is not supported",
  ])
})

const AWAY = { connected: false, age_seconds: 125, last_error: "connection: ECONNREFUSED" }
const QUIET = {
  services: [],
  ingresses: 0,
  nodes: [],
  address_pools: [],
  published: [],
  problems: [],
  writer: { ...sampleKubernetes.writer, active: false, holder: "", missing_rules: [] },
}

test.each([
  [{}, "followed"],
  [{ ...AWAY }, "away, the last known state (2m 5s old) is served"],
  [{ ...AWAY, restored: true }, "away, the last known state (restored, 2m 5s old) is served"],
  [{ ...AWAY, synced: false }, "not known yet"],
])("kubernetesSections() says of %o: %s", (fields, expected) => {
  const [head] = lines({ ...QUIET, ...fields })
  expect(head).toBe(
    `Kubernetes  ${expected}  https://192.0.2.10:6443, 0 LoadBalancer Services, no edge writes`,
  )
})

test("kubernetesSections() says why the server cannot be followed, and who writes", () => {
  const writer = { ...QUIET.writer, holder: "edge_b_1-2", last_error: AWAY.last_error }
  expect(lines({ ...QUIET, ...AWAY, writer })).toEqual([
    "Kubernetes  away, the last known state (2m 5s old) is served  https://192.0.2.10:6443, " +
      "0 LoadBalancer Services, edge_b writes",
    "  connection: ECONNREFUSED",
  ])
})

test("kubernetesSections() names twenty problems and counts the rest", () => {
  const [problem] = sampleKubernetes.problems
  const problems = Array.from({ length: 23 }, () => problem).flatMap((each) => each ?? [])
  expect(lines({ ...QUIET, problems }).slice(-2)).toEqual([
    "Ingress shop/front: UnsupportedAnnotation: server-snippet is not supported",
    "and 3 more; --json has them all",
  ])
})
