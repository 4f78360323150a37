/**
 * HTTP, TCP and command checks as an edge runs them: the compiled program in its own namespace, a
 * real nginx with a certificate of a private authority, black holes made by nftables.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type {
  CommandCheckConfig,
  HttpCheckConfig,
  TcpCheckConfig,
} from "../../src/config/config.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { startNginx } from "../lab/nginx.ts"
import { execCommand, type ManagedProcess } from "../lab/process.ts"
import { eventually } from "../lab/wait.ts"
import { checkTarget, compileRunner, probeIn, type RunnerResult, watchIn } from "./health-runner.ts"

const WEB = "10.78.0.2"
const GET = {
  type: "http",
  method: "GET",
  path: "/healthz",
  host: "",
  expectStatus: [{ from: 200, to: 399 }],
  expectBody: "",
  tls: false,
  tlsVerify: false,
  caFile: "",
} as const

let lab: Lab
let lan: Lan
let edge: Host
let web: Host
let nginx: ManagedProcess
let runner: string
let authority: string
let otherAuthority: string

beforeAll(async () => {
  lab = await createLab("health-http")
  edge = await lab.host("edge")
  web = await lab.host("web")
  lan = await lab.lan("lan")
  await lan.join(edge, { addresses: ["10.78.0.1/24", "fd78::1/64"] })
  await lan.join(web, { addresses: ["10.78.0.2/24", "fd78::2/64"] })
  authority = await makeAuthority("private")
  otherAuthority = await makeAuthority("other")
  ;[runner, nginx] = await Promise.all([compileRunner(lab.directory), startWeb()])
}, 60_000)

afterAll(() => lab?.close())

async function openssl(command: string): Promise<void> {
  await execCommand(["openssl", ...command.split(" ")], { cwd: lab.directory })
}

/** A self-signed authority and a web server's certificate from it; returns the authority's path. */
async function makeAuthority(name: string): Promise<string> {
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
  await openssl(
    `req -x509 ${key} -keyout ${name}-ca.key -out ${name}-ca.pem -days 30 -subj /CN=${name}`,
  )
  await openssl(`req ${key} -keyout ${name}.key -out ${name}.csr -subj /CN=web`)
  const names = "subjectAltName=DNS:web.example,IP:10.78.0.2,IP:fd78::2"
  writeFileSync(join(lab.directory, "names"), names)
  const signer = `-CA ${name}-ca.pem -CAkey ${name}-ca.key -CAcreateserial`
  await openssl(`x509 -req -in ${name}.csr ${signer} -extfile names -days 30 -out ${name}.pem`)
  return join(lab.directory, `${name}-ca.pem`)
}

function startWeb(): Promise<ManagedProcess> {
  const tls = (name: string) => {
    const path = join(lab.directory, name)
    return `ssl_certificate ${path}.pem; ssl_certificate_key ${path}.key;`
  }
  return startNginx(web, {
    http: `
      server {
        listen 10.78.0.2:80; listen [fd78::2]:80;
        location /healthz { return 200 "all is well\\n"; }
        location /broken { return 503 "no"; }
      }
      server {
        listen 10.78.0.2:443 ssl default_server; server_name other.example; ${tls("other")}
        location / { return 200 "the default server"; }
      }
      server {
        listen 10.78.0.2:443 ssl; listen [fd78::2]:443 ssl; server_name web.example;
        ${tls("private")}
        location / { return 200 "$ssl_server_name $http_host"; }
      }`,
  })
}

async function probe(address: string, overrides: Partial<HttpCheckConfig>): Promise<unknown> {
  const target = checkTarget<HttpCheckConfig>(address, { ...GET, ...overrides })
  const [result] = await probeIn(edge, runner, { target, count: 1 })
  return findingOf(result)
}

function findingOf(result: RunnerResult | undefined): unknown {
  return result === undefined ? undefined : { ok: result.ok, reason: result.reason }
}

describe("nginx", () => {
  const good = { ok: true, reason: "status 200" }
  const untrusted = "unable to verify the first certificate, in the TLS handshake"

  test("is up over plain HTTP, IPv4 and IPv6, with a proxy in the environment", async () => {
    expect(await probe(`${WEB}:80`, { expectBody: "all is well" })).toEqual(good)
    expect(await probe("[fd78::2]:80", {})).toEqual(good)
  })

  test("is down by status and by body", async () => {
    expect(await probe(`${WEB}:80`, { path: "/broken" })).toEqual({
      ok: false,
      reason: "status 503, expected 200-399",
    })
    expect(await probe(`${WEB}:80`, { path: "/nothing-here" })).toMatchObject({ ok: false })
    expect(await probe(`${WEB}:80`, { expectBody: "^ill" })).toMatchObject({ ok: false })
  })

  test("is told by name over TLS and verified with the private authority", async () => {
    expect(
      await probe(`${WEB}:443`, {
        tls: true,
        tlsVerify: true,
        caFile: authority,
        host: "web.example",
        expectBody: "^web.example web.example$",
      }),
    ).toEqual(good)
  })

  test("is verified by address when no host is configured", async () => {
    const tls = { tls: true, tlsVerify: true }
    expect(await probe("[fd78::2]:443", { ...tls, caFile: authority })).toEqual(good)
    // Without a name nginx shows the default server, whose authority is the other one.
    expect(await probe(`${WEB}:443`, { ...tls, caFile: otherAuthority })).toEqual(good)
  })

  test("is not trusted with another authority, nor with the system's", async () => {
    const check = { tls: true, tlsVerify: true, host: "web.example" }
    expect(await probe(`${WEB}:443`, { ...check, caFile: otherAuthority })).toEqual({
      ok: false,
      reason: untrusted,
    })
    expect(await probe(`${WEB}:443`, check)).toEqual({ ok: false, reason: untrusted })
    expect(await probe(`${WEB}:443`, { ...check, tlsVerify: false })).toEqual(good)
  })

  test("answers 400 to plain HTTP on its TLS port, and TLS fails on the plain one", async () => {
    expect(await probe(`${WEB}:443`, {})).toEqual({
      ok: false,
      reason: "status 400, expected 200-399",
    })
    expect(await probe(`${WEB}:80`, { tls: true })).toEqual({
      ok: false,
      reason: "the server does not speak TLS, in the TLS handshake",
    })
  })
})

