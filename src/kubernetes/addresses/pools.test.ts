import { describe, expect, test } from "bun:test"
import type { Address } from "../../net/address.ts"
import { advertisementOf, metalLbPoolOf, metaOf, serviceOf } from "../fixtures/services.ts"
import type { LabelSelector, PoolScope } from "../objects.ts"
import { autoAssigned, effectivePools, type PoolSources, poolAdmits } from "./pools.ts"

const edge = { name: "edge", interface: "eth0" }
const lan = { name: "lan", interface: "eth1" }

function sources(more: Partial<PoolSources>): PoolSources {
  return { addressPools: [], vrrp: [edge, lan], metalLbPools: [], l2Advertisements: [], ...more }
}

function filePool(name: string, first: string, last: string) {
  const addresses = [{ first: first as Address, last: last as Address }]
  return { name, addresses, vrrp: ["edge"], autoAssign: true }
}

function labelled(matchLabels: Record<string, string>): LabelSelector {
  return { matchLabels, matchExpressions: [] }
}

function scopeOf(more: Partial<PoolScope>): PoolScope {
  return { priority: 0, namespaces: [], namespaceSelectors: [], serviceSelectors: [], ...more }
}

const problemsOf = (more: Partial<PoolSources>) =>
  effectivePools(sources(more)).problems.map(({ type, pool }) => `${type} ${pool}`)

describe("effectivePools()", () => {
  test("takes the file's pools in order, then MetalLB's by name", () => {
    const { pools, problems } = effectivePools(
      sources({
        addressPools: [
          filePool("z", "192.0.2.1", "192.0.2.9"),
          filePool("y", "10.0.0.1", "10.0.0.1"),
        ],
        metalLbPools: [
          metalLbPoolOf("metallb-system/b", ["203.0.113.0/24"]),
          metalLbPoolOf("metallb-system/a", ["198.51.100.0/24"]),
        ],
        l2Advertisements: [advertisementOf("metallb-system/all")],
      }),
    )
    expect(pools.map(({ name }) => name)).toEqual(["z", "y", "a", "b"])
    expect(pools.map(({ virtualRouters }) => virtualRouters.join())).toEqual([
      "edge",
      "edge",
      "edge,lan",
      "edge,lan",
    ])
    expect(problems).toEqual([])
  })

  test("lets the file win over a MetalLB pool of the same name", () => {
    const more = {
      addressPools: [filePool("a", "192.0.2.1", "192.0.2.9")],
      metalLbPools: [metalLbPoolOf("metallb-system/a", ["198.51.100.0/24"])],
    }
    const { pools } = effectivePools(sources(more))
    expect(pools.map(({ origin }) => origin)).toEqual(["file"])
    expect(problemsOf(more)).toEqual(["shadowed a"])
  })

  test("reports overlaps, bad ranges and one name in two namespaces", () => {
    expect(
      problemsOf({
        addressPools: [filePool("a", "192.0.2.1", "192.0.2.9")],
        metalLbPools: [
          metalLbPoolOf("one/b", ["192.0.2.9-192.0.2.20", "192.0.2.0/x"]),
          metalLbPoolOf("two/b", ["10.0.0.0/24"]),
        ],
        l2Advertisements: [advertisementOf("one/all")],
      }),
    ).toEqual(["bad_range b", "duplicate b", "overlap b"])
  })

  test("has no virtual router for a pool that no L2Advertisement selects", () => {
    const metalLbPools = [
      metalLbPoolOf("m/named", ["10.0.0.0/24"]),
      metalLbPoolOf("m/labelled", ["10.0.1.0/24"], {
        meta: metaOf("m/labelled", { labels: { a: "b" } }),
      }),
      metalLbPoolOf("m/other", ["10.0.2.0/24"]),
    ]
    const l2Advertisements = [
      advertisementOf("m/1", { pools: ["named"], interfaces: ["eth1"] }),
      advertisementOf("m/2", { poolSelectors: [labelled({ a: "b" })], interfaces: ["eth7"] }),
    ]
    const { pools } = effectivePools(sources({ metalLbPools, l2Advertisements }))
    expect(pools.map(({ name, virtualRouters }) => [name, ...virtualRouters])).toEqual([
      ["labelled"],
      ["named", "lan"],
      ["other"],
    ])
    expect(problemsOf({ metalLbPools, l2Advertisements })).toEqual([
      "no_interface labelled",
      "not_announced other",
    ])
  })
})

describe("poolAdmits()", () => {
  const service = serviceOf("shop/web", { meta: { labels: { tier: "front" } } })
  const admits = (scope: Partial<PoolScope>, namespaceLabels = {}) => {
    const metalLbPools = [metalLbPoolOf("m/a", ["10.0.0.0/24"], { allocateTo: scopeOf(scope) })]
    const [pool] = effectivePools(sources({ metalLbPools })).pools
    return pool !== undefined && poolAdmits(pool, service, namespaceLabels)
  }

  test.each<[Partial<PoolScope>, Record<string, string>, boolean]>([
    [{}, {}, true],
    [{ namespaces: ["shop", "x"] }, {}, true],
    [{ namespaces: ["x"] }, {}, false],
    [{ namespaces: ["x"], namespaceSelectors: [labelled({ team: "a" })] }, { team: "a" }, true],
    [{ namespaceSelectors: [labelled({ team: "a" })] }, { team: "b" }, false],
    [{ serviceSelectors: [labelled({ tier: "front" })] }, {}, true],
    [{ serviceSelectors: [labelled({ tier: "back" }), labelled({ tier: "front" })] }, {}, true],
    [{ namespaces: ["x"], serviceSelectors: [labelled({ tier: "front" })] }, {}, false],
  ])("with %j, the namespace labelled %j", (scope, labels, expected) => {
    expect(admits(scope, labels)).toBe(expected)
  })

  test.each([
    ["In", ["front", "x"], true],
    ["NotIn", ["front"], false],
    ["Exists", [], true],
    ["DoesNotExist", [], false],
  ] as const)("with tier %s %j", (operator, values, expected) => {
    const matchExpressions = [{ key: "tier", operator, values }]
    expect(admits({ serviceSelectors: [{ matchLabels: {}, matchExpressions }] })).toBe(expected)
    const absent = [{ key: "zone", operator, values }]
    const isAbsentEnough = operator === "NotIn" || operator === "DoesNotExist"
    expect(admits({ serviceSelectors: [{ matchLabels: {}, matchExpressions: absent }] })).toBe(
      isAbsentEnough,
    )
  })
})

test("autoAssigned() puts pools meant for the Service first, by priority, 0 last", () => {
  const scoped = (name: string, priority: number, more: Partial<PoolScope> = {}) =>
    metalLbPoolOf(`m/${name}`, ["10.0.0.0/24"], { allocateTo: scopeOf({ priority, ...more }) })
  const { pools } = effectivePools(
    sources({
      addressPools: [filePool("file", "192.0.2.1", "192.0.2.9")],
      metalLbPools: [
        scoped("none", 0),
        scoped("second", 20),
        scoped("first", 10),
        scoped("elsewhere", 1, { namespaces: ["x"] }),
        metalLbPoolOf("m/by-hand", ["10.0.0.0/24"], { autoAssign: false }),
        metalLbPoolOf("m/open", ["10.0.0.0/24"]),
      ],
    }),
  )
  const names = autoAssigned(pools, serviceOf("shop/web"), {}).map(({ name }) => name)
  expect(names).toEqual(["first", "second", "none", "file", "open"])
})
