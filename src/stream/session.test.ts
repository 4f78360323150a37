import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test"
import { EPOLLIN } from "../linux/epoll.ts"
import { EAGAIN, ECONNRESET, EPIPE } from "../linux/errno.ts"
import { libc } from "../linux/libc.ts"
import { pendingError } from "../linux/tcp.ts"
import type { Endpoint } from "../net/address.ts"
import { Harness, type Peer, type Server } from "./fixtures/harness.ts"

const RESET = -ECONNRESET

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
  expect(harness.close()).toEqual([])
})

function connectedPair(at = endpoint): { readonly client: Peer; readonly server: Peer } {
  const both = harness.pair(at, server)
  // The session has seen its server accept.
  both.client.send("hello")
  both.server.expectText("hello")
  return both
}

/** Passes until every connection is over, and all counts say so. */
function untilBalanced(): void {
  harness.until("all to be over", () => harness.sessions().length === 0)
  expect(harness.unbalanced()).toEqual([])
}

describe("relay", () => {
  test("carries bytes both ways and counts them", () => {
    const { client, server: peer } = harness.pair(endpoint, server)
    client.send("question")
    peer.expectText("question")
    peer.send("an answer")
    client.expectText("an answer")
    expect([harness.stream("bytesIn"), harness.stream("bytesOut")]).toEqual([8, 9])
    expect([harness.slot(0, "bytesToServer"), harness.slot(0, "bytesFromServer")]).toEqual([8, 9])
    expect([harness.stream("connections"), harness.slot(0, "connections")]).toEqual([1, 1])
    client.close()
    peer.close()
    untilBalanced()
    expect(harness.stream("finished")).toBe(1)
    expect([harness.stream("connectionsTotal"), harness.slot(0, "connectionsTotal")]).toEqual([
      1, 1,
    ])
  })

  test("lets a server speak first", () => {
    const { client, server: peer } = harness.pair(endpoint, server)
    peer.send("greeting")
    client.expectText("greeting")
  })

  test("delivers what the client sent before its server was reached, its FIN too", () => {
    const client = harness.connect(endpoint)
    client.send("early")
    client.finish()
    const peer = server.accept()
    expect(peer.untilEnd()).toEqual({ text: "early", how: "end" })
    peer.send("late")
    peer.close()
    expect(client.untilEnd()).toEqual({ text: "late", how: "end" })
    untilBalanced()
  })

  test("keeps connections apart", () => {
    const pairs = Array.from({ length: 20 }, () => harness.pair(endpoint, server))
    for (const [at, { client }] of pairs.entries()) client.send(`question ${at}`)
    const answered = pairs.map(({ server: peer }) => {
      const question = harness.until("a question", () => {
        const some = peer.receiveSome()
        return some instanceof Uint8Array && Buffer.from(some).toString()
      })
      peer.send(`answer to ${question}`)
      return question
    })
    expect([...answered].sort()).toEqual(pairs.map((_, at) => `question ${at}`).sort())
    for (const [at, { client }] of pairs.entries()) client.expectText(`answer to question ${at}`)
  })

  test("costs one recv and one send per small message, and nothing else", () => {
    const { client, server: peer } = connectedPair()
    const exchange = () => {
      client.send("question")
      peer.expectText("question")
      peer.send("answer")
      client.expectText("answer")
    }
    exchange() // Nagle's algorithm is turned off before the second write
    const names = ["recv", "send", "splice", "setsockopt", "epoll_ctl", "shutdown"] as const
    const spies = names.map((name) => spyOn(libc, name))
    const [session] = harness.sessions()
    const handle = session && spyOn(session, "handle")
    exchange()
    harness.settle()
    const own = new Set(harness.held())
    const calls = spies.map(
      (spy) => spy.mock.calls.filter(([fd]) => own.has(fd as unknown as number)).length,
    )
    for (const spy of spies) spy.mockRestore()
    expect(calls).toEqual([2, 2, 0, 0, 0, 0])
    // One wake-up each, and none for the acknowledgements.
    expect(handle?.mock.calls.map(([, events]) => events & EPOLLIN)).toEqual([EPOLLIN, EPOLLIN])
  })
})