describe("states", () => {
  test("follow the server through death and return, by rise and fall", async () => {
    const target = checkTarget<HttpCheckConfig>(`${WEB}:80`, { ...GET, intervalMs: 100 })
    const watch = watchIn(edge, runner, [target])
    await watch.waitFor('"state":"up","reason":"status 200"')
    await nginx.stop()
    await watch.waitFor('"state":"down","reason":"connection refused, connecting"')
    const from = watch.mark()
    nginx = await startWeb()
    await watch.waitFor('"state":"up"', { from })
    await watch.stop()
  })

  test("go down in time when the network swallows everything, for every type", async () => {
    const timing = { intervalMs: 200, timeoutMs: 300, fall: 2 }
    const targets = [
      checkTarget<TcpCheckConfig>(`${WEB}:80`, { type: "tcp", ...timing }),
      checkTarget<HttpCheckConfig>("[fd78::2]:80", { ...GET, ...timing }),
    ]
    const watch = watchIn(edge, runner, targets)
    await watch.waitFor(/"state":"up"[\s\S]*"state":"up"/)
    await lan.drop({ from: edge })
    const cutAt = performance.now()
    const down = /("state":"down","reason":"no answer within 300 ms, connecting"[\s\S]*){2}/
    await watch.waitFor(down)
    // The first failure may begin 200 ms late, the second 400 ms after it (its place is taken).
    expect(performance.now() - cutAt).toBeLessThan(200 + 400 + 300 + 400)
    await lan.heal()
    await watch.waitFor(/"down"[\s\S]*"down"[\s\S]*"up"[\s\S]*"up"/)
    await watch.stop()
  })

  test("of 2000 targets are all known within a second, and none is lost", async () => {
    const targets = Array.from({ length: 2000 }, (_, index) => ({
      ...checkTarget<TcpCheckConfig>(`${WEB}:80`, { type: "tcp", intervalMs: 2000 }),
      id: `t${index}`,
    }))
    const startedAt = performance.now()
    const watch = watchIn(edge, runner, targets)
    const known = () => watch.stdout.split('"state":"up"').length - 1
    await eventually(() => known() === 2000, { what: "2000 targets to be up" })
    expect(performance.now() - startedAt).toBeLessThan(2_500)
    expect(watch.stdout).not.toContain('"state":"down"')
    await watch.stop()
  })
})

describe("reasons", () => {
  const refusal = (reason: string) => ({ ok: false, reason: `${reason}, connecting` })

  test("tell a server that refuses from a network without a way to it", async () => {
    await edge.ip("route add unreachable 198.51.100.0/24")
    const tcp = async (address: string) => {
      const target = checkTarget<TcpCheckConfig>(address, { type: "tcp" })
      return findingOf((await probeIn(edge, runner, { target, count: 1 }))[0])
    }
    const findings = await Promise.all([
      tcp(`${WEB}:81`),
      tcp("192.0.2.1:80"),
      tcp("198.51.100.1:80"),
      tcp("10.78.0.99:80"), // nobody answers ARP, which takes 3 s
    ])
    expect(findings).toEqual([
      refusal("connection refused"),
      refusal("network unreachable"),
      refusal("no route to host"),
      refusal("no route to host"),
    ])
  })

  test("never are the server's when this machine runs out of descriptors", async () => {
    const targets = Array.from({ length: 100 }, (_, index) => ({
      ...checkTarget<TcpCheckConfig>(`${WEB}:80`, { type: "tcp", timeoutMs: 300 }),
      id: `t${index}`,
    }))
    const cut = await lan.drop({ from: edge }) // so that each probe keeps its descriptor
    const limited = watchIn(edge, runner, targets, ["prlimit", "--nofile=40"])
    await eventually(() => limited.stdout.split('"state":"down"').length > 10, { what: "10 down" })
    expect(limited.stdout).not.toContain("refused")
    expect(limited.stdout.split('"state":"down"').length).toBeLessThan(90)
    await limited.stop()
    await cut.heal()
  })
})

describe("command", () => {
  test("runs with the server in its environment and nothing else of ours", async () => {
    const script = join(lab.directory, "check.sh")
    const line =
      'echo "$CAUSEWAY_SERVER_ADDR $CAUSEWAY_SERVER_PORT, $(env | grep -c PROXY) proxies"'
    writeFileSync(script, `#!/bin/sh\n${line}\n`)
    chmodSync(script, 0o755)
    const target = checkTarget<CommandCheckConfig>(`${WEB}:80`, {
      type: "command",
      command: [script],
    })
    const [result] = await probeIn(edge, runner, { target, count: 1 })
    expect(findingOf(result)).toEqual({ ok: true, reason: "10.78.0.2 80, 0 proxies" })
  })
})
