/**
 * What a request must pass before its route answers: networks, CORS, limits, passwords, permission.
 */
import { describe, expect, test } from "bun:test"
import { type Address, parseAddress } from "../../net/address.ts"
import { instant } from "../../net/time.ts"
import {
  decide,
  forwarded,
  held,
  httpConfig,
  ORIGIN,
  outcome,
  requestHead,
  responded,
  route,
  routeTable,
} from "../fixtures/routing.ts"
import type { Decision, PasswordQuestion, PermissionQuestion, RequestOrigin } from "../route.ts"
import { RouteTable } from "../route-table.ts"

function from(client: string): RequestOrigin {
  const address = parseAddress(client)
  if (address === undefined) throw new Error(`${client} is no address`)
  return { ...ORIGIN, client: address }
}

describe("allow and deny", () => {
  const table = routeTable(
    route("a", 'path = "/a"; allow = ["10.0.0.0/8", "2001:db8::/32"]; deny = ["10.6.6.6"]') +
      route("b", 'path = "/b"; deny = ["10.0.0.0/8"]'),
  )

  test.each([
    ["10.1.2.3", "/a", "a"],
    ["10.6.6.6", "/a", "403"],
    ["11.0.0.1", "/a", "403"],
    ["2001:db8::1", "/a", "a"],
    ["2001:db9::1", "/a", "403"],
    ["10.1.2.3", "/b", "403"],
    ["11.0.0.1", "/b", "b"],
    // Again, from what is remembered
    ["10.1.2.3", "/a", "a"],
    ["10.1.2.3", "/b", "403"],
  ])("%s asks for %s: %s", (client, line, expected) => {
    const decision = table.decide(requestHead(line), from(client), instant(0))
    expect(outcome(decision)).toBe(expected)
  })
})

describe("cors", () => {
  const listed = routeTable(
    route(
      "a",
      'cors = { allow_origins = ["https://app.k8s.com", "https://*.k8s.org"], ' +
        'allow_methods = ["GET", "PUT"], allow_headers = ["X-A", "X-B"], expose_headers = ["X-C"], ' +
        'allow_credentials = true, max_age = "90s" }; set_response_headers = { X-D = "1" }',
    ),
  )
  const any = routeTable(route("a", 'cors = { allow_origins = ["*"] }'))
  const PREFLIGHT = "Access-Control-Request-Method: PUT"

  test("a preflight is answered with what is allowed", () => {
    const fields = ["Origin: https://app.k8s.com", PREFLIGHT]
    expect(responded(decide(listed, "OPTIONS /", fields))).toMatchObject({
      status: 204,
      body: "",
      fields:
        "Access-Control-Allow-Origin: https://app.k8s.com\r\nVary: Origin\r\n" +
        "Access-Control-Allow-Methods: GET, PUT\r\nAccess-Control-Allow-Headers: X-A, X-B\r\n" +
        "Access-Control-Allow-Credentials: true\r\nAccess-Control-Max-Age: 90\r\nX-D: 1\r\n",
    })
  })

  test("a preflight from elsewhere is answered with nothing allowed", () => {
    const decision = responded(decide(listed, "OPTIONS /", ["Origin: https://evil.org", PREFLIGHT]))
    expect([decision.status, decision.fields]).toEqual([204, "Vary: Origin\r\nX-D: 1\r\n"])
  })

  test("OPTIONS without a requested method goes to the server", () => {
    expect(outcome(decide(listed, "OPTIONS /", ["Origin: https://app.k8s.com"]))).toBe("a")
  })

  test("other requests go on, and their answers get the fields", () => {
    const { responseFields } = forwarded(decide(listed, "/", ["Origin: https://app.k8s.com"]))
    expect(responseFields).toBe(
      "Access-Control-Allow-Origin: https://app.k8s.com\r\nVary: Origin\r\n" +
        "Access-Control-Allow-Credentials: true\r\nAccess-Control-Expose-Headers: X-C\r\n",
    )
    expect(forwarded(decide(listed, "/")).responseFields).toBe("Vary: Origin\r\n")
    const anyFields = forwarded(decide(any, "/", ["Origin: null"])).responseFields
    expect(anyFields).toBe("Access-Control-Allow-Origin: *\r\n")
  })

  test.each([
    ["https://a.k8s.org", true],
    ["https://a.b.k8s.org", true],
    ["https://k8s.org", false],
    ["https://.k8s.org", false],
    ["https://evil.org/.k8s.org", false],
    ["https://evil.org?.k8s.org", false],
    ["https://user@a.k8s.org", false],
    ["http://a.k8s.org", false],
    ["https://a.k8s.org.evil.org", false],
    ["https://app.k8s.com:8443", false],
  ])("origin %s: %p", (origin, isAllowed) => {
    const { responseFields } = forwarded(decide(listed, "/", [`Origin: ${origin}`]))
    expect(responseFields.includes("Allow-Origin")).toBe(isAllowed)
  })

  test("the server's own word on CORS is dropped", () => {
    const chosen = forwarded(decide(any, "/")).route
    const head = requestHead("/", ["Access-Control-Allow-Origin: x", "Vary: y"])
    const kept = [1, 2].map((index) => chosen.responseFilter.keeps(head, index, undefined))
    expect(kept).toEqual([false, true])
  })
})

