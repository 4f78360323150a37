/**
 * TLS on the compiled binary, asked by openssl, curl and Bun: the right certificate for each name,
 * sessions resumed on any thread and either edge, certificates of clients, replacement without a
 * cut, TLS towards servers. nginx stands behind, with TLS where that is the subject.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { copyFileSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { Edge } from "../lab/edge.ts"
import { startNginx } from "../lab/nginx.ts"
import { report } from "../lab/report.ts"
import { eventually } from "../lab/wait.ts"
import { type KeyPair, makeAuthority, makeCertificate, makeTicketKey } from "./certificates.ts"
import { ask, fieldOf, HttpConnection } from "./http-connection.ts"
import { startHttpLoad } from "./http-load.ts"
import { seenBy, startLiveServer } from "./http-servers.ts"
import { createHttpStage, type HttpStage, httpStatus, poolOf, startHttpEdge } from "./http-stage.ts"
import { nth } from "./stage.ts"
import { openWebSockets } from "./web-sockets.ts"

let stage: HttpStage
let edge: Edge
let authority: KeyPair
let stranger: KeyPair
const pairs = new Map<string, KeyPair>()

beforeAll(async () => {
  stage = await createHttpStage("http-tls", 2)
  const directory = join(stage.lab.directory, "tls")
  mkdirSync(directory)
  authority = await makeAuthority(directory, "authority")
  stranger = await makeAuthority(directory, "stranger")
  for (const [file, names, options] of CERTIFICATES) {
    pairs.set(file, await makeCertificate(authority, file, names, options))
  }
  pairs.set("forger", await makeCertificate(stranger, "forger", ["forger"]))
  makeTicketKey(join(directory, "ticket.key"))
  await startLiveServer(nth(stage.servers, 1), 8084)
  await startNginx(nth(stage.servers, 1), { http: secureServer() })
  edge = await startHttpEdge(stage.edge, config("1"))
  await startHttpEdge(stage.secondEdge, config("2"))
}, 60_000)

afterAll(() => stage?.lab.close())

const CERTIFICATES: readonly (readonly [
  file: string,
  names: readonly string[],
  options?: { readonly rsa?: boolean; readonly days?: number },
])[] = [
  ["default", ["default.k8s.com"]],
  ["exact", ["www.k8s.com", "k8s.com"]],
  ["wildcard", ["*.k8s.com"], { rsa: true }],
  ["ending", ["ending.example"], { days: 5 }],
  ["renewed", ["www.k8s.com", "k8s.com"]],
  ["inner", ["inner.k8s.com", "10.0.0.12"]],
  ["client", ["known client"]],
]

function pair(name: string): KeyPair {
  const found = pairs.get(name)
  if (found === undefined) throw new RangeError(`no certificate ${name}`)
  return found
}

interface Handshake {
  readonly exitCode: number
  readonly output: string
  /** Of the server's certificate. */
  readonly subject: string
  readonly version: string
  readonly isResumed: boolean
  readonly alpn: string
  readonly status: number
  readonly body: string
}

/** One request by `openssl s_client`. */
async function handshake(target: string, ...words: readonly string[]): Promise<Handshake> {
  const host = words[words.indexOf("-servername") + 1] ?? ""
  const stdin = `GET /web/x HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`
  const argv = ["openssl", "s_client", "-connect", target, "-ign_eof", ...words]
  const { exitCode, stdout, stderr } = await stage.client.run(argv, { stdin, timeoutMs: 10_000 })
  const output = `${stdout}\n${stderr}`
  const first = (pattern: RegExp) => pattern.exec(output)?.[1] ?? ""
  return {
    exitCode,
    output,
    subject: first(/^subject=.*CN = (.*)$/m),
    version: first(/^(?:New|Reused), (TLSv[\d.]+)/m),
    isResumed: /^Reused, /m.test(output),
    alpn: first(/^ALPN protocol: (.*)$/m),
    status: Number(first(/^HTTP\/1\.1 (\d{3}) /m)),
    body: output.slice(output.lastIndexOf("\r\n\r\n") + 4),
  }
}

function named(name: string): string[] {
  return ["-servername", name]
}

function curl(...words: readonly string[]) {
  const resolve = ["--connect-to", "::10.0.0.1:", "--cacert", authority.cert]
  return stage.client.run(["curl", "-sS", "--max-time", "30", ...resolve, ...words])
}