test("a connection with one request costs the system calls that the head of session.ts counts", () => {
  const names = [
    ...([
      "accept4",
      "socket",
      "connect",
      "epoll_ctl",
      "recv",
      "send",
      "shutdown",
      "close",
    ] as const),
    ...(["bind", "setsockopt", "getsockopt", "getsockname", "getpeername", "fcntl"] as const),
  ]
  const spies = names.map((name) => spyOn(libc, name))
  const { client, server: peer } = harness.pair(endpoint, server)
  client.send("question")
  peer.expectText("question")
  const own = new Set<unknown>(harness.held())
  const listening = harness.listeners[0]?.socket.number
  peer.send("answer")
  peer.close()
  expect(client.untilEnd()).toEqual({ text: "answer", how: "end" })
  client.close()
  untilBalanced()
  const counts = names.map((name, at) => {
    const { calls, results } = spies[at]?.mock ?? { calls: [], results: [] }
    const isOurs = (args: unknown[], at: number) => {
      if (name === "accept4") return args[0] === listening
      if (name === "socket") return own.has(results[at]?.value)
      return own.has(args[name === "epoll_ctl" ? 2 : 0])
    }
    return [name, calls.filter(isOurs).length]
  })
  for (const spy of spies) spy.mockRestore()
  expect(Object.fromEntries(counts.filter(([, count]) => count !== 0))).toEqual({
    accept4: 2, // the second one finds nobody
    socket: 1,
    connect: 1,
    epoll_ctl: 2,
    recv: 4,
    send: 2,
    shutdown: 1,
    close: 2,
  })
})

describe("half-close", () => {
  test("the client's FIN reaches the server, whose answer still reaches the client", () => {
    const { client, server: peer } = connectedPair()
    client.send("request")
    client.finish()
    expect(peer.untilEnd()).toEqual({ text: "request", how: "end" })
    for (const part of ["one", "two", "three"]) {
      peer.send(part)
      client.expectText(part)
    }
    expect(harness.stream("connections")).toBe(1)
    peer.finish()
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    untilBalanced()
    expect(harness.stream("finished")).toBe(1)
  })

  test("the server's FIN reaches the client, whose data still reaches the server", () => {
    const { client, server: peer } = connectedPair()
    peer.send("bye")
    peer.finish()
    expect(client.untilEnd()).toEqual({ text: "bye", how: "end" })
    for (const part of ["one", "two", "three"]) {
      client.send(part)
      peer.expectText(part)
    }
    client.finish()
    expect(peer.untilEnd()).toEqual({ text: "", how: "end" })
    untilBalanced()
    expect(harness.stream("finished")).toBe(1)
  })

  test("both FINs at once end it", () => {
    const { client, server: peer } = connectedPair()
    client.send("c")
    client.finish()
    peer.send("s")
    peer.finish()
    expect(client.untilEnd()).toEqual({ text: "s", how: "end" })
    expect(peer.untilEnd()).toEqual({ text: "c", how: "end" })
    untilBalanced()
  })
})

