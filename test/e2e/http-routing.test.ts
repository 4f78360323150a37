/**
 * Where a request goes, and what becomes of it on the way: the issue's own example, the order of
 * precedence, rewriting, redirects, headers, shares, sticky cookies, mirrors. nginx stands behind
 * and says what it received.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { ask, fieldOf, HttpConnection, type Question, valuesOf } from "./http-connection.ts"
import { seenBy, startOddWebServer, startWebServer, type WebServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth } from "./stage.ts"

let stage: HttpStage
let edge: Edge
let other: Edge
let shadow: WebServer

beforeAll(async () => {
  stage = await createHttpStage("http-routing", 3)
  shadow = await startWebServer(nth(stage.servers, 2), { port: 8082 })
  await startOddWebServer(nth(stage.servers, 1), 8083)
  edge = await startHttpEdge(stage.edge, CONFIG)
  other = await startHttpEdge(stage.secondEdge, CONFIG)
}, 60_000)

afterAll(() => stage?.lab.close())

async function asking(question: Question = {}, target = "10.0.0.1:80") {
  return ask(await stage.door(target), question)
}

/** On one connection of its own. */
async function connected(target = "10.0.0.1:80"): Promise<HttpConnection> {
  return HttpConnection.open(await stage.door(target))
}

describe("k8s.com/api/v1 and /api/v2", () => {
  test.each([
    ["/api/v1", "GET / HTTP/1.1", ["s1", "s2"]],
    ["/api/v1/", "GET / HTTP/1.1", ["s1", "s2"]],
    ["/api/v1/users/7?x=1&y=%2F", "GET /users/7?x=1&y=%2F HTTP/1.1", ["s1", "s2"]],
    ["/api/v2", "GET / HTTP/1.1", ["s3"]],
    ["/api/v2?q", "GET /?q HTTP/1.1", ["s3"]],
    ["/api/v2/a%20b/../c", "GET /c HTTP/1.1", ["s3"]],
  ])("%s arrives as %s", async (path, request, servers) => {
    const seen = new Set<string>()
    using connection = await connected()
    for (let at = 0; at < 4; at += 1) {
      const answer = await connection.ask({ path })
      expect(answer.status).toBe(200)
      expect(seenBy(answer)).toMatchObject({ request, host: "k8s.com" })
      seen.add(seenBy(answer).server)
    }
    expect([...seen].toSorted()).toEqual(servers)
  })

  test.each(["/api", "/api/v10", "/api/v", "/", "/API/v1", "/api/v1%3Fx"])(
    "%s is neither",
    async (path) => {
      expect((await asking({ path })).status).toBe(404)
    },
  )

  test.each(["/api%2Fv1/../../etc", "/%00", "/a%zz", "/..%2f..%2fapi/v1"])(
    "%s, which has no safe reading, is not passed on as it stands",
    async (path) => {
      const answer = await asking({ path })
      expect([400, 404]).toContain(answer.status)
    },
  )
})

describe("precedence", () => {
  test("the edge and `causeway route` agree on every request", async () => {
    const said = await Promise.all(inTurns(4, REQUESTS, (each) => routeOf(each)))
    const done: string[] = []
    for (const [, question] of REQUESTS) {
      const answer = await asking(question, "10.0.0.1:81")
      done.push(fieldOf(answer, "x-route") ?? String(answer.status))
    }
    const expected = REQUESTS.map(([name]) => name)
    report("precedence", { requests: REQUESTS.length })
    expect(done).toEqual(expected)
    expect(said.flat()).toEqual(expected)
  })

  /** The route that the command names for the table's listener. */
  async function routeOf([, question]: (typeof REQUESTS)[number]): Promise<string> {
    const { method = "GET", host = "", path = "/", headers = {} } = question
    const fields = Object.entries(headers).flatMap(([name, value]) => [
      "--header",
      `${name}: ${value}`,
    ])
    const words = ["route", host, path, "--method", method, ...fields, "--json"]
    const { stdout, stderr } = await edge.command(...words)
    const answers: { http: string; route: string | null; status?: number }[] = JSON.parse(
      stdout || `[{"http":"table","route":${JSON.stringify(stderr)}}]`,
    )
    const mine = answers.find(({ http }) => http === "table")
    return mine?.route ?? String(mine?.status)
  }

  test("`causeway check` shows the table, and what can never be reached", async () => {
    const shown = await edge.command("check")
    expect(shown).toMatchObject({ exitCode: 0 })
    expect(shown.stdout).toMatch(/^ +k8s\.com +\/api\/v1 +→ pool apiv1 as \/$/m)
    const again =
      '[[http.route]]\nname = "again"\nhost = "k8s.com"\npath = "/api/v2"\nrespond = 200\n'
    const path = join(stage.lab.directory, "shadowed.toml")
    writeFileSync(path, CONFIG.replace('[[http.route]]\nhost = "actions.k8s.com"', `${again}$&`))
    const { stdout, stderr } = await stage.edge.run([...edge.binary, "check", "-c", path])
    expect(`${stdout}${stderr}`).toContain("warning: This route is never reached")
  })

  test("`causeway route` says why", async () => {
    const { stdout, exitCode } = await edge.command("route", "k8s.com", "/cond", "--method", "POST")
    expect(exitCode).toBe(0)
    expect(stdout).toContain("http table: route post\n")
    expect(stdout).toContain("the host is k8s.com and the path begins with /cond")
    const { stdout: passed } = await edge.command("route", "x.k8s.com", "/")
    expect(passed).toMatch(/http table: route wildcard\n.*\n +passed over x-only: .*X-Test/i)
  })
})