describe("the client behind a proxy that is believed", () => {
  const table = routeTable(route("a", 'allow = ["203.0.113.0/24", "2001:db8::/32"]'))
  const proxies = new Set(["10.0.0.1", "10.0.0.2", "fd00::1"])
  const trusts = (address: string) => proxies.has(address)
  const through = (client: string, ...fields: string[]) => {
    const origin = { ...from(client), isTrusted: trusts(client), trusts }
    return outcome(table.decide(requestHead("/", fields), origin, instant(0)))
  }

  test.each([
    ["10.0.0.1", ["X-Forwarded-For: 203.0.113.7"], "a"],
    ["10.0.0.1", ["X-Forwarded-For: 198.51.100.7"], "403"],
    // Only what trusted proxies have added counts; who comes before them may write anything.
    ["10.0.0.1", ["X-Forwarded-For: 203.0.113.7, 198.51.100.7"], "403"],
    ["10.0.0.1", ["X-Forwarded-For: 198.51.100.7, 203.0.113.7, 10.0.0.2"], "a"],
    ["10.0.0.1", ["X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.0.0.2"], "a"],
    ["10.0.0.1", ["X-Forwarded-For: 203.0.113.7:40000"], "a"],
    ["fd00::1", ["X-Forwarded-For: [2001:db8::7]:40000"], "a"],
    ["fd00::1", ["X-Forwarded-For: 2001:DB8:0::7"], "a"],
    ["10.0.0.1", ["X-Forwarded-For: 203.0.113.7, unknown"], "403"],
    ["10.0.0.1", ["X-Forwarded-For:"], "403"],
    ["10.0.0.1", [], "403"],
    ["198.51.100.7", ["X-Forwarded-For: 203.0.113.7"], "403"],
    ["203.0.113.7", ["X-Forwarded-For: 198.51.100.7"], "a"],
  ] as const)("of %s with %j: %s", (client, fields, expected) => {
    expect(through(client, ...fields)).toBe(expected)
  })
})

describe("tls_redirect", () => {
  const keys = 'tls_redirect = true; deny = ["0.0.0.0/0"]'

  test("answers 308 before any other gate, and lets TLS pass to them", () => {
    const table = routeTable(route("a", keys))
    const plain = responded(decide(table, "k8s.com/a/../b?c=1"))
    expect([plain.status, plain.fields]).toEqual([308, "Location: https://k8s.com/b?c=1\r\n"])
    const secure = table.decide(requestHead("/"), { ...ORIGIN, isTls: true }, instant(0))
    expect(outcome(secure)).toBe("403")
  })

  test("names the port of the listener's TLS bind", () => {
    const http = httpConfig(route("a", "tls_redirect = true"))
    const bind = { endpoint: { address: "::" as Address, port: 8443 }, tls: true }
    const table = RouteTable.compile({ http: { ...http, bind: [...http.bind, bind] }, rows: [] })
    expect(responded(decide(table, "k8s.com/")).fields).toBe("Location: https://k8s.com:8443/\r\n")
  })

  test.each([
    [true, "https", "a"],
    [true, "HTTPS", "a"],
    [true, "http", "308"],
    [false, "https", "308"],
  ])("of a proxy, believed: %s, that says %s: %s", (isTrusted, proto, expected) => {
    const table = routeTable(route("a", "tls_redirect = true"))
    const head = requestHead("/", [`X-Forwarded-Proto: ${proto}`])
    expect(outcome(table.decide(head, { ...ORIGIN, isTrusted }, instant(0)))).toBe(expected)
  })
})

