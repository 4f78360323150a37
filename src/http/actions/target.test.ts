/** Paths that servers get: `rewrite`. */
import { describe, expect, test } from "bun:test"
import { instant } from "../../net/time.ts"
import { decide, ORIGIN, outcome, parsed, route, routeTable } from "../fixtures/routing.ts"

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

test("an absolute target without a path means the root", () => {
  const table = routeTable(route("a", 'rewrite = "/x"'))
  const head = parsed("GET http://k8s.com?q HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
  expect(outcome(table.decide(head, ORIGIN, instant(0)))).toBe("a /x/?q")
})
