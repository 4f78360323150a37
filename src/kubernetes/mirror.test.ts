import { describe, expect, test } from "bun:test"
import { Mirror, type MirrorChange } from "./mirror.ts"
import type { EndpointSlice, Namespace, Secret } from "./objects.ts"

function meta(key: string, resourceVersion: string, labels: Record<string, string> = {}) {
  const [name = "", namespace = ""] = key.split("/").reverse()
  return {
    ...{ namespace, name, uid: key, resourceVersion, createdEpochMs: 0, isDeleting: false },
    ...{ labels, annotations: {} },
  }
}

function namespace(name: string, version = "1", labels: Record<string, string> = {}): Namespace {
  return { meta: meta(name, version, labels) }
}

function secret(key: string, version: string, crt: string): Secret {
  return { meta: meta(key, version), type: "kubernetes.io/tls", data: { "tls.crt": crt } }
}

function slice(key: string, service: string): EndpointSlice {
  return { meta: meta(key, "1"), service, addressType: "IPv4", ports: [], endpoints: [] }
}

const NAMESPACES = { id: "namespaces", kind: "namespaces" } as const

/** "kind key +", "-" or "~". */
function summary(changes: readonly MirrorChange[]): string[] {
  return changes.map(({ kind, key, before, after }) => {
    const sign = before === undefined ? "+" : after === undefined ? "-" : "~"
    return `${kind} ${key} ${sign}`
  })
}

describe("Mirror.apply()", () => {
  test("apply() tells old and new of what was added, changed and deleted", () => {
    const mirror = new Mirror()
    const first = namespace("a")
    const second = namespace("a", "2", { x: "y" })
    expect(mirror.apply(NAMESPACES, [{ key: "a", object: first }])).toEqual([
      { kind: "namespaces", key: "a", before: undefined, after: first },
    ])
    expect(mirror.apply(NAMESPACES, [{ key: "a", object: second }])).toEqual([
      { kind: "namespaces", key: "a", before: first, after: second },
    ])
    expect(mirror.apply(NAMESPACES, [{ key: "a", object: undefined }])).toEqual([
      { kind: "namespaces", key: "a", before: second, after: undefined },
    ])
    expect(mirror.view.namespaces.size).toBe(0)
  })

  test("apply() keeps a new version of the same value and calls it no change", () => {
    const mirror = new Mirror()
    mirror.apply(NAMESPACES, [{ key: "a", object: namespace("a", "1", { x: "y" }) }])
    const again = [{ key: "a", object: namespace("a", "2", { x: "y" }) }]
    expect(mirror.apply(NAMESPACES, again)).toEqual([])
    expect(mirror.view.namespaces.get("a")?.meta.resourceVersion).toBe("2")
  })

  test("apply() tells nothing of the deletion of what is not there", () => {
    expect(new Mirror().apply(NAMESPACES, [{ key: "a", object: undefined }])).toEqual([])
  })
})

describe("Mirror.replace()", () => {
  test("replace() tells only the difference", () => {
    const mirror = new Mirror()
    for (const name of ["a", "b", "c"]) {
      mirror.apply(NAMESPACES, [{ key: name, object: namespace(name) }])
    }
    const changes = mirror.replace(
      NAMESPACES,
      new Map([
        ["a", namespace("a", "9")],
        ["c", namespace("c", "9", { x: "y" })],
        ["d", namespace("d", "9")],
      ]),
    )
    expect(summary(changes)).toEqual(["namespaces c ~", "namespaces d +", "namespaces b -"])
  })

  test("replace() of one namespace leaves the others alone", () => {
    const mirror = new Mirror()
    const shop = { id: "secrets/shop", kind: "secrets" } as const
    const blog = { id: "secrets/blog", kind: "secrets" } as const
    mirror.replace(shop, new Map([["shop/a", secret("shop/a", "1", "A")]]))
    mirror.replace(blog, new Map([["blog/a", secret("blog/a", "1", "A")]]))
    expect(summary(mirror.replace(shop, new Map()))).toEqual(["secrets shop/a -"])
    expect([...mirror.view.secrets.keys()]).toEqual(["blog/a"])
  })
})

describe("Mirror: two sources of one object", () => {
  const ALL = { id: "secrets", kind: "secrets" } as const
  const NAMED = { id: "secrets/shop/a", kind: "secrets" } as const

  test("Mirror takes the newer version, whichever source tells it", () => {
    const mirror = new Mirror()
    mirror.apply(ALL, [{ key: "shop/a", object: secret("shop/a", "10", "new") }])
    const older = [{ key: "shop/a", object: secret("shop/a", "9", "old") }]
    expect(mirror.apply(NAMED, older)).toEqual([])
    expect(mirror.view.secrets.get("shop/a")?.data).toEqual({ "tls.crt": "new" })
    const newest = [{ key: "shop/a", object: secret("shop/a", "11", "newest") }]
    expect(summary(mirror.apply(NAMED, newest))).toEqual(["secrets shop/a ~"])
  })

  test("Mirror keeps an object until its last source is without it", () => {
    const mirror = new Mirror()
    mirror.apply(ALL, [{ key: "shop/a", object: secret("shop/a", "10", "x") }])
    mirror.apply(NAMED, [{ key: "shop/a", object: secret("shop/a", "10", "x") }])
    expect(mirror.apply(ALL, [{ key: "shop/a", object: undefined }])).toEqual([])
    expect(summary(mirror.remove("secrets/shop/a"))).toEqual(["secrets shop/a -"])
  })
})

describe("Mirror.slicesOf()", () => {
  test("slicesOf() follows slices, also to another Service", () => {
    const mirror = new Mirror()
    const source = { id: "endpointSlices", kind: "endpointSlices" } as const
    const [one, two] = [slice("shop/web-1", "web"), slice("shop/web-2", "web")]
    mirror.replace(
      source,
      new Map([
        ["shop/web-1", one],
        ["shop/web-2", two],
      ]),
    )
    expect(mirror.slicesOf("shop/web")).toEqual([one, two])
    mirror.apply(source, [{ key: "shop/web-1", object: slice("shop/web-1", "api") }])
    mirror.apply(source, [{ key: "shop/web-2", object: undefined }])
    expect(mirror.slicesOf("shop/web")).toEqual([])
    expect(mirror.slicesOf("shop/api")).toHaveLength(1)
  })
})

describe("Mirror.snapshot()", () => {
  test("snapshot() is plain data that fills another mirror", () => {
    const mirror = new Mirror()
    mirror.apply(NAMESPACES, [{ key: "a", object: namespace("a", "5", { x: "y" }) }])
    const snapshot = JSON.parse(JSON.stringify(mirror.snapshot()))
    expect(snapshot).toEqual({
      version: 1,
      sources: [
        { id: "namespaces", kind: "namespaces", objects: [namespace("a", "5", { x: "y" })] },
      ],
    })
  })
})
