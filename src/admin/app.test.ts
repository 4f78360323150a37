import { describe, expect, test } from "bun:test"
import type { Access } from "./access.ts"
import { BODY_BYTES_MAX, createAdminApp } from "./app.ts"
import { SampleBackend } from "./fixtures/sample-backend.ts"
import { sampleStatus } from "./fixtures/sample-status.ts"

const UNIX: Access = { transport: "unix" }
const OPEN_LOOPBACK: Access = { transport: "tcp", isLoopback: true, token: undefined }
const LOOPBACK: Access = { transport: "tcp", isLoopback: true, token: "s3cret" }
const LAN: Access = { transport: "tcp", isLoopback: false, token: "s3cret" }

function start() {
  const backend = new SampleBackend()
  const errors: string[] = []
  const app = createAdminApp(backend, {
    onError: (error, request) => errors.push(`${request}: ${error.message}`),
  })
  const ask = async (
    line: string,
    { access = UNIX, body, headers = {} }: AskOptions = {},
  ): Promise<Answer> => {
    const [method = "", path = ""] = line.split(" ")
    const request = new Request(`http://127.0.0.1:9180${path}`, {
      method,
      headers: { host: "127.0.0.1:9180", ...headers },
      ...(body === undefined ? {} : { body }),
    })
    const response = await app.fetch(request, { access })
    return { status: response.status, headers: response.headers, text: await response.text() }
  }
  return { backend, app, ask, errors }
}

interface AskOptions {
  readonly access?: Access
  readonly body?: string
  readonly headers?: Record<string, string>
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

describe("reading", () => {
  test("GET /healthz answers as long as the process does", async () => {
    expect(await start().ask("GET /healthz")).toMatchObject({ status: 200, text: "ok\n" })
  })

  test("GET /readyz says what is missing", async () => {
    const { backend, ask } = start()
    expect(await ask("GET /readyz")).toMatchObject({ status: 200, text: "ready\n" })
    backend.reasons = ["listener web: EADDRINUSE", "starting"]
    const { status, headers, text } = await ask("GET /readyz")
    expect(status).toBe(503)
    expect(headers.get("content-type")).toBe("application/problem+json")
    expect(JSON.parse(text)).toEqual({
      title: "Service Unavailable",
      status: 503,
      detail: "Not ready: listener web: EADDRINUSE; starting",
      reasons: ["listener web: EADDRINUSE", "starting"],
    })
  })

  test.each([
    ["/v1/status", sampleStatus],
    ["/v1/vrrp", sampleStatus.vrrp],
    ["/v1/pools", sampleStatus.pools],
    ["/v1/streams", sampleStatus.streams],
    ["/v1/http", []],
    ["/v1/kubernetes", null],
  ])("GET %s shows its part of the status", async (path, part) => {
    const { status, headers, text } = await start().ask(`GET ${path}`)
    expect(status).toBe(200)
    expect(headers.get("content-type")).toBe("application/json")
    expect(headers.get("cache-control")).toBe("no-store")
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(part)))
  })

  test("GET /metrics is Prometheus text", async () => {
    const { headers, text } = await start().ask("GET /metrics")
    expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8")
    expect(text).toContain('causeway_vrrp_state{vrrp="edge",state="active"} 1\n')
    expect(text).toMatch(/^process_resident_memory_bytes \d+$/m)
  })

  test("HEAD answers as GET, without the body", async () => {
    expect(await start().ask("HEAD /v1/status")).toMatchObject({ status: 200, text: "" })
  })

  test("an exception is a 500 without its words, and is reported", async () => {
    const { backend, ask, errors } = start()
    backend.failure = new Error("internal words")
    const { status, text } = await ask("GET /v1/status")
    expect(status).toBe(500)
    expect(text).not.toContain("internal words")
    expect(errors).toEqual(["GET /v1/status: internal words"])
  })
})

