import { describe, expect, test } from "bun:test"
import type { Feature } from "./access-rules.ts"
import { fairShare, namedSecret, wantedResources } from "./resources.ts"

function ids(features: Feature[], namespaces: string[] = []): string[] {
  return wantedResources(features, namespaces).map(({ id }) => id)
}

describe("wantedResources()", () => {
  test("wantedResources() is empty when nothing needs the cluster", () => {
    expect(ids([])).toEqual([])
  })

  test("wantedResources() reads only what a feature has use for", () => {
    expect(ids(["pools"])).toEqual(["services", "endpointSlices"])
    expect(ids(["publish"])).toEqual(["services", "endpointSlices", "namespaces"])
    expect(ids(["node_ports"])).toEqual(["services", "endpointSlices", "nodes"])
    expect(ids(["pod_routes"])).toEqual(["nodes", "blockAffinities", "ciliumNodes"])
    expect(ids(["services"])).toEqual([
      ...["services", "endpointSlices", "namespaces", "metalLbPools", "l2Advertisements"],
    ])
    expect(ids(["ingress"])).toEqual([
      ...["services", "endpointSlices", "ingresses", "ingressClasses", "secrets"],
    ])
  })

  test("wantedResources() has one source for each configured namespace", () => {
    expect(ids(["ingress", "pod_routes"], ["a", "b", "a"])).toEqual([
      ...["services/a", "services/b", "endpointSlices/a", "endpointSlices/b", "nodes"],
      ...["ingresses/a", "ingresses/b", "ingressClasses", "secrets/a", "secrets/b"],
      ...["blockAffinities", "ciliumNodes"],
    ])
  })

  test("wantedResources() asks for TLS Secrets alone, and for add-ons as optional", () => {
    const all = wantedResources(["ingress", "services", "pod_routes"], [])
    expect(all.find(({ kind }) => kind === "secrets")).toEqual({
      id: "secrets",
      kind: "secrets",
      groupVersion: "v1",
      resource: "secrets",
      namespace: "",
      fieldSelector: "type=kubernetes.io/tls",
      isOptional: false,
    })
    expect(all.filter(({ isOptional }) => isOptional).map(({ kind }) => kind)).toEqual([
      ...(["metalLbPools", "l2Advertisements", "blockAffinities", "ciliumNodes"] as const),
    ])
  })
})

describe("fairShare()", () => {
  test("fairShare() takes as many of each namespace, whoever names the most", () => {
    const crowd = Array.from({ length: 90 }, (_, at) => `aaa/s${String(at).padStart(2, "0")}`)
    const keys = [...crowd, "shop/users", "blog/users", "blog/more", "blog/users"]
    expect([...fairShare(keys, 4)]).toEqual(["aaa/s00", "aaa/s01", "blog/more", "shop/users"])
    expect([...fairShare(keys, 5)]).toContain("blog/users")
    expect(fairShare(keys, 64).size).toBe(64)
    expect(fairShare(keys, 64).has("blog/more")).toBe(true)
  })
})

describe("namedSecret()", () => {
  test("namedSecret() watches one Secret by its name", () => {
    expect(namedSecret("shop/admin.users")).toEqual({
      id: "secrets/shop/admin.users",
      kind: "secrets",
      groupVersion: "v1",
      resource: "secrets",
      namespace: "shop",
      fieldSelector: "metadata.name=admin.users",
      isOptional: false,
    })
  })
})
