/** Shares, canaries, and clients that stay with their server. */
import { describe, expect, test } from "bun:test"
import { type Endpoint, parseEndpoint } from "../../net/address.ts"
import { ownResources } from "../compiled-route.ts"
import { decide, forwarded, routeTable } from "../fixtures/routing.ts"
import type { RouteTable } from "../route-table.ts"
import { StickyServers } from "./sticky.ts"

function poolsOf(table: RouteTable, count: number, fields: readonly string[] = []): string {
  return Array.from({ length: count }, () => forwarded(decide(table, "/", fields)).pool).join("")
}

function endpoint(text: string): Endpoint {
  const parsed = parseEndpoint(text)
  if (parsed === undefined) throw new Error(`${text} is no endpoint`)
  return parsed
}

describe("split", () => {
  const table = (split: string, start = 0) =>
    routeTable(`[[http.route]]\nsplit = ${split}\n`, { ...ownResources(), splitStart: start })

  test("gives each pool its share, evenly spread", () => {
    const pools = poolsOf(table('[{ pool = "a", weight = 3 }, { pool = "b", weight = 1 }]'), 1000)
    expect(pools.replaceAll("a", "").length).toBe(250)
    // Nowhere more than six of the big one in a row.
    expect(pools).not.toMatch(/a{7}|bb/)
  })

  test.each([0, 12_345, 0x7fffffff])("also when it starts at %d", (start) => {
    const split = '[{ pool = "a", weight = 9 }, { pool = "b", weight = 1 }]'
    const pools = poolsOf(table(split, start), 500)
    expect(Math.abs(pools.replaceAll("a", "").length - 50)).toBeLessThan(3)
  })

  test("gives a weight of 0 nothing but what meets its condition", () => {
    const canary = table('[{ pool = "a" }, { pool = "b", header = { X-Canary = "1" } }]')
    expect(poolsOf(canary, 100)).toBe("a".repeat(100))
    expect(poolsOf(canary, 100, ["X-Canary: 1"])).toBe("b".repeat(100))
    expect(poolsOf(canary, 10, ["X-Canary: 2"])).toBe("a".repeat(10))
  })

  test("sends by a pattern of header or cookie", () => {
    const split = '[{ pool = "a" }, { pool = "b", header = { X = { pattern = "^v[12]$" } } }, '
    const canary = table(`${split}{ pool = "c", cookie = { d = { pattern = "x" } } }]`)
    expect(poolsOf(canary, 1, ["X: v2"])).toBe("b")
    expect(poolsOf(canary, 1, ["X: v3"])).toBe("a")
    expect(poolsOf(canary, 1, ["Cookie: d=axb"])).toBe("c")
    expect(poolsOf(canary, 1, [`X: v2${"x".repeat(9000)}`])).toBe("a")
  })

  test("asks in the order of the entries, so that one may be an exception to the next", () => {
    const canary = table(
      '[{ pool = "a", weight = 0, header = { X = "never" } }, ' +
        '{ pool = "b", weight = 0, cookie = { c = "always" } }, { pool = "a" }]',
    )
    expect(poolsOf(canary, 1, ["X: never", "Cookie: c=always"])).toBe("a")
    expect(poolsOf(canary, 1, ["Cookie: c=always"])).toBe("b")
    expect(poolsOf(canary, 1)).toBe("a")
  })

  test("sends by cookie, and by both header and cookie where both are named", () => {
    const split = '[{ pool = "a" }, { pool = "b", cookie = { c = true } }, '
    const canary = table(`${split}{ pool = "c", header = { X = true }, cookie = { d = "1" } }]`)
    expect(poolsOf(canary, 1, ["Cookie: c=0"])).toBe("b")
    expect(poolsOf(canary, 1, ["Cookie: d=1"])).toBe("a")
    expect(poolsOf(canary, 1, ["Cookie: d=1", "X: 1"])).toBe("c")
  })
})

