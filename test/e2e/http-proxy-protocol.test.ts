/**
 * Clients behind a real HAProxy that passes connections on as they are, and says by the PROXY
 * protocol whose they are: version 1 and 2, in front of plain HTTP and of TLS.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CERTIFICATES, KEYS } from "../../src/linux/fixtures/certificates.ts"
import type { Edge } from "../lab/edge.ts"
import { startHaproxy } from "../lab/haproxy.ts"
import { eventually } from "../lab/wait.ts"
import { ask, HttpConnection } from "./http-connection.ts"
import { type Seen, seenBy } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"

const CLIENT = "10.0.0.9"
const OTHER_CLIENT = "10.0.0.8"
const PROXY = "10.0.0.2"

/** HAProxy's ports, by what it sends to which of the edge's. */
const PORTS = {
  "version 1": { port: 81, to: 80, sends: "send-proxy" },
  "version 2": { port: 82, to: 80, sends: "send-proxy-v2" },
  "version 2 with a checksum": {
    port: 83,
    to: 80,
    sends: "send-proxy-v2 proxy-v2-options crc32c,unique-id",
  },
  "version 1, TLS": { port: 84, to: 443, sends: "send-proxy" },
  "version 2, TLS": { port: 85, to: 443, sends: "send-proxy-v2" },
  nothing: { port: 86, to: 80, sends: "" },
} as const

let stage: HttpStage
let edge: Edge

beforeAll(async () => {
  stage = await createHttpStage("http-proxy", 1)
  writeFileSync(file("shop.pem"), CERTIFICATES.shop + CERTIFICATES.intermediate)
  writeFileSync(file("shop.key"), KEYS.shop, { mode: 0o600 })
  writeFileSync(file("ca.pem"), CERTIFICATES.authority)
  edge = await startHttpEdge(stage.edge, edgeConfig())
  await startHaproxy(stage.secondEdge, proxyConfig())
}, 60_000)

afterAll(() => stage?.lab.close())

/** What the server saw of a request by curl, and with which status. */
async function get(
  from: string,
  name: keyof typeof PORTS,
  path = "/",
): Promise<{ readonly status: number; readonly seen: Seen }> {
  const { port, to } = PORTS[name]
  const url = `${to === 443 ? "https" : "http"}://shop.example:${port}${path}`
  const output = await stage.client.exec([
    ...["curl", "-sS", "--max-time", "10", "--interface", from, "--cacert", file("ca.pem")],
    ...["--resolve", `shop.example:${port}:${PROXY}`, "-w", "%{http_code}", url],
  ])
  const status = Number(output.slice(-3))
  return { status, seen: seenBy({ body: Buffer.from(output.slice(0, -3)) }) }
}

describe("a client behind HAProxy", () => {
  test.each([
    ["version 1", "http"],
    ["version 2", "http"],
    ["version 2 with a checksum", "http"],
    ["version 1, TLS", "https"],
    ["version 2, TLS", "https"],
  ] as const)("is known by its own address: %s", async (name, proto) => {
    for (const client of [CLIENT, OTHER_CLIENT]) {
      const { status, seen } = await get(client, name)
      expect(status).toBe(200)
      expect(seen).toMatchObject({
        "x-forwarded-for": client,
        "x-real-ip": client,
        "x-forwarded-proto": proto,
        "x-forwarded-port": `${PORTS[name].port}`,
      })
    }
  })

  test("is whom a route asks about; a listener asks about HAProxy", async () => {
    expect((await get(OTHER_CLIENT, "version 2", "/denied")).status).toBe(403)
    expect((await get(CLIENT, "version 2", "/denied")).status).toBe(200)
    using stranger = await HttpConnection.open(await stage.door("10.0.0.1:80", OTHER_CLIENT))
    stranger.send("GET / HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
    await stranger.ended()
    expect(stranger.waiting.length).toBe(0)
  })

  test("has its own rate limit", async () => {
    const statuses: number[] = []
    for (const client of [CLIENT, CLIENT, OTHER_CLIENT]) {
      statuses.push((await get(client, "version 1", "/limited")).status)
    }
    expect(statuses).toEqual([200, 429, 200])
  })

  test("stands in the access log", async () => {
    await get(OTHER_CLIENT, "version 2, TLS", "/logged")
    const line = await eventually(
      async () =>
        readFileSync(file("access.log"), "utf8")
          .split("\n")
          .find((each) => each.includes("/logged")),
      { what: "the access line" },
    )
    expect(JSON.parse(line)).toMatchObject({ client: OTHER_CLIENT })
  })
})

test("who must send the header and does not is reset, and counted", async () => {
  const { port } = PORTS.nothing
  using connection = await HttpConnection.open(await stage.door(`${PROXY}:${port}`))
  connection.send("GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
  await connection.ended()
  expect(connection.waiting.length).toBe(0)
  expect((await httpStatus(edge, "web")).ended).toMatchObject({ bad_proxy_header: 1 })
})

test("who need not send the header is served without, and refused with it", async () => {
  const door = await stage.door("10.0.0.1:80", CLIENT)
  expect(seenBy(await ask(door))).toMatchObject({ "x-forwarded-for": CLIENT })
  using liar = await HttpConnection.open(door)
  liar.send("PROXY TCP4 192.0.2.1 10.0.0.1 40000 80\r\nGET / HTTP/1.1\r\nHost: k8s.com\r\n\r\n")
  expect((await liar.answer()).status).toBe(400)
})

function file(name: string): string {
  return join(stage.lab.directory, name)
}

function edgeConfig(): string {
  return `
[log]
access = "${file("access.log")}"
format = "json"
[node]
threads = 2
${poolOf("web", [1])}
[[http]]
name = "web"
bind = ["10.0.0.1:80", { address = "10.0.0.1:443", tls = true }]
accept_proxy_protocol = ["${PROXY}"]
allow = ["${PROXY}", "${CLIENT}"]
[http.tls]
certificates = [{ cert = "${file("shop.pem")}", key = "${file("shop.key")}" }]
[[http.route]]
path = "/"
pool = "web"
[[http.route]]
path = "/denied"
pool = "web"
deny = ["${OTHER_CLIENT}"]
[[http.route]]
path = "/limited"
pool = "web"
rate_limit = { requests = 1, per = "1m" }
`
}

function proxyConfig(): string {
  const services = Object.values(PORTS).map(
    ({ port, to, sends }) => `
listen l${port}
  bind ${PROXY}:${port}
  server edge 10.0.0.1:${to} ${sends}`,
  )
  return `
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  unique-id-format lab-%[src]
${services.join("\n")}
`
}
