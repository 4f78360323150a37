import { describe, expect, test } from "bun:test"
import type { DataHttpService, DataPoolSpec } from "../dataplane/messages.ts"
import { httpConfig } from "../http/fixtures/routing.ts"
import { poolPortions, serviceMessages } from "./change-portions.ts"

describe("poolPortions()", () => {
  const pool = (name: string, servers: number) =>
    ({ name, servers: Array.from({ length: servers }) }) as unknown as DataPoolSpec
  const namesOf = (portions: readonly DataPoolSpec[][]) =>
    portions.map((portion) => portion.map(({ name }) => name).join(""))

  test("fills each portion with a few servers, in order", () => {
    const pools = [pool("a", 6), pool("b", 6), pool("c", 6), pool("d", 0)]
    expect(namesOf(poolPortions(pools))).toEqual(["ab", "cd"])
  })

  test("gives a larger pool a portion of its own", () => {
    const pools = [pool("a", 1), pool("b", 5_000), pool("c", 1)]
    expect(namesOf(poolPortions(pools))).toEqual(["a", "b", "c"])
  })

  test("has nothing to say of nothing", () => {
    expect(poolPortions([])).toEqual([])
  })
})

describe("serviceMessages()", () => {
  test("says all routes to who knows none, in portions", () => {
    const { routes, update } = serviceMessages(service(300), undefined)
    const sizes = routes.map(({ keys, routes: each }) => [keys.length, each.length])
    expect(sizes).toEqual([
      [128, 128],
      [128, 128],
      [44, 44],
    ])
    expect(routes.map(({ isFresh }) => isFresh)).toEqual([true, false, false])
    expect([update.config.routes, update.routeKeys.length]).toEqual([[], 300])
  })

  test("says what is other, whatever its place", () => {
    const known = service(300)
    const [first, second, ...rest] = known.config.routes
    if (first === undefined || second === undefined) throw new Error("no routes")
    const changed = { ...second, maxBodyBytes: 1 }
    const next = {
      ...known,
      config: { ...known.config, routes: [...rest, { ...first }, changed] },
      routeRows: [...known.routeRows.slice(2), 1, 2],
    }
    const { routes, update } = serviceMessages(next, known)
    expect(routes.map(({ keys, routes: each, isFresh }) => [keys, each, isFresh])).toEqual([
      [[2], [changed], false],
    ])
    expect(update.routeKeys).toEqual(next.routeRows)
  })

  test("says nothing but the order when a route has gone", () => {
    const known = service(2)
    const next = {
      ...known,
      config: { ...known.config, routes: known.config.routes.slice(1) },
      routeRows: [2],
    }
    const { routes, update } = serviceMessages(next, known)
    expect([routes, update.routeKeys]).toEqual([[], [2]])
  })

  test("says all anew when something common to them is other, also where there are none", () => {
    const known = service(1)
    const next = { ...known, config: { ...known.config, mergeSlashes: !known.config.mergeSlashes } }
    expect(serviceMessages(next, known).routes.map(({ keys }) => keys)).toEqual([[1]])
    const { routes } = serviceMessages(service(0), undefined)
    expect(routes.map(({ isFresh, keys }) => [isFresh, keys])).toEqual([[true, []]])
  })
})

function service(count: number): DataHttpService {
  const paths = Array.from({ length: count }, (_, index) => `/p${index}`)
  const text = paths.map((path) => `[[http.route]]\npath = "${path}"\npool = "a"`).join("\n")
  const config = httpConfig(text)
  return { config, row: 0, routeRows: paths.map((_, index) => index + 1), tls: undefined }
}
