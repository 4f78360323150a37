/** Which route answers: by host, path and conditions, against a model that tries every route. */
import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { RouteConfig } from "../config/http-config.ts"
import { inOrder } from "../config/route-order.ts"
import { instant } from "../net/time.ts"
import {
  decide,
  forwarded,
  httpConfig,
  ORIGIN,
  outcome,
  parsed,
  requestHead,
  route,
  routeTable,
} from "./fixtures/routing.ts"
import { RouteTable } from "./route-table.ts"

describe("RouteTable.decide() takes the most specific host", () => {
  const table = routeTable(
    route("a", 'host = "k8s.com"') + route("b", 'host = "*.k8s.com"') + route("c"),
  )

  test.each([
    ["k8s.com/", "a"],
    ["K8S.COM/", "a"],
    ["k8s.com:8080/", "a"],
    ["k8s.com./", "a"],
    ["www.k8s.com/", "b"],
    ["www.k8s.com./", "b"],
    ["a.b.k8s.com/", "c"],
    ["ak8s.com/", "c"],
    [".k8s.com/", "c"],
    ["com/", "c"],
    ["192.0.2.1/", "c"],
  ])("%s: %s", (line, pool) => {
    expect(outcome(decide(table, line))).toBe(pool)
  })

  test("and any for HTTP/1.0 without a host", () => {
    const head = parsed("GET / HTTP/1.0\r\n\r\n")
    expect(outcome(table.decide(head, ORIGIN, instant(0)))).toBe("c")
  })

  test("and that of an absolute target, whatever Host says (RFC 9112 §3.2.2)", () => {
    const head = parsed("GET http://k8s.com HTTP/1.1\r\nHost: other\r\n\r\n")
    expect(outcome(table.decide(head, ORIGIN, instant(0)))).toBe("a /")
    const query = parsed("GET http://k8s.com?a=1 HTTP/1.1\r\nHost: other\r\n\r\n")
    expect(outcome(table.decide(query, ORIGIN, instant(0)))).toBe("a /?a=1")
  })
})

describe("RouteTable.decide() takes the most specific path", () => {
  const table = routeTable(
    route("a", 'path = "/"; match = "regex"') +
      route("b", 'path = "/api"') +
      route("c", 'path = "/api/v1/"') +
      route("a", 'path = "/api"; match = "exact"') +
      route("c", 'path = "/caf\u00e9"') +
      route("c", 'path = "\\\\.php$"; match = "regex"'),
  )

  test.each([
    ["/api", "a"],
    ["/api?x=1", "a"],
    ["/api/", "b"],
    ["/api/x", "b"],
    ["/apix", "a"],
    ["/api/v1", "c"],
    ["/api/v1/", "c"],
    ["/api/v1?x", "c"],
    ["/api/v1/x/y", "c"],
    ["/api/v10", "b"],
    ["/API", "a"],
    ["/caf%c3%a9/x", "c /caf%C3%A9/x"],
    ["/caf%C3%A9/x", "c"],
    ["/x.php", "a"],
    ["/", "a"],
  ])("%s: %s", (line, expected) => {
    expect(outcome(decide(table, line))).toBe(expected)
  })
})

test("RouteTable.decide() tries patterns in the order of the file, over the decoded path", () => {
  const table = routeTable(
    route("a", 'path = "^/\u00e9/[0-9]+$"; match = "regex"') +
      route("b", 'path = "^/x.*y$"; match = "regex"') +
      route("c", 'path = "^/x"; match = "regex"'),
  )
  expect(outcome(decide(table, "/%C3%A9/42"))).toBe("a")
  expect(outcome(decide(table, "/%C3%A9/x"))).toBe("404")
  expect(outcome(decide(table, "/x/y?z"))).toBe("b")
  // A line end in the path is a character like any other.
  expect(outcome(decide(table, "/x%0Ay"))).toBe("b")
  expect(outcome(decide(table, "/xyz"))).toBe("c")
})