describe("certificates by name", () => {
  test.each([
    ["www.k8s.com", "www.k8s.com"],
    ["k8s.com", "www.k8s.com"],
    ["WWW.K8S.com", "www.k8s.com"],
    ["api.k8s.com", "*.k8s.com"],
    ["a.b.k8s.com", "default.k8s.com"],
    ["elsewhere.example", "default.k8s.com"],
    ["ending.example", "ending.example"],
  ])("%s gets that of %s", async (name, subject) => {
    const answer = await handshake("10.0.0.1:443", ...named(name))
    expect([answer.subject, answer.status]).toEqual([subject, 200])
  })

  test("without a name it is the first", async () => {
    const answer = await handshake("10.0.0.1:443", "-noservername")
    expect(answer.subject).toBe("default.k8s.com")
  })

  test("curl verifies it", async () => {
    for (const host of ["k8s.com", "www.k8s.com", "any.k8s.com"]) {
      const { stdout, stderr } = await curl(`https://${host}/web/x`)
      expect(stderr).toBe("")
      expect(seenBy({ body: Buffer.from(stdout) })).toMatchObject({
        host,
        "x-forwarded-proto": "https",
        "x-forwarded-port": "443",
        forwarded: `for=10.0.0.9;proto=https;host=${host}`,
      })
    }
    expect((await curl("https://elsewhere.example/")).exitCode).toBe(60)
  })
})

describe("versions and protocols", () => {
  test.each([
    ["-tls1_3", "TLSv1.3"],
    ["-tls1_2", "TLSv1.2"],
  ])("%s", async (option, version) => {
    const answer = await handshake("10.0.0.1:443", option, ...named("k8s.com"))
    expect([answer.version, answer.status]).toEqual([version, 200])
    expect((await handshake("10.0.0.1:445", option, ...named("k8s.com"))).version).toBe(
      version === "TLSv1.3" ? version : "",
    )
  })

  test("older ones are refused", async () => {
    const words = ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0", ...named("k8s.com")]
    const { exitCode, output } = await handshake("10.0.0.1:443", ...words)
    expect(exitCode).toBe(1)
    expect(output).toContain("alert protocol version")
  })

  test("ALPN offers http/1.1", async () => {
    const words = ["-alpn", "h2,http/1.1", ...named("k8s.com")]
    expect((await handshake("10.0.0.1:443", ...words)).alpn).toBe("http/1.1")
    const { output } = await handshake("10.0.0.1:443", "-alpn", "h2", ...named("k8s.com"))
    expect(output).toContain("no application protocol")
  })
})

describe("redirect = true", () => {
  test.each([
    ["k8s.com", "/a/b?c=d", "https://k8s.com/a/b?c=d"],
    ["k8s.com:80", "/", "https://k8s.com/"],
  ])("http://%s%s → %s", async (host, path, location) => {
    const answer = await ask(await stage.door("10.0.0.1:80"), { host, path })
    expect([answer.status, fieldOf(answer, "location")]).toEqual([308, location])
  })

  test("curl follows it, with its body", async () => {
    const words = [
      "-L",
      "--connect-to",
      "k8s.com:80:10.0.0.1:80",
      "-d",
      "hello",
      "-w",
      "%{http_code}",
    ]
    const { stdout } = await curl(...words, "http://k8s.com/web/x")
    expect(stdout).toContain("request: POST /web/x HTTP/1.1\n")
    expect(stdout.slice(-3)).toBe("200")
  })
})

describe("resumption", () => {
  test.each(["-tls1_3", "-tls1_2"])(
    "%s: on both threads, and on the other edge",
    async (option) => {
      const session = join(stage.lab.directory, `session${option}`)
      const words = [option, ...named("k8s.com")]
      const first = await handshake("10.0.0.1:443", "-sess_out", session, ...words)
      expect([first.isResumed, first.status]).toEqual([false, 200])
      const resumed = { same: 0, other: 0 }
      for (let at = 0; at < 12; at += 1) {
        const again = await handshake("10.0.0.1:443", "-sess_in", session, ...words)
        const there = await handshake("10.0.0.2:443", "-sess_in", session, ...words)
        expect([again.status, there.status]).toEqual([200, 200])
        resumed.same += Number(again.isResumed)
        resumed.other += Number(there.isResumed)
      }
      report(`resumption ${option}`, {
        "of 12 on the same edge": resumed.same,
        "on the other": resumed.other,
      })
      expect(resumed).toEqual({ same: 12, other: 12 })
    },
  )

  test("goes on after a reload", async () => {
    const session = join(stage.lab.directory, "session-reload")
    await handshake("10.0.0.1:443", "-sess_out", session, ...named("k8s.com"))
    const changed = `${config("1")}${route("/new", "respond = 200")}`
    expect(await edge.reload(changed)).toMatchObject({ exitCode: 0 })
    const again = await handshake("10.0.0.1:443", "-sess_in", session, ...named("k8s.com"))
    expect(again.isResumed).toBe(true)
    expect(await edge.reload(config("1"))).toMatchObject({ exitCode: 0 })
  })
})

