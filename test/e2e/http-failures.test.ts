/**
 * Servers that fail, restart or fall silent, and clients that take their time: requests go
 * elsewhere where they may, the answer tells what was wrong where they may not, every wait has its
 * limit, and nobody else notices.
 *
 * File time limit: 300 s
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import type { Edge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { type Answer, ask, fieldOf, HttpConnection, type Question } from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import { startOddWebServer, startWebServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"
import type { HttpLoadReport } from "./programs/http-load.ts"
import type { SlowHeadsOptions, SlowHeadsReport } from "./programs/slow-heads.ts"
import { nth } from "./stage.ts"

let stage: HttpStage
let edge: Edge
let odd: ManagedProcess
let nginx: ManagedProcess[]

beforeAll(async () => {
  stage = await createHttpStage("http-failures", 3)
  nginx = stage.web.map((each) => each.process)
  odd = await startOddWebServer(nth(stage.servers, 1), 8083)
  await startWebServer(nth(stage.servers, 0), { port: 8090, answer: "return 503;" })
  edge = await startHttpEdge(stage.edge, CONFIG)
}, 60_000)

afterAll(() => stage?.lab.close())

async function asking(question: Question, target = "10.0.0.1:80"): Promise<Answer> {
  return ask(await stage.door(target), question)
}

async function connected(target = "10.0.0.1:80"): Promise<HttpConnection> {
  return HttpConnection.open(await stage.door(target))
}

/** The server's own word for what was wrong (RFC 9209). */
function proxyError(answer: Answer): string | undefined {
  return /^causeway; *error=([a-z_]+)/.exec(fieldOf(answer, "proxy-status") ?? "")?.[1]
}

/** Requests of these words that the odd server has had so far. */
function arrivals(request: string): number {
  return odd.output.split(`{"request":"${request}"}`).length - 1
}

function reportLoad(what: string, { requests, failed, servers, ...times }: HttpLoadReport): void {
  report(what, {
    requests,
    failed: JSON.stringify(failed),
    servers: JSON.stringify(servers),
    reopened: times.reopened,
    "p99 ms": times.p99Ms,
    "max ms": times.maxMs,
  })
}

describe("restarts of the servers behind", () => {
  /** Stops nginx and starts it again, on each server in turn. */
  async function rolling(signal: "SIGQUIT" | "SIGTERM"): Promise<void> {
    for (const [at, host] of stage.servers.entries()) {
      await nth(nginx, at).stop({ signal })
      await edge.waitHealth("web", host.name, "down")
      nginx[at] = (await startWebServer(host, { port: 8080 })).process
      await edge.waitHealth("web", host.name, "up")
    }
  }

  test.each([
    ["SIGQUIT", "/web/x", "graceful"],
    ["SIGTERM", "/again/x", "at once, retry configured"],
    ["SIGTERM", "/web/x", "at once"],
  ] as const)("rolling, %s, %s: nobody notices", async (signal, path, what) => {
    const load = await startHttpLoad(stage.client, "10.0.0.1:80", {
      connections: 16,
      paths: [path],
      intervalMs: 2,
    })
    await load.requests(500)
    await rolling(signal)
    await load.requests(500)
    const books = await load.stop()
    reportLoad(`rolling restart, ${what}`, books)
    expect(books.failures).toEqual([])
    expect(books.failed).toEqual({})
    expect(Object.keys(books.servers).toSorted()).toEqual(["s1", "s2", "s3"])
    expect(books.reopened).toBe(0)
  })

  test("new connections all the while", async () => {
    const options = { connections: 8, paths: ["/again/x"], intervalMs: 2, closes: true }
    const load = await startHttpLoad(stage.client, "10.0.0.1:80", options)
    await load.requests(200)
    await rolling("SIGQUIT")
    const books = await load.stop()
    reportLoad("rolling restart, a connection for each request", books)
    expect(books.failed).toEqual({})
  })

  test("one that is drained gets no request more, and none is lost", async () => {
    const load = await startHttpLoad(stage.client, "10.0.0.1:80", { paths: ["/web/x"] })
    await load.requests(300)
    expect(await edge.command("drain", "web/s1")).toMatchObject({ exitCode: 0 })
    await eventually(async () => {
      const { pools } = await edge.status()
      return pools[0]?.servers[0]?.connections === 0
    })
    const { log } = nth(stage.web, 0)
    const before = readFileSync(log, "utf8").length
    await load.requests(300)
    expect(readFileSync(log, "utf8").length).toBe(before)
    expect(await edge.command("ready", "web/s1")).toMatchObject({ exitCode: 0 })
    await load.requests(300)
    expect(readFileSync(log, "utf8").length).toBeGreaterThan(before)
    expect((await load.stop()).failed).toEqual({})
  })
})

