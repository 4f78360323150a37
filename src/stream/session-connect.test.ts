/** How a session comes by its server: redispatch, timeouts, ejection, the last resort. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { ECONNRESET } from "../linux/errno.ts"
import { encodeSockaddr } from "../linux/sockaddr.ts"
import type { Address, Endpoint } from "../net/address.ts"
import { Harness, type Peer, type Server } from "./fixtures/harness.ts"

const REFUSED = { text: "", how: -ECONNRESET } as const
const CONNECT_TIMEOUT_MS = 60

let harness: Harness
let server: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
  endpoint = harness.listen()
})

afterEach(() => {
  expect(harness.close()).toEqual([])
})

/** A client whose connection reaches `server`. */
function expectServed(by = server): void {
  const { client, server: peer } = harness.pair(endpoint, by)
  client.send("hello")
  peer.expectText("hello")
  client.close()
  peer.close()
  untilBalanced()
}

function expectRefused(): void {
  expect(harness.connect(endpoint).untilEnd()).toEqual(REFUSED)
  untilBalanced()
}

function untilBalanced(): void {
  harness.until("all to be over", () => harness.sessions().length === 0)
  expect(harness.unbalanced()).toEqual([])
}

function failures(): number[] {
  return [0, 1, 2].map((slot) => harness.slot(slot, "connectFailures"))
}

describe("a refused connect", () => {
  test("is tried at another server", () => {
    harness.pool([harness.refusing(), server.endpoint], { balance: "first" })
    expectServed()
    expect(failures()).toEqual([1, 0, 0])
    expect([harness.slot(0, "connectionsTotal"), harness.slot(1, "connectionsTotal")]).toEqual([
      1, 1,
    ])
    expect([harness.stream("retries"), harness.stream("finished")]).toEqual([1, 1])
    expect(harness.records[0]).toMatchObject({ server: "b", retries: 1, reason: "finished" })
  })

  test("is tried connect_retries times, and never twice at one server", () => {
    const refusing = [harness.refusing(), harness.refusing(), harness.refusing()]
    harness.pool(refusing, { balance: "first", connectRetries: 1 })
    expectRefused()
    expect(failures()).toEqual([1, 1, 0])
    expect([harness.stream("retries"), harness.stream("connect_failed")]).toEqual([1, 1])
    expect(harness.records[0]).toMatchObject({ server: "", retries: 1, reason: "connect_failed" })
    harness.pool(refusing, { balance: "first", connectRetries: 5 })
    expectRefused()
    expect(failures()).toEqual([2, 2, 1])
    expect(harness.stream("retries")).toBe(3)
  })

  test("ends the connection without retries", () => {
    harness.pool([harness.refusing(), server.endpoint], { balance: "first", connectRetries: 0 })
    expectRefused()
    expect([harness.stream("connect_failed"), harness.stream("retries")]).toEqual([1, 0])
  })

  test("of the only server ends the connection, and is not counted as a retry", () => {
    harness.pool([harness.refusing()], { connectRetries: 3 })
    expectRefused()
    expect([harness.stream("connect_failed"), harness.stream("retries")]).toEqual([1, 0])
    expect(harness.records[0]).toMatchObject({ retries: 0 })
  })

  test("by this host's own routes counts as any other", () => {
    const nowhere = { address: "255.255.255.255" as Address, port: 80 }
    harness.pool([nowhere, server.endpoint], { balance: "first" })
    expectServed()
    expect(failures()).toEqual([1, 0, 0])
    expect(harness.logged[0]?.fields).toMatchObject({ server: "a", cause: "ENETUNREACH" })
  })

  test("falls back to a backup server", () => {
    const members = [{}, { backup: true }]
    harness.pool([harness.refusing(), server.endpoint], { members })
    expectServed()
    expect(harness.records[0]).toMatchObject({ server: "b", retries: 1 })
  })
})

