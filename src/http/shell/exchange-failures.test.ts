import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { PlainTransport } from "../../connection/transport.ts"
import { ECONNRESET, EKEYREJECTED } from "../../linux/errno.ts"
import type { Endpoint } from "../../net/address.ts"
import { after } from "../../net/time.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"

const RESET = -ECONNRESET
const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const POST = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
const BUSY = "HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\nno"
const SHORT = {
  headMs: 60_000,
  bodyMs: 60_000,
  idleMs: 60_000,
  betweenBytesMs: 60_000,
  tunnelMs: 60_000,
}

let harness: Harness
let server: Server
let endpoint: Endpoint

beforeEach(() => {
  harness = new Harness()
  server = harness.server()
})

afterEach(() => {
  expect(harness.logged.filter(({ level }) => level === "error")).toEqual([])
  expect(harness.close()).toEqual([])
})

function ask(text = GET, at = endpoint): Peer {
  const client = harness.connect(at)
  client.send(text)
  return client
}

/** The next error response's status line and what it says of its cause. */
function errorOf(client: Peer): string[] {
  const head = client.takeHead()
  const length = Number(/\d+/.exec(head.find((line) => /^content-length/i.test(line)) ?? "")?.[0])
  client.takeBytes(length)
  return [head[0] as string, head.find((line) => line.startsWith("Proxy-Status")) ?? ""]
}

/** RFC 9209 §2.3: what is said of a response that is none. */
function proxyErrorOf(response: string): string {
  return response.length > 65_536 ? "http_response_header_section_size" : "http_protocol_error"
}

function served(peer: Peer, response = OK): void {
  peer.takeHead()
  peer.send(response)
}

describe("a connect that fails", () => {
  test("goes to another server, with a body or without", () => {
    harness.pool([harness.refusing(), server.endpoint])
    endpoint = harness.listen()
    for (const request of [GET, POST, POST]) {
      const client = ask(request)
      const peer = server.accept()
      served(peer)
      client.take(OK)
      client.close()
      peer.close()
      harness.settle()
    }
    expect(harness.listener("retries")).toBeGreaterThan(0)
    expect(harness.slot(0, "connectFailures")).toBe(harness.listener("retries"))
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 3 })
  })

  test("everywhere is 502, and keeps the client", () => {
    harness.pool([harness.refusing(), harness.refusing(), harness.refusing()])
    endpoint = harness.listen()
    const client = ask(GET + GET)
    const refused = ["HTTP/1.1 502 Bad Gateway", "Proxy-Status: causeway; error=connection_refused"]
    expect(errorOf(client)).toEqual(refused)
    expect(errorOf(client)).toEqual(refused)
    expect(harness.listener("retries")).toBe(2)
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ connect_failed: 2 })
  })

  test("for want of time is 504", () => {
    harness.pool([harness.blackHole().endpoint], { connectTimeoutMs: 40 })
    endpoint = harness.listen()
    expect(errorOf(ask())).toEqual([
      "HTTP/1.1 504 Gateway Timeout",
      "Proxy-Status: causeway; error=connection_timeout",
    ])
    expect(harness.reasons()).toEqual({ connect_failed: 1 })
  })

  test("for want of servers is 503", () => {
    harness.pool([server.endpoint])
    endpoint = harness.listen()
    harness.board.setHealth(0, "down")
    expect(errorOf(ask())).toEqual([
      "HTTP/1.1 503 Service Unavailable",
      "Proxy-Status: causeway; error=destination_unavailable",
    ])
    expect(harness.reasons()).toEqual({ no_server: 1 })
  })

  test("ends with a client that does not wait for it", () => {
    harness.pool([harness.blackHole().endpoint])
    endpoint = harness.listen()
    const client = ask(POST)
    harness.until("the connect", () => harness.slot(0, "connections") === 1)
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ client_aborted: 1 })
  })
})