describe("a kept connection that the server has closed", () => {
  test.each(["once", "once-finish"])("%s: a GET is asked again on another", async (manner) => {
    using connection = await connected()
    const path = `/odd/${manner}`
    for (let at = 0; at < 10; at += 1) {
      expect((await connection.ask({ path })).body.toString()).toBe("once")
    }
    // Each but the first at least went out twice: nobody knows a kept connection is closed.
    expect(arrivals(`GET /${manner}`)).toBeGreaterThanOrEqual(19)
  })

  test("a POST is not, and its client is told", async () => {
    using connection = await connected()
    expect((await connection.ask({ path: "/odd/once?post" })).status).toBe(200)
    const answer = await connection.ask({ method: "POST", path: "/odd/once?post", body: "x" })
    expect([answer.status, arrivals("POST /once?post")]).toEqual([502, 1])
    expect(proxyError(answer)).toMatch(/^connection_(terminated|read_error)$/)
  })

  test("one that ends unannounced between two requests costs nobody anything", async () => {
    using connection = await connected()
    for (let at = 0; at < 20; at += 1) {
      const answer = await connection.ask({ method: "POST", path: "/odd/bye", body: "x" })
      expect([answer.status, answer.body.toString()]).toEqual([200, "bye"])
    }
  })
})

describe("what went wrong is told apart", () => {
  beforeEach(async () => {
    await eventually(async () => (await httpStatus(edge, "web")).connections === 0)
  })

  test.each([
    ["/refused", 502, "connection_refused"],
    ["/odd/reset", 502, "connection_read_error"],
    ["/odd/finish", 502, "connection_terminated"],
    ["/odd/garbage", 502, "http_protocol_error"],
    ["/odd/largehead", 502, "http_response_header_section_size"],
    ["/odd/silent", 504, "http_response_timeout"],
    ["/out", 503, "destination_unavailable"],
  ])("%s: %i %s", async (path, status, error) => {
    if (path === "/out") await edge.command("maintain", "out/s1")
    const answer = await asking({ path })
    expect([answer.status, proxyError(answer)]).toEqual([status, error])
    expect(answer.body.toString()).toStartWith(`${status} `)
  })

  test("a black hole: 504 after connect_timeout", async () => {
    const hole = await stage.lan.drop({ to: nth(stage.servers, 2), match: "tcp dport 8097" })
    const startedAt = performance.now()
    const answer = await asking({ path: "/hole" })
    const tookMs = performance.now() - startedAt
    await hole.heal()
    report("connect_timeout of 500 ms", { "answered after ms": tookMs })
    expect([answer.status, proxyError(answer)]).toEqual([504, "connection_timeout"])
    expect(tookMs).toBeGreaterThan(490)
    expect(tookMs).toBeLessThan(2_000)
  })

  test("an answer that breaks off is broken off", async () => {
    expect(asking({ path: "/odd/cut" })).rejects.toThrow("before 10 bytes")
    // Without a length only RST tells a client that this is not the end.
    const url = "http://10.0.0.1/odd/old-reset"
    const { exitCode, stdout, stderr } = await stage.client.run(["curl", "-sS", url])
    expect({ exitCode, stdout }).toEqual({ exitCode: 56, stdout: "until " })
    expect(stderr).toContain("reset by peer")
  })
})

