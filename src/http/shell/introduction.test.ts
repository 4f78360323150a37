/** `pool.proxy_protocol` of a pool for HTTP: each connection to a server speaks for one client. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { PlainTransport } from "../../connection/transport.ts"
import { EAGAIN } from "../../linux/errno.ts"
import { localEndpoint } from "../../linux/tcp.ts"
import type { Address, Endpoint } from "../../net/address.ts"
import { encodeProxyV2 } from "../../wire/proxy-protocol.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

let harness: Harness
let server: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  harness.pool([server.endpoint], { proxyProtocol: "v1" })
  endpoint = harness.listen()
})

afterEach(() => {
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
})

function lineOf(client: Peer): string {
  const { port } = localEndpoint(client.fd) as Endpoint
  return `PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${endpoint.port}\r\n`
}

/** One request and its answer, on the connection `peer`. */
function exchange(client: Peer, peer: Peer): void {
  client.send(GET)
  expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
  peer.send(OK)
  client.take(OK)
}

/** A client whose first request has been answered, and the connection that was opened for it. */
function introduced(): { readonly client: Peer; readonly peer: Peer } {
  const client = harness.connect(endpoint)
  client.send(GET)
  const peer = server.accept()
  peer.take(lineOf(client))
  peer.takeHead()
  peer.send(OK)
  client.take(OK)
  return { client, peer }
}

describe("the PROXY header", () => {
  test("leaves with the request, in one segment", () => {
    const client = harness.connect(endpoint)
    const line = lineOf(client)
    client.send(GET)
    const peer = server.accept()
    const first = harness.until("something", () => {
      const some = peer.receiveSome()
      return some === -EAGAIN ? undefined : some
    })
    expect(Buffer.from(first as Uint8Array).toString()).toStartWith(`${line}GET / HTTP/1.1\r\n`)
  })

  test("comes once, before all requests of the client", () => {
    const { client, peer } = introduced()
    exchange(client, peer)
    exchange(client, peer)
    expect(server.tryAccept()).toBeUndefined()
    client.close()
    expect(peer.untilEnd().how).toBe("end")
    expect(harness.balance()).toEqual([])
  })

  test("is another one for each client: connections are not shared", () => {
    const first = introduced()
    const second = introduced()
    exchange(first.client, first.peer)
    exchange(second.client, second.peer)
    expect(server.tryAccept()).toBeUndefined()
  })

  test("says what the proxy before us has said", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v2" })
    const client = harness.connect(harness.listen({ sendsProxyHeader: () => true }))
    const endpoints = {
      source: { address: "192.0.2.1" as Address, port: 40_000 },
      destination: { address: "198.51.100.1" as Address, port: 8443 },
    }
    const header = Buffer.from(encodeProxyV2(endpoints)).toString("latin1")
    client.send(header + GET)
    server.accept().take(`${header}GET / HTTP/1.1\r\n`)
  })

  test("is in clear text before the handshake with a server that speaks TLS", () => {
    let handshakes = 0
    class Handshaking extends PlainTransport {
      handshake(): number {
        handshakes++
        return 0
      }
    }
    harness.pool([server.endpoint], { proxyProtocol: "v1", secure: (fd) => new Handshaking(fd) })
    const client = harness.connect(endpoint)
    client.send(GET)
    server.accept().take(`${lineOf(client)}GET / HTTP/1.1\r\n`)
    expect(handshakes).toBe(1)
  })

  test("goes with a retry to another server", () => {
    harness.pool([harness.refusing(), server.endpoint], { proxyProtocol: "v1", balance: "first" })
    introduced()
  })

  test("goes before a mirror's copy, on a connection for it alone", () => {
    const mirror = harness.server()
    harness.pool([server.endpoint])
    harness.pool([mirror.endpoint], { name: "m", proxyProtocol: "v1" })
    endpoint = harness.listen({ decide: forward({ mirror: "m" }) })
    const client = harness.connect(endpoint)
    client.send(GET)
    const copy = mirror.accept()
    copy.take(lineOf(client))
    copy.takeHead()
    copy.send(OK)
    expect(copy.untilEnd().how).toBe("end")
  })
})

describe("a connection that speaks for a client", () => {
  test("is closed when the server leaves the pool, and another is opened", () => {
    const { client, peer } = introduced()
    harness.upstreams.closeIdle(new Set([0]))
    expect(peer.untilEnd().how).toBe("end")
    client.send(GET)
    server.accept().take(lineOf(client))
  })

  test("that the server closes is replaced", () => {
    const { client, peer } = introduced()
    peer.close()
    harness.settle()
    client.send(GET)
    server.accept().take(lineOf(client))
  })

  test("is one of five at most", () => {
    const servers = Array.from({ length: 6 }, () => harness.server())
    harness.pool(
      servers.map((each) => each.endpoint),
      { proxyProtocol: "v1" },
    )
    const client = harness.connect(endpoint)
    const peers = servers.map((each) => {
      client.send(GET)
      const peer = each.accept()
      peer.take(lineOf(client))
      peer.takeHead()
      peer.send(OK)
      client.take(OK)
      return peer
    })
    harness.settle()
    expect(peers.map((peer) => peer.ended)).toEqual(["end", ...Array(5).fill(undefined)])
    client.close()
    for (const peer of peers) expect(peer.untilEnd().how).toBe("end")
    expect(harness.balance()).toEqual([])
  })
})