describe("redirects and fixed answers", () => {
  test.each([
    ["/moved/a?b=1", 301, "http://k8s.com/moved/a?b=1"],
    ["/secure/a?b=1", 302, "https://actions.k8s.com/secure/a?b=1"],
    ["/whole/a", 302, "https://k8s.com/new"],
    ["/old/a/b?c", 307, "http://actions.k8s.com/fresh/a/b?c"],
    ["/port", 308, "https://k8s.com:8443/port"],
  ])("%s → %i %s", async (path, status, location) => {
    const answer = await asking({ host: "actions.k8s.com", path })
    expect([answer.status, fieldOf(answer, "location")]).toEqual([status, location])
  })

  test("a body, its type, and none for HEAD", async () => {
    const question = { host: "actions.k8s.com", path: "/page" }
    using connection = await connected()
    const answer = await connection.ask(question)
    expect([answer.status, answer.body.toString()]).toEqual([418, "<p>teapot"])
    expect(fieldOf(answer, "content-type")).toBe("text/html")
    expect(fieldOf(answer, "content-length")).toBe("9")
    const head = await connection.ask({ ...question, method: "HEAD" })
    expect([head.status, head.body.length, fieldOf(head, "content-length")]).toEqual([418, 0, "9"])
    expect((await connection.ask(question)).status).toBe(418)
  })

  test("a status alone", async () => {
    expect((await asking({ host: "actions.k8s.com", path: "/gone" })).status).toBe(410)
  })
})

describe("headers", () => {
  test("towards the server: set replaces, add adds, remove removes", async () => {
    const answer = await asking({
      host: "actions.k8s.com",
      path: "/headers",
      headers: ["X-Set: client", "x-set: client again", "X-Gone: secret", "X-Add: zero"],
    })
    const head = answer.body.toString("latin1")
    expect(head).toMatch(/^x-set: edge\r$/im)
    expect(head.match(/^x-set:/gim)).toHaveLength(1)
    expect(head).not.toMatch(/^x-gone:/im)
    expect(head.match(/^x-add: .*$/gim)).toEqual(["X-Add: zero", "X-Add: one", "X-Add: two"])
    expect(head).toMatch(/^host: inner\.k8s\.com\r$/im)
  })

  test("towards the client", async () => {
    const answer = await asking({ host: "actions.k8s.com", path: "/headers" })
    expect(valuesOf(answer, "x-frame-options")).toEqual(["DENY"])
    expect(valuesOf(answer, "x-origin")).toEqual(["server", "edge"])
    expect(valuesOf(answer, "x-powered-by")).toEqual([])
  })
})

describe("split", () => {
  test("shares by weight, exact over few requests", async () => {
    using connection = await connected()
    const counts = { s1: 0, s3: 0 }
    for (let at = 0; at < 200; at += 1) {
      const answer = await connection.ask({ host: "actions.k8s.com", path: "/split" })
      counts[seenBy(answer).server as "s1" | "s3"] += 1
    }
    report("split 9:1 over 200 requests", counts)
    expect(Math.abs(counts.s3 - 20)).toBeLessThanOrEqual(2)
  })

  test.each([
    ["its header", { "X-Canary": "always" }, "s3"],
    ["its cookie", { Cookie: "a=b; canary=yes; c=d" }, "s3"],
    ["both", { "X-Both": "", Cookie: "both=1" }, "s2"],
    ["one of two", { "X-Both": "" }, "s1"],
    ["another value of the cookie", { Cookie: "canary=no" }, "s1"],
    ["the cookie's name within another", { Cookie: "xcanary=yes" }, "s1"],
  ])("%s", async (_, headers, server) => {
    using connection = await connected()
    for (let at = 0; at < 5; at += 1) {
      const answer = await connection.ask({ host: "actions.k8s.com", path: "/canary", headers })
      expect(seenBy(answer).server).toBe(server)
    }
  })
})