describe("another server", () => {
  test("takes over where one refuses", async () => {
    using connection = await connected()
    const statuses: number[] = []
    for (let at = 0; at < 50; at += 1) {
      const method = at % 2 === 0 ? "GET" : "POST"
      const answer = await connection.ask({ method, path: "/half/x", body: "x" })
      statuses.push(answer.status)
    }
    expect(new Set(statuses)).toEqual(new Set([200]))
  })

  test("is asked after a status that the route names, if the request may be repeated", async () => {
    const { retries } = await httpStatus(edge, "web")
    const statusesOf = async (method: string, path: string) => {
      using connection = await connected()
      const counts: Record<number, number> = {}
      for (let at = 0; at < 20; at += 1) {
        const { status } = await connection.ask({ method, path, body: "x" })
        counts[status] = (counts[status] ?? 0) + 1
      }
      return counts
    }
    expect(await statusesOf("GET", "/busy/x")).toEqual({ 200: 20 })
    expect(await statusesOf("DELETE", "/busy/x")).toEqual({ 200: 20 })
    const post = await statusesOf("POST", "/busy/x")
    const unnamed = await statusesOf("GET", "/busy-as-is/x")
    const after = (await httpStatus(edge, "web")).retries
    report("retry by status", {
      retries: after - retries,
      POST: JSON.stringify(post),
      "GET without retry": JSON.stringify(unnamed),
    })
    expect(post).toEqual({ 200: 10, 503: 10 })
    expect(unnamed).toEqual({ 200: 10, 503: 10 })
    expect(after - retries).toBe(20)
  })

  test("the last answer stands where all say the same", async () => {
    const answer = await asking({ path: "/all-busy/x" })
    expect([answer.status, fieldOf(answer, "x-server")]).toEqual([503, "s1"])
  })
})