describe("certificates of clients", () => {
  const shown = (name: string) => ["-cert", pair(name).cert, "-key", pair(name).key]

  test.each(["10.0.0.1:443", "10.0.0.1:444"])(
    "%s: a good one passes, with its subject",
    async (target) => {
      const answer = await handshake(target, ...named("k8s.com"), ...shown("client"))
      expect(answer.status).toBe(200)
      expect(answer.body).toMatch(/x-ssl-client-s-dn: .*CN ?= ?known client/)
    },
  )

  test("one of a strange authority is refused", async () => {
    for (const target of ["10.0.0.1:443", "10.0.0.1:444"]) {
      for (const version of ["-tls1_2", "-tls1_3"]) {
        const answer = await handshake(target, version, ...named("k8s.com"), ...shown("forger"))
        expect(answer.status).toBe(0)
        expect(answer.output).toMatch(/alert (unknown ca|bad certificate)/)
      }
    }
  })

  test("without one: where it is optional, yes; where it is required, no", async () => {
    const optional = await handshake("10.0.0.1:443", ...named("k8s.com"))
    expect(optional.status).toBe(200)
    expect(optional.body).toMatch(/x-ssl-client-s-dn: \n/)
    const required = await handshake("10.0.0.1:444", ...named("k8s.com"))
    expect(required.status).toBe(0)
    expect(required.output).toMatch(/alert (certificate required|handshake failure)/)
  })

  test("is not forgotten, and not gained, by resumption", async () => {
    for (const [name, words, subject] of [
      ["shown", shown("client"), /x-ssl-client-s-dn: .*CN ?= ?known client/],
      ["none", [], /x-ssl-client-s-dn: \n/],
    ] as const) {
      const session = join(stage.lab.directory, `session-${name}`)
      await handshake("10.0.0.1:443", "-sess_out", session, ...named("k8s.com"), ...words)
      const again = await handshake("10.0.0.1:443", "-sess_in", session, ...named("k8s.com"))
      expect([again.isResumed, again.status]).toEqual([true, 200])
      expect(again.body).toMatch(subject)
    }
    // A session of a listener that asks for none does not open one that does.
    const session = join(stage.lab.directory, "session-elsewhere")
    await handshake("10.0.0.1:445", "-sess_out", session, ...named("k8s.com"))
    const refused = await handshake("10.0.0.1:444", "-sess_in", session, ...named("k8s.com"))
    expect(refused.status).toBe(0)
  })
})

