/**
 * Who may ask, how often, and how much: addresses, passwords, a permission from another server,
 * limits, sizes, other origins. What is refused never reaches nginx, and costs others nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import {
  type Answer,
  ask,
  fieldOf,
  HttpConnection,
  type Question,
  valuesOf,
} from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import { seenBy } from "./http-servers.ts"
import { createHttpStage, type HttpStage, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth } from "./stage.ts"

let stage: HttpStage
let edge: Edge
let authLog: string

beforeAll(async () => {
  stage = await createHttpStage("http-access", 2, (host) => {
    authLog = join(host.directory, "auth.log")
    return host.name === "s2" ? { more: authServer(authLog) } : { locations: OWN_CORS }
  })
  writeFileSync(usersFile(), await users(), { mode: 0o600 })
  edge = await startHttpEdge(stage.edge, config())
}, 60_000)

afterAll(() => stage?.lab.close())

async function asking(question: Question, from?: string): Promise<Answer> {
  return ask(await stage.door("10.0.0.1:80", from), question)
}

/** Requests that nginx on s1 has answered, but for health. */
function served(): string[] {
  return readFileSync(nth(stage.web, 0).log, "utf8").split("\n").slice(0, -1)
}

function basic(name: string, password: string) {
  return { Authorization: `Basic ${Buffer.from(`${name}:${password}`).toString("base64")}` }
}

describe("addresses", () => {
  test.each([
    ["/allowed", "10.0.0.9", 200],
    ["/allowed", "10.0.0.8", 403],
    ["/denied", "10.0.0.9", 403],
    ["/denied", "10.0.0.8", 200],
    ["/both", "10.0.0.9", 403],
  ])("%s for %s: %i", async (path, from, status) => {
    const before = served().length
    const answer = await asking({ path }, from)
    expect(answer.status).toBe(status)
    expect(served().length - before).toBe(status === 200 ? 1 : 0)
  })

  test("of a listener: others are cut off before a word", async () => {
    expect((await ask(await stage.door("10.0.0.1:81", "10.0.0.9"))).status).toBe(200)
    // The reset may come before the client has even learnt that it is connected.
    expect(await heard(await stage.door("10.0.0.1:81", "10.0.0.8"))).toBe(0)
  })

  test("a forged X-Forwarded-For opens nothing", async () => {
    const headers = { "X-Forwarded-For": "10.0.0.9", "X-Real-IP": "10.0.0.9" }
    expect((await asking({ path: "/allowed", headers }, "10.0.0.8")).status).toBe(403)
  })
})