describe("time limits", () => {
  const HASTY = "10.0.0.1:81"

  /** Milliseconds until the edge has said or done something. */
  async function timed(act: () => Promise<unknown>): Promise<number> {
    const startedAt = performance.now()
    await act()
    return performance.now() - startedAt
  }

  function expectAbout(what: string, tookMs: number, limitMs: number): void {
    report(what, { "limit ms": limitMs, "took ms": tookMs })
    // On a busy machine the clock may start late: what the client waits for has come long before.
    expect(tookMs).toBeGreaterThan(limitMs * 0.5)
    expect(tookMs).toBeLessThan(limitMs + 1_500)
  }

  test("head_timeout, however diligently bytes come", async () => {
    using connection = await connected(HASTY)
    connection.send("GET / HTTP/1.1\r\nHost: k8s.com\r\nX: ")
    const drip = setInterval(() => connection.send("x"), 100)
    const tookMs = await timed(async () => {
      expect((await connection.answer()).status).toBe(408)
    })
    clearInterval(drip)
    await connection.ended()
    expectAbout("head_timeout", tookMs, 1_000)
  })

  test("head_timeout of a connection on which nothing ever comes", async () => {
    using connection = await connected(HASTY)
    const tookMs = await timed(() => connection.ended())
    expectAbout("a connection without a word", tookMs, 1_000)
    expect(connection.waiting.length).toBe(0)
  })

  test("idle_timeout ends a kept connection with FIN", async () => {
    using connection = await connected(HASTY)
    await connection.ask({ path: "/web/x" })
    const tookMs = await timed(async () => expect(await connection.ended()).toBe("finished"))
    expectAbout("idle_timeout", tookMs, 700)
  })

  test("body_timeout, between two parts", async () => {
    using connection = await connected(HASTY)
    connection.send("PUT /web/files/slow HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
    for (let at = 0; at < 10; at += 1) {
      connection.send("x")
      await Bun.sleep(200)
    }
    expect(connection.waiting.length).toBe(0)
    const tookMs = await timed(async () => {
      expect((await connection.answer("PUT")).status).toBe(408)
    })
    expectAbout("body_timeout", tookMs + 200, 800)
  })

  test("first_byte_timeout, and the route's own", async () => {
    const tookMs = await timed(async () => {
      expect((await asking({ path: "/odd/silent" }, HASTY)).status).toBe(504)
    })
    expectAbout("first_byte_timeout", tookMs, 1_200)
    const ownMs = await timed(async () => {
      expect((await asking({ path: "/brief/silent" }, HASTY)).status).toBe(504)
    })
    expectAbout("timeout of a route", ownMs, 300)
  })

  test("between_bytes_timeout, between two parts of an answer", async () => {
    const dripped = await asking({ path: "/odd/drip" }, HASTY)
    expect(dripped.body.toString()).toBe("..........")
    using connection = await connected(HASTY)
    connection.send("GET /odd/half HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    expect((await connection.head()).status).toBe(200)
    const tookMs = await timed(() => connection.ended())
    expect(connection.waiting.toString()).toBe("hello")
    expectAbout("between_bytes_timeout", tookMs, 900)
  })

  test("between_bytes_timeout, of a client that takes nothing", async () => {
    const { client_timeout: before = 0 } = (await httpStatus(edge, "hasty")).ended
    const url = "http://10.0.0.1:81/web/files/large"
    await nth(stage.servers, 0).exec(["truncate", "-s", "64M", `${nth(stage.web, 0).root}/large`])
    const reader = stage.client.spawn(["curl", "-sS", "--limit-rate", "1M", "-o", "/dev/null", url])
    await eventually(async () => (await httpStatus(edge, "hasty")).connections === 1)
    await Bun.sleep(300)
    reader.signal("SIGSTOP")
    const tookMs = await timed(() =>
      eventually(async () => {
        const { client_timeout: after = 0 } = (await httpStatus(edge, "hasty")).ended
        return after === before + 1
      }),
    )
    // Counts from when the kernel's buffers took the last bytes, which may have been a little
    // before.
    report("a client that takes nothing", { "limit ms": 900, "took ms": tookMs })
    expect(tookMs).toBeGreaterThan(400)
    expect(tookMs).toBeLessThan(2_400)
    await reader.stop({ signal: "SIGKILL" })
  })

  test("those that are not reached cut nobody off", async () => {
    const load = await startHttpLoad(stage.client, HASTY, { intervalMs: 500, paths: ["/web/x"] })
    await load.requests(40)
    const { failed, reopened } = await load.stop()
    expect({ failed, reopened }).toEqual({ failed: {}, reopened: 0 })
  })
})

describe("slow heads", () => {
  test("4 000 of them leave others their time, and end at head_timeout", async () => {
    const target = "10.0.0.1:82"
    const quiet = await loadFor(target, 3_000)
    const slow = startSlowHeads(stage.client, target, { connections: 4_000 })
    await slow.waitFor('{"opened":4000}', { timeoutMs: 20_000 })
    const { connections } = await eventually(async () => {
      const status = await httpStatus(edge, "patient")
      return status.connections >= 4_000 ? status : undefined
    })
    const resident = await edge.residentKib()
    const besieged = await loadFor(target, 3_000)
    const line = await slow.waitFor(/\{"cut":.*\}\}/, { timeoutMs: 30_000 })
    const { answers, earliestMs, latestMs }: SlowHeadsReport = JSON.parse(line).cut
    await slow.stop()
    report("slow heads", {
      open: connections,
      "others' p99 ms alone": quiet.p99Ms,
      "p99 ms with them": besieged.p99Ms,
      "p99 ratio": besieged.p99Ms / quiet.p99Ms,
      "median ratio": besieged.medianMs / quiet.medianMs,
      "head_timeout 8000 ms ended first after ms": earliestMs,
      "last after ms": latestMs,
      "resident MiB": resident / 1024,
    })
    expect([quiet.failed, besieged.failed]).toEqual([{}, {}])
    expect(answers).toEqual({ "HTTP/1.1 408 Request Timeout": 4_000 })
    expect(earliestMs).toBeGreaterThan(7_900)
    expect(latestMs).toBeLessThan(14_000)
    // The goal is 1.2 (bench); two shared processors that run the slow clients too allow no more.
    expect(besieged.p99Ms).toBeLessThan(Math.max(10 * quiet.p99Ms, 100))
  })

  async function loadFor(target: string, ms: number): Promise<HttpLoadReport> {
    const options = { connections: 4, intervalMs: 5, paths: ["/web/x"] }
    const load = await startHttpLoad(stage.client, target, options)
    await Bun.sleep(ms)
    return load.stop()
  }

  function startSlowHeads(
    host: Host,
    target: string,
    { connections }: Pick<SlowHeadsOptions, "connections">,
  ): ManagedProcess {
    const [address = "", port = ""] = target.split(":")
    const settings = { host: address, port: Number(port), connections, intervalMs: 2_000 }
    const program = `${import.meta.dir}/programs/slow-heads.ts`
    return host.spawn([process.execPath, program, JSON.stringify(settings)], { name: "slow-heads" })
  }
})

test("a data thread that dies takes its own requests with it and nothing else", async () => {
  const env = { CAUSEWAY_FAULT_INJECTION: "1" }
  const own = await startHttpEdge(stage.secondEdge, CONFIG.replaceAll("10.0.0.1:", "10.0.0.2:"), {
    env,
  })
  const load = await startHttpLoad(stage.client, "10.0.0.2:80", {
    paths: ["/web/x"],
    connections: 20,
  })
  await load.requests(300)
  const brokenAt = epochMs()
  await own.request("/v1/debug/threads/0/throw", { method: "POST" })
  await own.waitStatus(({ threads }) => threads.data_restarts === 1, { intervalMs: 2 })
  await load.requests(1_000)
  const { requests, failed, failures, reopened } = await load.stop()
  report("a data thread that dies", {
    requests,
    failed: JSON.stringify(failed),
    reopened,
    "last failure after ms": Math.max(0, ...failures.map(({ atMs }) => atMs - brokenAt)),
  })
  // Each of its connections may have lost the one request it had under way.
  expect(Object.keys(failed).filter((how) => !/^(ECONNRESET|closed)$/.test(how))).toEqual([])
  expect(failures.length).toBeLessThanOrEqual(20)
  await own.waitStatus(
    ({ http, pools, threads }) =>
      threads.sessions === 0 &&
      http.every(({ connections }) => connections === 0) &&
      pools.every(({ servers }) => servers.every(({ connections }) => connections === 0)),
    { what: "no connection to be counted any more" },
  )
  expect(await own.stop()).toBe(0)
})

test("nothing is left open", async () => {
  const status = await edge.waitStatus(
    ({ threads, pools }) =>
      threads.sessions === 0 &&
      pools.every(({ servers }) => servers.every(({ connections }) => connections === 0)),
    { what: "no session and no server connection in use" },
  )
  const internal = status.http.map(({ ended }) => ended)
  for (const { internal_error: count = 0 } of internal) expect(count).toBe(0)
})

function route(path: string, keys: string): string {
  return `[[http.route]]\npath = "${path}"\n${keys}\n`
}

const CHECK = `[pool.check]
type = "http"
path = "/healthz"
interval = "200ms"
timeout = "200ms"
rise = 1
fall = 1`

const ROUTES = `
${route("/web/files", 'pool = "first"\nrewrite = "/files"')}
${route("/web", 'pool = "web"')}
${route("/again", 'pool = "web"\nretry = { on = [502], attempts = 2 }')}
${route("/odd", 'pool = "odd"\nrewrite = "/"')}
${route("/odd/silent", 'pool = "odd"\nrewrite = "/silent"\ntimeout = "1200ms"')}
${route("/brief", 'pool = "odd"\nrewrite = "/"\ntimeout = "300ms"')}
${route("/refused", 'pool = "refused"')}
${route("/hole", 'pool = "hole"')}
${route("/out", 'pool = "out"')}
${route("/half", 'pool = "half"')}
${route("/busy", 'pool = "busy"\nretry = { on = [503] }')}
${route("/busy-as-is", 'pool = "busy"')}
${route("/all-busy", 'pool = "all-busy"\nretry = { on = [503], attempts = 3 }')}
`

const CONFIG = `
[node]
threads = 2
${poolOf("web", [1, 2, 3], { more: CHECK })}
${poolOf("first", [1])}
${poolOf("odd", [2], { port: 8083 })}
${poolOf("refused", [1, 2], { port: 8099 })}
${poolOf("hole", [3], { port: 8097, more: 'connect_timeout = "500ms"' })}
${poolOf("out", [1])}
[[pool]]
name = "half"
servers = ["10.0.0.11:8099", "10.0.0.12:8080"]
max_fails = 0
[[pool]]
name = "busy"
servers = ["10.0.0.11:8090", "10.0.0.12:8080"]
${poolOf("all-busy", [1], { port: 8090 })}
[[http]]
name = "web"
bind = ["10.0.0.1:80"]
${ROUTES}
[[http]]
name = "hasty"
bind = ["10.0.0.1:81"]
head_timeout = "1s"
idle_timeout = "700ms"
body_timeout = "800ms"
first_byte_timeout = "1200ms"
between_bytes_timeout = "900ms"
${ROUTES}
[[http]]
name = "patient"
bind = ["10.0.0.1:82"]
head_timeout = "8s"
${route("/", 'pool = "web"')}
`