describe("certificates that are replaced", () => {
  const serialOf = async (target = "10.0.0.1:443") => {
    const { output } = await handshake(target, ...named("k8s.com"))
    const pem = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/.exec(output)?.[0] ?? ""
    return stage.client.exec(["openssl", "x509", "-noout", "-serial"], { stdin: pem })
  }

  /** As a tool that renews does it: each file is replaced by a rename. */
  function install(from: string): void {
    for (const end of ["cert", "key"] as const) {
      const target = pair("exact")[end]
      copyFileSync(pair(from)[end], `${target}.new`)
      renameSync(`${target}.new`, target)
    }
  }

  test("by a reload, and nobody is cut off", async () => {
    const old = {
      cert: join(stage.lab.directory, "old.crt"),
      key: join(stage.lab.directory, "old.key"),
    }
    copyFileSync(pair("exact").cert, old.cert)
    copyFileSync(pair("exact").key, old.key)
    pairs.set("old", old)
    const options = { tls: true, paths: ["/web/x"], connections: 8 }
    const load = await startHttpLoad(stage.client, "10.0.0.1:443", options)
    const before = await serialOf()
    await load.requests(200)
    install("renewed")
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
    const after = await serialOf()
    expect(after).not.toBe(before)
    await load.requests(200)
    const books = await load.stop()
    report("a certificate replaced under load", {
      requests: books.requests,
      failed: JSON.stringify(books.failed),
      reopened: books.reopened,
    })
    expect([books.failed, books.reopened]).toEqual([{}, 0])
  })

  test("40 times while new clients come all the time: each gets its answer", async () => {
    const options = { tls: true, paths: ["/web/x"], intervalMs: 1 }
    const fresh = { ...options, connections: 4, closes: true }
    const loads = [
      await startHttpLoad(stage.client, "10.0.0.1:443", options),
      await startHttpLoad(stage.client, "10.0.0.1:443", fresh),
      await startHttpLoad(stage.client, "10.0.0.1:82", { paths: ["/good", "/known"] }),
    ]
    for (const load of loads) await load.requests(50)
    for (let round = 0; round < 40; round += 1) {
      install(round % 2 === 0 ? "renewed" : "old")
      expect(await edge.reload()).toMatchObject({ exitCode: 0 })
    }
    const [kept, new_, inside] = await Promise.all(loads.map((load) => load.stop()))
    report("40 reloads with certificates replaced", {
      requests: kept?.requests ?? 0,
      failed: JSON.stringify(kept?.failed),
      handshakes: new_?.requests ?? 0,
      "failed of those": JSON.stringify(new_?.failed),
      "over TLS to servers": inside?.requests ?? 0,
      "failed of them": JSON.stringify(inside?.failed),
    })
    expect([kept?.failed, new_?.failed, inside?.failed]).toEqual([{}, {}, {}])
    expect(kept?.reopened).toBe(0)
    install("renewed")
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
  })

  test("by the file alone", async () => {
    const before = await serialOf()
    const startedAt = performance.now()
    install("old")
    await eventually(async () => (await serialOf()) !== before, {
      timeoutMs: 20_000,
      intervalMs: 200,
      what: "the certificate of the file",
    })
    report("a certificate replaced as a file", { "served after ms": performance.now() - startedAt })
  })

  test("a file that is broken changes nothing, and is named", async () => {
    const before = await serialOf()
    const { key } = pair("exact")
    const good = readFileSync(key)
    writeFileSync(key, readFileSync(pair("inner").key))
    const { exitCode, stderr } = await edge.reload()
    expect(exitCode).toBe(1)
    expect(stderr).toContain(key)
    expect(await serialOf()).toBe(before)
    writeFileSync(key, good)
    expect(await edge.reload()).toMatchObject({ exitCode: 0 })
  })

  test("what ends soon is in status, metrics and warnings", async () => {
    const { certificates } = await httpStatus(edge, "web")
    const ending = certificates.find(({ names }) => names.includes("ending.example"))
    expect(ending?.expires_in_days).toBeWithin(3, 6)
    const labels = { http: "web", file: pair("ending").cert }
    expect(await edge.metric("causeway_tls_certificate_expiry_days", labels)).toBeWithin(3, 6)
    const { warnings } = (await edge.status()).config
    expect(warnings.join("\n")).toContain(pair("ending").cert)
  })
})

describe("those who speak something else, or nothing", () => {
  test("200 plain-text, broken and silent clients disturb nobody", async () => {
    const options = { tls: true, paths: ["/web/x"], connections: 8 }
    const load = await startHttpLoad(stage.client, "10.0.0.1:443", options)
    await load.requests(200)
    const door = await stage.door("10.0.0.1:443")
    const sent: readonly (string | Uint8Array)[] = [
      "GET / HTTP/1.1\r\nHost: k8s.com\r\n\r\n",
      crypto.getRandomValues(new Uint8Array(500)),
      // A record of a handshake that says it is longer than it ever will be.
      Uint8Array.from([0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc, 3, 3]),
      "",
    ]
    const tookMs: number[] = []
    const strangers = Array.from({ length: 200 }, async (_, at) => {
      using connection = await HttpConnection.open(door)
      const startedAt = performance.now()
      connection.send(sent[at % sent.length] ?? "")
      await connection.ended()
      tookMs.push(performance.now() - startedAt)
    })
    await Promise.all(strangers)
    const { requests, failed, reopened, maxMs } = await load.stop()
    report("200 strange clients", {
      "last gone after ms": Math.max(...tookMs),
      "handshake_timeout ms": 1_500,
      "others' requests": requests,
      "max ms": maxMs,
    })
    expect([failed, reopened]).toEqual([{}, 0])
    expect(Math.max(...tookMs)).toBeLessThan(4_000)
    const { handshake_failed: failures = 0 } = (await httpStatus(edge, "web")).ended
    expect(failures).toBeGreaterThanOrEqual(200)
    await edge.waitStatus(({ threads }) => threads.sessions === 0)
  })

  test("plain text to the TLS port of a listener is not a request", async () => {
    const { exitCode } = await curl("http://k8s.com:443/web/x")
    expect(exitCode).not.toBe(0)
  })
})

