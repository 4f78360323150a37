import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test"
import { ECONNRESET, ENFILE, ENOBUFS, ENOMEM } from "../linux/errno.ts"
import { failWith } from "../linux/fixtures/errno.ts"
import { libc } from "../linux/libc.ts"
import { type Address, ANY_IPV6, type Endpoint, parsePrefix } from "../net/address.ts"
import { Harness, openFilesLimit, type Server } from "./fixtures/harness.ts"

const RESET = { text: "", how: -ECONNRESET } as const

let harness: Harness
let server: Server

beforeEach(() => start())

afterEach(() => {
  expect(harness.close()).toEqual([])
})

function start(options: { readonly sessionsMax?: number } = {}): void {
  harness = new Harness(options)
  server = harness.server()
  harness.pool([server.endpoint])
}

function expectServed(endpoint: Endpoint, source?: Address): void {
  const client = harness.connect(endpoint, source)
  const peer = server.accept()
  client.send("hello")
  peer.expectText("hello")
  client.close()
  peer.close()
}

function untilBalanced(): void {
  harness.until("all to be over", () => harness.sessions().length === 0)
  expect(harness.unbalanced()).toEqual([])
}

describe("access list", () => {
  const prefixes = (...texts: string[]) => texts.flatMap((text) => parsePrefix(text) ?? [])
  const from = (endpoint: Endpoint, source: string) =>
    harness.connect(endpoint, source as Address).untilEnd()

  test("resets the clients it does not permit, before a server is asked", () => {
    const endpoint = harness.listen({
      allow: prefixes("127.0.0.0/16"),
      deny: prefixes("127.0.0.9"),
    })
    expectServed(endpoint, "127.0.0.8" as Address)
    expect(from(endpoint, "127.0.0.9")).toEqual(RESET)
    expect(from(endpoint, "127.1.0.1")).toEqual(RESET)
    untilBalanced()
    expect([harness.stream("denied"), harness.stream("finished")]).toEqual([2, 1])
    expect([harness.stream("connectionsTotal"), harness.slot(0, "connectionsTotal")]).toEqual([
      3, 1,
    ])
  })

  test("knows an IPv4 client of an IPv6 socket by its IPv4 address", () => {
    const { port } = harness.listen({ deny: prefixes("127.0.0.9") }, ANY_IPV6)
    const ipv4 = { address: "127.0.0.1" as Address, port }
    expectServed(ipv4, "127.0.0.8" as Address)
    expect(from(ipv4, "127.0.0.9")).toEqual(RESET)
    expectServed({ address: "::1" as Address, port })
  })

  test("knows IPv6 clients", () => {
    const endpoint = harness.listen({ deny: prefixes("::/0") }, "::1" as Address)
    expect(from(endpoint, "::1")).toEqual(RESET)
  })
})

describe("max_connections", () => {
  test("leaves further clients in the queue until there is room", () => {
    const endpoint = harness.listen({ maxConnections: 2 })
    const first = [harness.pair(endpoint, server), harness.pair(endpoint, server)]
    const waiting = harness.connect(endpoint)
    waiting.send("patient")
    harness.settle()
    expect(server.tryAccept()).toBeUndefined()
    expect(harness.listeners[0]?.listener.acceptor.isPaused).toBe(true)
    expect(harness.stream("connectionsTotal")).toBe(2)
    // Those who are in are not held up.
    first[0]?.client.send("x")
    first[0]?.server.expectText("x")
    first[0]?.client.close()
    first[0]?.server.close()
    server.accept().expectText("patient")
    expect(harness.stream("connections")).toBe(2)
  })

  test("may be raised and lowered by a reload", () => {
    const endpoint = harness.listen({ maxConnections: 1 })
    const listener = harness.listeners[0]?.listener
    harness.pair(endpoint, server)
    const waiting = harness.connect(endpoint)
    harness.settle()
    expect(server.tryAccept()).toBeUndefined()
    listener?.update(harness.spec({ maxConnections: 2 }, endpoint))
    server.accept().send("welcome")
    waiting.expectText("welcome")
  })

  test("does not spin while it is reached", () => {
    const endpoint = harness.listen({ maxConnections: 1 })
    harness.pair(endpoint, server)
    harness.connect(endpoint)
    harness.settle()
    const spy = spyOn(libc, "accept4")
    harness.settle()
    expect(spy.mock.calls).toEqual([])
    spy.mockRestore()
  })
})