describe("sticky", () => {
  const question: Question = { host: "actions.k8s.com", path: "/sticky" }

  /** A cookie as a browser would send it back, and the server it stands for. */
  async function pick(): Promise<{ cookie: string; server: string; line: string }> {
    const answer = await asking(question)
    const [line = ""] = valuesOf(answer, "set-cookie")
    return { cookie: line.split(";")[0] ?? "", server: seenBy(answer).server, line }
  }

  async function serversWith(cookie: string, target: string): Promise<Set<string | undefined>> {
    const servers = new Set<string | undefined>()
    for (let at = 0; at < 6; at += 1) {
      const answer = await asking({ ...question, headers: { Cookie: `a=1; ${cookie}` } }, target)
      expect(valuesOf(answer, "set-cookie")).toEqual([])
      servers.add(seenBy(answer).server)
    }
    return servers
  }

  test("a cookie brings a client back, on both edges and after a reload", async () => {
    const chosen = new Map<string, string>()
    for (let at = 0; at < 12; at += 1) {
      const { cookie, server, line } = await pick()
      expect(line).toMatch(/^where=[0-9a-f]{16}; Path=\/; HttpOnly; SameSite=Lax$/)
      expect(chosen.get(server) ?? cookie).toBe(cookie)
      chosen.set(server, cookie)
    }
    expect([...chosen.keys()].toSorted()).toEqual(["s1", "s2", "s3"])
    for (const target of ["10.0.0.1:80", "10.0.0.2:80"]) {
      for (const [server, cookie] of chosen) {
        expect(await serversWith(cookie, target)).toEqual(new Set([server]))
      }
    }
    const changed = CONFIG.replace('path = "/page"', 'path = "/another-page"')
    expect(await edge.reload(changed)).toMatchObject({ exitCode: 0 })
    for (const [server, cookie] of chosen) {
      expect(await serversWith(cookie, "10.0.0.1:80")).toEqual(new Set([server]))
    }
    expect(await edge.reload(CONFIG)).toMatchObject({ exitCode: 0 })
  })

  test("without its server a client gets another, and another cookie", async () => {
    const { cookie, server } = await pick()
    expect(await edge.command("maintain", `all/${server}`)).toMatchObject({ exitCode: 0 })
    const answer = await asking({ ...question, headers: { Cookie: cookie } })
    expect(answer.status).toBe(200)
    expect(seenBy(answer).server).not.toBe(server)
    expect(valuesOf(answer, "set-cookie")).toHaveLength(1)
    expect(await edge.command("ready", `all/${server}`)).toMatchObject({ exitCode: 0 })
    expect(await serversWith(cookie, "10.0.0.1:80")).toEqual(new Set([server]))
  })

  test("a cookie of nobody is as good as none", async () => {
    for (const cookie of ["where=0123456789abcdef", "where=", "where=10.0.0.11:8080"]) {
      const answer = await asking({ ...question, headers: { Cookie: cookie } })
      expect([answer.status, valuesOf(answer, "set-cookie").length]).toEqual([200, 1])
    }
  })
})

describe("mirror", () => {
  test("its pool gets each request once, bodies included", async () => {
    using connection = await connected()
    for (let at = 0; at < 20; at += 1) {
      const answer = await connection.ask({
        method: "PUT",
        host: "actions.k8s.com",
        path: `/mirrored/${at}`,
        body: `${at}`.repeat(1000),
      })
      expect([answer.status, fieldOf(answer, "x-server")]).toEqual([201, "s1"])
    }
    const copies = () => readFileSync(shadow.log, "utf8").split("\n").slice(0, -1)
    await eventually(() => copies().length >= 20, { what: "20 mirrored requests" })
    const targets = copies().map((line) => line.split(" ").slice(0, 3).join(" "))
    const expected = Array.from({ length: 20 }, (_, at) => `PUT /files/${at} 201`)
    expect(targets.toSorted()).toEqual(expected.toSorted())
    for (const { root } of [nth(stage.web, 0), shadow]) {
      const files = expected.map((_, at) => readFileSync(join(root, `${at}`), "utf8"))
      expect(files).toEqual(expected.map((_, at) => `${at}`.repeat(1000)))
    }
  })

  test("a mirror that is silent, or gone, delays nobody", async () => {
    const hole = await stage.lan.drop({ to: nth(stage.servers, 2), match: "tcp dport 8082" })
    const startedAt = performance.now()
    using connection = await connected()
    for (let at = 0; at < 20; at += 1) {
      const answer = await connection.ask({ host: "actions.k8s.com", path: "/mirrored/0" })
      expect(answer.status).toBe(200)
    }
    const tookMs = performance.now() - startedAt
    await hole.heal()
    report("20 requests with a mirror that is a black hole", { "took ms": tookMs })
    expect(tookMs).toBeLessThan(2_000)
  })
})

