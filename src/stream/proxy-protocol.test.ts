/** The PROXY protocol of a stream: towards its servers, and from the proxies before it. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { EAGAIN, ECONNRESET } from "../linux/errno.ts"
import { localEndpoint } from "../linux/tcp.ts"
import type { Address, Endpoint } from "../net/address.ts"
import { encodeProxyV2 } from "../wire/proxy-protocol.ts"
import { Harness, LOOPBACK, type Peer, type Server } from "./fixtures/harness.ts"

let harness: Harness
let server: Server

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
})

afterEach(() => {
  expect(harness.close()).toEqual([])
})

function portOf(peer: Peer): number {
  return (localEndpoint(peer.fd) as Endpoint).port
}

describe("pool.proxy_protocol", () => {
  test("v1 goes before what the client has sent, in one read", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    client.send("hello")
    const peer = server.accept()
    const line = `PROXY TCP4 127.0.0.1 127.0.0.1 ${portOf(client)} ${endpoint.port}\r\n`
    const first = harness.until("something", () => {
      const some = peer.receiveSome()
      return some === -EAGAIN ? undefined : some
    })
    expect(Buffer.from(first as Uint8Array).toString()).toBe(`${line}hello`)
    // Only what the client sent is counted.
    expect([harness.stream("bytesIn"), harness.slot(0, "bytesToServer")]).toEqual([5, 5])
    client.send("more")
    peer.expectText("more")
  })

  test("goes at once to a server that speaks first", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const endpoint = harness.listen()
    const { client, server: peer } = harness.pair(endpoint, server)
    peer.expectText(`PROXY TCP4 127.0.0.1 127.0.0.1 ${portOf(client)} ${endpoint.port}\r\n`)
    peer.send("greeting")
    client.expectText("greeting")
    client.send("login")
    peer.expectText("login")
    expect([harness.stream("bytesIn"), harness.stream("bytesOut")]).toEqual([5, 8])
  })

  test("v2 names the address the client came to, where the listener has all", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v2" })
    const endpoint = harness.listen({}, "::" as Address)
    const target = { address: "127.0.0.3" as Address, port: endpoint.port }
    const client = harness.connect(target, "127.0.0.2" as Address)
    const peer = server.accept()
    const source = { address: "127.0.0.2" as Address, port: portOf(client) }
    const expected = encodeProxyV2({ source, destination: target })
    const got = harness.until("the header", () => {
      const some = peer.receiveSome()
      return some === -EAGAIN ? undefined : some
    })
    expect(Buffer.from(got as Uint8Array).toString("hex")).toBe(
      Buffer.from(expected).toString("hex"),
    )
  })

  test("goes to the second server when the first refuses", () => {
    harness.pool([harness.refusing(), server.endpoint], {
      proxyProtocol: "v1",
      balance: "first",
    })
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    const port = portOf(client)
    server.accept().expectText(`PROXY TCP4 127.0.0.1 127.0.0.1 ${port} ${endpoint.port}\r\n`)
  })

  test("tells of a client that has sent FIN already", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    client.send("early")
    client.finish()
    const { text, how } = server.accept().untilEnd()
    expect([text.endsWith("\r\nearly"), how]).toEqual([true, "end"])
  })

  test("ends the connection of a client that was reset before its server was reached", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const client = harness.connect(harness.listen())
    harness.until("a session", () => harness.sessions().length > 0)
    client.reset()
    const { how } = server.accept().untilEnd()
    expect(how).toBe(-ECONNRESET)
    expect(harness.unbalanced()).toEqual([])
    expect(harness.stream("client_reset")).toBe(1)
  })
})

describe("stream.accept_proxy_protocol", () => {
  const NETWORK = [{ address: "127.0.0.0" as Address, length: 24 }]
  const HEADER = "PROXY TCP4 192.0.2.9 198.51.100.1 40000 3306\r\n"

  test("takes the header off and knows the client by it", () => {
    harness.pool([server.endpoint])
    const client = harness.connect(harness.listen({ acceptProxyProtocol: NETWORK }))
    client.send(`${HEADER}hello`)
    const peer = server.accept()
    peer.expectText("hello")
    client.close()
    peer.close()
    harness.until("the end", () => harness.records.length > 0)
    expect(harness.records[0]?.client).toEqual({ address: "192.0.2.9" as Address, port: 40000 })
    expect(harness.unbalanced()).toEqual([])
  })

  test("passes on what the header says", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const client = harness.connect(harness.listen({ acceptProxyProtocol: NETWORK }))
    client.send(HEADER)
    server.accept().expectText(HEADER)
  })

  test("passes on the proxy's own address where it speaks for itself", () => {
    harness.pool([server.endpoint], { proxyProtocol: "v1" })
    const endpoint = harness.listen({ acceptProxyProtocol: NETWORK })
    const client = harness.connect(endpoint)
    client.send("PROXY UNKNOWN\r\n")
    const line = `PROXY TCP4 127.0.0.1 127.0.0.1 ${portOf(client)} ${endpoint.port}\r\n`
    server.accept().expectText(line)
  })

  test("chooses by the client that the header names", () => {
    const second = harness.server()
    harness.pool([server.endpoint, second.endpoint], { balance: "source" })
    const endpoint = harness.listen({ acceptProxyProtocol: NETWORK })
    const chosen = new Set<string>()
    for (let host = 1; host <= 20; host++) {
      const client = harness.connect(endpoint)
      client.send(`PROXY TCP4 192.0.2.${host} 198.51.100.1 40000 3306\r\n`)
      chosen.add(
        harness.until("a server", () =>
          server.tryAccept() !== undefined ? "a" : second.tryAccept() !== undefined ? "b" : false,
        ),
      )
    }
    expect([...chosen].sort()).toEqual(["a", "b"])
  })

  test("resets who sends something else, and counts it", () => {
    harness.pool([server.endpoint])
    const client = harness.connect(harness.listen({ acceptProxyProtocol: NETWORK }))
    client.send("GET / HTTP/1.1\r\n\r\n")
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.stream("bad_proxy_header")).toBe(1)
    expect(harness.unbalanced()).toEqual([])
  })

  test("asks nothing of others, after a reload too", () => {
    harness.pool([server.endpoint])
    const other = [{ address: "192.0.2.0" as Address, length: 24 }]
    const endpoint = harness.listen({ acceptProxyProtocol: other })
    const { client, server: peer } = harness.pair(endpoint, server)
    client.send("hello")
    peer.expectText("hello")
    for (const { listener } of harness.listeners) {
      listener.update(harness.spec({ acceptProxyProtocol: NETWORK }, endpoint))
    }
    const late = harness.connect({ address: LOOPBACK, port: endpoint.port })
    late.send("hello")
    expect(late.untilEnd().how).toBe(-ECONNRESET)
  })
})