describe("rate_limit", () => {
  const decideAt = (table: RouteTable, ms: number, client = "192.0.2.1", fields: string[] = []) =>
    outcome(table.decide(requestHead("/", fields), from(client), instant(ms)))

  test("answers 429 and when to come again", () => {
    const table = routeTable(route("a", 'rate_limit = { requests = 2, per = "10s" }'))
    expect([decideAt(table, 0), decideAt(table, 0)]).toEqual(["a", "a"])
    const refusal = responded(table.decide(requestHead("/"), from("192.0.2.1"), instant(0)))
    expect([refusal.status, refusal.fields]).toEqual([429, "Retry-After: 5\r\n"])
    expect(decideAt(table, 0, "192.0.2.2")).toBe("a")
    expect(decideAt(table, 5100)).toBe("a")
  })

  test("counts the clients of one IPv6 /64 together", () => {
    const table = routeTable(route("a", "rate_limit = { requests = 1 }"))
    expect(decideAt(table, 0, "2001:db8::1")).toBe("a")
    expect(decideAt(table, 0, "2001:db8::ffff:1")).toBe("429")
    expect(decideAt(table, 0, "2001:db8:0:1::1")).toBe("a")
  })

  test("counts by header, and by address without it", () => {
    const table = routeTable(route("a", 'rate_limit = { requests = 1, header = "X-Key" }'))
    expect(decideAt(table, 0, "192.0.2.1", ["X-Key: k"])).toBe("a")
    expect(decideAt(table, 0, "192.0.2.2", ["X-Key: k"])).toBe("429")
    expect(decideAt(table, 0, "192.0.2.2", ["X-Key: l"])).toBe("a")
    expect(decideAt(table, 0, "192.0.2.2")).toBe("a")
    expect(decideAt(table, 0, "192.0.2.2")).toBe("429")
  })

  test("does not count preflights", () => {
    const keys = 'rate_limit = { requests = 1 }; cors = { allow_origins = ["*"] }'
    const table = routeTable(route("a", keys))
    const preflight = ["Origin: https://a", "Access-Control-Request-Method: PUT"]
    const options = () => table.decide(requestHead("OPTIONS /", preflight), ORIGIN, instant(0))
    expect([outcome(options()), outcome(options())]).toEqual(["204", "204"])
  })
})

describe("rate_limit of several routes", () => {
  const limit = (scope: string, more = "") =>
    `rate_limit = { requests = 1, per = "1m", scope = "${scope}"${more} }`
  const both = (first: string, second: string) =>
    routeTable(`${route("a", `path = "/a"; ${first}`)}${route("b", `path = "/b"; ${second}`)}`)

  test("counts those of one scope together, and others for themselves", () => {
    const shared = both(limit("s"), limit("s"))
    expect(["/a", "/b"].map((line) => outcome(decide(shared, line)))).toEqual(["a", "429"])
    const apart = both(limit("s"), limit("t"))
    expect(["/a", "/b"].map((line) => outcome(decide(apart, line)))).toEqual(["a", "b"])
    const bare = both(limit(""), limit(""))
    expect(["/a", "/b"].map((line) => outcome(decide(bare, line)))).toEqual(["a", "b"])
  })

  test("does not count who is exempt", () => {
    const table = both(limit("", ', exempt = ["192.0.2.0/24"]'), limit(""))
    expect(["/a", "/a"].map((line) => outcome(decide(table, line)))).toEqual(["a", "a"])
    expect(["/b", "/b"].map((line) => outcome(decide(table, line)))).toEqual(["b", "429"])
  })
})