test("the same answers from the other edge", async () => {
  const question = { path: "/api/v2/x", headers: { "X-Request": "1" } }
  const [here, there] = [await asking(question), await asking(question, "10.0.0.2:80")]
  expect([here.status, seenBy(here).request]).toEqual([there.status, seenBy(there).request])
  expect((await other.status()).http.map(({ name }) => name)).toEqual(["web", "table"])
})

/** Runs `act` for all items, `width` at a time; the results stay in order within each turn. */
function inTurns<T, R>(width: number, items: readonly T[], act: (item: T) => Promise<R>) {
  const size = Math.ceil(items.length / width)
  return Array.from({ length: width }, async (_, turn) => {
    const results: R[] = []
    for (const item of items.slice(turn * size, (turn + 1) * size)) results.push(await act(item))
    return results
  })
}

type TableQuestion = Question & { readonly headers?: Readonly<Record<string, string>> }

/** Route of the table's listener, and a request it is for. */
const REQUESTS: readonly (readonly [route: string, question: TableQuestion])[] = [
  // Host: exact, then a wildcard for one label, then any.
  ["www", { host: "www.k8s.com", path: "/" }],
  ["wildcard", { host: "a.k8s.com", path: "/" }],
  ["any", { host: "a.b.k8s.com", path: "/" }],
  ["any", { host: "example.net", path: "/" }],
  ["any", { host: "10.0.0.1:81", path: "/x" }],
  ["any", { host: "[fd00::1]:81", path: "/x" }],
  ["www", { host: "WWW.K8S.COM", path: "/" }],
  ["www", { host: "www.k8s.com:81", path: "/" }],
  ["www", { host: "www.k8s.com.", path: "/" }],
  // An exact host that has no route for the path is passed over for the wildcard, then for any.
  ["wildcard-api", { host: "a.k8s.com", path: "/api/x" }],
  ["www", { host: "www.k8s.com", path: "/api/x" }],
  ["any-health", { host: "k8s.com", path: "/healthz" }],
  ["any", { host: "k8s.com", path: "/healthz/x" }],
  // Path: exact, then the longest prefix by whole segments, then patterns in their order.
  ["exact", { host: "k8s.com", path: "/api" }],
  ["prefix", { host: "k8s.com", path: "/api/" }],
  ["prefix", { host: "k8s.com", path: "/api/x" }],
  ["prefix", { host: "k8s.com", path: "/api/v10" }],
  ["longer", { host: "k8s.com", path: "/api/v1" }],
  ["longer", { host: "k8s.com", path: "/api/v1/x" }],
  ["longer", { host: "k8s.com", path: "/api/v1?x=/api" }],
  ["longer", { host: "k8s.com", path: "//api//v1" }],
  ["longer", { host: "k8s.com", path: "/x/../api/./v1" }],
  ["longer", { host: "k8s.com", path: "/%61pi/v%31" }],
  ["longer", { host: "k8s.com", path: "/api;a=b/v1;c" }],
  ["pattern-1", { host: "k8s.com", path: "/re/17" }],
  ["pattern-2", { host: "k8s.com", path: "/re/x" }],
  // Conditions: the more the better, and one that does not hold is passed over.
  ["conditions-none", { host: "k8s.com", path: "/cond" }],
  ["post", { host: "k8s.com", path: "/cond", method: "POST" }],
  ["header", { host: "k8s.com", path: "/cond", headers: { "X-Test": "value" } }],
  ["conditions-none", { host: "k8s.com", path: "/cond", headers: { "X-Test": "other" } }],
  ["query", { host: "k8s.com", path: "/cond?a=1&v=2" }],
  ["conditions-none", { host: "k8s.com", path: "/cond?v=3" }],
  ["post", { host: "k8s.com", path: "/cond?v=2", method: "POST", headers: { "X-Test": "value" } }],
  ["get", { host: "k8s.com", path: "/get", method: "HEAD" }],
  ["any", { host: "k8s.com", path: "/get", method: "DELETE" }],
  ["x-only", { host: "x.k8s.com", path: "/", headers: { "X-Test": "anything" } }],
  ["wildcard", { host: "x.k8s.com", path: "/" }],
]

