import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { LiveConnection } from "../connection/live-connection.ts"
import { PlainTransport } from "../connection/transport.ts"
import { ECONNRESET } from "../linux/errno.ts"
import type { Address } from "../net/address.ts"
import { encodeProxyV1, encodeProxyV2, type ProxiedEndpoints } from "../wire/proxy-protocol.ts"
import type { HttpListenerSettings, SecureUser } from "./driver.ts"
import { Harness, LOOPBACK, type Peer, type Server } from "./fixtures/harness.ts"

const ASK = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const ENDPOINTS: ProxiedEndpoints = {
  source: { address: "192.0.2.1" as Address, port: 40_000 },
  destination: { address: "198.51.100.1" as Address, port: 8443 },
}
const V1 = text(encodeProxyV1(ENDPOINTS))
const V2 = text(encodeProxyV2(ENDPOINTS))

let harness: Harness
let server: Server

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  harness.pool([server.endpoint])
})

afterEach(() => {
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
})

/** A listener whose clients all have to send the header. */
function connect(settings: Partial<HttpListenerSettings> = {}): Peer {
  return harness.connect(harness.listen({ sendsProxyHeader: () => true, ...settings }))
}

/** Serves the client's one request; returns what the server was told. */
function serve(client: Peer): string[] {
  const peer = server.accept()
  const head = peer.takeHead()
  peer.send(OK)
  client.take(OK)
  client.close()
  expect(harness.balance()).toEqual([])
  return head
}

describe("a proxy that sends the PROXY protocol", () => {
  test.each([
    ["version 1", V1],
    ["version 2", V2],
  ])("speaks for its client: %s", (_what, header) => {
    const client = connect()
    client.send(header + ASK)
    const head = serve(client)
    expect(head).toContain("X-Forwarded-For: 192.0.2.1")
    expect(head).toContain("X-Real-IP: 192.0.2.1")
    expect(head).toContain("X-Forwarded-Port: 8443")
    expect(harness.records).toMatchObject([{ client: "192.0.2.1", reason: "finished" }])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })

  test("may send the header apart from the request, and in pieces", () => {
    const client = connect()
    client.sendInPieces(V2, 5)
    expect(harness.clients().length).toBe(1)
    client.sendInPieces(ASK, 5)
    expect(serve(client)).toContain("X-Forwarded-For: 192.0.2.1")
  })

  test("may speak for itself", () => {
    const client = connect()
    client.send(text(encodeProxyV2(undefined)) + ASK)
    expect(serve(client)).toContain("X-Forwarded-For: 127.0.0.1")
  })

  test("is asked for it before a TLS handshake, which sees nothing of it", () => {
    const began: { fd: number; user: SecureUser }[] = []
    const client = connect({ secure: { begin: (fd, user) => began.push({ fd, user }) } })
    client.send(V2)
    const { fd, user } = harness.until("the handshake to begin", () => began[0])
    client.send(ASK)
    user.secured(new PlainTransport(fd))
    expect(serve(client)).toContain("X-Forwarded-For: 192.0.2.1")
  })

  test("counts once when the handshake behind it fails", () => {
    const client = connect({
      secure: {
        begin: (fd, user) => {
          user.failed("not_tls", "")
          new PlainTransport(fd).close("reset")
        },
      },
    })
    client.send(V2)
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.reasons()).toEqual({ handshake_failed: 1 })
    expect(harness.unbalanced()).toEqual([])
    expect(harness.logged).toMatchObject([{ fields: { client: "192.0.2.1" } }])
  })

  test("is reset when it sends none", () => {
    const client = connect()
    client.send(ASK)
    expect(client.untilEnd()).toEqual({ text: "", how: -ECONNRESET })
    expect(harness.reasons()).toEqual({ bad_proxy_header: 1 })
    expect(harness.unbalanced()).toEqual([])
    expect(harness.logged).toEqual([
      {
        level: "debug",
        message: "PROXY protocol header missing",
        fields: { listener: "l", client: LOOPBACK, reason: "signature" },
      },
    ])
  })

  test("has as long for it as for a head", () => {
    const timeouts = { headMs: 30, bodyMs: 1, idleMs: 1, betweenBytesMs: 1, tunnelMs: 1 }
    const client = connect({ timeouts })
    client.send("PROXY TCP4 ")
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.logged).toMatchObject([{ fields: { reason: "timeout" } }])
    expect(harness.unbalanced()).toEqual([])
  })

  test("is reset with all others when the address goes", () => {
    const client = connect()
    const waiting = harness.until("the connection to be accepted", () =>
      [...harness.reactor.handlers()].find((handler) => handler instanceof LiveConnection),
    )
    expect(waiting.localAddress()).toBe(LOOPBACK)
    waiting.end("address_released")
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.reasons()).toEqual({ address_released: 1 })
    expect(harness.unbalanced()).toEqual([])
  })
})

describe("the client behind a proxy", () => {
  test("is whom trusted_proxies asks about", () => {
    const asked: Address[] = []
    const trusts = (address: Address) => asked.push(address) === 0
    const client = connect({ trusts })
    client.send(`${V1}GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n`)
    const told = serve(client).filter((line) => line.startsWith("X-Forwarded-For"))
    expect(told).toEqual(["X-Forwarded-For: 192.0.2.1"])
    expect(asked).toEqual(["192.0.2.1" as Address])
  })
})

test.each([V1, V2])("who need not send the header may not: %j", (header) => {
  const asked: Address[] = []
  const client = connect({ sendsProxyHeader: (peer) => asked.push(peer) === 0 })
  client.send(header + ASK)
  client.take("HTTP/1.1 400 Bad Request\r\n")
  expect(asked).toEqual([LOOPBACK])
  expect(harness.reasons()).toEqual({ bad_request: 1 })
})

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1")
}
