/**
 * Reloads under load: routes and pools come, change and go, and nobody loses a request, a download
 * or a WebSocket. What a request began with holds to its end; the next one sees the new file.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { median, report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type Answer, ask, fieldOf, HttpConnection, type Question } from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import { seenBy, startLiveServer, startOddWebServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth } from "./stage.ts"
import { openWebSockets } from "./web-sockets.ts"

let stage: HttpStage
let edge: Edge
let odd: ManagedProcess

beforeAll(async () => {
  stage = await createHttpStage("http-reload", 3)
  odd = await startOddWebServer(nth(stage.servers, 1), 8083)
  await startLiveServer(nth(stage.servers, 1), 8084)
  edge = await startHttpEdge(stage.edge, config())
}, 60_000)

afterAll(() => stage?.lab.close())

async function asking(question: Question, target = "10.0.0.1:80") {
  return ask(await stage.door(target), question)
}

/** Sends SIGHUP and waits for the outcome; how long that took, in milliseconds. */
async function hangUp(toml: string): Promise<number> {
  const { generation } = (await edge.status()).config
  const startedAt = performance.now()
  edge.hangUp(toml)
  await edge.waitStatus((status) => status.config.generation === generation + 1, { intervalMs: 1 })
  return performance.now() - startedAt
}

test("100 reloads under load, every second one of a route and a pool: nobody notices", async () => {
  const path = join(nth(stage.web, 0).root, "large")
  const length = 24 * 1024 * 1024
  writeFileSync(path, crypto.getRandomValues(new Uint8Array(65_536)))
  await stage.client.exec(["truncate", "-s", String(length), path])
  const sockets = await openWebSockets(stage.client, "ws://10.0.0.1/live/socket", { sockets: 4 })
  const fetched = join(stage.client.directory, "fetched")
  const download = stage.client.spawn([
    ...["curl", "-sS", "--limit-rate", "2M", "-o", fetched, "http://10.0.0.1/files/large"],
  ])
  const paths = ["/steady/x", "/changing/x"]
  const load = await startHttpLoad(stage.client, "10.0.0.1:80", { connections: 16, paths })
  const fresh = await startHttpLoad(stage.client, "10.0.0.1:80", { connections: 2, closes: true })
  await load.requests(500)
  const before = { fds: openFds(), resident: await edge.residentKib() }
  const tookMs: number[] = []
  for (let round = 1; round <= 100; round += 1) {
    tookMs.push(await hangUp(config(round)))
    if (round === 50) expect(await sockets.echo()).toEqual({ open: 4, answered: 4 })
    await Bun.sleep(20)
  }
  await load.requests(500)
  const [books, freshBooks] = [await load.stop(), await fresh.stop()]
  expect(download.running).toBe(true)
  expect(await sockets.echo()).toEqual({ open: 4, answered: 4 })
  const { ended } = await sockets.stop()
  expect(await download.ended()).toBe(0)
  report("100 reloads", {
    "median ms": median(tookMs),
    "slowest ms": Math.max(...tookMs),
    requests: books.requests,
    failed: JSON.stringify(books.failed),
    reopened: books.reopened,
    "p99 ms": books.p99Ms,
    "max ms": books.maxMs,
    "new connections": freshBooks.requests,
    "failed of those": JSON.stringify(freshBooks.failed),
    "growth MiB": ((await edge.residentKib()) - before.resident) / 1024,
  })
  expect([books.failures, freshBooks.failures]).toEqual([[], []])
  expect([books.failed, freshBooks.failed, books.reopened]).toEqual([{}, {}, 0])
  expect(ended).toEqual([])
  expect(readFileSync(fetched).equals(readFileSync(path))).toBe(true)
  // The route that changes has had each of its pools.
  expect(Object.keys(books.servers).toSorted()).toEqual(["s1", "s2", "s3"])
  await eventually(() => openFds() <= before.fds, { what: "no more descriptors than before" })
}, 90_000)

/** Waits until the server has the request; the answer takes 2 s from then on. */
async function underWay(answer: Promise<Answer>): Promise<{ readonly answer: Promise<Answer> }> {
  await odd.waitFor('{"request":"GET /drip"}', { from: oddMark })
  oddMark = odd.mark()
  return { answer }
}

let oddMark = 0

function openFds(): number {
  return readdirSync(`/proc/${edge.pid}/fd`).length
}

test("a kept connection sees the new file with its next request", async () => {
  await hangUp(config(0))
  using connection = await HttpConnection.open(await stage.door())
  const serverOf = async () => seenBy(await connection.ask({ path: "/changing/x" })).server
  expect(await serverOf()).toBe("s3")
  await hangUp(config(1))
  expect(await serverOf()).toBe("s1")
  await hangUp(config(0))
  expect(await serverOf()).toBe("s3")
})

test("a request under way goes on by the file it began with", async () => {
  const { answer } = await underWay(asking({ path: "/odd/drip" }))
  await hangUp(config(0).replace('path = "/odd"', 'path = "/even"'))
  expect((await answer).body.toString()).toBe("..........")
  expect((await asking({ path: "/odd/hints" })).status).toBe(200)
  expect((await asking({ path: "/even/hints" })).body.toString()).toBe("hinted")
  await hangUp(config(0))
})