describe("reset", () => {
  test("of the client reaches the server", () => {
    const { client, server: peer } = connectedPair()
    client.reset()
    expect(peer.untilEnd()).toEqual({ text: "", how: RESET })
    untilBalanced()
    expect(harness.stream("client_reset")).toBe(1)
    expect(harness.records.map(({ reason }) => reason)).toEqual(["client_reset"])
  })

  test("of the server reaches the client", () => {
    const { client, server: peer } = connectedPair()
    peer.reset()
    expect(client.untilEnd()).toEqual({ text: "", how: RESET })
    untilBalanced()
    expect(harness.stream("server_reset")).toBe(1)
  })

  test("of either comes after the data that went before it", () => {
    const { client, server: peer } = connectedPair()
    client.send("client's last")
    client.reset()
    expect(peer.untilEnd()).toEqual({ text: "client's last", how: RESET })
    const next = connectedPair()
    next.server.send("server's last")
    next.server.reset()
    expect(next.client.untilEnd()).toEqual({ text: "server's last", how: RESET })
    untilBalanced()
  })

  test("of the server does not lose its last words to a client that goes on sending", () => {
    const { client, server: peer } = connectedPair()
    // A server that refuses an upload: it answers, and closes without reading the rest. The
    // client's data is ready first, so that writing it to the server is what meets the reset.
    client.send("more of the upload")
    peer.send("413 too large")
    peer.reset()
    expect(client.untilEnd()).toEqual({ text: "413 too large", how: RESET })
    untilBalanced()
    expect(harness.stream("server_reset")).toBe(1)
    expect(harness.stream("bytesOut")).toBe(13)
  })

  test("of the client does not lose its last words to a server that goes on sending", () => {
    const { client, server: peer } = connectedPair()
    peer.send("rows")
    client.send("kill query")
    client.reset()
    expect(peer.untilEnd()).toEqual({ text: "kill query", how: RESET })
    untilBalanced()
    expect(harness.stream("client_reset")).toBe(1)
  })

  test("after the other side's FIN is passed on, in both directions", () => {
    const first = connectedPair()
    first.client.finish()
    expect(first.server.untilEnd().how).toBe("end")
    first.server.reset()
    expect(first.client.untilEnd()).toEqual({ text: "", how: RESET })
    const second = connectedPair()
    second.server.finish()
    expect(second.client.untilEnd().how).toBe("end")
    second.client.reset()
    expect(second.server.untilEnd()).toEqual({ text: "", how: RESET })
    untilBalanced()
    expect([harness.stream("server_reset"), harness.stream("client_reset")]).toEqual([1, 1])
  })

  test("of a side that has finished is passed on", () => {
    const { client, server: peer } = connectedPair()
    client.finish()
    expect(peer.untilEnd().how).toBe("end")
    client.reset()
    untilBalanced()
    // A reset after FIN is EPIPE, and shows when writing or asking.
    expect(pendingError(peer.fd)).toBe(EPIPE)
    expect(harness.stream("client_reset")).toBe(1)
  })

  test("of a client that did not wait for the connect reaches the server", () => {
    const client = harness.connect(endpoint)
    client.send("x")
    client.reset()
    expect(server.accept().untilEnd()).toEqual({ text: "x", how: RESET })
    untilBalanced()
    expect(harness.stream("client_reset")).toBe(1)
  })
})

describe("idle timeout", () => {
  const IDLE_MS = 40

  test("ends a connection on which nothing moves, with FIN to both", () => {
    const { client, server: peer } = connectedPair(harness.listen({ idleTimeoutMs: IDLE_MS }))
    const startedAt = performance.now()
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    expect(performance.now() - startedAt).toBeGreaterThan(IDLE_MS - 10)
    expect(peer.untilEnd()).toEqual({ text: "", how: "end" })
    untilBalanced()
    expect(harness.stream("idle_timeout")).toBe(1)
  })

  test("counts from the last byte in either direction", () => {
    const { client, server: peer } = connectedPair(harness.listen({ idleTimeoutMs: IDLE_MS }))
    const end = performance.now() + 4 * IDLE_MS
    for (let round = 0; performance.now() < end; round++) {
      const [from, to] = round % 2 === 0 ? [client, peer] : [peer, client]
      from.send("x")
      to.expectText("x")
    }
    expect(harness.stream("idle_timeout")).toBe(0)
    expect(client.untilEnd().how).toBe("end")
    untilBalanced()
  })

  test("ends a half-closed connection, too", () => {
    const { client, server: peer } = connectedPair(harness.listen({ idleTimeoutMs: IDLE_MS }))
    client.finish()
    expect(peer.untilEnd().how).toBe("end")
    expect(client.untilEnd().how).toBe("end")
    untilBalanced()
    expect(harness.stream("idle_timeout")).toBe(1)
  })
})