describe("sticky", () => {
  const servers = new StickyServers()
  servers.setPool("a", [
    { endpoint: endpoint("192.0.2.1:80"), slot: 4 },
    { endpoint: endpoint("192.0.2.2:80"), slot: 9 },
  ])
  servers.setPool("b", [{ endpoint: endpoint("192.0.2.1:80"), slot: 5 }])
  const resources = { ...ownResources(), stickyServers: servers }
  const table = routeTable('[[http.route]]\npool = "a"\nsticky = { secure = true }\n', resources)
  // SHA-256 of "a 192.0.2.2:80", first 16 digits
  const SECOND = "80c96f8d36a87ce5"

  test("names the server by a cookie that does not tell its address", () => {
    const { route } = forwarded(decide(table, "/"))
    expect(route.stickyFields?.(9)).toBe(
      `Set-Cookie: causeway=${SECOND}; Path=/; HttpOnly; Secure; SameSite=Lax\r\n`,
    )
    expect(route.stickyFields?.(4)).not.toBe(route.stickyFields?.(5))
    expect(route.stickyFields?.(77)).toBe("")
  })

  test.each([
    ["{}", "; Path=/; HttpOnly; SameSite=Lax"],
    ['{ same_site = "off", http_only = false }', "; Path=/"],
    [
      '{ domain = "k8s.com", max_age = "1h" }',
      "; Path=/; Domain=k8s.com; Max-Age=3600; HttpOnly; SameSite=Lax",
    ],
    ['{ max_age = "0s" }', "; Path=/; HttpOnly; SameSite=Lax"],
  ])("%s has the attributes %s", (sticky, attributes) => {
    const own = routeTable(`[[http.route]]\npool = "a"\nsticky = ${sticky}\n`, resources)
    const { route } = forwarded(decide(own, "/"))
    expect(route.stickyFields?.(9)).toBe(`Set-Cookie: causeway=${SECOND}${attributes}\r\n`)
  })

  test("StickyServers names who stays as before, and a slot's new server anew", () => {
    const churning = new StickyServers()
    const first = { endpoint: endpoint("192.0.2.1:80"), slot: 1 }
    const second = { endpoint: endpoint("192.0.2.2:80"), slot: 2 }
    churning.setPool("a", [first, second])
    expect(churning.nameOf(2)).toBe(SECOND)
    churning.setPool("a", [{ ...second, slot: 1 }])
    expect([churning.nameOf(1), churning.nameOf(2)]).toEqual([SECOND, undefined])
    churning.setPool("a", [first, { ...second, slot: 1 }].slice(1))
    expect([churning.nameOf(1), churning.slotOf("a", SECOND)]).toEqual([SECOND, 1])
    // The same slot in another pool is another server.
    churning.removePool("a")
    churning.setPool("b", [{ ...second, slot: 1 }])
    expect(churning.nameOf(1)).not.toBe(SECOND)
  })

  test.each([
    [[`Cookie: causeway=${SECOND}`], 9],
    [[`Cookie: x=1; causeway="${SECOND}"`], 9],
    [["Cookie: causeway=0000000000000000"], -1],
    [["Cookie: causeway=192.0.2.2:80"], -1],
    [[`Cookie: other=${SECOND}`], -1],
    [[], -1],
  ])("%j leads to slot %d", (fields, slot) => {
    expect(forwarded(decide(table, "/", fields)).stickySlot).toBe(slot)
  })

  test("with split the cookie chooses the pool too, but a canary's condition comes first", () => {
    const split = '[{ pool = "a" }, { pool = "b" }, { pool = "c", header = { X = true } }]'
    const both = routeTable(`[[http.route]]\nsplit = ${split}\nsticky = {}\n`, resources)
    const cookie = [`Cookie: causeway=${SECOND}`]
    expect(poolsOf(both, 20, cookie)).toBe("a".repeat(20))
    expect(forwarded(decide(both, "/", cookie)).stickySlot).toBe(9)
    expect(poolsOf(both, 1, [...cookie, "X: 1"])).toBe("c")
    expect(poolsOf(both, 20)).toContain("b")
  })

  test("StickyServers follows its pools", () => {
    const moving = new StickyServers()
    moving.setPool("a", [{ endpoint: endpoint("192.0.2.2:80"), slot: 1 }])
    expect(moving.slotOf("a", SECOND)).toBe(1)
    moving.setPool("a", [{ endpoint: endpoint("192.0.2.2:80"), slot: 2 }])
    expect([moving.slotOf("a", SECOND), moving.nameOf(1), moving.nameOf(2)]).toEqual([
      2,
      undefined,
      SECOND,
    ])
    moving.removePool("a")
    expect([moving.slotOf("a", SECOND), moving.nameOf(2)]).toEqual([-1, undefined])
  })
})