/** Bytes of answer that a request gets before the connection ends. */
async function heard(door: Parameters<typeof HttpConnection.open>[0]): Promise<number> {
  try {
    using connection = await HttpConnection.open(door)
    connection.send("GET / HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    await connection.ended()
    return connection.waiting.length
  } catch (error) {
    expect(String(error)).toContain("ECONNRESET")
    return 0
  }
}

describe("basic_auth", () => {
  test.each([
    ["nobody", {}, 401],
    ["bcrypt", basic("bea", "correct horse"), 200],
    ["bcrypt, again", basic("bea", "correct horse"), 200],
    ["argon2", basic("arno", "pässword:with colon"), 200],
    ["a wrong password", basic("bea", "correct horse "), 401],
    ["another's password", basic("arno", "correct horse"), 401],
    ["a name of nobody", basic("eve", "correct horse"), 401],
    ["another scheme", { Authorization: "Bearer abc" }, 401],
    ["no base64", { Authorization: "Basic ???" }, 401],
    ["no colon", { Authorization: `Basic ${btoa("bea")}` }, 401],
  ])("%s: %i", async (_, headers, status) => {
    const before = served().length
    const answer = await asking({ path: "/private", headers })
    expect(answer.status).toBe(status)
    const challenge = 'Basic realm="staff only", charset="UTF-8"'
    expect(fieldOf(answer, "www-authenticate")).toBe(status === 401 ? challenge : undefined)
    expect(served().length - before).toBe(status === 200 ? 1 : 0)
  })

  test("a request that waits keeps its body and its place", async () => {
    using connection = await HttpConnection.open(await stage.door())
    const headers = basic("bea", "correct horse")
    const path = "/private/files/kept"
    connection.send(
      `PUT ${path} HTTP/1.1\r\nHost: k8s.com\r\nAuthorization: ${headers.Authorization}\r\n` +
        "Content-Length: 11\r\n\r\nhello world" +
        "GET /private/second HTTP/1.1\r\nHost: k8s.com\r\n\r\n",
    )
    expect((await connection.answer()).status).toBe(201)
    expect((await connection.answer()).status).toBe(401)
    expect(readFileSync(join(nth(stage.web, 0).root, "kept"), "utf8")).toBe("hello world")
  })

  test("40 wrong passwords at once hold up nobody else", async () => {
    const load = await startHttpLoad(stage.client, "10.0.0.1:80", { connections: 4 })
    await load.requests(200)
    const door = await stage.door()
    const startedAt = performance.now()
    const guesses = Array.from({ length: 40 }, (_, at) =>
      ask(door, { path: "/private", headers: basic(at % 2 ? "arno" : "bea", `guess ${at}`) }),
    )
    const answers = await Promise.all(guesses)
    const guessedMs = performance.now() - startedAt
    const right = await asking({ path: "/private", headers: basic("bea", "correct horse") })
    const { failed, requests, medianMs, p99Ms, maxMs } = await load.stop()
    report("40 wrong passwords at once", {
      "answered after ms": guessedMs,
      "others' requests": requests,
      "median ms": medianMs,
      "p99 ms": p99Ms,
      "max ms": maxMs,
    })
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([401]))
    expect([right.status, failed]).toEqual([200, {}])
    expect(medianMs).toBeLessThan(100)
  })

  test("a changed file holds from the reload on", async () => {
    writeFileSync(usersFile(), `bea:${await Bun.password.hash("new one", BCRYPT)}\n`)
    const headers = basic("bea", "correct horse")
    expect((await asking({ path: "/private", headers })).status).toBe(200)
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
    expect((await asking({ path: "/private", headers })).status).toBe(401)
    const renewed = basic("bea", "new one")
    expect((await asking({ path: "/private", headers: renewed })).status).toBe(200)
    writeFileSync(usersFile(), await users())
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
  })
})

describe("forward_auth", () => {
  const path = "/guarded/x?y=1"

  test("a permission lets a request pass, with the user it names", async () => {
    const headers = { "X-Token": "good", "X-User": "forged" }
    const answer = await asking({ path, headers, method: "POST", body: "some body" })
    expect(answer.status).toBe(200)
    expect(seenBy(answer)).toMatchObject({
      request: "POST /guarded/x?y=1 HTTP/1.1",
      "x-user": "alice",
      "content-length": "9",
    })
    const asked = readFileSync(authLog, "utf8").split("\n").at(-2)
    expect(asked).toBe("GET /check POST /guarded/x?y=1 POST /guarded/x?y=1 10.0.0.9 k8s.com -")
  })

  test("a refusal is the server's, and reaches nobody", async () => {
    const before = served().length
    const answer = await asking({ path, headers: { "X-Token": "bad", "X-User": "forged" } })
    expect(answer.status).toBe(401)
    expect(fieldOf(answer, "www-authenticate")).toBe('Bearer realm="k8s.com"')
    expect(valuesOf(answer, "set-cookie")).toEqual(["try=1"])
    expect(served().length).toBe(before)
  })

  test("a way to the login page is passed on", async () => {
    const answer = await asking({ path, headers: { "X-Token": "login" } })
    expect([answer.status, fieldOf(answer, "location")]).toEqual([
      302,
      "https://login.k8s.com/?from=/guarded/x?y=1",
    ])
  })

  test("an error of the server, or its absence, lets nobody pass", async () => {
    const before = served().length
    const headers = { "X-Token": "broken" }
    expect((await asking({ path, headers })).status).toBe(503)
    expect((await asking({ path: "/unguardable", headers })).status).toBe(503)
    expect(served().length).toBe(before)
  })
})

