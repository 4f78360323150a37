/**
 * What passes between a client and a server, and what must not: forwarding fields, hop-by-hop
 * fields, bodies of any size and framing, upgrades, streams of events, and clients that leave.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { ask, fieldOf, HttpConnection, type Question, valuesOf } from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import { seenBy, startLiveServer, startOddWebServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth, startOddServer } from "./stage.ts"
import { openWebSockets } from "./web-sockets.ts"

let stage: HttpStage
let edge: Edge
let odd: ManagedProcess
let live: ManagedProcess

beforeAll(async () => {
  stage = await createHttpStage("http-forwarding", 2, () => ({ locations: SLOW }))
  await stage.edge.ip("address add fd00::1/64 dev eth0 nodad")
  await stage.client.ip("address add fd00::9/64 dev eth0 nodad")
  const second = nth(stage.servers, 1)
  odd = await startOddWebServer(second, 8083)
  live = await startLiveServer(second, 8084)
  await startOddServer(second, "stall", 8085)
  edge = await startHttpEdge(stage.edge, CONFIG)
}, 60_000)

afterAll(() => stage?.lab.close())

async function asking(question: Question = {}, from?: string) {
  return ask(await stage.door("10.0.0.1:80", from), question)
}

async function connected(): Promise<HttpConnection> {
  return HttpConnection.open(await stage.door())
}

function curl(...words: readonly string[]) {
  return stage.client.run(["curl", "-sS", "--max-time", "50", ...words], { timeoutMs: 55_000 })
}

describe("forwarding fields", () => {
  const FORGED = [
    "X-Forwarded-For: 1.1.1.1",
    "X-Forwarded-For: 2.2.2.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: forged.example",
    "X-Forwarded-Port: 443",
    "X-Real-IP: 1.1.1.1",
    "X-Request-ID: forged",
    'Forwarded: for=1.1.1.1;by="_hidden"',
    "X_Forwarded_For: 3.3.3.3",
    "X-SSL-Client-S-DN: CN=root",
  ]

  test("from a client of its own", async () => {
    const seen = seenBy(await asking({ path: "/web" }))
    expect(seen).toMatchObject({
      host: "k8s.com",
      "x-forwarded-for": "10.0.0.9",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "k8s.com",
      "x-forwarded-port": "80",
      "x-real-ip": "10.0.0.9",
      forwarded: "for=10.0.0.9;proto=http;host=k8s.com",
      "x-ssl-client-s-dn": "",
    })
    expect(seen["x-request-id"]).toMatch(/^[0-9a-f]{32}$/)
  })

  test("forged ones of a stranger are gone", async () => {
    const seen = seenBy(await asking({ path: "/web", headers: FORGED }))
    expect(seen).toMatchObject({
      "x-forwarded-for": "10.0.0.9",
      "x-forwarded-proto": "http",
      "x-forwarded-host": "k8s.com",
      "x-forwarded-port": "80",
      "x-real-ip": "10.0.0.9",
      forwarded: "for=10.0.0.9;proto=http;host=k8s.com",
      "x-ssl-client-s-dn": "",
    })
    expect(seen["x-request-id"]).not.toBe("forged")
    const head = (await asking({ path: "/odd/headers", headers: FORGED })).body.toString()
    expect(head).not.toMatch(/forged|1\.1\.1\.1|2\.2\.2\.2|3\.3\.3\.3|CN=root|_hidden/)
    expect(head.match(/^x-forwarded-for:/gim)).toHaveLength(1)
  })

  test("those of a trusted proxy are kept and added to", async () => {
    const seen = seenBy(await asking({ path: "/web", headers: FORGED }, "10.0.0.8"))
    expect(seen).toMatchObject({
      "x-forwarded-for": "1.1.1.1, 2.2.2.2, 10.0.0.8",
      "x-forwarded-proto": "https",
      "x-forwarded-host": "forged.example",
      "x-forwarded-port": "443",
      "x-real-ip": "1.1.1.1",
      "x-request-id": "forged",
      "x-ssl-client-s-dn": "",
    })
    expect(seen.forwarded).toStartWith('for=1.1.1.1;by="_hidden", for=10.0.0.8;proto=http')
  })

  test("a trusted proxy that says nothing is a client like any other", async () => {
    const seen = seenBy(await asking({ path: "/web" }, "10.0.0.8"))
    expect(seen).toMatchObject({
      "x-forwarded-for": "10.0.0.8",
      "x-forwarded-host": "k8s.com",
      "x-real-ip": "10.0.0.8",
    })
    expect(seen["x-request-id"]).toMatch(/^[0-9a-f]{32}$/)
  })

  test("over IPv6, and for a host with a port", async () => {
    const door = await stage.door("[fd00::1]:80", "fd00::9")
    const seen = seenBy(await ask(door, { path: "/web", host: "[fd00::1]:80" }))
    expect(seen).toMatchObject({
      host: "[fd00::1]:80",
      "x-forwarded-for": "fd00::9",
      "x-real-ip": "fd00::9",
      forwarded: 'for="[fd00::9]";proto=http;host="[fd00::1]:80"',
    })
  })

  test("each request has an id of its own", async () => {
    using connection = await connected()
    const ids = new Set<string>()
    for (let at = 0; at < 50; at += 1) {
      ids.add(seenBy(await connection.ask({ path: "/web" }))["x-request-id"])
    }
    expect(ids.size).toBe(50)
  })
})

describe("the PROXY protocol", () => {
  const V2 = Buffer.concat([
    Buffer.from("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "latin1"),
    Buffer.from([192, 0, 2, 7, 10, 0, 0, 1, 0x16, 0x2e, 0x1f, 0x90]),
  ])

  /** What follows a header, as the server sees it. */
  async function seenAfter(header: string | Uint8Array, from = "10.0.0.8") {
    using connection = await HttpConnection.open(await stage.door("10.0.0.1:81", from))
    connection.send(header)
    connection.send("GET /web HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    return seenBy(await connection.answer())
  }

  test.each([
    ["version 1", "PROXY TCP4 192.0.2.7 10.0.0.1 5678 8080\r\n", "192.0.2.7", "8080"],
    ["version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 5678 443\r\n", "2001:db8::7", "443"],
    ["version 1, unknown", "PROXY UNKNOWN\r\n", "10.0.0.8", "81"],
    ["version 2", V2, "192.0.2.7", "8080"],
  ])("%s names the client", async (_, header, client, port) => {
    expect(await seenAfter(header)).toMatchObject({
      "x-forwarded-for": client,
      "x-real-ip": client,
      "x-forwarded-port": port,
    })
  })

  test("in pieces", async () => {
    using connection = await HttpConnection.open(await stage.door("10.0.0.1:81", "10.0.0.8"))
    for (const byte of V2) {
      connection.send(Uint8Array.of(byte))
      await Bun.sleep(2)
    }
    expect(seenBy(await connection.ask({ path: "/web" }))["x-real-ip"]).toBe("192.0.2.7")
    expect(seenBy(await connection.ask({ path: "/web" }))["x-real-ip"]).toBe("192.0.2.7")
  })

  test("without its header a proxy is cut off, and nobody else may send one", async () => {
    using mute = await HttpConnection.open(await stage.door("10.0.0.1:81", "10.0.0.8"))
    mute.send("GET /web HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    await mute.ended()
    expect(mute.waiting.length).toBe(0)
    using stranger = await HttpConnection.open(await stage.door("10.0.0.1:81", "10.0.0.9"))
    stranger.send("PROXY TCP4 192.0.2.7 10.0.0.1 5678 8080\r\nGET /web HTTP/1.1\r\n\r\n")
    expect((await stranger.answer()).status).toBe(400)
    const seen = seenBy(await ask(await stage.door("10.0.0.1:81", "10.0.0.9"), { path: "/web" }))
    expect(seen["x-real-ip"]).toBe("10.0.0.9")
  })

  test("a proxy that says nothing at all is cut off after head_timeout", async () => {
    using silent = await HttpConnection.open(await stage.door("10.0.0.1:81", "10.0.0.8"))
    const startedAt = performance.now()
    await silent.ended()
    report("no PROXY header", { "ended after ms": performance.now() - startedAt })
    expect(performance.now() - startedAt).toBeWithin(900, 3_000)
  })
})

