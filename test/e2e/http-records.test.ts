/**
 * What an operator reads afterwards: status, metrics and access lines say what happened to each
 * request, all of them, once, whatever clients write into theirs.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { ask, HttpConnection, type Question } from "./http-connection.ts"
import { startOddWebServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth } from "./stage.ts"

let stage: HttpStage
let text: Edge
let odd: ManagedProcess

beforeAll(async () => {
  stage = await createHttpStage("http-records", 2)
  odd = await startOddWebServer(nth(stage.servers, 1), 8083)
  text = await startHttpEdge(stage.edge, config("text"))
  await startHttpEdge(stage.secondEdge, config("json"))
}, 60_000)

afterAll(() => stage?.lab.close())

function logPath(format: string): string {
  return join(stage.lab.directory, `access-${format}.log`)
}

/** The lines that `act` adds to an edge's access log; waits for `count` of them. */
async function linesOf(format: "text" | "json", count: number, act: () => Promise<unknown>) {
  const read = () =>
    existsSync(logPath(format)) ? readFileSync(logPath(format), "utf8").split("\n") : [""]
  const before = read().length - 1
  await act()
  return eventually(
    () => {
      const lines = read().slice(before, -1)
      return lines.length >= count ? lines : undefined
    },
    { what: `${count} access lines` },
  )
}

async function asking(target: string, question: Question): Promise<number> {
  return (await ask(await stage.door(target), question)).status
}

const TEXT = "10.0.0.1:80"
const JSON_EDGE = "10.0.0.2:80"
const TIME = String.raw`\[\d{4}-\d\d-\d\dT[\d:.]+Z\]`