describe("rate_limit", () => {
  test("holds for both threads together, by address, and across a reload", async () => {
    const door = await stage.door()
    const asked = Array.from({ length: 40 }, () => ask(door, { path: "/limited" }))
    const answers = await Promise.all(asked)
    const passed = answers.filter(({ status }) => status === 200).length
    const waits = answers.flatMap((answer) => fieldOf(answer, "retry-after") ?? []).map(Number)
    report("rate_limit of 5 a minute, two threads", {
      asked: 40,
      passed,
      "shortest Retry-After s": Math.min(...waits),
      "longest s": Math.max(...waits),
    })
    expect(passed).toBe(5)
    expect(answers.map(({ status }) => status).filter((status) => status === 429)).toHaveLength(35)
    expect(waits).toHaveLength(35)
    expect(Math.max(...waits)).toBeLessThanOrEqual(12)
    expect(Math.min(...waits)).toBeGreaterThan(8)
    expect((await asking({ path: "/limited" }, "10.0.0.8")).status).toBe(200)
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
    expect((await asking({ path: "/limited" })).status).toBe(429)
  })

  test("by header, and by address for who leaves it out", async () => {
    const statuses = async (headers: Record<string, string>, count: number) => {
      const answers: number[] = []
      for (let at = 0; at < count; at += 1) {
        answers.push((await asking({ path: "/keyed", headers })).status)
      }
      return answers
    }
    expect(await statuses({ "X-Api-Key": "a" }, 3)).toEqual([200, 200, 429])
    expect(await statuses({ "X-Api-Key": "b" }, 3)).toEqual([200, 200, 429])
    expect(await statuses({}, 3)).toEqual([200, 200, 429])
  })

  test("Retry-After is as long as it says", async () => {
    expect((await asking({ path: "/brief" })).status).toBe(200)
    const refused = await asking({ path: "/brief" })
    expect([refused.status, fieldOf(refused, "retry-after")]).toEqual([429, "1"])
    await Bun.sleep(1_000)
    expect((await asking({ path: "/brief" })).status).toBe(200)
  })
})

describe("max_body", () => {
  test.each([
    ["as much as allowed", 1024, 200],
    ["one byte more", 1025, 413],
  ])("%s", async (_, length, status) => {
    const before = served().length
    const body = "x".repeat(length)
    const answer = await asking({ method: "POST", path: "/small", body })
    expect(answer.status).toBe(status)
    expect(served().length - before).toBe(status === 200 ? 1 : 0)
  })

  test("in chunks", async () => {
    using connection = await HttpConnection.open(await stage.door())
    const chunk = `200\r\n${"x".repeat(512)}\r\n`
    connection.send(`POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`)
    connection.send(chunk)
    connection.send("0\r\n\r\n")
    expect((await connection.answer()).status).toBe(200)
    // At once: a server that does not wait for a body answers before the third of them comes.
    connection.send(
      `POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(3)}`,
    )
    expect((await connection.answer()).status).toBe(413)
    expect(await connection.ended()).toBe("finished")
  })

  test("who asks first is told before the body", async () => {
    using connection = await HttpConnection.open(await stage.door())
    connection.send(
      "POST /small HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 9999\r\n\r\n",
    )
    expect(await connection.answer()).toMatchObject({ status: 413, interim: [] })
  })
})

describe("cors", () => {
  const preflight = (origin: string) => ({
    method: "OPTIONS",
    path: "/shared",
    headers: { Origin: origin, "Access-Control-Request-Method": "PUT" },
  })

  test.each(["https://app.k8s.com", "https://a.apps.k8s.com"])(
    "a preflight from %s",
    async (origin) => {
      const before = served().length
      const answer = await asking(preflight(origin))
      expect(answer.status).toBe(204)
      expect(fieldOf(answer, "access-control-allow-origin")).toBe(origin)
      expect(fieldOf(answer, "access-control-allow-methods")).toBe("GET, PUT")
      expect(fieldOf(answer, "access-control-allow-headers")).toBe("X-Token")
      expect(fieldOf(answer, "access-control-allow-credentials")).toBe("true")
      expect(fieldOf(answer, "access-control-max-age")).toBe("60")
      expect(fieldOf(answer, "vary")).toBe("Origin")
      expect(served().length).toBe(before)
    },
  )

  test.each([
    "https://evil.example",
    "https://app.k8s.com.evil.example",
    "http://app.k8s.com",
    "null",
  ])("a preflight from %s gets no permission", async (origin) => {
    const answer = await asking(preflight(origin))
    const names = answer.fields.map(([name]) => name.toLowerCase())
    expect(names.filter((name) => name.startsWith("access-control-"))).toEqual([])
  })

  test("a request gets it with the answer, once, whatever the server says", async () => {
    const headers = { Origin: "https://app.k8s.com", ...basic("bea", "correct horse") }
    const answer = await asking({ path: "/shared", headers })
    expect(answer.status).toBe(200)
    expect(valuesOf(answer, "access-control-allow-origin")).toEqual(["https://app.k8s.com"])
    expect(valuesOf(answer, "access-control-expose-headers")).toEqual(["X-Total"])
    const { Origin: _, ...without } = headers
    const plain = await asking({ path: "/shared", headers: without })
    expect(valuesOf(plain, "access-control-allow-origin")).toEqual([])
    expect(valuesOf(plain, "vary")).toEqual(["Origin"])
  })

  test("a refusal for want of a password is readable for the origin", async () => {
    const answer = await asking({ path: "/shared", headers: { Origin: "https://app.k8s.com" } })
    expect(answer.status).toBe(401)
    expect(valuesOf(answer, "access-control-allow-origin")).toEqual(["https://app.k8s.com"])
  })
})