describe("hop-by-hop fields", () => {
  test("of a request go no further", async () => {
    const headers = [
      "Connection: keep-alive, X-Nominated",
      "X-Nominated: secret",
      "Keep-Alive: timeout=5",
      "Proxy-Connection: keep-alive",
      "TE: trailers",
      "Upgrade: h2c",
      "X-User: kept",
    ]
    const answer = await asking({ path: "/odd/headers", headers })
    const head = answer.body.toString().toLowerCase()
    for (const name of ["x-nominated", "keep-alive", "proxy-connection", "te", "upgrade"]) {
      expect(head).not.toMatch(new RegExp(`^${name}:`, "m"))
    }
    expect(head).toContain("x-user: kept")
  })

  test("Connection cannot take away what others rely on", async () => {
    const headers = ["Connection: close, X-Forwarded-For, Cookie, Host", "Cookie: a=1"]
    const seen = seenBy(await asking({ path: "/web", headers }))
    expect(seen).toMatchObject({
      "x-forwarded-for": "10.0.0.9",
      cookie: "a=1",
      host: "k8s.com",
    })
  })

  test("of a response go no further", async () => {
    const answer = await asking({ path: "/web", headers: { Connection: "close" } })
    expect(fieldOf(answer, "connection")).toBe("close")
    expect(fieldOf(answer, "keep-alive")).toBeUndefined()
  })
})