describe("basic_auth", () => {
  const HASH = `$2b$05$${"x".repeat(53)}`
  const table = (more = "") => {
    const keys = 'basic_auth = { realm = "r", users_file = "/users" }'
    const http = httpConfig(route("a", `${keys}; ${more}`), { "/users": `ann:${HASH}\n` })
    return RouteTable.compile({ http, rows: [] })
  }
  const credentials = (text: string) => [
    `Authorization: Basic ${Buffer.from(text).toString("base64")}`,
  ]

  function asked(decision: Decision): PasswordQuestion {
    const { status, question } = responded(decision)
    if (question?.type !== "password") throw new Error("No password was asked for")
    expect(status).toBe(503)
    return question
  }

  test.each([
    [[]],
    [["Authorization: Bearer x"]],
    [["Authorization: Basic"]],
    [["Authorization: Basic !!!!"]],
    [credentials("no-colon")],
    [credentials(":no-name")],
    [credentials(`ann:${"x".repeat(1025)}`)],
  ])("%j is challenged", (fields) => {
    const decision = responded(decide(table(), "/", fields))
    expect(decision.question).toBeUndefined()
    expect([decision.status, decision.fields]).toEqual([
      401,
      'WWW-Authenticate: Basic realm="r", charset="UTF-8"\r\n',
    ])
  })

  test("asks once for each password, and then knows", () => {
    const routes = table()
    const head = requestHead("/x", credentials("ann:s\u00e9cret: 1"))
    const question = asked(routes.decide(head, ORIGIN, instant(0)))
    expect([question.password, question.hash]).toEqual(["s\u00e9cret: 1", HASH])
    expect(outcome(question.settle("right", held(head)))).toBe("a")
    expect(outcome(routes.decide(head, ORIGIN, instant(59_999)))).toBe("a")
    asked(routes.decide(head, ORIGIN, instant(60_000)))
  })

  test("knows a wrong password for two seconds", () => {
    const routes = table()
    const head = requestHead("/", credentials("ann:wrong"))
    const question = asked(routes.decide(head, ORIGIN, instant(0)))
    expect(outcome(question.settle("wrong", held(head)))).toBe("401")
    expect(responded(routes.decide(head, ORIGIN, instant(1999))).question).toBeUndefined()
    asked(routes.decide(head, ORIGIN, instant(2000)))
  })

  test("answers 503 while too many passwords wait, and asks again the next time", () => {
    const routes = table()
    const head = requestHead("/", credentials("ann:x"))
    const busy = asked(routes.decide(head, ORIGIN, instant(0))).settle("busy", held(head))
    expect(responded(busy)).toMatchObject({ status: 503, fields: "Retry-After: 1\r\n" })
    asked(routes.decide(head, ORIGIN, instant(1)))
  })

  test("asks also for a name that does not exist, and never lets it in", () => {
    const head = requestHead("/", credentials("bob:x"))
    const question = asked(table().decide(head, ORIGIN, instant(0)))
    // It takes as long as a name that exists.
    expect(question.hash).toBe(HASH)
    expect(outcome(question.settle("right", held(head)))).toBe("401")
  })

  test("a name from the prototype of objects is no name", () => {
    const head = requestHead("/", credentials("constructor:x"))
    const question = asked(table().decide(head, ORIGIN, instant(0)))
    expect(outcome(question.settle("right", held(head)))).toBe("401")
  })

  test("does not count again, and keeps what earlier gates added", () => {
    const routes = table('rate_limit = { requests = 1 }; cors = { allow_origins = ["*"] }')
    const head = requestHead("/", credentials("ann:x"))
    const question = asked(routes.decide(head, ORIGIN, instant(0)))
    // In between the table decides another request.
    decide(routes, "/other")
    const decision = forwarded(question.settle("right", held(head)))
    expect(decision.responseFields).toBe("Access-Control-Allow-Origin: *\r\n")
  })
})