test("a pool that goes while it is used is used to the end", async () => {
  const { answer } = await underWay(asking({ path: "/odd/drip" }))
  const without = config(0)
    .replace(/\[\[pool\]\]\nname = "odd"\nservers = .*\n/, "")
    .replace(/\[\[http\.route\]\]\npath = "\/odd"\n.*\n.*\n/, "")
  expect(without).not.toContain("odd")
  await hangUp(without)
  expect((await answer).body.toString()).toBe("..........")
  await hangUp(config(0))
  expect((await asking({ path: "/odd/hints" })).body.toString()).toBe("hinted")
})

test("a listener that comes listens, and one that goes ends what idles and not what runs", async () => {
  const more = `${config(0)}\n[[http]]\nname = "guest"\nbind = ["10.0.0.1:81"]\n${OTHER}`
  expect(await edge.reload(more)).toMatchObject({ exitCode: 0 })
  using idle = await HttpConnection.open(await stage.door("10.0.0.1:81"))
  expect((await idle.ask({ path: "/odd/hints" })).status).toBe(200)
  using busy = await HttpConnection.open(await stage.door("10.0.0.1:81"))
  const { answer } = await underWay(busy.ask({ path: "/odd/drip" }))
  expect((await httpStatus(edge, "guest")).connections).toBe(2)
  expect(await edge.reload(config(0))).toMatchObject({ exitCode: 0 })
  expect((await answer).body.toString()).toBe("..........")
  using late = await HttpConnection.open(await stage.door("10.0.0.1:81"))
  late.send("GET /odd/hints HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
  await late.ended()
  expect(late.waiting.length).toBe(0)
})

test("a file with an error changes nothing", async () => {
  const load = await startHttpLoad(stage.client, "10.0.0.1:80", { paths: ["/steady/x"] })
  const broken = config(0).replace('path = "/changing"', 'path = "changing"')
  const { exitCode, stderr } = await edge.reload(broken)
  expect(exitCode).toBe(1)
  expect(stderr).toMatch(/causeway\.toml:\d+:\d+: error: path must start with \//)
  expect((await asking({ path: "/changing/x" })).status).toBe(200)
  expect((await load.stop()).failed).toEqual({})
  expect(await edge.reload(config(0))).toMatchObject({ exitCode: 0 })
})

test("limits and headers change with the next request", async () => {
  const changed = config(0).replace(
    'path = "/steady"',
    'path = "/steady"\nset_response_headers = { X-New = "1" }\nrate_limit = { requests = 1, per = "1m" }',
  )
  await hangUp(changed)
  const first = await asking({ path: "/steady/x" })
  expect([first.status, fieldOf(first, "x-new")]).toEqual([200, "1"])
  expect((await asking({ path: "/steady/x" })).status).toBe(429)
  await hangUp(config(0))
  const last = await asking({ path: "/steady/x" })
  expect([last.status, fieldOf(last, "x-new")]).toEqual([200, undefined])
})

test("a stop lets requests end, and refuses new ones", async () => {
  const own = await startHttpEdge(
    stage.secondEdge,
    `[node]\ndrain_timeout = "5s"\n${config(0, "2")}`,
  )
  using idle = await HttpConnection.open(await stage.door("10.0.0.2:80"))
  expect((await idle.ask({ path: "/steady/x" })).status).toBe(200)
  using busy = await HttpConnection.open(await stage.door("10.0.0.2:80"))
  const { answer } = await underWay(busy.ask({ path: "/odd/drip" }))
  const startedAt = performance.now()
  const stopped = own.stop()
  expect((await answer).body.toString()).toBe("..........")
  const answeredMs = performance.now() - startedAt
  expect(await stopped).toBe(0)
  report("a stop", {
    "request ended after ms": answeredMs,
    "all after ms": performance.now() - startedAt,
  })
})

function route(path: string, keys: string): string {
  return `[[http.route]]\npath = "${path}"\n${keys}\n`
}

const OTHER = route("/odd", 'pool = "odd"\nrewrite = "/"')

/** Odd rounds have another pool behind `/changing`, a further route, and one server fewer. */
function config(round = 0, lastByte = "1"): string {
  const isOdd = round % 2 === 1
  return `
${round === 0 && lastByte === "2" ? "" : "[node]\nthreads = 2"}
${poolOf("web", [1, 2])}
${poolOf("steady", isOdd ? [1, 2] : [1, 2, 3])}
${isOdd ? poolOf(`guest-${round}`, [1]) : poolOf("third", [3])}
${poolOf("odd", [2], { port: 8083 })}
${poolOf("live", [2], { port: 8084 })}
[[http]]
name = "web"
bind = ["10.0.0.${lastByte}:80"]
${route("/", 'pool = "web"')}
${route("/steady", 'pool = "steady"')}
${route("/changing", `pool = "${isOdd ? `guest-${round}` : "third"}"`)}
${isOdd ? route(`/only-${round}`, "respond = 200") : ""}
${OTHER}
${route("/live", 'pool = "live"\nrewrite = "/"')}
${route("/files", 'pool = "web"').replace('"web"', '"first"')}
${poolOf("first", [1])}
`
}