describe("bodies", () => {
  const MIB = 1024 * 1024

  test("a large download arrives as it is", async () => {
    const path = join(nth(stage.web, 0).root, "large")
    writeFileSync(path, randomBytes(64 * MIB))
    const wanted = hashOf(path)
    const startedAt = performance.now()
    const fetched = join(stage.client.directory, "fetched")
    const { exitCode, stderr } = await curl("-o", fetched, "http://10.0.0.1/web/files/large")
    const tookMs = performance.now() - startedAt
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
    expect(hashOf(fetched)).toBe(wanted)
    report("download of 64 MiB", { "took ms": tookMs })
    rmSync(fetched)
  })

  test.each([
    ["of known length", []],
    ["in chunks", ["-H", "Transfer-Encoding: chunked"]],
    ["without asking first", ["-H", "Expect:"]],
  ])("a large upload %s arrives as it is", async (what, words) => {
    const source = join(stage.client.directory, "source")
    writeFileSync(source, randomBytes(48 * MIB + 7))
    const startedAt = performance.now()
    const url = "http://10.0.0.1/web/files/uploaded"
    const { exitCode, stdout } = await curl("-T", source, "-w", "%{http_code}", ...words, url)
    report(`upload of 48 MiB ${what}`, { "took ms": performance.now() - startedAt })
    expect({ exitCode, stdout: stdout.slice(-3) }).toMatchObject({ exitCode: 0 })
    expect(["201", "204"]).toContain(stdout.slice(-3))
    expect(hashOf(join(nth(stage.web, 0).root, "uploaded"))).toBe(hashOf(source))
    rmSync(source)
  })

  test("HEAD, 204 and 304 have none, and the connection goes on", async () => {
    using connection = await connected()
    for (const [method, path, status] of [
      ["HEAD", "/web/files/large", 200],
      ["GET", "/web/status/204", 204],
      ["HEAD", "/web/status/404", 404],
      ["GET", "/web/status/304", 304],
      ["HEAD", "/odd/chunked", 200],
      ["GET", "/web/x", 200],
    ] as const) {
      const answer = await connection.ask({ method, path })
      expect([method, path, answer.status]).toEqual([method, path, status])
      expect(answer.body.length > 0).toBe(method === "GET" && status === 200)
    }
    const head = await connection.ask({ method: "HEAD", path: "/web/files/large" })
    expect(fieldOf(head, "content-length")).toBe(String(64 * MIB))
  })

  test("a conditional request is the server's to answer", async () => {
    const first = await asking({ path: "/web/files/small" })
    expect(first.status).toBe(404)
    writeFileSync(join(nth(stage.web, 0).root, "small"), "small")
    const answer = await asking({ path: "/web/files/small" })
    const headers = { "If-None-Match": fieldOf(answer, "etag") ?? "" }
    const again = await asking({ path: "/web/files/small", headers })
    expect([answer.status, again.status, again.body.length]).toEqual([200, 304, 0])
  })

  test("a range too", async () => {
    const answer = await asking({ path: "/web/files/small", headers: { Range: "bytes=1-2" } })
    expect([answer.status, answer.body.toString()]).toEqual([206, "ma"])
  })

  test("trailers pass in both directions", async () => {
    const answer = await asking({ path: "/odd/trailers", headers: { TE: "trailers" } })
    expect(answer.body.toString()).toBe("hello world")
    expect(answer.trailers).toEqual([["X-Sum", "11"]])
    using connection = await connected()
    connection.send(
      "POST /odd/body HTTP/1.1\r\nHost: k8s.com\r\nTransfer-Encoding: chunked\r\n" +
        "Trailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
    )
    expect((await connection.answer()).body.toString()).toBe("5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n")
  })

  test("100-continue is the server's word", async () => {
    using connection = await connected()
    connection.send(
      "PUT /web/files/asked HTTP/1.1\r\nHost: k8s.com\r\nExpect: 100-continue\r\n" +
        "Content-Length: 5\r\n\r\n",
    )
    expect((await connection.head()).status).toBe(100)
    connection.send("hello")
    expect((await connection.answer()).status).toBe(201)
    const { stderr } = await curl(
      ...["-v", "-H", "Expect: 100-continue", "-T", "/etc/hostname", "-o", "/dev/null"],
      "http://10.0.0.1/web/files/curl",
    )
    expect(stderr).toContain("< HTTP/1.1 100 Continue")
    expect(stderr).toContain("< HTTP/1.1 201 Created")
  })

  test("103 comes before the answer", async () => {
    expect(await asking({ path: "/odd/hints" })).toMatchObject({ status: 200, interim: [103] })
  })

  test("an answer before the end of an upload is passed on", async () => {
    using connection = await connected()
    connection.send("POST /odd/early HTTP/1.1\r\nHost: k8s.com\r\nContent-Length: 9999999\r\n\r\nx")
    const answer = await connection.answer("POST")
    expect([answer.status, answer.body.toString()]).toEqual([413, "much"])
  })

  test("an answer that its end of connection ends", async () => {
    const answer = await asking({ path: "/odd/old" })
    expect([answer.version, answer.body.toString()]).toEqual(["HTTP/1.1", "until the end"])
  })
})