describe("bodies and tunnels", () => {
  const MIB = 1024 * 1024

  test("large ones arrive as they are, up and down", async () => {
    const source = join(stage.client.directory, "source")
    const bytes = new Uint8Array(24 * MIB + 3)
    for (let at = 0; at < bytes.length; at += 65_536) {
      crypto.getRandomValues(bytes.subarray(at, at + 65_536))
    }
    writeFileSync(source, bytes)
    const fetched = join(stage.client.directory, "fetched")
    const url = "https://k8s.com/web/files/large"
    const startedAt = performance.now()
    const up = await curl("-T", source, "-o", "/dev/null", "-w", "%{http_code}", url)
    const uploadedMs = performance.now() - startedAt
    expect(up).toMatchObject({ exitCode: 0, stdout: "201", stderr: "" })
    expect(await curl("-o", fetched, url)).toMatchObject({ exitCode: 0, stderr: "" })
    const fetchedMs = performance.now() - startedAt - uploadedMs
    report("24 MiB over TLS", { "upload ms": uploadedMs, "download ms": fetchedMs })
    expect(readFileSync(fetched).equals(bytes)).toBe(true)
    expect(readFileSync(join(nth(stage.web, 0).root, "large")).equals(bytes)).toBe(true)
  })

  test("a slow reader holds up only itself, and costs little", async () => {
    const before = await edge.residentKib()
    const readers = Array.from({ length: 20 }, () => {
      const words = ["--connect-to", "::10.0.0.1:", "--limit-rate", "100k", "-k", "-o", "/dev/null"]
      const url = "https://k8s.com/web/files/large"
      return stage.client.spawn(["curl", "-sS", ...words, url], { name: "reader" })
    })
    await eventually(async () => (await httpStatus(edge, "web")).connections >= 20)
    const load = await startHttpLoad(stage.client, "10.0.0.1:443", { tls: true, paths: ["/web/x"] })
    await load.requests(300)
    const { failed, maxMs } = await load.stop()
    const growth = (await edge.residentKib()) - before
    await Promise.all(readers.map((reader) => reader.stop()))
    report("20 slow readers over TLS", { "growth KiB": growth, "others' max ms": maxMs })
    expect(failed).toEqual({})
    expect(growth).toBeLessThan(40 * 1024)
  })

  test("WebSockets", async () => {
    const sockets = await openWebSockets(stage.client, "wss://10.0.0.1/live/socket", { sockets: 5 })
    expect(await sockets.echo()).toEqual({ open: 5, answered: 5 })
    const { ended, goodbyes } = await sockets.stop()
    expect([ended, new Set(goodbyes)]).toEqual([[], new Set(["4000 as you wish"])])
  })

  test("HTTP/1.0 and an upload that ends early end cleanly", async () => {
    const words = ["-0", "-w", "%{http_code}", "https://k8s.com/web/x"]
    const { stdout, stderr } = await curl(...words)
    expect([stdout.slice(-3), stderr]).toEqual(["200", ""])
  })
})

