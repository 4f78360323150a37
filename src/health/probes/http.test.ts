import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
  type Server,
  type Socket,
} from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createServer as createTlsServer, type TLSSocket } from "node:tls"
import type { HttpCheckConfig } from "../../config/config.ts"
import type { Address, Endpoint } from "../../net/address.ts"
import {
  AUTHORITY,
  OTHER_AUTHORITY,
  SERVER_CERTIFICATE,
  SERVER_KEY,
} from "./fixtures/certificates.ts"
import { encodeRequest, probeHttp } from "./http.ts"
import { type ProbeTarget, runProbe } from "./probe.ts"

const LOOPBACK = "127.0.0.1" as Address
const CHECK: HttpCheckConfig = {
  type: "http",
  intervalMs: 1000,
  timeoutMs: 1000,
  rise: 1,
  fall: 1,
  port: undefined,
  method: "GET",
  path: "/",
  host: "",
  expectStatus: [{ from: 200, to: 399 }],
  expectBody: "",
  tls: false,
  tlsVerify: false,
  caFile: "",
}

let server: Server | undefined
afterEach(() => {
  server?.close()
})

/** What one check sees, and what the server saw: the request, and the TLS server name. */
async function check(
  endpoint: Endpoint,
  overrides: Partial<HttpCheckConfig>,
  more: Pick<ProbeTarget, "proxyProtocol"> = {},
): Promise<{ ok: boolean; reason: string }> {
  const { ok, reason } = await runProbe(
    probeHttp,
    { name: "web", check: { ...CHECK, ...overrides }, address: endpoint, env: {}, ...more },
    { signal: new AbortController().signal, phase: "" },
  )
  return { ok, reason }
}

function listen(started: Server): Promise<Endpoint> {
  server = started
  return new Promise((resolve) => {
    started.listen({ port: 0, host: LOOPBACK }, () => {
      const address = started.address()
      const port = typeof address === "object" ? (address?.port ?? 0) : 0
      resolve({ address: LOOPBACK, port })
    })
  })
}

const requests: string[] = []

function answer(response: string) {
  return (socket: Socket) => {
    socket.on("error", () => {})
    let request = ""
    socket.on("data", (bytes) => {
      request += bytes.toString("latin1")
      if (!request.endsWith("\r\n\r\n")) return
      requests.push(request)
      socket.end(response)
    })
  }
}

describe("request", () => {
  test("encodeRequest() is one request on a connection of its own", () => {
    expect(encodeRequest({ method: "GET", path: "/healthz?full=1" }, "web.example")).toBe(
      "GET /healthz?full=1 HTTP/1.1\r\nHost: web.example\r\nUser-Agent: causeway-check\r\n" +
        "Accept: */*\r\nConnection: close\r\n\r\n",
    )
  })

  const unsafe: [string, string, string][] = [
    ["GET", "/ HTTP/1.1", "a"],
    ["GET", "/\r\nX: y", "a"],
    ["GET\n", "/", "a"],
    ["GET", "/", "a\r\nb"],
  ]
  test.each(unsafe)("encodeRequest() refuses %p %p %p", (method, path, host) => {
    expect(() => encodeRequest({ method, path }, host)).toThrow("control character")
  })

  test("probeHttp() names address and port when no host is configured", async () => {
    const endpoint = await listen(createServer(answer("HTTP/1.1 200 OK\r\n\r\n")))
    await check(endpoint, {})
    expect(requests.at(-1)).toContain(`\r\nHost: 127.0.0.1:${endpoint.port}\r\n`)
  })

  test("probeHttp() asks the check's own port when it has one", async () => {
    const endpoint = await listen(createServer(answer("HTTP/1.1 200 OK\r\n\r\n")))
    expect(await check({ address: LOOPBACK, port: 1 }, { port: endpoint.port })).toEqual({
      ok: true,
      reason: "status 200",
    })
  })

  test("probeHttp() goes to the server itself when a proxy is in the environment", async () => {
    const endpoint = await listen(createServer(answer("HTTP/1.1 204 No Content\r\n\r\n")))
    const saved = process.env["HTTP_PROXY"]
    process.env["HTTP_PROXY"] = "http://127.0.0.1:1"
    try {
      expect(await check(endpoint, {})).toEqual({ ok: true, reason: "status 204" })
    } finally {
      if (saved === undefined) delete process.env["HTTP_PROXY"]
      else process.env["HTTP_PROXY"] = saved
    }
  })
})