describe("clients of another age", () => {
  test("HTTP/1.0 without Host is answered and left", async () => {
    using connection = await connected()
    connection.send("GET /web/x HTTP/1.0\r\n\r\n")
    const answer = await connection.answer()
    expect([answer.version, answer.status]).toEqual(["HTTP/1.1", 200])
    expect(seenBy(answer)).toMatchObject({ request: "GET /web/x HTTP/1.1", host: "10.0.0.1:80" })
    expect(await connection.ended()).toBe("finished")
  })

  test("HTTP/1.0 with keep-alive may ask again", async () => {
    using connection = await connected()
    for (let at = 0; at < 3; at += 1) {
      connection.send("GET /web/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      const answer = await connection.answer()
      expect([answer.status, fieldOf(answer, "connection")]).toEqual([200, "keep-alive"])
    }
  })

  test("HTTP/1.0 gets no chunks and no interim responses", async () => {
    using chunked = await connected()
    chunked.send("GET /odd/chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    const answer = await chunked.answer()
    expect(answer.body.toString()).toBe("hello world")
    expect(fieldOf(answer, "transfer-encoding")).toBeUndefined()
    using hinted = await connected()
    hinted.send("GET /odd/hints HTTP/1.0\r\n\r\n")
    expect(await hinted.answer()).toMatchObject({ status: 200, interim: [] })
  })
})

describe("pipelining", () => {
  test("100 requests at once are answered in their order", async () => {
    using connection = await connected()
    const paths = Array.from({ length: 100 }, (_, at) =>
      at % 10 === 3 ? `/odd/hints?${at}` : at % 10 === 5 ? `/odd/chunked?${at}` : `/web/${at}`,
    )
    connection.send(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: k8s.com\r\n\r\n`).join(""))
    for (const [at, path] of paths.entries()) {
      const answer = await connection.answer()
      const expected = at % 10 === 3 ? "hinted" : at % 10 === 5 ? "hello world" : undefined
      if (expected === undefined) expect(seenBy(answer).request).toBe(`GET ${path} HTTP/1.1`)
      else expect(answer.body.toString()).toBe(expected)
    }
  })

  test("bodies between them do not blur the borders", async () => {
    using connection = await connected()
    const bodies = Array.from({ length: 20 }, (_, at) => `GET /x${"y".repeat(at * 37)}`)
    connection.send(
      bodies
        .map(
          (body) =>
            `POST /odd/body HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        )
        .join(""),
    )
    for (const body of bodies) expect((await connection.answer()).body.toString()).toBe(body)
  })
})

describe("upgrades", () => {
  test("WebSockets carry messages of all sizes, both ways, and good-byes", async () => {
    const url = "ws://10.0.0.1/live/socket"
    const sockets = await openWebSockets(stage.client, url, { sockets: 10, bytes: 4_000_000 })
    expect(await sockets.echo()).toEqual({ open: 10, answered: 10 })
    // Longer than every other time limit of this listener.
    await Bun.sleep(2_500)
    expect(await sockets.echo()).toEqual({ open: 10, answered: 10 })
    const { ended, goodbyes } = await sockets.stop()
    expect(ended).toEqual([])
    expect(new Set(goodbyes)).toEqual(new Set(["4000 as you wish"]))
  })

  test("a protocol of one's own, with bytes that come early", async () => {
    using connection = await connected()
    connection.send(
      "GET /odd/upgrade HTTP/1.1\r\nHost: k8s.com\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\nearly ",
    )
    const head = await connection.head()
    expect([head.status, valuesOf(head, "upgrade")]).toEqual([101, ["odd"]])
    expect((await connection.take(14)).toString()).toBe("welcome\nearly ")
    connection.send("bird")
    expect((await connection.take(4)).toString()).toBe("bird")
  })

  test("a server that does not want to is a server as ever", async () => {
    using connection = await connected()
    const headers = { Connection: "upgrade", Upgrade: "websocket" }
    expect((await connection.ask({ path: "/web/x", headers })).status).toBe(200)
    expect((await connection.ask({ path: "/web/x" })).status).toBe(200)
  })

  test("101 that nobody asked for is an error", async () => {
    expect((await asking({ path: "/odd/upgrade" })).status).toBe(502)
  })

  test("a tunnel where nothing moves ends after its time", async () => {
    using connection = await connected()
    connection.send(
      "GET /odd/upgrade HTTP/1.1\r\nHost: k8s.com\r\nConnection: upgrade\r\nUpgrade: odd\r\n\r\n",
    )
    await connection.head()
    const startedAt = performance.now()
    await connection.ended()
    const tookMs = performance.now() - startedAt
    report("tunnel_timeout of 4 s", { "ended after ms": tookMs })
    expect(tookMs).toBeGreaterThan(3_900)
    expect(tookMs).toBeLessThan(6_000)
  })
})

describe("what stays open", () => {
  test("events come one by one, each before the next is sent", async () => {
    using connection = await connected()
    connection.send("GET /live/events HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    const head = await connection.head()
    expect(valuesOf(head, "content-type")).toEqual(["text/event-stream"])
    await heard(connection, ": hello\n\n")
    const tookMs: number[] = []
    for (let at = 1; at <= 10; at += 1) {
      const startedAt = performance.now()
      live.signal("SIGUSR1")
      await heard(connection, `data: ${at}\n\n`)
      tookMs.push(performance.now() - startedAt)
    }
    report("server-sent events", { events: 10, "slowest ms": Math.max(...tookMs) })
    expect(Math.max(...tookMs)).toBeLessThan(2_000)
    const from = live.mark()
    connection.close()
    await live.waitFor('{"left":"events"}', { from })
  })

  /** Waits for exactly these bytes as a part of the body. */
  async function heard(connection: HttpConnection, text: string): Promise<void> {
    await eventually(() => connection.waiting.includes(text), { intervalMs: 1, what: text })
    await connection.take(connection.waiting.length)
  }

  test("an answer may come while the request does", async () => {
    using connection = await connected()
    connection.send(
      "POST /live/echo HTTP/1.1\r\nHost: k8s.com\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n",
    )
    expect((await connection.head()).status).toBe(200)
    await heard(connection, "1\r\n0\r\n")
    for (let at = 1; at <= 9; at += 1) {
      connection.send(`1\r\n${at}\r\n`)
      await heard(connection, `1\r\n${at}\r\n`)
    }
    connection.send("0\r\n\r\n")
    await heard(connection, "0\r\n\r\n")
  })

  test("a long poll waits for its answer", async () => {
    const from = live.mark()
    const polled = asking({ path: "/live/poll" })
    await eventually(async () => (await poolConnections("live")) > 0)
    await Bun.sleep(300)
    live.signal("SIGUSR1")
    await live.waitFor('{"told":', { from })
    expect((await polled).body.toString()).toBe("polled\n")
  })

  async function poolConnections(name: string): Promise<number> {
    const { pools } = await edge.status()
    return pools.find((pool) => pool.name === name)?.servers[0]?.connections ?? 0
  }
})

describe("clients that leave", () => {
  test("nginx learns it at once (499)", async () => {
    const { log } = nth(stage.web, 0)
    const abortsBefore = await aborts()
    const before = readFileSync(log, "utf8").length
    const startedAt = performance.now()
    for (let at = 0; at < 5; at += 1) {
      const connection = await connected()
      connection.send(`GET /web/slow/${at} HTTP/1.1\r\nHost: k8s.com\r\n\r\n`)
      await odd.waitFor(`"GET /silent/slow/${at}"`)
      connection.close()
    }
    const aborted = () => readFileSync(log, "utf8").slice(before).match(/ 499 /g)?.length ?? 0
    await eventually(() => aborted() === 5, { what: "five times 499" })
    report("clients that leave", { "all known to nginx after ms": performance.now() - startedAt })
    expect((await aborts()) - abortsBefore).toBe(5)
  })

  async function aborts(): Promise<number> {
    const { client_aborted: count = 0 } = (await httpStatus(edge, "web")).ended
    return count
  }
})

describe("those who are slow", () => {
  test("50 slow readers of 64 MiB cost little memory, and others nothing", async () => {
    const load = await startHttpLoad(stage.client, "10.0.0.1:80", { paths: ["/web/x"] })
    await load.requests(100)
    const before = await edge.residentKib()
    const urls = Array.from({ length: 50 }, () => [
      "-o",
      "/dev/null",
      "http://10.0.0.1/web/files/large",
    ])
    const readers = stage.client.spawn(
      [
        ...["curl", "-sS", "--parallel", "--parallel-immediate", "--parallel-max", "50"],
        ...["--limit-rate", "200k", ...urls.flat()],
      ],
      { name: "slow-readers" },
    )
    await eventually(async () => (await httpStatus(edge, "web")).connections >= 50)
    const cpuBefore = cpuMs(edge.pid)
    const peak = await peakResidentKib(3_000)
    const spentMs = cpuMs(edge.pid) - cpuBefore
    await readers.stop()
    const { failed, medianMs, p99Ms, maxMs } = await load.stop()
    report("50 slow readers", {
      "growth KiB": peak - before,
      "processor ms in 3 s": spentMs,
      "others' median ms": medianMs,
      "p99 ms": p99Ms,
      "max ms": maxMs,
    })
    expect(failed).toEqual({})
    expect(peak - before).toBeLessThan(50 * 1024)
    // Who had to wait for a slow reader would wait for seconds, each time.
    expect(medianMs).toBeLessThan(200)
  })

  test("20 uploads to a server that does not read stop at the buffers", async () => {
    const source = join(stage.client.directory, "pour")
    writeFileSync(source, Buffer.alloc(64 * MIB_BYTES))
    const before = await edge.residentKib()
    const pours = Array.from({ length: 20 }, () =>
      stage.client.spawn(["curl", "-sS", "-H", "Expect:", "-T", source, "http://10.0.0.1/stall/"]),
    )
    await eventually(async () => (await httpStatus(edge, "web")).connections >= 20)
    const peak = await peakResidentKib(1_500)
    const startedAt = performance.now()
    await Promise.all(pours.map((pour) => pour.stop()))
    // What the kernel holds of a client that is gone hides its FIN: only time ends the request.
    await eventually(async () => (await httpStatus(edge, "web")).connections === 0)
    report("20 uploads to a server that does not read", {
      "growth KiB": peak - before,
      "body_timeout of 4 s ended all after ms": performance.now() - startedAt,
    })
    expect(peak - before).toBeLessThan(30 * 1024)
  })

  /** The largest resident size over `ms`, in KiB. */
  async function peakResidentKib(ms: number): Promise<number> {
    let peak = 0
    for (const end = performance.now() + ms; performance.now() < end; ) {
      peak = Math.max(peak, await edge.residentKib())
      await Bun.sleep(50)
    }
    return peak
  }
})

test("an edge with nothing to do does nothing", async () => {
  await edge.waitStatus(({ threads }) => threads.sessions === 0)
  const before = cpuMs(edge.pid)
  await Bun.sleep(2_000)
  const spentMs = cpuMs(edge.pid) - before
  report("2 s with nothing to do", { "processor ms": spentMs })
  expect(spentMs).toBeLessThan(200)
})

/** Processor time that a process has used, of all its threads. */
function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  // Fields 14 and 15, in ticks of 10 ms, counted after the command name.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 10
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, Math.min(at + 65_536, length)))
  }
  return bytes
}