describe("changing", () => {
  test("PATCH of a server sets its state and weight, and shows it", async () => {
    const { backend, ask } = start()
    const { status, text } = await ask("PATCH /v1/pools/kube-masters/servers/192.0.2.21:6443", {
      body: '{"state":"drain","weight":0}',
    })
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({ name: "192.0.2.21:6443", health: "up" })
    expect(backend.asked).toEqual(['set kube-masters 192.0.2.21:6443 {"state":"drain","weight":0}'])
  })

  test("a server's name may be percent-encoded", async () => {
    const { backend, ask } = start()
    await ask("PATCH /v1/pools/p/servers/%5B2001%3Adb8%3A%3A1%5D%3A80", { body: '{"weight":1}' })
    expect(backend.asked).toEqual(['set p [2001:db8::1]:80 {"weight":1}'])
  })

  test.each([
    ["", 'Expected a JSON object such as {"state":"drain"}'],
    ["[]", 'Expected a JSON object such as {"state":"drain"}'],
    ["{}", "Expected state, weight or both"],
    ['{"state":"off"}', "state must be one of ready, drain, maintenance"],
    ['{"weight":257}', "weight must be an integer from 0 to 256"],
    ['{"weight":1.5}', "weight must be an integer from 0 to 256"],
    ['{"weight":null}', "weight must be an integer from 0 to 256"],
    ['{"wieght":1}', 'There is no key "wieght": state, weight'],
  ])("PATCH with %j is refused", async (body, detail) => {
    const { backend, ask } = start()
    const { status, text } = await ask("PATCH /v1/pools/p/servers/s", { body })
    expect(JSON.parse(text)).toEqual({ title: "Bad Request", status: 400, detail })
    expect(status).toBe(400)
    expect(backend.asked).toEqual([])
  })

  test("a body over the limit is refused", async () => {
    const { backend, ask } = start()
    const body = `{"state":"drain"${" ".repeat(BODY_BYTES_MAX)}}`
    expect((await ask("PATCH /v1/pools/p/servers/s", { body })).status).toBe(413)
    expect(backend.asked).toEqual([])
  })

  test("POST /v1/reload says what changed, or why nothing did", async () => {
    const { backend, ask } = start()
    const done = await ask("POST /v1/reload")
    expect(done.status).toBe(200)
    expect(JSON.parse(done.text)).toEqual({
      generation: 5,
      changes: ['pool "db": added'],
      warnings: [],
    })
    backend.reloadResult = { ok: false, error: "causeway.toml:3:1: error: …" }
    const refused = await ask("POST /v1/reload")
    expect(refused.status).toBe(422)
    expect(JSON.parse(refused.text).detail).toBe("causeway.toml:3:1: error: …")
  })

  test("POST release and resume name the virtual router", async () => {
    const { backend, ask } = start()
    expect(JSON.parse((await ask("POST /v1/vrrp/edge/release")).text).name).toBe("edge")
    await ask("POST /v1/vrrp/edge/resume")
    expect(backend.asked).toEqual(["release edge", "resume edge"])
  })

  test("a refusal of the backend becomes the answer", async () => {
    const { backend, ask } = start()
    backend.commandResult = { ok: false, status: 404, detail: 'There is no pool "x"' }
    const { status, text } = await ask("PATCH /v1/pools/x/servers/s", { body: '{"weight":1}' })
    expect(status).toBe(404)
    expect(JSON.parse(text)).toEqual({
      title: "Not Found",
      status: 404,
      detail: 'There is no pool "x"',
    })
  })

  test("POST of a fault names thread and fault", async () => {
    const { backend, ask } = start()
    expect((await ask("POST /v1/debug/threads/1/hang")).status).toBe(200)
    expect((await ask("POST /v1/debug/threads/one/hang")).status).toBe(404)
    expect(backend.asked).toEqual(["fault 1 hang"])
  })
})

describe("paths and methods", () => {
  test("an unknown path is a problem document", async () => {
    const { status, text } = await start().ask("GET /v2/status")
    expect(status).toBe(404)
    expect(JSON.parse(text).detail).toBe("There is no /v2/status here")
  })

  test.each([
    ["POST /v1/status", "GET"],
    ["GET /v1/reload", "POST"],
    ["DELETE /v1/pools/a/servers/b", "PATCH"],
  ])("%s says that it takes %s", async (line, allow) => {
    const { status, headers } = await start().ask(line)
    expect(status).toBe(405)
    expect(headers.get("allow")).toBe(allow)
  })
})

describe("access", () => {
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

  test.each([
    ["loopback without a token configured", OPEN_LOOPBACK, {}, 403],
    ["loopback without the token", LOOPBACK, {}, 401],
    ["loopback with a wrong token", LOOPBACK, bearer("guess"), 401],
    ["loopback with the token as a password", LOOPBACK, { authorization: "Basic czNjcmV0" }, 401],
    ["a token where none is configured", OPEN_LOOPBACK, bearer("s3cret"), 401],
    ["the LAN without the token", LAN, {}, 401],
    ["loopback with the token", LOOPBACK, bearer("s3cret"), 200],
    ["the LAN with the token", LAN, bearer("s3cret"), 200],
    ["the socket", UNIX, {}, 200],
  ])("a change over %s", async (_, access, headers, status) => {
    const { backend, ask } = start()
    expect((await ask("POST /v1/reload", { access, headers })).status).toBe(status)
    expect(backend.asked).toEqual(status === 200 ? ["reload"] : [])
  })

  test.each([
    ["loopback", OPEN_LOOPBACK, {}, 200],
    ["loopback with a token configured", LOOPBACK, {}, 200],
    ["the LAN", LAN, {}, 401],
    ["the LAN with the token", LAN, bearer("s3cret"), 200],
    ["loopback by its name", LOOPBACK, { host: "localhost:9180" }, 200],
    ["loopback by its IPv6 address", LOOPBACK, { host: "[::1]:9180" }, 200],
    ["loopback by a re-bound name", LOOPBACK, { host: "evil.example:9180" }, 421],
    [
      "loopback by a name, with the token",
      LOOPBACK,
      { host: "a.example", ...bearer("s3cret") },
      200,
    ],
  ])("reading over %s", async (_, access, headers, status) => {
    const { ask } = start()
    for (const path of ["/", "/metrics", "/v1/status"]) {
      expect((await ask(`GET ${path}`, { access, headers })).status).toBe(status)
    }
  })

  test.each(["/healthz", "/readyz"])("%s needs no token beyond loopback", async (path) => {
    const { ask } = start()
    expect((await ask(`GET ${path}`, { access: LAN })).status).toBe(200)
    expect((await ask(`POST ${path}`, { access: LAN })).status).toBe(401)
  })

  test("a missing token says how to send it", async () => {
    const { headers } = await start().ask("GET /v1/status", { access: LAN })
    expect(headers.get("www-authenticate")).toBe('Bearer realm="causeway"')
  })
})
