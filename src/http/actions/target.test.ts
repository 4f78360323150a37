/** Paths that servers get: `rewrite`. */
import { describe, expect, test } from "bun:test"
import type { RouteConfig } from "../../config/http-config.ts"
import { instant } from "../../net/time.ts"
import {
  decide,
  httpConfig,
  ORIGIN,
  outcome,
  parsed,
  requestHead,
  route,
  routeTable,
} from "../fixtures/routing.ts"
import { RequestPath } from "../request-path.ts"
import { RouteRequest } from "../route-request.ts"
import { targetOf } from "./target.ts"

describe("a prefix is replaced as Gateway API's ReplacePrefixMatch does it", () => {
  test.each([
    // request, path, rewrite, target
    ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
    ["/foo/bar", "/foo/", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo/", "/xyz/", "/xyz/bar"],
    ["/foo", "/foo", "/xyz", "/xyz"],
    ["/foo/", "/foo", "/xyz", "/xyz/"],
    ["/foo/bar", "/foo", "/", "/bar"],
    ["/foo/", "/foo", "/", "/"],
    ["/foo", "/foo", "/", "/"],
    ["/foo?a=1", "/foo", "/", "/?a=1"],
    ["/foo?a=1", "/foo", "/xyz", "/xyz?a=1"],
    ["/foo?a=/b", "/foo", "/xyz/", "/xyz/?a=/b"],
    ["/foo/bar?a=1", "/foo", "/", "/bar?a=1"],
    ["/foo/bar", "/", "/xyz", "/xyz/foo/bar"],
    ["/", "/", "/xyz", "/xyz/"],
    ["/api/v1/x", "/api/v1", "/", "/x"],
    // However it is written
    ["/foo//bar/../baz", "/foo", "/xyz", "/xyz/baz"],
    ["/f%6fo/b%20r", "/foo", "/xyz", "/xyz/b%20r"],
    ["/foo;v=1/bar;w=2", "/foo", "/xyz", "/xyz/bar;w=2"],
    ["/foo%2Fbar", "/foo", "/xyz", "/xyz/bar"],
    ["/foo%2Fbar%2Fbaz", "/foo", "/xyz", "/xyz/bar%2Fbaz"],
    ["/caf%c3%a9/x", "/caf\u00e9", "/th\u00e9", "/th%C3%A9/x"],
    ["/a%40b/c", "/a@b", "/", "/c"],
  ])("%s by %s → %s is %s", (line, path, rewrite, target) => {
    const table = routeTable(route("a", `path = "${path}"; rewrite = "${rewrite}"`))
    expect(outcome(decide(table, line))).toBe(`a ${target}`)
  })
})

test("an exact path is replaced as a whole", () => {
  const table = routeTable(route("a", 'path = "/foo"; match = "exact"; rewrite = "/x/y"'))
  expect(outcome(decide(table, "/foo?q"))).toBe("a /x/y?q")
})

describe("with a pattern, the whole path is made of its groups", () => {
  test.each([
    ["/u/42?q=1", "^/u/(\\\\d+)$", "/user/$1", "/user/42?q=1"],
    ["/u/42/p/7", "^/u/(?<user>\\\\d+)/p/(\\\\d+)$", "/p/$2/of/$<user>", "/p/7/of/42"],
    ["/x", "^/x(y)?$", "/a$1", "/a"],
    ["/x", "^/x$", "/$$1/$9", "/$1/"],
    ["/x/%20%C3%A9", "^/x/(.*)$", "/$1", "/%20%C3%A9"],
    ["/x/y", "^/(.*)$", "/$1/$1", "/x/y/x/y"],
  ])("%s by %s → %s is %s", (line, path, rewrite, target) => {
    const keys = `path = "${path}"; match = "regex"; rewrite = "${rewrite}"`
    expect(outcome(decide(routeTable(route("a", keys)), line))).toBe(`a ${target}`)
  })
})

describe("with rewrite_scope = path, the whole path of a prefix match is replaced", () => {
  test.each([
    ["/api/v1/x/y?q=1", "/api/v1", "/", "/?q=1"],
    ["/api/v1", "/api/v1", "/new", "/new"],
    ["/api/v1/x", "/api/v1", "/th\u00e9", "/th%C3%A9"],
    ["/anything", "/", "/index.html", "/index.html"],
  ])("%s by %s \u2192 %s is %s", (line, path, rewrite, target) => {
    const keys = `path = "${path}"; rewrite = "${rewrite}"; rewrite_scope = "path"`
    expect(outcome(decide(routeTable(route("a", keys)), line))).toBe(`a ${target}`)
  })
})

describe("a query of the rewrite comes before the request's own", () => {
  test.each([
    ["/foo/bar?a=1", 'path = "/foo"; rewrite = "/x?k=v"', "/x/bar?k=v&a=1"],
    ["/foo/bar", 'path = "/foo"; rewrite = "/x?k=v"', "/x/bar?k=v"],
    ["/foo/bar?", 'path = "/foo"; rewrite = "/x?k=v"', "/x/bar?k=v"],
    ["/foo?a=1", 'path = "/foo"; match = "exact"; rewrite = "/x?k=v?"', "/x?k=v?&a=1"],
    ["/u/7?a=1", 'path = "^/u/(.*)$"; match = "regex"; rewrite = "/u?id=$1"', "/u?id=7&a=1"],
    // A group is one value, whatever the client writes.
    [
      "/u/7%26admin=1%23",
      'path = "^/u/(.*)$"; match = "regex"; rewrite = "/u?id=$1"',
      "/u?id=7%26admin%3D1%23",
    ],
    ["/u/%C3%A9", 'path = "^/u/(.*)$"; match = "regex"; rewrite = "/u?id=$1"', "/u?id=%C3%A9"],
  ])("%s with %s is %s", (line, keys, target) => {
    expect(outcome(decide(routeTable(route("a", keys)), line))).toBe(`a ${target}`)
  })
})

test("what a pattern makes begins with a slash in any case", () => {
  const [first] = httpConfig(route("a", 'path = "^/x/(.*)$"; match = "regex"')).routes
  const target = targetOf({ ...(first as RouteConfig), rewrite: "$1" })
  const request = new RouteRequest(new RequestPath({ depthMax: 1, mergeSlashes: true }))
  const head = requestHead("/x/y?q")
  request.path.read(head)
  request.begin(head, ORIGIN, instant(0))
  expect(target(request)).toBe("/y?q")
})

test.each(["/v1../admin", "/v1./x", "/v1..", "/v1%2e%2e/x", "/v1..%2Fx", "/v1..;a/x"])(
  "%s is answered 400 where a group would make a dot segment of it",
  (line) => {
    const table = routeTable(
      route("a", 'path = "^/v1/?(.*)"; match = "regex"; rewrite = "/app/$1"'),
    )
    expect(outcome(decide(table, line))).toBe("400")
  },
)

test("no pattern matches a path of more than 8 KiB", () => {
  const table = routeTable(route("a", 'path = "^/x"; match = "regex"; rewrite = "/y"'))
  const outcomes = [8192, 8193].map((length) => outcome(decide(table, "/x".padEnd(length, "x"))))
  expect(outcomes).toEqual(["a /y", "404"])
})

test("an absolute target without a path means the root", () => {
  const table = routeTable(route("a", 'rewrite = "/x"'))
  const head = parsed("GET http://k8s.com?q HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
  expect(outcome(table.decide(head, ORIGIN, instant(0)))).toBe("a /x/?q")
})