describe("access lines", () => {
  test("as text", async () => {
    const headers = { Referer: "https://k8s.com/from", "User-Agent": "test/1.0" }
    const [line = ""] = await linesOf("text", 1, () =>
      asking(TEXT, { path: "/web/x?y=1", headers }),
    )
    expect(line).toMatch(
      new RegExp(
        `^10\\.0\\.0\\.9 - - ${TIME} "GET /web/x\\?y=1 HTTP/1\\.1" 200 \\d+ ` +
          '"https://k8s\\.com/from" "test/1\\.0" web "k8s\\.com" "web" web/s1 ' +
          "[\\d.]+/[\\d.]+/[\\d.]+ 0 - finished$",
      ),
    )
  })

  test("as JSON", async () => {
    const [line = ""] = await linesOf("json", 1, () =>
      asking(JSON_EDGE, { method: "POST", path: "/web/x", body: "hello" }),
    )
    const record = JSON.parse(line)
    expect(record).toMatchObject({
      listener: "web",
      client: "10.0.0.9",
      method: "POST",
      host: "k8s.com",
      target: "/web/x",
      version: "HTTP/1.1",
      status: 200,
      route: "web",
      pool: "web",
      server: "s1",
      retries: 0,
      referer: "",
      user_agent: "",
      tls_version: "",
      reason: "finished",
    })
    expect(record.bytes_in).toBeGreaterThan(5)
    expect(record.bytes_out).toBeGreaterThan(100)
    expect(record.first_byte_ms).toBeGreaterThanOrEqual(record.connect_ms)
    expect(record.duration_ms).toBeGreaterThanOrEqual(record.first_byte_ms)
    expect(Math.abs(Date.now() - Date.parse(record.time))).toBeLessThan(5_000)
  })

  test("times are those of the request", async () => {
    const [line = ""] = await linesOf("json", 1, () => asking(JSON_EDGE, { path: "/odd/drip" }))
    const record = JSON.parse(line)
    report("a response of 2 s", {
      "connect ms": record.connect_ms,
      "first byte ms": record.first_byte_ms,
      "duration ms": record.duration_ms,
    })
    expect(record.first_byte_ms).toBeLessThan(1_000)
    expect(record.duration_ms).toBeGreaterThan(1_900)
    expect(record.duration_ms).toBeLessThan(5_000)
  })

  test.each([
    ["/gone", {}, { status: 410, route: "gone", pool: "", server: "", reason: "finished" }],
    ["/denied", {}, { status: 403, route: "denied", reason: "denied" }],
    ["/nowhere", {}, { status: 404, route: "", reason: "finished" }],
    ["/nobody", {}, { status: 502, route: "nobody", server: "s1", reason: "connect_failed" }],
    ["/odd/reset", { method: "POST" }, { status: 502, server: "s2", reason: "server_aborted" }],
    ["/odd/garbage", {}, { status: 502, server: "s2", reason: "bad_response" }],
    ["/odd/silent", {}, { status: 504, server: "s2", reason: "server_timeout" }],
  ])("%s ends as it says", async (path, question, expected) => {
    const lines = await linesOf("json", 1, () => asking(JSON_EDGE, { path, ...question }))
    expect(lines.map((line) => JSON.parse(line))).toEqual([expect.objectContaining(expected)])
  })

  test("of a request that is none, and of a client that leaves", async () => {
    const [refused = "", left = ""] = await linesOf("json", 2, async () => {
      using connection = await HttpConnection.open(await stage.door(JSON_EDGE))
      connection.send("GET / HTTP/1.1\r\nHost : k8s.com\r\n\r\n")
      expect((await connection.answer()).status).toBe(400)
      const from = odd.mark()
      const leaver = await HttpConnection.open(await stage.door(JSON_EDGE))
      leaver.send("GET /odd/silent HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
      await odd.waitFor('"GET /silent"', { from })
      leaver.close()
    })
    expect(JSON.parse(refused)).toMatchObject({ status: 400, reason: "bad_request" })
    expect(JSON.parse(left)).toMatchObject({ server: "s2", reason: "client_aborted" })
  })

  test("what clients write stays in its field", async () => {
    const headers = {
      "User-Agent": 'a" 200 "b\\" \x80\xff \u00e9\t{"x":1}',
      Referer: 'http://x/"\\x0a127.0.0.1 - - [',
    }
    const path = "/web/%22%0a?q=\"'<>"
    const [line = ""] = await linesOf("text", 1, () => asking(TEXT, { path, headers }))
    // A quote only where a field of the format begins or ends.
    expect(line.match(/"/g)).toHaveLength(10)
    expect(line).toMatch(/^[\x20-\x7e]+$/)
    const [record = ""] = await linesOf("json", 1, () => asking(JSON_EDGE, { path, headers }))
    expect(JSON.parse(record)).toMatchObject({
      target: path,
      user_agent: headers["User-Agent"],
      referer: headers.Referer,
    })
  })
})

describe("status and metrics", () => {
  test("count every request once, by route, status and duration", async () => {
    const routeOf = async (name: string) => {
      const { routes } = await httpStatus(text, "web")
      return nth(
        routes.filter((route) => route.name === name),
        0,
      )
    }
    const [before, listener] = [await routeOf("counted"), await httpStatus(text, "web")]
    const lines = await linesOf("text", 42, async () => {
      using connection = await HttpConnection.open(await stage.door(TEXT))
      for (let at = 0; at < 30; at += 1) await connection.ask({ path: "/counted" })
      for (let at = 0; at < 10; at += 1) await connection.ask({ path: "/counted/status/404" })
      for (let at = 0; at < 2; at += 1) await connection.ask({ path: "/counted/status/503" })
    })
    const after = await routeOf("counted")
    const now = await httpStatus(text, "web")
    expect(lines).toHaveLength(42)
    expect([before.requests, after.requests]).toEqual([0, 42])
    expect(after.responses).toMatchObject({ "2xx": 30, "4xx": 10, "5xx": 2 })
    expect(after.duration_ms_buckets).toMatchObject({ "+Inf": 42 })
    expect(now.requests - listener.requests).toBe(42)
    expect(now.total - listener.total).toBe(1)
    const counts = Object.values(after.duration_ms_buckets)
    expect(counts).toEqual(counts.toSorted((a, b) => a - b))
    const labels = { http: "web", route: "counted" }
    expect(await text.metric("causeway_http_requests_total", { ...labels, code: "4xx" })).toBe(10)
    const duration = "causeway_http_request_duration_seconds"
    expect(await text.metric(`${duration}_count`, labels)).toBe(42)
    expect(await text.metric(`${duration}_bucket`, { ...labels, le: "+Inf" })).toBe(42)
    expect(await text.metric(`${duration}_sum`, labels)).toBeCloseTo(after.duration_ms_total / 1e3)
  })

  test("go on across a reload that puts another route first", async () => {
    const labels = { http: "web", route: "counted", code: "2xx" }
    const before = await text.metric("causeway_http_requests_total", labels)
    await asking(TEXT, { path: "/counted" })
    const first = '[[http.route]]\npath = "/new"\nrespond = 200\n[[http.route]]\nname = "web"'
    const changed = config("text").replace('[[http.route]]\nname = "web"', first)
    expect(await text.reload(changed)).toMatchObject({ exitCode: 0 })
    await asking(TEXT, { path: "/counted" })
    expect(await text.metric("causeway_http_requests_total", labels)).toBe(before + 2)
    const { routes } = await httpStatus(text, "web")
    expect(nth(routes, 0)).toMatchObject({ name: "*/new", requests: 0 })
    expect(await text.reload(config("text"))).toMatchObject({ exitCode: 0 })
  })

  test("tell a slow route from a fast one", async () => {
    const bucket = (le: string) =>
      text.metric("causeway_http_request_duration_seconds_bucket", { route: "odd", le })
    const [fastBefore, allBefore] = [await bucket("1"), await bucket("+Inf")]
    await asking(TEXT, { path: "/odd/drip" })
    expect([await bucket("1"), await bucket("+Inf")]).toEqual([fastBefore, allBefore + 1])
  })

  test("name what the edge is doing now", async () => {
    using connection = await HttpConnection.open(await stage.door(TEXT))
    connection.send("GET /odd/silent HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    const open = await text.waitStatus(
      ({ http, pools }) =>
        http[0]?.connections === 1 &&
        pools.find(({ name }) => name === "odd")?.servers[0]?.connections === 1,
      { what: "one client and one server connection" },
    )
    expect(open.threads.sessions).toBe(1)
    connection.close()
    await text.waitStatus(
      ({ http, pools, threads }) =>
        http[0]?.connections === 0 &&
        pools.every(({ servers }) => servers.every(({ connections }) => connections === 0)) &&
        threads.sessions === 0,
      { what: "no connection any more" },
    )
  })

  test("`causeway status` shows it to a person", async () => {
    const { stdout } = await text.command("status")
    expect(stdout).toMatch(/^web +6 +0 +\d+/m)
    expect(stdout).toContain("10.0.0.1:80")
  })
})

function config(format: "text" | "json"): string {
  const route = (name: string, keys: string) =>
    `[[http.route]]\nname = "${name}"\npath = "/${name}"\n${keys}\n`
  return `
[node]
threads = 2
[log]
access = "${logPath(format)}"
format = "${format}"
${poolOf("web", [1])}
${poolOf("odd", [2], { port: 8083 })}
${poolOf("nobody", [1], { port: 8099 })}
[[http]]
name = "web"
bind = ["${format === "text" ? TEXT : JSON_EDGE}"]
${route("web", 'pool = "web"')}
${route("odd", 'pool = "odd"\nrewrite = "/"\ntimeout = "1s"')}
${route("nobody", 'pool = "nobody"')}
${route("counted", 'pool = "web"\nrewrite = "/"')}
${route("denied", 'pool = "web"\ndeny = ["10.0.0.9"]')}
${route("gone", "respond = 410")}
`
}
