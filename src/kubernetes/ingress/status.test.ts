import { expect, test } from "bun:test"
import type { Address } from "../../net/address.ts"
import type { Ingress } from "../objects.ts"
import type { Write } from "../writes.ts"
import { type Cluster, cluster, ingressManifest, SETTINGS, translator } from "./fixtures/cluster.ts"

const ADDRESSES = ["192.0.2.1", "2001:db8::1"] as Address[]
const BACKEND = "defaultBackend: { service: { name: web, port: { number: 80 } } }"

/** One edge that sees a cluster change. */
function edge(manifests: string) {
  const machine = translator()
  const view = cluster(manifests)
  const writes = (isWriter = true, addresses: readonly Address[] = ADDRESSES) =>
    machine.writes(machine.translate(view, SETTINGS), { view, addresses, isWriter })
  return { view, writes }
}

function change(view: Cluster, key: string, part: Partial<Ingress>): void {
  const ingress = view.ingresses.get(key)
  if (ingress !== undefined) view.ingresses.set(key, { ...ingress, ...part })
}

function reachedAt(...addresses: readonly string[]): Ingress["ingress"] {
  return addresses.map((ip) => ({ ip: ip as Address, hostname: "", ipMode: undefined }))
}

function events(writes: readonly Write[]): string[] {
  return writes.flatMap((write) =>
    write.type === "event" ? [`${write.about.name}: ${write.reason}`] : [],
  )
}

const PATCH: Write = {
  type: "patch",
  resource: "ingresses",
  namespace: "a",
  name: "web",
  subresource: "status",
  resourceVersion: "1",
  patch: { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }, { ip: "2001:db8::1" }] } } },
}

test("writes() asks for the addresses until the API says them", () => {
  const { view, writes } = edge(ingressManifest("a/web", BACKEND))
  expect(writes()).toEqual([PATCH])
  expect(writes()).toEqual([PATCH])
  change(view, "a/web", { ingress: reachedAt("2001:db8::1", "192.0.2.1") })
  expect(writes()).toEqual([])
  change(view, "a/web", { ingress: reachedAt("192.0.2.1") })
  expect(writes()).toEqual([PATCH])
})

test("writes() leaves status alone without addresses, and of what is being deleted", () => {
  const { view, writes } = edge(ingressManifest("a/web", BACKEND))
  expect(writes(true, [])).toEqual([])
  change(view, "a/web", { ingress: reachedAt("192.0.2.77") })
  expect(writes(true, [])).toEqual([])
  const ingress = view.ingresses.get("a/web")
  if (ingress !== undefined) change(view, "a/web", { meta: { ...ingress.meta, isDeleting: true } })
  expect(writes()).toEqual([])
})

test("writes() takes our addresses back from an Ingress that is given to another class", () => {
  const { view, writes } = edge(ingressManifest("a/web", BACKEND))
  writes()
  change(view, "a/web", { className: "nginx", ingress: reachedAt("192.0.2.1", "2001:db8::1") })
  expect(writes()).toEqual([{ ...PATCH, patch: { status: { loadBalancer: { ingress: [] } } } }])
  expect(writes()).toEqual([])
})

test("writes() leaves what the other class has written already", () => {
  const { view, writes } = edge(ingressManifest("a/web", BACKEND))
  writes()
  change(view, "a/web", { className: "nginx", ingress: reachedAt("192.0.2.77") })
  expect(writes()).toEqual([])
})

test("writes() tells of a problem once, and again when it comes back", () => {
  const { view, writes } = edge(
    ingressManifest("a/web", BACKEND) + ingressManifest("b/late", BACKEND),
  )
  expect(events(writes())).toEqual(["late: Conflict"])
  expect(events(writes())).toEqual([])
  const older = view.ingresses.get("a/web")
  view.ingresses.delete("a/web")
  expect(events(writes())).toEqual([])
  if (older !== undefined) view.ingresses.set("a/web", older)
  expect(writes().filter(({ type }) => type === "event")).toEqual([
    {
      type: "event",
      about: { kind: "Ingress", namespace: "b", name: "late", uid: "uid-of-b/late" },
      severity: "Warning",
      reason: "Conflict",
      message: "the default backend of all hosts is served by Ingress a/web, which is older",
    },
  ])
})

test("writes() has no Event for a notice", () => {
  const annotations = { "nginx.ingress.kubernetes.io/rewrite-traget": "/" }
  const { writes } = edge(ingressManifest("a/web", BACKEND, annotations))
  expect(events(writes())).toEqual([])
})

test("writes() of an edge that is not the writer are none, and all when it becomes one", () => {
  const { writes } = edge(
    ingressManifest(
      "a/web",
      "rules: []\ndefaultBackend: { service: { name: missing, port: { number: 80 } } }",
    ),
  )
  expect(writes(false)).toEqual([])
  expect(writes().map(({ type }) => type)).toEqual(["patch", "event"])
  expect(writes(false)).toEqual([])
  expect(writes().map(({ type }) => type)).toEqual(["patch", "event"])
})