describe("no server", () => {
  test("that is up: the client is reset", () => {
    harness.pool([server.endpoint])
    harness.board.setHealth(0, "down")
    expectRefused()
    expect(harness.stream("no_server")).toBe(1)
    expect(harness.records[0]).toMatchObject({ server: "", reason: "no_server" })
  })

  test("in the pool, and then one: the next connection is served", () => {
    harness.pool([])
    expectRefused()
    harness.pool([server.endpoint])
    expectServed()
  })

  test("many times over does not disturb those who are served", () => {
    harness.pool([server.endpoint])
    const { client, server: peer } = harness.pair(endpoint, server)
    harness.board.setHealth(0, "down")
    const turnedAway = Array.from({ length: 30 }, () => harness.connect(endpoint))
    for (const each of turnedAway) expect(each.untilEnd()).toEqual(REFUSED)
    harness.board.setHealth(0, "up")
    client.send("still here")
    peer.expectText("still here")
    const served = Array.from({ length: 30 }, () => harness.pair(endpoint, server))
    for (const each of served) each.client.send("x")
    for (const each of served) each.server.expectText("x")
  })
})

describe("a server that does not answer", () => {
  test("costs connect_timeout, then another is tried", () => {
    const hole = harness.blackHole()
    const options = { balance: "first", connectTimeoutMs: CONNECT_TIMEOUT_MS } as const
    harness.pool([hole.endpoint, server.endpoint], options)
    const startedAt = performance.now()
    expectServed()
    expect(performance.now() - startedAt).toBeGreaterThan(CONNECT_TIMEOUT_MS - 10)
    expect(harness.records[0]?.connectMs).toBeGreaterThan(CONNECT_TIMEOUT_MS - 10)
    expect(failures()).toEqual([1, 0, 0])
    expect(harness.logged[0]?.fields).toMatchObject({ server: "a", cause: "ETIMEDOUT" })
  })

  test("ends the connection when it is the only one", () => {
    harness.pool([harness.blackHole().endpoint], { connectTimeoutMs: CONNECT_TIMEOUT_MS })
    const startedAt = performance.now()
    expectRefused()
    expect(performance.now() - startedAt).toBeGreaterThan(CONNECT_TIMEOUT_MS - 10)
    expect(harness.stream("connect_failed")).toBe(1)
  })

  test("does not hold up other connections", () => {
    const hole = harness.blackHole()
    harness.pool([hole.endpoint, server.endpoint], { connectTimeoutMs: 3000 })
    const clients = [harness.connect(endpoint), harness.connect(endpoint)]
    const peer = server.accept()
    for (const client of clients) client.send("x")
    peer.expectText("x")
    expect(harness.sessions()).toHaveLength(2)
  })
})

describe("max_fails", () => {
  const options = { balance: "first", maxFails: 2, failTimeoutMs: 60_000 } as const
  const brief = { ...options, failTimeoutMs: 50 }

  function untilEjectionEnds(): void {
    harness.until("the ejection to end", () => !harness.board.isEjected(0, harness.reactor.now))
  }

  test("ejects a server, which is then not tried any more", () => {
    harness.pool([harness.refusing(), server.endpoint], options)
    for (let count = 0; count < 4; count++) expectServed()
    expect(failures()).toEqual([2, 0, 0])
    expect(harness.logged.filter(({ level }) => level === "warn")).toEqual([
      {
        level: "warn",
        message: "Server ejected after failed connects",
        fields: { pool: "p", server: "a", cause: "ECONNREFUSED", seconds: 60 },
      },
    ])
  })

  test("tries it again after fail_timeout, and takes it back at a success", () => {
    const revived = harness.refusing()
    harness.pool([revived, server.endpoint], { ...brief, maxFails: 1 })
    expectServed()
    const socket = harness.serverAt(revived)
    untilEjectionEnds()
    expect(harness.board.ejectedUntil(0)).toBeGreaterThan(0)
    expectServed(socket)
    expect(harness.board.ejectedUntil(0)).toBe(0)
  })

  test("ejects it again at once while it still fails", () => {
    harness.pool([harness.refusing(), server.endpoint], { ...brief, maxFails: 1 })
    expectServed()
    const before = harness.board.ejectedUntil(0)
    untilEjectionEnds()
    expectServed()
    expect(failures()).toEqual([2, 0, 0])
    expect(harness.board.ejectedUntil(0)).toBeGreaterThan(before)
  })

  test("leaves ejected servers as the last resort", () => {
    const revived = harness.refusing()
    harness.pool([revived], options)
    for (let count = 0; count < 3; count++) expectRefused()
    expect(harness.board.isEjected(0, harness.reactor.now)).toBe(true)
    expectServed(harness.serverAt(revived))
  })
})