describe("TLS towards servers", () => {
  const asking = async (path: string) => {
    const answer = await ask(await stage.door("10.0.0.1:82"), { path })
    return { ...answer, text: answer.body.toString(), error: fieldOf(answer, "proxy-status") ?? "" }
  }

  test("is verified, names the server, and is kept", async () => {
    using connection = await HttpConnection.open(await stage.door("10.0.0.1:82"))
    const serials = new Set<string>()
    for (let at = 0; at < 5; at += 1) {
      const { status, body } = await connection.ask({ path: "/good" })
      expect(status).toBe(200)
      expect(body.toString()).toContain("name: inner.k8s.com\nclient: \n")
      serials.add(/connection: (\d+)/.exec(body.toString())?.[1] ?? "")
    }
    expect(serials.size).toBe(1)
  })

  test("by address, where no name is given", async () => {
    expect(await asking("/by-address")).toMatchObject({ status: 200 })
  })

  test("with a certificate of the edge's own", async () => {
    const { status, text } = await asking("/known")
    expect(status).toBe(200)
    expect(text).toMatch(/client: .*CN=known client/)
  })

  test.each([
    ["/wrong-name", "tls_certificate_error"],
    ["/wrong-authority", "tls_certificate_error"],
    ["/plain", "tls_protocol_error"],
  ])("%s: 502 %s", async (path, error) => {
    const answer = await asking(path)
    expect(answer.status).toBe(502)
    expect(answer.error).toContain(`error=${error}`)
  })

  test("unverified where that is configured", async () => {
    expect(await asking("/unverified")).toMatchObject({ status: 200 })
  })
})

test("access lines name the version", async () => {
  await handshake("10.0.0.1:443", "-tls1_2", ...named("k8s.com"))
  const log = join(stage.lab.directory, "access-1.log")
  await eventually(() => / TLSv1\.2 finished$/m.test(readFileSync(log, "utf8")))
  expect(readFileSync(log, "utf8")).toMatch(/ TLSv1\.3 finished$/m)
})

function route(path: string, keys: string): string {
  return `[[http.route]]\npath = "${path}"\n${keys}\n`
}

function secureServer(): string {
  const { cert, key } = pair("inner")
  const seen = "name: $ssl_server_name\\nclient: $ssl_client_s_dn\\nconnection: $connection\\n"
  return `
    server {
      listen 0.0.0.0:8443 ssl;
      ssl_certificate ${cert};
      ssl_certificate_key ${key};
      ssl_client_certificate ${authority.cert};
      ssl_verify_client optional;
      location / { return 200 "${seen}"; }
    }`
}

function tlsTable(more: string): string {
  const files = ["default", "exact", "wildcard", "ending"].map((name) => {
    const { cert, key } = pair(name)
    return `{ cert = "${cert}", key = "${key}" }`
  })
  const ticket = join(stage.lab.directory, "tls", "ticket.key")
  return `[http.tls]
certificates = [${files.join(", ")}]
session_ticket_key_file = "${ticket}"
${more}`
}

function config(lastByte: string): string {
  const at = (port: number) => `{ address = "10.0.0.${lastByte}:${port}", tls = true }`
  const secure = (name: string, keys: string) =>
    poolOf(name, [2], { port: name === "plain" ? 8080 : 8443, more: `[pool.tls]\n${keys}` })
  const trust = `ca_file = "${authority.cert}"`
  const known = pair("client")
  const routes = `${route("/web", 'pool = "web"')}
${route("/web/files", 'pool = "web"\nrewrite = "/files"')}
${route("/live", 'pool = "live"\nrewrite = "/"')}`
  const clients = (mode: string) =>
    `client_certificates = "${mode}"\nclient_ca_file = "${authority.cert}"`
  return `
[node]
threads = 2
[log]
access = "${join(stage.lab.directory, `access-${lastByte}.log`)}"
${poolOf("web", [1])}
${poolOf("live", [2], { port: 8084 })}
${secure("good", `${trust}\nserver_name = "inner.k8s.com"`)}
${secure("by-address", trust)}
${secure("known", `${trust}\ncert = "${known.cert}"\nkey = "${known.key}"`)}
${secure("wrong-name", `${trust}\nserver_name = "outer.k8s.com"`)}
${secure("wrong-authority", `ca_file = "${stranger.cert}"\nserver_name = "inner.k8s.com"`)}
${secure("plain", trust)}
${secure("unverified", "verify = false")}
[[http]]
name = "inside"
bind = ["10.0.0.${lastByte}:82"]
${["good", "by-address", "known", "wrong-name", "wrong-authority", "plain", "unverified"]
  .map((name) => route(`/${name}`, `pool = "${name}"`))
  .join("\n")}
[[http]]
name = "required"
bind = [${at(444)}]
${tlsTable(clients("required"))}
${routes}
[[http]]
name = "modern"
bind = [${at(445)}]
${tlsTable('min_version = "1.3"')}
${routes}
[[http]]
name = "web"
bind = ["10.0.0.${lastByte}:80", ${at(443)}]
handshake_timeout = "1500ms"
${tlsTable(`redirect = true\n${clients("optional")}`)}
${routes}
`
}
