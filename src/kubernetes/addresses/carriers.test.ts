import { describe, expect, test } from "bun:test"
import type { Address } from "../../net/address.ts"
import { serviceOf } from "../fixtures/services.ts"
import { carrierOf, formatRouters, leastLoaded, recordedRouter } from "./carriers.ts"

const ONE = "192.0.2.1" as Address
const TWO = "2001:db8::1" as Address
const pool = { virtualRouters: ["a", "b", "c"] }

function carried(record: string, wish = "") {
  const conditions =
    record === ""
      ? []
      : [{ type: "causeway.dev/VirtualRouter", status: "True", reason: "Chosen", message: record }]
  const annotations: Record<string, string> = wish ? { "causeway.dev/virtual-router": wish } : {}
  return serviceOf("shop/web", { conditions, meta: { annotations } })
}

describe("carrierOf()", () => {
  test("takes the user's word, then the record, of the oldest that names a valid one", () => {
    expect(carrierOf(ONE, [carried("a", "b")], pool)).toBe("b")
    expect(carrierOf(ONE, [carried("a", "gone")], pool)).toBe("a")
    expect(carrierOf(ONE, [carried("gone"), carried("c")], pool)).toBe("c")
    expect(carrierOf(ONE, [carried("c"), carried("a")], pool)).toBe("c")
  })

  test("falls back to the same one everywhere, spread by address", () => {
    expect(carrierOf(ONE, [], pool)).toBe(carrierOf(ONE, [carried("gone")], pool) ?? "")
    const routers = Array.from({ length: 64 }, (_, at) =>
      carrierOf(`10.0.0.${at}` as Address, [], pool),
    )
    expect([...new Set(routers)].sort()).toEqual(["a", "b", "c"])
    expect(carrierOf(ONE, [], { virtualRouters: [] })).toBeUndefined()
  })
})

test("formatRouters() and recordedRouter() are inverse", () => {
  const same = new Map([
    [ONE, "a"],
    [TWO, "a"],
  ])
  expect(formatRouters(same)).toBe("a")
  const different = new Map([
    [ONE, "a"],
    [TWO, "b"],
  ])
  expect(formatRouters(different)).toBe("192.0.2.1=a,2001:db8::1=b")
  expect(recordedRouter(carried(formatRouters(different)), TWO)).toBe("b")
  expect(recordedRouter(carried("a"), TWO)).toBe("a")
  expect(recordedRouter(carried("192.0.2.1=a"), TWO)).toBeUndefined()
})

test("leastLoaded() takes the first of those with the fewest addresses", () => {
  expect(leastLoaded(pool, new Map([["a", 2]]))).toBe("b")
  expect(leastLoaded(pool, new Map())).toBe("a")
  expect(leastLoaded({ virtualRouters: [] }, new Map())).toBeUndefined()
})