describe("forward_auth", () => {
  const keys = 'forward_auth = { pool = "b", path = "/check?x", copy_headers = ["X-User", "X-No"] }'
  const table = routeTable(route("a", `${keys}; path = "/api"; rewrite = "/"`))

  function asked(line: string, fields: readonly string[] = []): PermissionQuestion {
    const { question } = responded(decide(table, line, fields))
    if (question?.type !== "permission") throw new Error("No permission was asked for")
    return question
  }

  const answer = (status: number, fields: Readonly<Record<string, string>> = {}) => ({
    status,
    field: (name: string) => fields[name],
  })

  test("asks the pool, and says what for", () => {
    const question = asked("PUT k8s.com/api/x/../y?z")
    expect(question).toMatchObject({
      pool: "b",
      target: "/check?x",
      fields:
        "X-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /api/y?z\r\n" +
        "X-Original-Method: PUT\r\nX-Original-URI: /api/y?z\r\n",
    })
  })

  test("asks with the request's fields, but those of its body and of who it claims to be", () => {
    const fields = ["Cookie: a", "X-Original-URI: /", "Content-Length: 5", "Content-Type: a/b"]
    const head = requestHead("POST /api", fields)
    const { filter } = asked("POST /api", fields)
    const kept = [0, 1, 2, 3, 4].filter((index) => filter.keeps(head, index, undefined))
    expect(kept.map((index) => head.name(index))).toEqual(["cookie"])
  })

  test.each([200, 204, 299])("%d lets the request pass, with the fields to copy", (status) => {
    const question = asked("/api/x?y")
    const settled = question.settle(
      answer(status, { "x-user": "ann", "x-other": "1" }),
      held(requestHead("/api/x?y")),
    )
    expect(forwarded(settled)).toMatchObject({
      pool: "a",
      target: "/x?y",
      requestFields: "X-User: ann\r\n",
    })
  })

  test.each([
    [401, { "www-authenticate": "Basic" }, 401, "WWW-Authenticate: Basic\r\n"],
    [302, { location: "/login", "x-user": "x" }, 302, "Location: /login\r\n"],
    [403, { "set-cookie": "a=1" }, 403, "Set-Cookie: a=1\r\n"],
    [500, { location: "/" }, 503, ""],
    [0, {}, 503, ""],
    [101, {}, 503, ""],
  ])("%d with %j is answered with %d", (status, fields, expected, lines) => {
    const settled = asked("/api").settle(answer(status, fields), held(requestHead("/api")))
    expect(responded(settled)).toMatchObject({ status: expected, fields: lines })
  })

  test.each([
    ["https://login.k8s.com", "?rd=http%3A%2F%2Fk8s.com%2Fapi%2Fx%3Fy%3D1"],
    ["https://login.k8s.com/a?b", "&rd=http%3A%2F%2Fk8s.com%2Fapi%2Fx%3Fy%3D1"],
    ["https://login.k8s.com/a?rd=/home", ""],
  ])("with signin_url = %s a 401 is the way there", (url, added) => {
    const auth = `forward_auth = { pool = "b", signin_url = "${url}" }`
    const signing = routeTable(route("a", auth))
    const { question } = responded(decide(signing, "k8s.com/api/x?y=1"))
    if (question?.type !== "permission") throw new Error("No permission was asked for")
    const head = held(requestHead("k8s.com/api/x?y=1"))
    const refusal = responded(question.settle(answer(401, { "set-cookie": "a=1" }), head))
    expect([refusal.status, refusal.fields]).toEqual([
      302,
      `Location: ${url}${added}\r\nSet-Cookie: a=1\r\n`,
    ])
    expect(responded(question.settle(answer(403), head)).status).toBe(403)
  })

  test("comes after the password", () => {
    const auth = 'basic_auth = { users_file = "/users" }'
    const users = { "/users": `ann:$2b$05$${"x".repeat(53)}\n` }
    const http = httpConfig(route("a", `${keys}; ${auth}`), users)
    const routes = RouteTable.compile({ http, rows: [] })
    const head = requestHead("/", [`Authorization: Basic ${btoa("ann:x")}`])
    const first = responded(routes.decide(head, ORIGIN, instant(0))).question
    if (first?.type !== "password") throw new Error("No password was asked for")
    const second = responded(first.settle("right", held(head))).question
    if (second?.type !== "permission") throw new Error("No permission was asked for")
    expect(outcome(second.settle(answer(200), held(head)))).toBe("a")
  })
})