describe("RouteTable.decide() is not deceived by how a path is written", () => {
  const table = routeTable(route("a", 'path = "/admin"; deny = ["0.0.0.0/0"]') + route("b"))

  test.each([
    "/admin",
    "//admin",
    "/./admin",
    "/x/../admin",
    "/x/%2e%2e/admin",
    "/%61dmin",
    "/admin;x=1",
    "/admin;/x",
    "/;/admin",
    "/admin%2Fx",
    "/admin%5cx",
    "/%2Fadmin",
    "/x//..//admin/",
    "/admin%2f%2fx",
  ])("%s: 403", (line) => {
    expect(outcome(decide(table, line))).toBe("403")
  })

  test.each(["/x/..%2fadmin", "/x%2f..%2fadmin", "/x/..;/admin", "/..", "/x\\..\\admin", "/%"])(
    "%s: 400",
    (line) => {
      expect(outcome(decide(table, line))).toBe("400")
    },
  )

  test.each([
    ["/administrator", "b"],
    ["/x/admin", "b"],
    ["/%2561dmin", "b"],
    ["/x/../admi", "b /admi"],
  ])("%s: %s", (line, expected) => {
    expect(outcome(decide(table, line))).toBe(expected)
  })
})

describe("RouteTable.decide() passes a route over when its conditions do not hold", () => {
  const table = routeTable(
    route("c", 'host = "k8s.com"; path = "/api/v1"; methods = ["PUT"]') +
      route("a", 'host = "k8s.com"; path = "/api"; headers = { X-A = "1" }') +
      route("b", 'host = "*.com"; path = "/api"') +
      route("a"),
  )

  test.each([
    ["PUT k8s.com/api/v1", [], "c"],
    ["GET k8s.com/api/v1", ["X-A: 1"], "a"],
    ["GET k8s.com/api/v1", [], "b"],
    ["GET other.org/api/v1", [], "a"],
  ])("%s with %j: %s", (line, fields, pool) => {
    expect(outcome(decide(table, line, fields))).toBe(pool)
  })
})

describe("RouteTable.decide() tries what asks for more first", () => {
  const table = routeTable(
    route("a") +
      route("b", "query = { x = true }") +
      route("c", "headers = { X-A = true }") +
      route("a", "headers = { X-A = true, X-B = true }") +
      route("b", 'methods = ["PUT"]') +
      route("c", 'methods = ["PUT"]; query = { x = "2" }'),
  )

  test.each([
    ["/", [], "a"],
    ["/?x", [], "b"],
    ["/?x", ["X-A: 1"], "c"],
    ["/", ["X-A: 1", "X-B: 1"], "a"],
    ["PUT /", ["X-A: 1"], "b"],
    ["PUT /?x=2", [], "c"],
  ])("%s with %j: %s", (line, fields, pool) => {
    expect(outcome(decide(table, line, fields))).toBe(pool)
  })
})

test("RouteTable.decide() knows prefixes of any depth", () => {
  const deep = (segments: number) => "/x".repeat(segments)
  const table = routeTable(
    route("a", `path = "${deep(28)}"`) +
      route("b", `path = "${deep(29)}"`) +
      route("c", `path = "${deep(40)}"`) +
      route("a", `path = "${deep(40)}"; match = "exact"`),
  )
  const pools = [27, 28, 29, 35, 39, 40, 41, 2000].map((count) =>
    outcome(decide(table, deep(count))),
  )
  expect(pools).toEqual(["404", "a", "b", "b", "b", "a", "c", "c"])
})

test("RouteTable.decide() compares hosts by their bytes", () => {
  // FNV-1a gives both the same hash.
  const table = routeTable(route("a", 'host = "liquid"') + route("b", 'host = "macallums"'))
  expect(outcome(decide(table, "liquid/"))).toBe("a")
  expect(outcome(decide(table, "costarring/"))).toBe("404")
  expect(outcome(decide(table, `${"x".repeat(300)}/`))).toBe("404")
})