function hashOf(path: string): string {
  return new Bun.CryptoHasher("sha256").update(readFileSync(path)).digest("hex")
}

const MIB_BYTES = 1024 * 1024

/** nginx waits for a server that never answers, so that it has something to give up. */
const SLOW = "location /slow { proxy_pass http://10.0.0.12:8083/silent/slow; }"

function route(path: string, pool: string): string {
  return `[[http.route]]\npath = "${path}"\npool = "${pool}"\nrewrite = "/"\n`
}

const CONFIG = `
[node]
threads = 2
${poolOf("web", [1])}
${poolOf("odd", [2], { port: 8083 })}
${poolOf("live", [2], { port: 8084 })}
${poolOf("stall", [2], { port: 8085 })}
[[http]]
name = "web"
bind = ["10.0.0.1:80", "[fd00::1]:80"]
trusted_proxies = ["10.0.0.8/32"]
head_timeout = "2s"
idle_timeout = "2s"
first_byte_timeout = "10s"
body_timeout = "4s"
tunnel_timeout = "4s"
[[http.route]]
path = "/web/x"
pool = "web"
${route("/web/files", "web").replace('"/"', '"/files"')}
${route("/web/status", "web").replace('"/"', '"/status"')}
${route("/web/slow", "web").replace('"/"', '"/slow"')}
[[http.route]]
path = "/web"
pool = "web"
${route("/odd", "odd")}
${route("/live", "live")}
${route("/stall", "stall")}
[[http]]
name = "proxied"
bind = ["10.0.0.1:81"]
accept_proxy_protocol = ["10.0.0.8"]
head_timeout = "1s"
[[http.route]]
path = "/web"
pool = "web"
`