describe("a server that does not answer", () => {
  beforeEach(() => {
    harness.pool([server.endpoint])
    endpoint = harness.listen()
  })

  const broken: readonly (readonly [name: string, end: (peer: Peer) => void, error: string])[] = [
    ["closes", (peer) => peer.close(), "connection_terminated"],
    ["resets", (peer) => peer.reset(), "connection_read_error"],
    [
      "closes in the middle of a head",
      (peer) => {
        peer.send("HTTP/1.1 200 OK\r\nA:")
        peer.close()
      },
      "connection_terminated",
    ],
  ]
  for (const [name, end, error] of broken) {
    test(`but ${name} is 502`, () => {
      for (const request of [GET, POST]) {
        const client = ask(request)
        const peer = server.accept()
        peer.takeHead()
        if (request === POST) peer.take("hi")
        end(peer)
        expect(errorOf(client)).toEqual([
          "HTTP/1.1 502 Bad Gateway",
          `Proxy-Status: causeway; error=${error}`,
        ])
        expect(server.tryAccept()).toBeUndefined()
        client.close()
        expect(harness.balance()).toEqual([])
      }
      expect(harness.reasons()).toEqual({ server_aborted: 2 })
      expect(harness.listener("retries")).toBe(0)
    })
  }

  test("but closes is left for another, once, if the request may be repeated", () => {
    const neighbour = harness.server()
    for (const [request, tries] of [
      [GET, 2],
      [POST, 1],
    ] as const) {
      harness.pool([server.endpoint, neighbour.endpoint])
      const client = ask(request, harness.listen())
      const peers = [server, neighbour].slice(0, tries).map((each) => {
        const peer = each.accept()
        peer.takeHead()
        peer.close()
        return each
      })
      expect(errorOf(client)[0]).toBe("HTTP/1.1 502 Bad Gateway")
      expect([server.tryAccept(), neighbour.tryAccept()]).toEqual([undefined, undefined])
      expect(peers).toHaveLength(tries)
    }
    expect(harness.listener("retries")).toBe(1)
  })

  for (const garbage of [
    "SSH-2.0-OpenSSH_9.2\r\n",
    "HTTP/1.1 200 OK\nA: b\n\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    `HTTP/1.1 200 OK\r\nA: ${"b".repeat(70_000)}\r\n\r\n`,
  ]) {
    test(`properly is 502: ${JSON.stringify(garbage.slice(0, 70))}`, () => {
      const client = ask()
      const peer = server.accept()
      peer.takeHead()
      peer.send(garbage)
      expect(errorOf(client)).toEqual([
        "HTTP/1.1 502 Bad Gateway",
        `Proxy-Status: causeway; error=${proxyErrorOf(garbage)}`,
      ])
      expect(peer.untilEnd().how).toBe(RESET)
      client.close()
      expect(harness.balance()).toEqual([])
      expect(harness.reasons()).toEqual({ bad_response: 1 })
    })
  }

  test("in time is 504, and is told to stop", () => {
    const client = ask(GET, harness.listen({ decide: forward({ firstByteMs: 40 }) }))
    const peer = server.accept()
    peer.takeHead()
    expect(errorOf(client)).toEqual([
      "HTTP/1.1 504 Gateway Timeout",
      "Proxy-Status: causeway; error=http_response_timeout",
    ])
    expect(peer.untilEnd().how).toBe(RESET)
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ server_timeout: 1 })
  })

  test("in time is 504 also after 103", () => {
    const client = ask(GET, harness.listen({ decide: forward({ firstByteMs: 60 }) }))
    const peer = server.accept()
    peer.takeHead()
    peer.send("HTTP/1.1 103 -\r\n\r\n")
    client.take("HTTP/1.1 103 -\r\n\r\n")
    expect(errorOf(client)[0]).toBe("HTTP/1.1 504 Gateway Timeout")
  })

  test("to the end in time is cut off", () => {
    const at = harness.listen({ timeouts: { ...SHORT, betweenBytesMs: 40 } })
    const client = ask(GET, at)
    const peer = server.accept()
    served(peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    client.take(/[\s\S]*hel/)
    expect(client.untilEnd()).toEqual({ text: "", how: RESET })
    expect(peer.untilEnd().how).toBe(RESET)
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ server_timeout: 1 })
  })

  test.each([
    ["betweenBytesMs", 40],
    ["betweenBytesMs", 60_000],
  ] as const)("has the route's %s before the listener's", (name, ownMs) => {
    const timeouts = { betweenBytesMs: undefined, tunnelMs: undefined, sendMs: undefined }
    const route = { timeouts: { ...timeouts, [name]: ownMs } }
    const others = ownMs === 40 ? 60_000 : 40
    const at = harness.listen({
      decide: forward(route),
      timeouts: { ...SHORT, betweenBytesMs: others },
    })
    const client = ask(GET, at)
    const peer = server.accept()
    served(peer, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
    client.take(/[\s\S]*hel/)
    const end = performance.now() + 100
    harness.until("100 ms", () => performance.now() > end || client.ended !== undefined)
    expect(client.ended).toBe(ownMs === 40 ? RESET : undefined)
  })

  test("that does not take the request has the route's sendMs", () => {
    const timeouts = { betweenBytesMs: undefined, tunnelMs: undefined, sendMs: 60 }
    const at = harness.listen({ decide: forward({ timeouts }) })
    const size = 64 * 1024 * 1024
    const client = ask(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`, at)
    server.accept()
    try {
      client.send("x".repeat(size))
    } catch {}
    expect(errorOf(client)[0]).toBe("HTTP/1.1 504 Gateway Timeout")
    expect(harness.reasons()).toEqual({ server_timeout: 1 })
  })

  test("because it does not take the request is 504, not the client's fault", () => {
    const at = harness.listen({ timeouts: { ...SHORT, bodyMs: 60 } })
    const size = 64 * 1024 * 1024
    const client = ask(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`, at)
    server.accept()
    try {
      client.send("x".repeat(size))
    } catch {}
    expect(errorOf(client)[0]).toBe("HTTP/1.1 504 Gateway Timeout")
    expect(harness.reasons()).toEqual({ server_timeout: 1 })
  })

  test("a client that takes nothing of its response is cut off, at its own expense", () => {
    const at = harness.listen({ timeouts: { ...SHORT, betweenBytesMs: 60 } })
    for (const framing of ["Content-Length: 67108864", "A: b", "Transfer-Encoding: chunked"]) {
      const client = ask(GET, at)
      const peer = server.accept()
      served(peer, `HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`)
      const chunk = framing.startsWith("T")
        ? `2000000\r\n${"x".repeat(0x2000000)}`
        : "x".repeat(0x2000000)
      expect(() => peer.send(chunk)).toThrow()
      expect(harness.balance()).toEqual([])
      client.close()
    }
    expect(harness.reasons()).toEqual({ client_timeout: 3 })
  })
})

