import { expect, test } from "bun:test"
import type { HttpConfig } from "../config/http-config.ts"
import { CompiledRoutes, routeKeys } from "./compiled-routes.ts"
import { decide, forwarded, httpConfig } from "./fixtures/routing.ts"

test("routeKeys() gives each route a key of its own, the same while rows are", () => {
  expect(routeKeys([4, 5, 6])).toEqual([4, 5, 6])
  const [first, second, third] = routeKeys([4, 4, 5])
  expect([first, third, second === first]).toEqual([4, 5, false])
})

test("CompiledRoutes.table() has the routes that were set, in the order of the keys", () => {
  const http = httpOf(["/a", "/a/b"])
  const compiled = new CompiledRoutes({ ...http, routes: [] })
  compiled.set([1, 2], http.routes)
  const table = compiled.table([1, 2])
  expect(["/a/x", "/a/b/x"].map((path) => rowFor(table, path))).toEqual([1, 2])
})

test("CompiledRoutes.table() leaves a table as it is when routes are set or forgotten", () => {
  const http = httpOf(["/a", "/b", "/c"])
  const compiled = new CompiledRoutes({ ...http, routes: [] })
  compiled.set([1, 2], http.routes)
  const before = compiled.table([1, 2])
  compiled.set([2], http.routes.slice(2))
  const after = compiled.table([2])
  expect([rowFor(before, "/a"), rowFor(before, "/b")]).toEqual([1, 2])
  expect([rowFor(after, "/a"), rowFor(after, "/c")]).toEqual([undefined, 2])
  expect(() => compiled.table([1])).toThrow("No route 1 of web")
})

function rowFor(table: ReturnType<CompiledRoutes["table"]>, path: string): number | undefined {
  const decision = decide(table, path)
  return decision.type === "forward" ? forwarded(decision).route.row : undefined
}

function httpOf(paths: readonly string[]): HttpConfig {
  return httpConfig(paths.map((path) => `[[http.route]]\npath = "${path}"\npool = "a"`).join("\n"))
}