describe("when sessions run out", () => {
  test("turns clients away with FIN, and goes on when there is room", () => {
    harness.close()
    start({ sessionsMax: 2 })
    const endpoint = harness.listen()
    const first = [harness.pair(endpoint, server), harness.pair(endpoint, server)]
    expect(harness.connect(endpoint).untilEnd()).toEqual({ text: "", how: "end" })
    expect(harness.connect(endpoint).untilEnd()).toEqual({ text: "", how: "end" })
    expect([harness.stream("exhausted"), harness.budget.open]).toEqual([2, 2])
    first[0]?.client.close()
    first[0]?.server.close()
    harness.until("room", () => harness.budget.open === 1)
    expectServed(endpoint)
  })
})

describe("when descriptors run out", () => {
  test("pauses, and takes the waiting clients when there are some again", () => {
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    const restore = openFilesLimit(0)
    const spy = spyOn(libc, "accept4")
    harness.settle()
    restore()
    expect(spy.mock.calls).toHaveLength(1)
    spy.mockRestore()
    expect(harness.listeners[0]?.listener.acceptor.isPaused).toBe(true)
    const peer = server.accept()
    client.send("patient")
    peer.expectText("patient")
  })

  test.each([ENFILE, ENOBUFS, ENOMEM])("pauses likewise at error %d of accept", (errno) => {
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    const spy = spyOn(libc, "accept4").mockImplementation(failWith(errno) as never)
    harness.settle()
    expect(spy.mock.calls).toHaveLength(1)
    spy.mockRestore()
    server.accept().send("welcome")
    client.expectText("welcome")
  })

  test("for the server's side resets the client, and blames no server", () => {
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    // One more descriptor: that of the client.
    const restore = openFilesLimit(1)
    harness.until("the session", () => harness.stream("connectionsTotal") === 1)
    restore()
    expect(client.untilEnd()).toEqual(RESET)
    untilBalanced()
    expect([harness.stream("exhausted"), harness.slot(0, "connectFailures")]).toEqual([1, 0])
    expectServed(endpoint)
  })
})

describe("update()", () => {
  test("gives new connections the new settings, and leaves the open ones alone", () => {
    const endpoint = harness.listen()
    const { client, server: peer } = harness.pair(endpoint, server)
    const listener = harness.listeners[0]?.listener
    listener?.update(
      harness.spec({ deny: [{ address: "127.0.0.1" as Address, length: 32 }] }, endpoint),
    )
    expect(harness.connect(endpoint).untilEnd()).toEqual(RESET)
    client.send("still here")
    peer.expectText("still here")
    listener?.update(harness.spec({}, endpoint))
    expectServed(endpoint)
  })

  test("to a pool that is not there turns clients away", () => {
    const endpoint = harness.listen({ pool: "nowhere" })
    expect(harness.connect(endpoint).untilEnd()).toEqual({ text: "", how: "end" })
    expect(harness.stream("no_server")).toBe(1)
    expect(harness.unbalanced()).toEqual([])
  })
})

describe("detach()", () => {
  test("takes all whom the kernel has let in, then lets go of the socket", () => {
    const endpoint = harness.listen()
    const clients = Array.from({ length: 200 }, () => harness.connect(endpoint))
    harness.removeListener()
    for (const client of clients) client.send("x")
    const served = clients.map(() => server.accept())
    for (const peer of served) peer.expectText("x")
    expect(harness.stream("connectionsTotal")).toBe(200)
  })

  test("does not take more than max_connections", () => {
    const endpoint = harness.listen({ maxConnections: 3 })
    for (let count = 0; count < 5; count++) harness.connect(endpoint)
    harness.removeListener()
    harness.settle()
    expect(harness.stream("connectionsTotal")).toBe(3)
  })

  test("while paused lets go of the socket for good", () => {
    const endpoint = harness.listen({ maxConnections: 1 })
    const { client, server: peer } = harness.pair(endpoint, server)
    harness.connect(endpoint)
    harness.settle()
    harness.removeListener()
    client.close()
    peer.close()
    untilBalanced()
    harness.settle()
    expect(harness.stream("connectionsTotal")).toBe(1)
  })
})

describe("a fault", () => {
  test("of starting a session ends that connection alone", () => {
    const endpoint = harness.listen()
    const client = harness.connect(endpoint)
    const spy = spyOn(libc, "socket").mockImplementationOnce(injected as never)
    expect(client.untilEnd()).toEqual(RESET)
    spy.mockRestore()
    expect(harness.stream("internal_error")).toBe(1)
    untilBalanced()
    expectServed(endpoint)
  })

  test("of accepting is logged and does not stop the listener", () => {
    const endpoint = harness.listen()
    const spy = spyOn(libc, "accept4").mockImplementationOnce(injected as never)
    const client = harness.connect(endpoint)
    harness.until("the fault", () => harness.logged.length > 0)
    spy.mockRestore()
    expect(harness.logged[0]).toMatchObject({ message: "Accepting a connection failed" })
    server.accept().send("served")
    client.expectText("served")
  })

  function injected(): never {
    throw new Error("injected")
  }
})