test("RouteTable.decide() keeps hosts and wildcards apart", () => {
  const table = routeTable(route("a", 'host = "*.com"') + route("b", 'host = "*.k8s.com"'))
  expect(outcome(decide(table, "com/"))).toBe("404")
  expect(outcome(decide(table, "k8s.com/"))).toBe("a")
  expect(outcome(decide(table, "www.k8s.com/"))).toBe("b")
  expect(outcome(decide(table, "x.www.k8s.com/"))).toBe("404")
})

test("RouteTable.decide() answers 404 where nothing matches", () => {
  const table = routeTable(route("a", 'host = "k8s.com"; path = "/api"'))
  expect(outcome(decide(table, "k8s.com/"))).toBe("404")
  expect(outcome(decide(table, "other/api"))).toBe("404")
})

test("RouteTable.decide() passes OPTIONS * on as it is", () => {
  const table = routeTable(route("a", 'rewrite = "/x"'))
  const head = parsed("OPTIONS * HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
  expect(outcome(table.decide(head, ORIGIN, instant(0)))).toBe("a")
})

test("RouteTable.decide() answers ordinary requests of a route with one object", () => {
  const table = routeTable(route("a"))
  expect(decide(table, "/x")).toBe(decide(table, "/y?z"))
})

test("RouteTable.decide() keeps empty segments where the listener says so", () => {
  const table = routeTable(`merge_slashes = false\n${route("a", 'path = "/a"')}${route("b")}`)
  expect(outcome(decide(table, "/a//b"))).toBe("a")
  expect(outcome(decide(table, "//a"))).toBe("b")
})

test("RouteTable takes rows and names from the configuration", () => {
  const http = httpConfig(route("a", 'host = "k8s.com"; path = "/api/v1"') + route("b"))
  const table = RouteTable.compile({ http, rows: [7, 8] })
  const { route: chosen } = forwarded(decide(table, "k8s.com/api/v1"))
  expect([chosen.name, chosen.row]).toEqual(["k8s.com/api/v1", 7])
  expect(forwarded(decide(table, "/")).route.row).toBe(8)
})

test("RouteTable.explain() says who is passed over, and what becomes of the request", () => {
  const table = routeTable(
    route("a", 'path = "/api"; rewrite = "/"; deny = ["0.0.0.0/0"]') +
      route("b", 'path = "/api"; methods = ["PUT", "POST"]; headers = { X-A = "1" }') +
      route("b", 'path = "/api"; headers = { X-B = true, X-C = false }; query = { q = true }') +
      route("c", 'path = "/api/v1"; headers = { X-C = false }'),
  )
  const head = requestHead("k8s.com/x/../api/v1/a?b", ["X-C: 1"])
  expect(table.explain(head, ORIGIN)).toMatchObject({
    path: "/api/v1/a",
    route: "*/api",
    passedOver: [
      { route: "*/api/v1", because: "there is a header X-C" },
      { route: "*/api#2", because: "the method is not PUT, POST" },
      { route: "*/api#3", because: "there is no header X-B" },
    ],
    decision: { type: "forward", pool: "a", target: "/v1/a?b" },
  })
})

const LABELS = ["k8s.com", "www.k8s.com", "*.k8s.com", "*.com", ""]
const SEGMENTS = ["a", "b", "ab", "%C3%A9", "\u00e9"]
const PATTERNS = ["^/a", "b$", "/ab/", "."]

const somePath = fc
  .array(fc.constantFrom(...SEGMENTS), { maxLength: 4 })
  .chain((segments) => fc.constantFrom(`/${segments.join("/")}`, `/${segments.join("/")}/`))
  .map((path) => path.replaceAll("//", "/"))

const someRoute = fc.record({
  host: fc.constantFrom(...LABELS),
  path: somePath,
  match: fc.constantFrom("prefix", "prefix", "exact", "regex"),
  pattern: fc.constantFrom(...PATTERNS),
  methods: fc.subarray(["GET", "PUT"]),
  hasHeader: fc.boolean(),
  hasQuery: fc.boolean(),
})

const someRequest = fc.record({
  method: fc.constantFrom("GET", "PUT", "HEAD"),
  host: fc.constantFrom("k8s.com", "www.k8s.com", "a.b.k8s.com", "x.com", "other"),
  path: fc.oneof(
    somePath.map((path) => path.replaceAll("\u00e9", "%c3%a9")),
    fc
      .array(fc.constantFrom("a", "b", "%61", "..", ".", "", "ab;x"), { maxLength: 5 })
      .map((segments) => `/${segments.join("/")}`),
  ),
  hasHeader: fc.boolean(),
  hasQuery: fc.boolean(),
})

type SomeRequest = typeof someRequest extends fc.Arbitrary<infer T> ? T : never

function toToml(one: typeof someRoute extends fc.Arbitrary<infer T> ? T : never): string {
  return route(
    "a",
    [
      `host = "${one.host}"`,
      `path = "${one.match === "regex" ? one.pattern : one.path}"`,
      `match = "${one.match}"`,
      `methods = [${one.methods.map((method) => `"${method}"`).join(", ")}]`,
      ...(one.hasHeader ? ["headers = { X-A = true }"] : []),
      ...(one.hasQuery ? ["query = { q = true }"] : []),
    ].join("; "),
  )
}

/** The path as URL parsers of browsers and RFC 3986 §5.2.4 read it; undefined: above the root. */
function plainPath(path: string): string | undefined {
  const kept: string[] = []
  const segments = path
    .slice(1)
    .split("/")
    .map((each) => decodeURIComponent(each))
  for (const [index, written] of segments.entries()) {
    const segment = written.replace(/;.*/, "")
    const isLast = index === segments.length - 1
    if (segment === "..") {
      if (kept.pop() === undefined) return undefined
    } else if (segment !== "" && segment !== ".") kept.push(segment)
    if (isLast && (segment === "" || segment === "." || segment === "..")) kept.push("")
  }
  return `/${kept.join("/")}`
}

function matches(config: RouteConfig, request: SomeRequest, path: string): boolean {
  const { host, match, methods, headers, query } = config
  const isHost =
    host === "" ||
    host === request.host ||
    (host.startsWith("*.") && request.host.split(".").slice(1).join(".") === host.slice(2))
  const wanted = match === "regex" ? config.path : decodeURIComponent(config.path)
  const prefix = wanted.replace(/\/$/, "")
  const isPath = {
    exact: path === wanted,
    prefix: path === prefix || path.startsWith(`${prefix}/`),
    regex: new RegExp(wanted).test(path),
  }[match]
  const method = request.method === "HEAD" && methods.includes("GET") ? "GET" : request.method
  const isMethod = methods.length === 0 || methods.includes(method)
  return (
    isHost &&
    isPath &&
    isMethod &&
    (headers.length === 0 || request.hasHeader) &&
    (query.length === 0 || request.hasQuery)
  )
}

test("RouteTable.decide() finds the route that trying all of them in order finds", () => {
  fc.assert(
    fc.property(
      fc.array(someRoute, { minLength: 1, maxLength: 12 }),
      fc.array(someRequest, { minLength: 1, maxLength: 12 }),
      (routes, requests) => {
        const http = httpConfig(routes.map(toToml).join(""))
        const table = RouteTable.compile({ http, rows: [] })
        const ordered = inOrder(http.routes)
        for (const request of requests) {
          const line = `${request.method} ${request.host}${request.path}${request.hasQuery ? "?q" : ""}`
          const path = plainPath(request.path)
          const decision = decide(table, line, request.hasHeader ? ["X-A: 1"] : [])
          const expected =
            path === undefined ? undefined : ordered.find((each) => matches(each, request, path))
          expect(decision.route?.name).toBe(expected?.name)
        }
      },
    ),
    { numRuns: 400 },
  )
})