describe("end()", () => {
  test("resets both sides and counts the reason", () => {
    const { client, server: peer } = connectedPair()
    harness.sessions()[0]?.end("address_released")
    expect([client.untilEnd(), peer.untilEnd()]).toEqual([
      { text: "", how: RESET },
      { text: "", how: RESET },
    ])
    untilBalanced()
    expect(harness.stream("address_released")).toBe(1)
  })

  test("of a connection that is over changes nothing", () => {
    const { client, server: peer } = connectedPair()
    const [session] = harness.sessions()
    client.close()
    peer.close()
    untilBalanced()
    session?.end("stopped")
    expect([harness.stream("finished"), harness.stream("stopped")]).toEqual([1, 0])
    expect(harness.unbalanced()).toEqual([])
  })

  test("while the connect is under way closes what there is", () => {
    const client = harness.connect(endpoint)
    harness.until("a session", () => harness.sessions().length === 1)
    harness.sessions()[0]?.end("stopped")
    expect(client.untilEnd()).toEqual({ text: "", how: RESET })
    untilBalanced()
  })
})

test("localAddress() and serverSlot tell what a sweep needs to know", () => {
  connectedPair()
  const [session] = harness.sessions()
  expect<string | undefined>(session?.localAddress()).toBe("127.0.0.1")
  expect([session?.serverSlot, session?.endsWithServer(new Set([0]))]).toEqual([0, false])
})

describe("a fault of ours", () => {
  function injected(): never {
    throw new Error("injected")
  }

  test("ends the one connection it happens in", () => {
    const [broken, healthy] = [connectedPair(), connectedPair()]
    const spy = spyOn(libc, "recv")
    spy.mockImplementationOnce(injected as never)
    broken.client.send("x")
    harness.until("the fault", () => harness.stream("internal_error") === 1)
    spy.mockRestore()
    expect([broken.client.untilEnd().how, broken.server.untilEnd().how]).toEqual([RESET, RESET])
    expect(harness.logged).toHaveLength(1)
    expect(harness.logged[0]).toMatchObject({
      level: "error",
      message: "Connection ended by a fault",
      fields: { stream: "s", error: expect.stringContaining("injected") },
    })
    healthy.client.send("still here")
    healthy.server.expectText("still here")
    healthy.client.close()
    healthy.server.close()
    untilBalanced()
  })

  test("in a timer ends the one connection it happens in", () => {
    const { client, server: peer } = connectedPair(harness.listen({ idleTimeoutMs: 20 }))
    const [session] = harness.sessions()
    if (session === undefined) throw new Error("no session")
    spyOn(session, "onTimer").mockImplementationOnce(injected)
    expect([client.untilEnd().how, peer.untilEnd().how]).toEqual([RESET, RESET])
    untilBalanced()
    expect(harness.stream("internal_error")).toBe(1)
  })
})

test("the access record tells times, bytes, server and reason", () => {
  const { client, server: peer } = harness.pair(endpoint, server)
  client.send("1234567")
  peer.expectText("1234567")
  peer.send("123")
  client.expectText("123")
  client.close()
  peer.close()
  untilBalanced()
  const [record] = harness.records
  expect(record).toMatchObject({
    stream: "s",
    client: { address: "127.0.0.1", port: expect.any(Number) },
    listen: endpoint,
    pool: "p",
    server: "a",
    bytesIn: 7,
    bytesOut: 3,
    retries: 0,
    reason: "finished",
  })
  expect(record?.client.port).not.toBe(endpoint.port)
  expect(record?.connectMs).toBeGreaterThanOrEqual(0)
  expect(record?.durationMs).toBeGreaterThanOrEqual(record?.connectMs ?? 0)
})

test("a connection that began before the access log was kept is not in it", () => {
  const { accessLog } = harness.context
  harness.context.accessLog = undefined
  const { client, server: peer } = connectedPair()
  harness.context.accessLog = accessLog
  client.close()
  peer.close()
  untilBalanced()
  expect(harness.records).toEqual([])
})

test("urgent data does not hide what comes after it", () => {
  const { client, server: peer } = connectedPair()
  client.send("before")
  client.sendUrgent("!")
  client.send("after")
  let got = ""
  harness.until("what follows the mark", () => {
    const some = peer.receiveSome()
    if (some instanceof Uint8Array) got += Buffer.from(some).toString()
    else expect(some).toBe(-EAGAIN)
    return got.endsWith("after")
  })
  expect(got.replace("!", "")).toBe("beforeafter")
})