describe("judgement", () => {
  const ok = (reason: string) => ({ ok: true, reason })
  const bad = (reason: string) => ({ ok: false, reason })
  const page = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nall is well\n"
  const cases: [string, string, Partial<HttpCheckConfig>, { ok: boolean; reason: string }][] = [
    [
      "a redirect, which it does not follow",
      "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
      {},
      ok("status 302"),
    ],
    ["an error status", "HTTP/1.1 503 No\r\n\r\n", {}, bad("status 503, expected 200-399")],
    [
      "one of several ranges",
      "HTTP/1.1 404 No\r\n\r\n",
      {
        expectStatus: [
          { from: 200, to: 200 },
          { from: 401, to: 404 },
        ],
      },
      ok("status 404"),
    ],
    [
      "none of several ranges",
      "HTTP/1.1 201 Made\r\n\r\n",
      {
        expectStatus: [
          { from: 200, to: 200 },
          { from: 401, to: 404 },
        ],
      },
      bad("status 201, expected 200, 401-404"),
    ],
    ["a body that matches", page, { expectBody: "^all (is|was) well" }, ok("status 200")],
    [
      "a body that does not match",
      page,
      { expectBody: "illness" },
      bad("status 200, but the body does not match illness"),
    ],
    [
      "a broken expression",
      page,
      { expectBody: "(" },
      bad("Invalid regular expression: missing )"),
    ],
    [
      "a body that ends early",
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nwell",
      { expectBody: "well" },
      bad("closed within the body"),
    ],
    [
      "HEAD, whose length is not followed by a body",
      page.slice(0, -12),
      { method: "HEAD", expectBody: "well" },
      bad("status 200, but the body does not match well"),
    ],
  ]
  test.each(cases)("probeHttp() judges %s", async (_, response, overrides, finding) => {
    const endpoint = await listen(createServer(answer(response)))
    expect(await check(endpoint, overrides)).toEqual(finding)
  })

  test("probeHttp() finds a word within 64 KiB and not behind", async () => {
    const body = `${"x".repeat(64 * 1024 - 4)}well`
    const endpoint = await listen(createServer(answer(`HTTP/1.1 200 OK\r\n\r\n${body}`)))
    expect(await check(endpoint, { expectBody: "well" })).toEqual(ok("status 200"))
    server?.close()
    const other = await listen(createServer(answer(`HTTP/1.1 200 OK\r\n\r\nx${body}`)))
    expect((await check(other, { expectBody: "well" })).ok).toBe(false)
  })

  test("probeHttp() leaves after the head when the body does not matter", async () => {
    const endpoint = await listen(
      createServer((socket) => {
        socket.on("error", () => {})
        socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\n\r\nand then nothing more"))
      }),
    )
    expect(await check(endpoint, {})).toEqual(ok("status 200"))
  })
})

function seen(reason: string) {
  return { ok: true, reason }
}

describe("a server that wants the PROXY protocol", () => {
  /** Takes exactly `header` off each connection, and passes the rest on to `behind`. */
  async function demanding(header: string, behind: Server): Promise<Endpoint> {
    await new Promise<void>((resolve) => behind.listen(0, LOOPBACK, resolve))
    const { port } = behind.address() as AddressInfo
    return listen(
      createServer((socket) => {
        socket.on("error", () => {})
        socket.once("data", (bytes: Buffer) => {
          if (bytes.toString("latin1", 0, header.length) !== header) return socket.destroy()
          const server = connectTcp(port, LOOPBACK)
          server.on("error", () => {})
          server.write(bytes.subarray(header.length))
          socket.pipe(server).pipe(socket)
          socket.on("close", () => behind.close())
          return undefined
        })
      }),
    )
  }

  const LOCAL = Buffer.from("0d0a0d0a000d0a515549540a20000000", "hex").toString("latin1")

  test.each([
    ["v1", "PROXY UNKNOWN\r\n"],
    ["v2", LOCAL],
  ] as const)("is told by %s that nobody is spoken for", async (proxyProtocol, header) => {
    const endpoint = await demanding(
      header,
      createServer(answer("HTTP/1.1 204 No Content\r\n\r\n")),
    )
    expect(await check(endpoint, {}, { proxyProtocol })).toEqual(seen("status 204"))
  })

  test("is told so before TLS", async () => {
    const respond = answer("HTTP/1.1 200 OK\r\n\r\n")
    const behind = createTlsServer({ key: SERVER_KEY, cert: SERVER_CERTIFICATE }, respond)
    const endpoint = await demanding(LOCAL, behind)
    const target = { proxyProtocol: "v2" } as const
    expect(await check(endpoint, { tls: true }, target)).toEqual(seen("status 200"))
  })

  test("is told nothing on another port", async () => {
    const endpoint = await listen(createServer(answer("HTTP/1.1 200 OK\r\n\r\n")))
    const other = { address: LOOPBACK, port: 1 }
    const target = { proxyProtocol: "v2" } as const
    expect(await check(other, { port: endpoint.port }, target)).toEqual(seen("status 200"))
  })
})

