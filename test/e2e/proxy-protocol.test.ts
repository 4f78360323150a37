/**
 * `pool.proxy_protocol` towards real servers that require the header: nginx, HAProxy and MariaDB,
 * by streams and by HTTP, over TLS too, and their health checks. File time limit: 180 s
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { CERTIFICATES, KEYS } from "../../src/linux/fixtures/certificates.ts"
import { startEdge } from "../lab/edge.ts"
import { startHaproxy } from "../lab/haproxy.ts"
import { ACCOUNTS, type MariaDb, startMariaDb } from "../lab/mariadb.ts"
import { startNginx } from "../lab/nginx.ts"
import { eventually } from "../lab/wait.ts"
import { createStage, nth, type Stage } from "./stage.ts"

const CLIENT = "10.0.0.9"
const OTHER_CLIENT = "10.0.0.8"
const SERVER = "10.0.0.11"
/** A second address of the edge, as a virtual one would be. */
const ADDRESS = "10.0.0.40"

let stage: Stage
let database: MariaDb

beforeAll(async () => {
  stage = await createStage("proxy-out", 1)
  const server = nth(stage.servers, 0)
  await stage.client.ip(`address add ${OTHER_CLIENT}/24 dev eth0`)
  await stage.edge.ip(`address add ${ADDRESS}/24 dev eth0`)
  writeFileSync(file("shop.pem"), CERTIFICATES.shop + CERTIFICATES.intermediate)
  writeFileSync(file("shop.key"), KEYS.shop, { mode: 0o600 })
  await startNginx(server, { http: nginxConfig() })
  await startHaproxy(server, haproxyConfig())
  const settings = { "proxy-protocol-networks": "10.0.0.0/8" }
  database = await startMariaDb({ host: server, address: "*", settings })
  await startCheckedEdge()
}, 120_000)

afterAll(async () => {
  await database?.stop()
  await stage?.lab.close()
})

async function startCheckedEdge(): Promise<void> {
  const started = await startEdge(stage.edge, edgeConfig())
  await started.waitStatus(
    ({ pools }) => pools.every(({ servers }) => servers.every(({ health }) => health === "up")),
    { what: "every check to pass" },
  )
}

/** What the server says of the connection of a request by curl. */
function get(from: string, url: string, ...more: string[]): Promise<string> {
  const curl = ["curl", "-sS", "--fail", "--max-time", "10", "--interface", from, "-k"]
  return stage.client.exec([...curl, ...more, url])
}

describe("each server knows the client, and the address it came to", () => {
  test.each([
    ["stream, v1, nginx", `http://${ADDRESS}:81/`, 81],
    ["stream, v2, nginx", `http://${ADDRESS}:82/`, 82],
    ["stream, v2, nginx with the client's TLS", `https://${ADDRESS}:83/`, 83],
    ["stream, v1, HAProxy", `http://${ADDRESS}:84/`, 84],
    ["stream, v2, HAProxy", `http://${ADDRESS}:85/`, 85],
    ["http, v1, nginx", `http://${ADDRESS}:91/`, 91],
    ["http, v2, nginx over TLS", `http://${ADDRESS}:92/`, 92],
    ["http, v2, HAProxy", `http://${ADDRESS}:93/`, 93],
  ])("%s", async (_what, url, port) => {
    for (const client of [CLIENT, OTHER_CLIENT, CLIENT]) {
      expect(await get(client, url)).toBe(`${client} ${ADDRESS} ${port}\n`)
    }
  })

  test("also for several requests on one connection", async () => {
    const url = `http://${ADDRESS}:91/`
    const said = await get(CLIENT, url, url, url)
    expect(said).toBe(`${CLIENT} ${ADDRESS} 91\n`.repeat(3))
  })

  test("MariaDB, which speaks first", async () => {
    const { user, password } = ACCOUNTS.app
    for (const port of [3306, 3307]) {
      const said = await stage.client.exec([
        ...["mariadb", "-h", ADDRESS, "-P", `${port}`, `-u${user}`, `-p${password}`],
        ...["--skip-ssl", "-N", "-e", "SELECT USER()"],
      ])
      expect(said.trim()).toBe(`${user}@${CLIENT}`)
    }
  })
})

