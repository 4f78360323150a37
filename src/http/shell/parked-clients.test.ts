import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { ECONNRESET } from "../../linux/errno.ts"
import type { Endpoint } from "../../net/address.ts"
import { after } from "../../net/time.ts"
import { Harness, type Peer, type Server } from "../fixtures/harness.ts"

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
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

/** A client that has had one answer, and the connection its server keeps. */
function answered(): { client: Peer; peer: Peer } {
  const client = harness.connect(endpoint)
  client.send(GET)
  const peer = server.accept()
  peer.takeHead()
  peer.send(OK)
  client.take(OK)
  return { client, peer }
}

function later(delayMs: number): void {
  harness.reactor.timers.advance(after(harness.reactor.now, delayMs))
}

describe("a client that asks nothing for a second", () => {
  let client: Peer
  let peer: Peer

  beforeEach(() => {
    const pair = answered()
    client = pair.client
    peer = pair.peer
    expect(harness.clients()).toHaveLength(1)
    later(1_100)
    expect(harness.clients()).toHaveLength(0)
  })

  test("still counts as a connection", () => {
    expect(harness.listener("connections")).toBe(1)
    expect(harness.budget.open).toBe(1)
  })

  test("is served on the same connection when it asks again, and as itself", () => {
    client.send(GET)
    expect(peer.takeHead()).toContain("X-Forwarded-For: 127.0.0.1")
    peer.send(OK)
    client.take(OK)
    expect(harness.listener("connectionsTotal")).toBe(1)
    expect(harness.listener("requests")).toBe(2)
    later(2_200)
    expect(harness.listener("bytesOut")).toBe(2 * OK.length)
  })

  test("is parked again after each answer", () => {
    for (let turn = 2; turn < 5; turn++) {
      client.send(GET)
      peer.takeHead()
      peer.send(OK)
      client.take(OK)
      later(1_100 * turn)
      expect(harness.clients()).toHaveLength(0)
    }
  })

  test("may send its next request in drops", () => {
    for (const drop of GET) client.send(drop)
    peer.takeHead()
    peer.send(OK)
    client.take(OK)
  })

  test("is closed when idle_timeout is over, and not before", () => {
    later(59_000)
    expect(client.ended).toBeUndefined()
    later(61_000)
    expect(client.untilEnd().how).toBe("end")
    expect(harness.listener("connections")).toBe(0)
    expect(harness.budget.open).toBe(0)
  })

  test("is forgotten when it goes", () => {
    client.close()
    harness.until("the connection to be over", () => harness.listener("connections") === 0)
    expect(harness.budget.open).toBe(0)
  })

  test("is forgotten when it goes with a reset", () => {
    client.reset()
    harness.until("the connection to be over", () => harness.listener("connections") === 0)
    expect(harness.budget.open).toBe(0)
  })

  test("is reset with the address it came through", () => {
    harness.end("address_released")
    expect(client.untilEnd().how).toBe(-ECONNRESET)
    expect(harness.listener("connections")).toBe(0)
  })

  test("is closed when the listener goes", () => {
    harness.retire()
    expect(client.untilEnd().how).toBe("end")
    expect(harness.listener("connections")).toBe(0)
  })

  test("is served when its request was under way as the listener went", () => {
    client.send(GET)
    harness.retire()
    peer.takeHead()
    peer.send(OK)
    expect(client.untilEnd().text).toContain("Connection: close")
  })
})

test("a crowd of parked clients is closed in several ticks", () => {
  const { client: first, peer } = answered()
  const others = Array.from({ length: 149 }, () => {
    const client = harness.connect(endpoint)
    client.send(GET)
    peer.takeHead()
    peer.send(OK)
    client.take(OK)
    return client
  })
  while (harness.clients().length > 0) later(1_100)
  expect(harness.listener("connections")).toBe(150)
  for (let left = 150, delayMs = 61_000; left > 0; delayMs += 8) {
    later(delayMs)
    const now = harness.listener("connections")
    expect(left - now).toBeWithin(0, 65)
    left = now
  }
  for (const client of [first, ...others]) expect(client.untilEnd().how).toBe("end")
})

test("a client that has asked nothing yet is not parked: its head is awaited", () => {
  harness.connect(endpoint)
  harness.until("the connection", () => harness.clients().length === 1)
  later(1_100)
  expect(harness.clients()).toHaveLength(1)
})

test("a client whose address a proxy has told is not parked", () => {
  const at = harness.listen({ sendsProxyHeader: () => true })
  const client = harness.connect(at)
  client.send(`PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n${GET}`)
  const peer = server.accept()
  peer.takeHead()
  peer.send(OK)
  client.take(OK)
  later(1_100)
  expect(harness.clients()).toHaveLength(1)
})