describe("TLS", () => {
  const names: (string | false)[] = []
  const directory = mkdtempSync(join(tmpdir(), "causeway-http-test-"))
  const caFile = join(directory, "ca.pem")
  const otherFile = join(directory, "other.pem")
  const emptyFile = join(directory, "empty.pem")

  beforeAll(() => {
    writeFileSync(caFile, AUTHORITY)
    writeFileSync(otherFile, OTHER_AUTHORITY)
    writeFileSync(emptyFile, "")
  })
  afterAll(() => rmSync(directory, { recursive: true }))

  function tlsEndpoint(): Promise<Endpoint> {
    const respond = answer("HTTP/1.1 200 OK\r\n\r\n")
    return listen(
      createTlsServer({ key: SERVER_KEY, cert: SERVER_CERTIFICATE }, (socket: TLSSocket) => {
        names.push((socket as TLSSocket & { servername: string | false }).servername)
        respond(socket)
      }),
    )
  }

  const good = { ok: true, reason: "status 200" }
  const refused = (why: string) => ({ ok: false, reason: `${why}, in the TLS handshake` })
  const cases: [
    string,
    Partial<HttpCheckConfig>,
    { ok: boolean; reason: string },
    string | false,
  ][] = [
    ["any certificate when it does not verify", { tlsVerify: false }, good, false],
    ["the address when no host is configured", { tlsVerify: true, caFile }, good, false],
    [
      "the address when the host is one",
      { tlsVerify: true, caFile, host: "127.0.0.1:443" },
      good,
      false,
    ],
    [
      "the host when it is a name",
      { tlsVerify: true, caFile, host: "web.example:8443" },
      good,
      "web.example",
    ],
  ]
  test.each(cases)("probeHttp() accepts %s", async (_, overrides, finding, serverName) => {
    const endpoint = await tlsEndpoint()
    expect(await check(endpoint, { tls: true, ...overrides })).toEqual(finding)
    expect(names.at(-1) || false).toBe(serverName)
  })

  const rejects: [string, Partial<HttpCheckConfig>, { ok: boolean; reason: string }][] = [
    ["another authority", { caFile: otherFile }, refused("unable to verify the first certificate")],
    [
      "an authority the system does not know",
      {},
      refused("unable to verify the first certificate"),
    ],
    [
      "another name",
      { caFile, host: "db.example" },
      refused(
        "Hostname/IP does not match certificate's altnames: Host: db.example. is not in the " +
          "cert's altnames: DNS:web.example, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
      ),
    ],
    [
      "an authority file without a certificate",
      { caFile: emptyFile },
      { ok: false, reason: `${emptyFile} holds no certificate` },
    ],
    [
      "an authority file that is not there",
      { caFile: "/nonexistent/ca.pem" },
      { ok: false, reason: "ENOENT: no such file or directory, open '/nonexistent/ca.pem'" },
    ],
  ]
  test.each(rejects)("probeHttp() refuses %s", async (_, overrides, finding) => {
    const endpoint = await tlsEndpoint()
    expect(await check(endpoint, { tls: true, tlsVerify: true, ...overrides })).toEqual(finding)
  })
})
