import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { ECONNRESET } from "../../linux/errno.ts"
import type { Endpoint } from "../../net/address.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"
import { receiving, runFlows, sending } from "../fixtures/transfer.ts"

const RESET = -ECONNRESET
const MIB = 1024 * 1024
const ASK =
  "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
const SWITCH =
  "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

let harness: Harness
let server: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  harness.pool([server.endpoint])
  endpoint = harness.listen()
})

afterEach(() => {
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
})

function asked(request = ASK, at = endpoint) {
  const client = harness.connect(at)
  client.send(request)
  const peer = server.accept()
  return { client, peer, head: peer.takeHead() }
}

function tunnel(at = endpoint): { readonly client: Peer; readonly peer: Peer } {
  const { client, peer } = asked(ASK, at)
  peer.send(SWITCH)
  client.take(SWITCH)
  return { client, peer }
}

describe("an upgrade", () => {
  test("goes on with its fields, and makes a tunnel of 101", () => {
    const { client, peer, head } = asked()
    expect(head.filter((line) => /^(connection|upgrade)/i.test(line))).toEqual([
      "Connection: upgrade",
      "Upgrade: websocket",
    ])
    peer.send(SWITCH)
    client.take(SWITCH)
    client.send("up")
    peer.take("up")
    peer.send("down")
    client.take("down")
    client.close()
    peer.untilEnd()
    peer.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
    expect(harness.records[0]).toMatchObject({ status: 101, bytesIn: ASK.length + 2 })
  })

  test("loses nothing that is sent with it or behind it", () => {
    const { client, peer } = asked(`${ASK}early`)
    harness.settle()
    expect(peer.got).toBe("")
    peer.send(`${SWITCH}greeting`)
    peer.take("early")
    client.take(`${SWITCH}greeting`)
  })

  test("that the server does not want is a request like any other", () => {
    const { client, peer } = asked(ASK + ASK)
    peer.send(OK)
    client.take(OK)
    expect(peer.takeHead()).toContain("Upgrade: websocket")
  })

  test("of HTTP/1.0, of one who does not name it, or to HTTP/2 is none (RFC 9113 §3.1)", () => {
    for (const request of [
      "GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, H2C\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n",
    ]) {
      const { client, peer, head } = asked(request)
      expect(head.join("\n")).not.toMatch(/upgrade|http2/i)
      peer.send(SWITCH)
      client.take("HTTP/1.1 502 Bad Gateway\r\n")
      client.close()
    }
    expect(harness.reasons()).toEqual({ bad_response: 6 })
  })

  test("is cleared of what belongs to a body", () => {
    const { client, peer } = asked()
    peer.send(SWITCH.replace("Sec", "Content-Length: 5\r\nTransfer_Encoding: x\r\nSec"))
    client.take(SWITCH)
    peer.send("hello")
    client.take("hello")
  })
})

describe("a tunnel", () => {
  test("carries much both ways, however slowly it is taken", () => {
    const { client, peer } = tunnel()
    runFlows(harness, [
      sending(client, 8 * MIB, { seed: 1 }),
      receiving(peer, 8 * MIB, { seed: 2, pieceMax: 50_000 }),
      sending(peer, 8 * MIB, { seed: 3 }),
      receiving(client, 8 * MIB, { seed: 4, pieceMax: 50_000 }),
    ])
  })

  test("goes on when a server that stood still takes more again", () => {
    const { client, peer } = tunnel()
    const flow = sending(client, 64 * MIB)
    for (let count = 0; count < 1000; count++) {
      flow.step()
      if (count % 10 === 0) harness.pass(0)
    }
    harness.settle()
    // The client is silent from here on: only the server's reading can get it going again.
    const sent = flow.bytes
    expect(sent).toBeLessThan(64 * MIB)
    runFlows(harness, [receiving(peer, sent)])
  })

  test("ends each direction by itself", () => {
    const { client, peer } = tunnel()
    client.send("last words")
    client.finish()
    expect(peer.untilEnd()).toEqual({ text: "last words", how: "end" })
    for (const part of ["one", "two"]) {
      peer.send(part)
      client.take(part)
    }
    peer.finish()
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })

  test("ends when the server ends first, too", () => {
    const { client, peer } = tunnel()
    peer.send("bye")
    peer.close()
    expect(client.untilEnd()).toEqual({ text: "bye", how: "end" })
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })

  test("breaks on both sides", () => {
    for (const [name, other, reason] of [
      ["client", "peer", "client_aborted"],
      ["peer", "client", "server_aborted"],
    ] as const) {
      const pair = tunnel()
      pair[name].reset()
      expect(pair[other].untilEnd().how).toBe(RESET)
      expect(harness.balance()).toEqual([])
      expect(harness.listener(reason)).toBe(1)
    }
  })

  test("has its own time", () => {
    const timeouts = {
      headMs: 60_000,
      bodyMs: 60_000,
      idleMs: 40,
      betweenBytesMs: 40,
      tunnelMs: 150,
    }
    const { client, peer } = tunnel(harness.listen({ timeouts }))
    const started = performance.now()
    for (const [from, to] of [
      [client, peer],
      [peer, client],
    ] as const) {
      from.send("x".repeat(200_000))
      to.takeBytes(200_000)
    }
    const { how } = client.untilEnd()
    expect(performance.now() - started).toBeWithin(140, 1000)
    expect([how, peer.untilEnd().how]).toEqual(["end", "end"])
    expect(harness.balance()).toEqual([])
  })

  test("has its route's time where that has one", () => {
    const timeouts = { betweenBytesMs: undefined, tunnelMs: 60, sendMs: undefined }
    const { client, peer } = tunnel(harness.listen({ decide: forward({ timeouts }) }))
    expect([client.untilEnd().how, peer.untilEnd().how]).toEqual(["end", "end"])
  })
})