test("max_connections of a server turns further connections to the next, then away", () => {
  const second = harness.server()
  const members = [{ maxConnections: 2 }, { maxConnections: 1 }]
  harness.pool([server.endpoint, second.endpoint], { balance: "first", members })
  const open: Peer[] = []
  for (const accepting of [server, server, second]) {
    open.push(harness.connect(endpoint), accepting.accept())
  }
  expect(harness.connect(endpoint).untilEnd()).toEqual(REFUSED)
  expect(harness.stream("no_server")).toBe(1)
  for (const peer of open) peer.close()
  untilBalanced()
  expectServed()
})

describe("source addresses", () => {
  function sourcesOf(...addresses: string[]) {
    return addresses.map((address) => encodeSockaddr({ address: address as Address, port: 0 }))
  }

  const NO_SOURCES = { 4: [], 6: [] }

  test("are used in turn", () => {
    harness.pool([server.endpoint], {
      sources: { ...NO_SOURCES, 4: sourcesOf("127.0.0.2", "127.0.0.3") },
    })
    const seen = new Set<string | undefined>()
    for (let count = 0; count < 4; count++) {
      harness.connect(endpoint)
      seen.add(server.accept().remoteAddress())
    }
    expect([...seen].sort()).toEqual(["127.0.0.2", "127.0.0.3"])
  })

  test("that are not there refuse politely and blame no server", () => {
    harness.pool([server.endpoint], {
      sources: { ...NO_SOURCES, 4: sourcesOf("192.0.2.1") },
      maxFails: 1,
    })
    expectRefused()
    expect(harness.stream("exhausted")).toBe(1)
    expect(harness.board.isEjected(0, harness.reactor.now)).toBe(false)
  })

  test("that are not there for one server leave the others", () => {
    const six = harness.server("::1" as Address)
    const sources = { 4: [], 6: sourcesOf("2001:db8::1") }
    harness.pool([six.endpoint, server.endpoint], { sources, balance: "first", maxFails: 1 })
    expectServed()
    expect(failures()).toEqual([0, 0, 0])
    expect(harness.board.isEjected(0, harness.reactor.now)).toBe(false)
    expect(harness.records[0]).toMatchObject({ server: "b", retries: 1, reason: "finished" })
  })

  test("that are not there are told once a second, not once a connection", () => {
    harness.pool([server.endpoint], { sources: { ...NO_SOURCES, 4: sourcesOf("192.0.2.1") } })
    for (let count = 0; count < 5; count++) expectRefused()
    expect(harness.stream("exhausted")).toBe(5)
    expect(harness.logged.length).toBeLessThanOrEqual(1)
  })

  test("of each family serve the servers of that family", () => {
    const six = harness.server("::1" as Address)
    const sources = { 4: sourcesOf("127.0.0.2"), 6: sourcesOf("::1") }
    harness.pool([server.endpoint, six.endpoint], { sources, balance: "first" })
    for (let count = 0; count < 3; count++) expectServed()
    harness.board.setHealth(0, "down")
    for (let count = 0; count < 3; count++) expectServed(six)
    expect(failures()).toEqual([0, 0, 0])
  })
})

test("policy source keeps a client at its server", () => {
  const second = harness.server()
  harness.pool([server.endpoint, second.endpoint], { balance: "source" })
  const served = new Map<string, string>()
  // Ports and so hashes differ from run to run: 30 clients do not all fall to one of two servers.
  for (let count = 0; count < 60; count++) {
    const address = `127.0.1.${count % 30}`
    const client = harness.connect(endpoint, address as Address)
    const by = harness.until("a server", () => {
      const first = server.tryAccept()
      const peer = first ?? second.tryAccept()
      return peer && ([peer, first === undefined ? "b" : "a"] as const)
    })
    expect(served.get(address) ?? by[1]).toBe(by[1])
    served.set(address, by[1])
    client.close()
    by[0].close()
  }
  expect(new Set(served.values()).size).toBe(2)
})

test("a retry looks at the pool as it is by then: who has left is not tried", () => {
  const [hole, gone, fresh] = [harness.blackHole(), harness.refusing(), harness.server()]
  const options = { balance: "first", connectTimeoutMs: 30 } as const
  harness.pool([hole.endpoint, gone], options)
  const client = harness.connect(harness.listen())
  harness.until("the first connect", () => harness.sessions().length > 0)
  harness.pool([fresh.endpoint], { ...options, members: [{ slot: 5 }] })
  harness.board.reset(5, 1, "up")
  const peer = fresh.accept()
  client.send("hello")
  peer.expectText("hello")
  expect(harness.stream("retries")).toBe(1)
})