/** A route of the table's listener; it answers with its name. */
function entry(name: string, keys: string): string {
  const respond = `respond = 200\nset_response_headers = { X-Route = "${name}" }`
  return `[[http.route]]\nname = "${name}"\n${keys}\n${respond}\n`
}

const TABLE = `
[[http]]
name = "table"
bind = ["0.0.0.0:81"]
${entry("any", "")}
${entry("pattern-1", 'host = "k8s.com"\nmatch = "regex"\npath = "^/re/[0-9]+$"')}
${entry("pattern-2", 'host = "k8s.com"\nmatch = "regex"\npath = "^/re/"')}
${entry("any-health", 'path = "/healthz"\nmatch = "exact"')}
${entry("wildcard", 'host = "*.k8s.com"')}
${entry("wildcard-api", 'host = "*.k8s.com"\npath = "/api"')}
${entry("www", 'host = "www.k8s.com"')}
${entry("prefix", 'host = "k8s.com"\npath = "/api"')}
${entry("longer", 'host = "k8s.com"\npath = "/api/v1"')}
${entry("exact", 'host = "k8s.com"\npath = "/api"\nmatch = "exact"')}
${entry("conditions-none", 'host = "k8s.com"\npath = "/cond"')}
${entry("query", 'host = "k8s.com"\npath = "/cond"\nquery = { v = "2" }')}
${entry("header", 'host = "k8s.com"\npath = "/cond"\nheaders = { X-Test = "value" }')}
${entry("post", 'host = "k8s.com"\npath = "/cond"\nmethods = ["POST"]')}
${entry("get", 'host = "k8s.com"\npath = "/get"\nmethods = ["GET"]')}
${entry("x-only", 'host = "x.k8s.com"\nheaders = { X-Test = true }')}
`

/** A route of actions.k8s.com. */
function action(path: string, keys: string): string {
  return `[[http.route]]\nhost = "actions.k8s.com"\npath = "${path}"\n${keys}\n`
}

const CHECK = `[pool.check]
type = "http"
path = "/healthz"
interval = "500ms"
timeout = "400ms"`

const CONFIG = `
[node]
threads = 2
${poolOf("apiv1", [1, 2], { more: CHECK })}
${poolOf("apiv2", [3], { more: CHECK })}
${poolOf("all", [1, 2, 3], { more: CHECK })}
${poolOf("first", [1])}
${poolOf("second", [2])}
${poolOf("canary", [3])}
${poolOf("shadow", [3], { port: 8082 })}
[[pool]]
name = "echo"
servers = ["10.0.0.12:8083"]
[[http]]
name = "web"
bind = ["0.0.0.0:80"]
[[http.route]]
host = "k8s.com"
path = "/api/v1"
pool = "apiv1"
rewrite = "/"
[[http.route]]
host = "k8s.com"
path = "/api/v2"
pool = "apiv2"
rewrite = "/"
${action("/moved", 'redirect = { host = "k8s.com", status = 301 }')}
${action("/secure", 'redirect = { scheme = "https" }')}
${action("/whole", 'redirect = "https://k8s.com/new"')}
${action("/old", 'rewrite = "/fresh"\nredirect = { host = "actions.k8s.com", status = 307 }')}
${action("/port", 'redirect = { scheme = "https", host = "k8s.com", port = 8443, status = 308 }')}
${action("/page", 'respond = { status = 418, body = "<p>teapot", content_type = "text/html" }')}
${action("/gone", "respond = 410")}
${action(
  "/headers",
  `pool = "echo"
set_headers = { X-Set = "edge", Host = "inner.k8s.com" }
add_headers = { X-Add = ["one", "two"] }
remove_headers = ["X-Gone"]
set_response_headers = { X-Frame-Options = "DENY" }
add_response_headers = { X-Origin = "edge" }
remove_response_headers = ["X-Powered-By"]`,
)}
${action("/split", 'split = [{ pool = "first", weight = 9 }, { pool = "canary", weight = 1 }]')}
${action(
  "/canary",
  `split = [
  { pool = "first" },
  { pool = "canary", header = { X-Canary = "always" } },
  { pool = "canary", cookie = { canary = "yes" } },
  { pool = "second", header = { X-Both = true }, cookie = { both = "1" } },
]`,
)}
${action("/sticky", 'pool = "all"\nsticky = { cookie = "where" }')}
${action("/mirrored", 'pool = "first"\nrewrite = "/files"\nmirror = "shadow"')}
${TABLE}
`