function usersFile(): string {
  return join(stage.lab.directory, "users")
}

async function users(): Promise<string> {
  const bea = await Bun.password.hash("correct horse", BCRYPT)
  const arno = await Bun.password.hash("pässword:with colon", ARGON2)
  return `# staff\nbea:${bea.replace("$2b$", "$2y$")}\narno:${arno}\n`
}

function route(path: string, keys: string): string {
  return `[[http.route]]\npath = "${path}"\n${keys}\n`
}

/** Answers by X-Token, and logs what it is told of the request. */
function authServer(log: string): string {
  return `
    log_format asked '$request_method $uri $http_x_forwarded_method $http_x_forwarded_uri '
      '$http_x_original_method $http_x_original_uri $http_x_forwarded_for $http_host '
      '$http_content_length';
    server {
      listen 0.0.0.0:8081;
      access_log ${log} asked;
      location = /check {
        if ($http_x_token = "good") { add_header X-User alice; return 204; }
        if ($http_x_token = "broken") { return 500; }
        if ($http_x_token = "login") {
          return 302 https://login.k8s.com/?from=$http_x_original_uri;
        }
        add_header WWW-Authenticate 'Bearer realm="k8s.com"' always;
        add_header Set-Cookie "try=1" always;
        return 401;
      }
    }`
}

function config(): string {
  return `
[node]
threads = 2
${poolOf("web", [1])}
${poolOf("auth", [2], { port: 8081 })}
${poolOf("nobody", [2], { port: 8099 })}
[[http]]
name = "listed"
bind = ["10.0.0.1:81"]
allow = ["10.0.0.0/24"]
deny = ["10.0.0.8/32"]
${route("/", 'pool = "web"')}
[[http]]
name = "web"
bind = ["10.0.0.1:80"]
${route("/", 'pool = "web"')}
${route("/allowed", 'pool = "web"\nallow = ["10.0.0.9/32", "fd00::/8"]')}
${route("/denied", 'pool = "web"\ndeny = ["10.0.0.9"]')}
${route("/both", 'pool = "web"\nallow = ["10.0.0.0/24"]\ndeny = ["10.0.0.9"]')}
${route(
  "/private",
  `pool = "web"\nrewrite = "/"
basic_auth = { realm = "staff only", users_file = "${usersFile()}" }`,
)}
${route(
  "/guarded",
  'pool = "web"\nforward_auth = { pool = "auth", path = "/check", copy_headers = ["X-User"] }',
)}
${route("/unguardable", 'pool = "web"\nforward_auth = { pool = "nobody", path = "/" }')}
${route("/limited", 'pool = "web"\nrate_limit = { requests = 5, per = "1m" }')}
${route("/keyed", 'pool = "web"\nrate_limit = { requests = 2, per = "1m", header = "X-Api-Key" }')}
${route("/brief", 'pool = "web"\nrate_limit = { requests = 1, per = "1s" }')}
${route("/small", 'pool = "web"\nmax_body = "1KiB"')}
${route(
  "/shared",
  `pool = "web"
basic_auth = { users_file = "${usersFile()}" }
[http.route.cors]
allow_origins = ["https://app.k8s.com", "https://*.apps.k8s.com"]
allow_methods = ["GET", "PUT"]
allow_headers = ["X-Token"]
expose_headers = ["X-Total"]
allow_credentials = true
max_age = "1m"`,
)}
`
}

const BCRYPT = { algorithm: "bcrypt", cost: 10 } as const
const ARGON2 = { algorithm: "argon2id", memoryCost: 4096, timeCost: 2 } as const

/** A server that speaks of CORS itself. */
const OWN_CORS = `
location /shared {
  add_header Access-Control-Allow-Origin "*" always;
  add_header Access-Control-Expose-Headers "X-Own" always;
  return 200 "shared\\n";
}`
