import { describe, expect, test } from "bun:test"
import { serviceOf } from "../fixtures/services.ts"
import type { Service } from "../objects.ts"
import { isOurs, requestOf } from "./requests.ts"

function annotated(annotations: Record<string, string>, spec: Partial<Omit<Service, "meta">> = {}) {
  return requestOf(serviceOf("shop/web", { ...spec, meta: { annotations } }))
}

describe("isOurs()", () => {
  const config = { loadBalancerClass: "causeway.dev/edge", claimUnclassed: true }
  test.each([
    ["LoadBalancer", "causeway.dev/edge", true, true],
    ["LoadBalancer", "causeway.dev/edge", false, true],
    ["LoadBalancer", "", true, true],
    ["LoadBalancer", "", false, false],
    ["LoadBalancer", "other/class", true, false],
    ["ClusterIP", "causeway.dev/edge", true, false],
    ["NodePort", "", true, false],
  ] as const)(
    "%s of class %j, claiming %p",
    (type, loadBalancerClass, claimUnclassed, expected) => {
      const service = serviceOf("shop/web", { type, loadBalancerClass })
      expect(isOurs(service, { ...config, claimUnclassed })).toBe(expected)
    },
  )
})

describe("requestOf()", () => {
  test("asks for one address of its family when nothing is said", () => {
    expect(requestOf(serviceOf("shop/web"))).toEqual({
      addresses: [],
      pool: "",
      sharingKey: "",
      families: ["IPv4"],
      isPartialEnough: false,
      proxyProtocol: "off",
      problems: [],
    })
  })

  test.each(["causeway.dev", "metallb.io", "metallb.universe.tf"])(
    "reads the annotations of %s",
    (prefix) => {
      const isOwn = prefix === "causeway.dev"
      const addresses = isOwn ? "load-balancer-ips" : "loadBalancerIPs"
      const request = annotated(
        {
          [`${prefix}/${addresses}`]: "192.0.2.1, 2001:DB8::1",
          [`${prefix}/address-pool`]: "blue",
          [`${prefix}/allow-shared-ip`]: "one-key",
        },
        { ipFamilies: ["IPv4", "IPv6"], ipFamilyPolicy: "RequireDualStack" },
      )
      expect<readonly string[]>(request.addresses).toEqual(["192.0.2.1", "2001:db8::1"])
      expect(request).toMatchObject({ pool: "blue", sharingKey: "one-key", problems: [] })
    },
  )

  test("takes its own annotation before MetalLB's, and the new prefix before the old", () => {
    const metallb = { "metallb.io/address-pool": "new", "metallb.universe.tf/address-pool": "old" }
    expect(annotated({ ...metallb, "causeway.dev/address-pool": "own" }).pool).toBe("own")
    expect(annotated(metallb).pool).toBe("new")
  })

  test("reads spec.loadBalancerIP", () => {
    const request = requestOf(serviceOf("shop/web", { loadBalancerIP: "192.0.2.7" }))
    expect<readonly string[]>(request.addresses).toEqual(["192.0.2.7"])
  })

  test.each([
    ["SingleStack", ["IPv6"], ["IPv6"], false],
    ["SingleStack", [], ["IPv4"], false],
    ["PreferDualStack", ["IPv4"], ["IPv4"], true],
    ["PreferDualStack", ["IPv6", "IPv4"], ["IPv6", "IPv4"], true],
    ["RequireDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"], false],
  ] as const)("%s with ipFamilies %j", (ipFamilyPolicy, ipFamilies, families, isPartialEnough) => {
    const request = requestOf(serviceOf("shop/web", { ipFamilyPolicy, ipFamilies }))
    expect(request).toMatchObject({ families, isPartialEnough })
  })

  test.each([
    [{ "metallb.io/loadBalancerIPs": "nonsense" }, {}, "bad_address"],
    [{ "metallb.io/loadBalancerIPs": "192.0.2.010" }, {}, "bad_address"],
    [{}, { loadBalancerIP: "192.0.2" }, "bad_address"],
    [{ "metallb.io/loadBalancerIPs": "192.0.2.1,192.0.2.2" }, {}, "too_many_addresses"],
    [
      { "metallb.io/loadBalancerIPs": "192.0.2.1" },
      { loadBalancerIP: "192.0.2.2" },
      "contradiction",
    ],
    [{ "metallb.io/loadBalancerIPs": "2001:db8::1" }, {}, "family_mismatch"],
    [
      { "metallb.io/loadBalancerIPs": "192.0.2.1" },
      { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv4", "IPv6"] },
      "family_mismatch",
    ],
    [{ "causeway.dev/proxy-protocol": "v3" }, {}, "bad_proxy_protocol"],
  ] as const)("reports %j with %j", (annotations, spec, type) => {
    expect(annotated(annotations, spec).problems.map((problem) => problem.type)).toEqual([type])
  })

  test("takes one address for PreferDualStack, and the same one said twice", () => {
    const request = annotated(
      { "metallb.io/loadBalancerIPs": "192.0.2.1" },
      {
        loadBalancerIP: "192.0.2.1",
        ipFamilyPolicy: "PreferDualStack",
        ipFamilies: ["IPv4", "IPv6"],
      },
    )
    expect(request).toMatchObject({ families: ["IPv4"], problems: [] })
  })

  test.each(["v1", "v2", "off"] as const)("reads PROXY protocol %s", (version) => {
    expect(annotated({ "causeway.dev/proxy-protocol": version }).proxyProtocol).toBe(version)
  })
})