test("clients that use the edge at once are never mistaken for each other", async () => {
  const asked = Array.from({ length: 40 }, async (_, index) => {
    const client = index % 2 === 0 ? CLIENT : OTHER_CLIENT
    const url = `http://${ADDRESS}:91/`
    return (await get(client, url, url)) === `${client} ${ADDRESS} 91\n`.repeat(2)
  })
  expect(await Promise.all(asked)).toEqual(asked.map(() => true))
}, 30_000)

test("a server that gets no header refuses, so the header is what opened it", async () => {
  const direct = stage.client.exec(["curl", "-sS", "--max-time", "10", `http://${SERVER}:8080/`])
  await expect(direct).rejects.toThrow()
})

test("the access log names the client as well", async () => {
  await get(OTHER_CLIENT, `http://${ADDRESS}:81/`)
  await eventually(
    () =>
      readFileSync(file("access.log"), "utf8").includes(`"client":"${OTHER_CLIENT}`) || undefined,
    { what: "the access line" },
  )
})

function file(name: string): string {
  return join(stage.lab.directory, name)
}

function nginxConfig(): string {
  const said = "$proxy_protocol_addr $proxy_protocol_server_addr $proxy_protocol_server_port"
  const server = (listen: string) => `
  server {
    listen ${SERVER}:${listen} proxy_protocol;
    ssl_certificate ${file("shop.pem")};
    ssl_certificate_key ${file("shop.key")};
    location / { return 200 "${said}\\n"; }
  }`
  return server("8080") + server("8443 ssl")
}

function haproxyConfig(): string {
  return `
defaults
  mode http
  timeout client 30s
frontend f
  bind ${SERVER}:9090 accept-proxy
  http-request return status 200 content-type text/plain lf-string "%[src] %[dst] %[dst_port]\\n"
`
}

function edgeConfig(): string {
  const check = (keys: string) => `[pool.check]\ninterval = "200ms"\n${keys}\n`
  const pool = (name: string, port: number, keys: string) =>
    `[[pool]]\nname = "${name}"\nservers = ["${SERVER}:${port}"]\n${keys}`
  const http = check('type = "http"')
  const https = check('type = "http"\ntls = true\ntls_verify = false')
  const stream = (name: string, port: number, to: string) =>
    `[[stream]]\nname = "${name}"\nbind = ["0.0.0.0:${port}"]\npool = "${to}"\n`
  const listener = (name: string, port: number, to: string) =>
    `[[http]]\nname = "${name}"\nbind = ["0.0.0.0:${port}"]\n[[http.route]]\npool = "${to}"\n`
  return [
    `[log]\naccess = "${file("access.log")}"\nformat = "json"\n[node]\nthreads = 2\n`,
    pool("nginx1", 8080, `proxy_protocol = "v1"\n${http}`),
    pool("nginx2", 8080, `proxy_protocol = "v2"\n${check('type = "tcp"')}`),
    pool("tls2", 8443, `proxy_protocol = "v2"\n[pool.tls]\nverify = false\n${https}`),
    pool("haproxy1", 9090, `proxy_protocol = "v1"\n${http}`),
    pool("haproxy2", 9090, `proxy_protocol = "v2"\n${http}`),
    pool("mysql1", 3306, `proxy_protocol = "v1"\n${check('type = "mysql"')}`),
    pool("mysql2", 3306, `proxy_protocol = "v2"\n${check('type = "mysql"')}`),
    stream("s81", 81, "nginx1"),
    stream("s82", 82, "nginx2"),
    pool("through", 8443, `proxy_protocol = "v2"\n${https}`),
    stream("s83", 83, "through"),
    stream("s84", 84, "haproxy1"),
    stream("s85", 85, "haproxy2"),
    stream("m1", 3306, "mysql1"),
    stream("m2", 3307, "mysql2"),
    listener("h91", 91, "nginx1"),
    listener("h92", 92, "tls2"),
    listener("h93", 93, "haproxy2"),
  ].join("")
}