describe("a client that leaves", () => {
  beforeEach(() => {
    harness.pool([server.endpoint])
    endpoint = harness.listen()
  })

  for (const how of ["close", "finish", "reset"] as const) {
    test(`(${how}) takes its request along, whatever came of it`, () => {
      for (const response of ["", "HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nhel"]) {
        const client = ask(GET)
        const peer = server.accept()
        served(peer, response)
        client.take(response)
        client[how]()
        expect(peer.untilEnd().how).toBe(RESET)
        client.close()
        expect(harness.balance()).toEqual([])
      }
      expect(harness.reasons()).toEqual({ client_aborted: 2 })
    })

    test(`(${how}) in the middle of its body takes its request along`, () => {
      const client = ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
      const peer = server.accept()
      peer.takeHead()
      client[how]()
      expect(peer.untilEnd()).toMatchObject({ how: RESET })
      client.close()
      expect(harness.balance()).toEqual([])
      expect(harness.reasons()).toEqual({ client_aborted: 1 })
    })
  }
})

describe("a kept connection", () => {
  beforeEach(() => {
    harness.pool([server.endpoint])
    endpoint = harness.listen()
  })

  /** A client after its first exchange, and the server's side of it. */
  function kept(): { readonly client: Peer; readonly peer: Peer } {
    const client = ask(GET)
    const peer = server.accept()
    served(peer)
    client.take(OK)
    return { client, peer }
  }

  test("that the server has closed is not used", () => {
    const { client, peer } = kept()
    peer.close()
    harness.settle()
    expect(harness.slot(0, "connections")).toBe(0)
    client.send(POST)
    const next = server.accept()
    served(next)
    client.take(OK)
    expect(harness.listener("retries")).toBe(0)
  })

  test("to a server that is given up is not kept, though it was in use at that time", () => {
    const { client, peer } = kept()
    client.send(GET)
    peer.takeHead()
    harness.upstreams.closeIdle(new Set([0]))
    peer.send(OK)
    client.take(OK)
    expect(peer.untilEnd().how).toBe("end")
    client.send(GET)
    const next = server.accept()
    served(next)
    client.take(OK)
    client.send(GET)
    served(next)
    client.take(OK)
  })

  test("that is closed while the request is on its way costs a retry, once", () => {
    const { client, peer } = kept()
    client.send(GET)
    expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
    peer.close()
    const next = server.accept()
    served(next)
    client.take(OK)
    expect(harness.listener("retries")).toBe(1)
    client.send(GET)
    next.takeHead()
    next.close()
    const third = server.accept()
    third.takeHead()
    third.close()
    expect(errorOf(client)[0]).toBe("HTTP/1.1 502 Bad Gateway")
    expect(server.tryAccept()).toBeUndefined()
    client.close()
    expect(harness.balance()).toEqual([])
  })

  test("that is closed while the request is on its way costs a retry at another server", () => {
    const neighbour = harness.server()
    harness.pool([server.endpoint, neighbour.endpoint])
    const { client, peer } = kept()
    client.send(GET)
    const fresh = neighbour.accept()
    served(fresh)
    client.take(OK)
    client.send(GET)
    peer.takeHead()
    peer.close()
    const next = neighbour.accept()
    served(next)
    client.take(OK)
    expect(server.tryAccept()).toBeUndefined()
  })

  test("that is closed while the request of a bound client is on its way costs a retry", () => {
    const neighbour = harness.server()
    harness.pool([server.endpoint, neighbour.endpoint])
    endpoint = harness.listen({ decide: forward({}, { stickySlot: 1 }) })
    const { client, peer } = kept()
    client.send(GET)
    peer.takeHead()
    peer.close()
    const next = server.accept()
    served(next)
    client.take(OK)
    expect(neighbour.tryAccept()).toBeUndefined()
  })

  test("that is closed at the same moment costs a POST nothing", () => {
    const { client, peer } = kept()
    // The client's event comes first: nothing has told yet that the connection is gone.
    client.send(POST)
    peer.close()
    const next = server.accept()
    served(next)
    next.take("hi")
    client.take(OK)
    expect(harness.listener("retries")).toBe(0)
  })

  test("that is closed under a POST is 502: nobody knows what has been done", () => {
    const { client, peer } = kept()
    client.send(POST)
    peer.takeHead()
    peer.close()
    expect(errorOf(client)[0]).toBe("HTTP/1.1 502 Bad Gateway")
    harness.settle()
    expect(server.tryAccept()).toBeUndefined()
    expect(harness.listener("retries")).toBe(0)
  })

  test("that has begun to answer is not tried again", () => {
    for (const part of ["HTTP/1.1 2", "HTTP/1.1 103 -\r\n\r\n"]) {
      const { client, peer } = kept()
      client.send(GET)
      peer.takeHead()
      peer.send(part)
      harness.settle()
      peer.close()
      client.take(/(HTTP\/1.1 103 -\r\n\r\n)?HTTP\/1.1 502 /)
      expect(server.tryAccept()).toBeUndefined()
    }
  })

  test("that a reset ends is tried again", () => {
    const { client, peer } = kept()
    client.send(GET)
    peer.takeHead()
    peer.reset()
    const next = server.accept()
    served(next)
    client.take(OK)
  })

  const dirty: readonly (readonly [name: string, response: string])[] = [
    ["with bytes behind its response", `${OK}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`],
    [
      "with a body where none may be",
      "HTTP/1.1 204 -\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ],
    ["that says close", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x, close\r\n\r\nok"],
    ["of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    [
      "with bytes behind its last chunk",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ],
  ]
  for (const [name, response] of dirty) {
    test(`${name} serves no other request`, () => {
      const client = ask(GET)
      const peer = server.accept()
      served(peer, response)
      harness.settle()
      client.send(GET)
      const next = server.accept()
      served(next, OK.replace("ok", "2n"))
      client.take(/HTTP\/1.1 20[\s\S]*?2n/)
      expect(client.got).toBe("")
      expect(peer.untilEnd().text).toBe("")
      client.close()
      expect(harness.balance()).toEqual([])
    })
  }

  test("with bytes behind a spliced response serves no other request", () => {
    const size = 200_000
    const client = ask(GET)
    const peer = server.accept()
    served(peer, `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`)
    client.takeHead()
    peer.send(`${"x".repeat(size)}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`)
    expect(client.takeBytes(size)).toBe("x".repeat(size))
    client.send(GET)
    const next = server.accept()
    served(next)
    client.take(OK)
    expect(client.got).toBe("")
  })

  test("that speaks unasked is closed", () => {
    const { client, peer } = kept()
    peer.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    expect(peer.untilEnd().how).not.toBeUndefined()
    client.send(GET)
    served(server.accept())
    client.take(OK)
  })

  test("counts neither as a connection nor against max_connections", () => {
    harness.pool([server.endpoint], { name: "one", members: [{ maxConnections: 1 }] })
    const at = harness.listen({ decide: forward({}, { pool: "one" }) })
    const client = ask(GET, at)
    const peer = server.accept()
    peer.takeHead()
    expect(harness.slot(1, "connections")).toBe(1)
    const other = ask(GET, at)
    expect(errorOf(other)[0]).toBe("HTTP/1.1 503 Service Unavailable")
    peer.send(OK)
    client.take(OK)
    expect(harness.slot(1, "connections")).toBe(0)
    other.send(GET)
    served(peer)
    other.take(OK)
    expect(harness.slot(1, "connections")).toBe(0)
  })

  test("is closed when it has had nothing to do for 30 s, and not before", () => {
    const { client, peer } = kept()
    const start = harness.reactor.now
    harness.reactor.timers.advance(after(start, 29_000))
    expect(peer.ended).toBeUndefined()
    harness.reactor.timers.advance(after(start, 31_000))
    expect(peer.untilEnd().how).toBe("end")
    client.close()
    expect(harness.balance()).toEqual([])
  })

  test("is not used for another server in the same slot", () => {
    const { client } = kept()
    const another = harness.server()
    harness.pool([another.endpoint], { members: [{ slot: 0 }] })
    client.send(GET)
    served(another.accept())
    client.take(OK)
  })
})

describe("a repetition by status", () => {
  let second: Server
  const retry = { retryStatuses: [503], retryAttempts: 2 }

  beforeEach(() => {
    second = harness.server()
    harness.pool([server.endpoint, second.endpoint])
    endpoint = harness.listen({ decide: forward(retry) })
  })

  /** The next of the two servers that is asked. */
  function next(): Peer {
    return harness.until("a server to be asked", () => server.tryAccept() ?? second.tryAccept())
  }

  test("goes to the other server", () => {
    const client = ask(GET)
    served(next(), BUSY)
    served(next())
    client.take(OK)
    expect(harness.listener("retries")).toBe(1)
    expect(harness.records[0]).toMatchObject({ status: 200, retries: 1 })
  })

  test("ends with the answer of the last server", () => {
    const client = ask(GET)
    served(next(), BUSY)
    const last = next()
    served(last, BUSY)
    client.take(BUSY)
    client.send(GET)
    expect([harness.listener("retries"), harness.records[0]?.status]).toEqual([1, 503])
  })

  test("is not for a POST, nor for other statuses", () => {
    const client = ask(POST)
    served(next(), BUSY)
    client.take(BUSY)
    client.close()
    const other = ask(GET)
    served(next(), BUSY.replace("503", "500"))
    other.take(BUSY.replace("503", "500"))
    expect(harness.listener("retries")).toBe(0)
  })

  test("is not without leave", () => {
    const client = ask(GET, harness.listen())
    served(next(), BUSY)
    client.take(BUSY)
  })

  test("is also for a server that closes without a word", () => {
    const client = ask(GET)
    const first = next()
    first.takeHead()
    first.close()
    served(next())
    client.take(OK)
  })
})

test("a mirror gets a copy, and changes nothing", () => {
  const mirror = harness.server()
  harness.pool([server.endpoint])
  harness.pool([mirror.endpoint], { name: "m" })
  endpoint = harness.listen({ decide: forward({ mirror: "m" }) })
  const client = ask(POST)
  const copy = mirror.accept()
  expect(copy.takeHead()[0]).toBe("POST / HTTP/1.1")
  copy.take("hi")
  copy.send(BUSY)
  served(server.accept())
  client.take(OK)
  expect(client.got).toBe("")
  client.close()
  copy.close()
  harness.settle()
  expect(harness.balance()).toEqual([])
})

describe("connections that are only kept", () => {
  test("are counted, and given up when their descriptors are wanted", () => {
    const servers = [server, harness.server()]
    harness.pool(servers.map((each) => each.endpoint))
    endpoint = harness.listen()
    const clients = servers.map(() => ask())
    const peers = servers.map((each) => each.accept())
    expect(harness.upstreams.idleCount).toBe(0)
    for (const [index, peer] of peers.entries()) {
      served(peer)
      clients[index]?.take(OK)
    }
    expect(harness.upstreams.idleCount).toBe(2)
    clients[0]?.send(GET)
    const busy = harness.until("a request", () => peers.find((peer) => peer.got !== ""))
    expect(harness.upstreams.idleCount).toBe(1)
    harness.upstreams.shed()
    expect(harness.upstreams.idleCount).toBe(0)
    served(busy)
    clients[0]?.take(OK)
    expect(harness.upstreams.idleCount).toBe(1)
    const shed = peers.find((peer) => peer !== busy)
    expect(shed?.untilEnd().how).toBe("end")
    busy.close()
    harness.until("it to be noticed", () => harness.upstreams.idleCount === 0)
  })
})

test("what TLS says of a server that cannot be spoken to is logged", () => {
  class Refused extends PlainTransport {
    readonly failure = "certificate verify failed: self-signed certificate"
    handshake(): number {
      return -EKEYREJECTED
    }
  }
  harness.pool([server.endpoint], { secure: (fd) => new Refused(fd) })
  endpoint = harness.listen()
  const client = ask()
  server.accept()
  expect(errorOf(client)[1]).toBe("Proxy-Status: causeway; error=tls_certificate_error")
  expect(harness.logged).toMatchObject([
    {
      level: "warn",
      message: "TLS with a server failed",
      fields: {
        pool: "p",
        server: "a",
        cause: "EKEYREJECTED",
        detail: "certificate verify failed: self-signed certificate",
      },
    },
  ])
})

test("a retry looks at the pool as it is by then: who has left is not tried", () => {
  const [hole, gone] = [harness.blackHole(), harness.refusing()]
  const options = { balance: "first", connectTimeoutMs: 30 } as const
  harness.pool([hole.endpoint, gone], options)
  endpoint = harness.listen()
  const client = ask()
  harness.until("the first connect", () => harness.slot(0, "connectionsTotal") > 0)
  harness.pool([server.endpoint], options)
  served(server.accept())
  client.take(OK)
  expect(harness.listener("retries")).toBe(1)
})

test("a request under way to a server that leaves goes on, and its connection is not kept", () => {
  harness.pool([server.endpoint])
  endpoint = harness.listen()
  const client = ask()
  const peer = server.accept()
  peer.takeHead()
  const other = harness.server()
  harness.pool([other.endpoint])
  harness.upstreams.closeIdle(new Set([0]))
  peer.send(OK)
  client.take(OK)
  expect(peer.untilEnd().how).toBe("end")
  client.send(GET)
  served(other.accept())
  client.take(OK)
})
