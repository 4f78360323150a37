import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { ECONNRESET } from "../../linux/errno.ts"
import type { Endpoint } from "../../net/address.ts"
import { forward, Harness, LOOPBACK, type Peer, routeOf, type Server } from "../fixtures/harness.ts"
import type { PasswordVerdict, RespondDecision } from "../route.ts"

const RESET = -ECONNRESET
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

function respond(decision: Partial<RespondDecision> = {}): RespondDecision {
  return { type: "respond", route: routeOf(), status: 200, fields: "", body: "hi\n", ...decision }
}

const HI = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 3\r\n"

function ask(text: string, at = endpoint): Peer {
  const client = harness.connect(at)
  client.send(text)
  return client
}

describe("a request that is refused", () => {
  const cases: readonly (readonly [status: string, request: string])[] = [
    ["400 Bad Request", "GET / HTTP/1.1\r\n\r\n"],
    ["400 Bad Request", "GET / HTTP/1.1\nHost: a\n\n"],
    ["400 Bad Request", "\x16\x03\x01\x02\0\x01\0\x01\xfc"],
    ["413 Content Too Large", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello"],
    [
      "413 Content Too Large",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    ],
    ["414 URI Too Long", `GET /${"a".repeat(2000)} HTTP/1.1\r\nHost: a\r\n\r\n`],
    [
      "417 Expectation Failed",
      "PUT / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n",
    ],
    [
      "431 Request Header Fields Too Large",
      `GET / HTTP/1.1\r\nHost: a\r\nB: ${"b".repeat(2000)}\r\n\r\n`,
    ],
    [
      "431 Request Header Fields Too Large",
      `GET / HTTP/1.1\r\nHost: a\r\n${"B: c\r\n".repeat(20)}\r\n`,
    ],
    ["501 Not Implemented", "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["501 Not Implemented", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"],
    ["505 HTTP Version Not Supported", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"],
  ]
  for (const [status, request] of cases) {
    test(`gets ${status}, once, and nothing goes on: ${JSON.stringify(request.slice(0, 50))}`, () => {
      const at = harness.listen({
        limits: { headBytesMax: 1000, fieldsMax: 10 },
        decide: forward({ maxBodyBytes: 10 }),
      })
      const client = ask(request + GET, at)
      const { text, how } = client.untilEnd()
      expect(text).toMatch(
        new RegExp(`^HTTP/1.1 ${status}\r\n[\\s\\S]*\r\nConnection: close\r\n\r\n${status}\n$`),
      )
      expect([how, text.match(/HTTP\/1.1/g)?.length]).toEqual(["end", 1])
      client.close()
      expect(server.tryAccept()).toBeUndefined()
      expect(harness.balance()).toEqual([])
      expect(harness.reasons()).toEqual({ bad_request: 1 })
      expect(harness.listener("requests")).toBe(1)
      expect(harness.records.map((record) => record.status)).toEqual([Number(status.slice(0, 3))])
    })
  }

  test("gets its answer although it goes on sending (RFC 9112 §9.6)", () => {
    const client = ask("GET / HTTP/1.1\r\n\r\n")
    for (let count = 0; count < 20; count++) {
      client.send("more ".repeat(1000))
      harness.pass()
    }
    client.take("HTTP/1.1 400 Bad Request\r\n")
    client.finish()
    expect(client.untilEnd().how).toBe("end")
    expect(harness.balance()).toEqual([])
  })

  test("is not listened to for ever", () => {
    const client = ask("GET / HTTP/1.1\r\n\r\n")
    client.take("HTTP/1.1 400 Bad Request\r\n")
    expect(() => {
      for (let count = 0; count < 100; count++) {
        client.send("more ".repeat(10_000))
        harness.pass()
      }
    }).toThrow()
    expect(harness.balance()).toEqual([])
  })

  test("behind a good one is refused after that has been answered", () => {
    const client = ask(`${GET}GET / HTTP/1.1\r\nHost : a\r\n\r\n${GET}`)
    const peer = server.accept()
    peer.takeHead()
    peer.send(OK)
    client.take(`${OK}HTTP/1.1 400 Bad Request\r\n`)
    expect(client.untilEnd().how).toBe("end")
    expect(peer.got).toBe("")
    expect(harness.reasons()).toEqual({ finished: 1, bad_request: 1 })
  })

  test("in the middle of its body takes its exchange along", () => {
    const client = ask("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    const peer = server.accept()
    peer.takeHead()
    client.send("x\r\n")
    expect(client.untilEnd().text).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/)
    expect(peer.untilEnd()).toEqual({ text: "1\r\na\r\n", how: RESET })
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ bad_request: 1 })
  })

  test("for the size of its chunks is cut off in time", () => {
    const at = harness.listen({ decide: forward({ maxBodyBytes: 10 }) })
    const client = ask(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n",
      at,
    )
    const peer = server.accept()
    peer.takeHead()
    client.send("3\r\n123\r\n0\r\n\r\n")
    expect(client.untilEnd().text).toMatch(/^HTTP\/1.1 413 /)
    expect(peer.untilEnd()).toEqual({ text: "8\r\n12345678\r\n", how: RESET })
    client.close()
    expect(harness.balance()).toEqual([])
  })
})

describe("a response of the proxy's own", () => {
  test("keeps the connection", () => {
    const client = ask(GET + GET, harness.listen({ decide: respond() }))
    client.take(`${HI}\r\nhi\n${HI}\r\nhi\n`)
    client.send(GET)
    client.take(`${HI}\r\nhi\n`)
    expect([harness.listener("requests"), harness.route("requests")]).toEqual([3, 3])
    expect(
      harness.records.map(({ status, target, route, reason }) => [status, target, route, reason]),
    ).toEqual(new Array(3).fill([200, "/", "r", "finished"]))
  })

  test("to HEAD has no body", () => {
    const client = ask(GET.replace("GET", "HEAD") + GET, harness.listen({ decide: respond() }))
    client.take(`${HI}\r\n${HI}\r\nhi\n`)
  })

  test("says to HTTP/1.0 what becomes of the connection", () => {
    const at = harness.listen({ decide: respond() })
    const kept = ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", at)
    kept.take(`${HI}Connection: keep-alive\r\n\r\nhi\n`)
    kept.send("GET / HTTP/1.0\r\n\r\n")
    expect(kept.untilEnd()).toEqual({ text: `${HI}Connection: close\r\n\r\nhi\n`, how: "end" })
  })

  test("to a request with a body ends the connection, and the body is no request", () => {
    const body = GET
    const client = ask(
      `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      harness.listen({ decide: respond() }),
    )
    expect(client.untilEnd()).toEqual({ text: `${HI}Connection: close\r\n\r\nhi\n`, how: "end" })
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })

  test("that is too large for its room is an error of ours, not half an answer", () => {
    const client = ask(
      GET + GET,
      harness.listen({ decide: respond({ body: "x".repeat(400_000) }) }),
    )
    expect(client.untilEnd().text).toMatch(/^HTTP\/1.1 500 Internal Server Error\r\n/)
    expect(harness.reasons()).toEqual({ internal_error: 1 })
    expect(harness.logged.splice(0)).toMatchObject([{ level: "error", fields: { bytes: 400_000 } }])
  })

  test("to a thousand requests at once comes a thousand times, in order", () => {
    let count = 0
    const at = harness.listen({ decide: () => respond({ body: `${++count} `.padStart(6) }) })
    const client = ask(GET.repeat(3000), at)
    const { length } = `${HI.replace("3", "6")}\r\n000001`
    const text = client.takeBytes(3000 * length)
    const bodies = text.split(/HTTP[\s\S]*?\r\n\r\n/).slice(1)
    expect(bodies.map(Number)).toEqual(Array.from({ length: 3000 }, (_, at) => at + 1))
  })

  test("to one who takes no answers waits until it does", () => {
    const at = harness.listen({ decide: respond({ body: "x".repeat(100_000) }) })
    const client = ask(GET.repeat(400), at)
    harness.settle()
    const before = harness.listener("requests")
    expect(before).toBeLessThan(200)
    for (let count = 0; count < 20; count++) harness.pass(1)
    expect(harness.listener("requests")).toBe(before)
    client.takeBytes(400 * 100_000)
    expect(harness.listener("requests")).toBe(400)
  })
})

test("thousands of requests for a pool without servers are answered one after the other", () => {
  harness.pool([], { name: "none" })
  const client = ask(GET.repeat(5000), harness.listen({ decide: forward({}, { pool: "none" }) }))
  const first = client.takeHead()
  expect(first).toContain("Proxy-Status: causeway; error=destination_unavailable")
  const { length } = `${first.join("\r\n")}\r\n\r\n503 Service Unavailable\n`
  client.takeBytes("503 Service Unavailable\n".length + 4999 * length)
  expect(harness.reasons()).toEqual({ no_server: 5000 })
})

describe("time", () => {
  const SHORT = {
    headMs: 60_000,
    bodyMs: 60_000,
    idleMs: 60_000,
    betweenBytesMs: 60_000,
    tunnelMs: 60_000,
  }

  test("for a head runs from its first byte, however it drips", () => {
    const at = harness.listen({ timeouts: { ...SHORT, headMs: 60 } })
    const client = ask("GET / HTTP/1.1\r\nHost: a\r\nA: ", at)
    const started = performance.now()
    const dripped = harness.until("the end of patience", () => {
      if (client.got !== "") return true
      client.send("b")
      return undefined
    })
    expect(dripped).toBe(true)
    expect(performance.now() - started).toBeWithin(40, 500)
    expect(client.untilEnd().text).toMatch(
      /^HTTP\/1.1 408 Request Timeout\r\n[\s\S]*Connection: close/,
    )
    expect(harness.reasons()).toEqual({ client_timeout: 1 })
  })

  test("for the first head ends without a word when nothing came", () => {
    const client = harness.connect(harness.listen({ timeouts: { ...SHORT, headMs: 30 } }))
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({})
  })

  test("for a head holds behind another request as well", () => {
    const at = harness.listen({ timeouts: { ...SHORT, headMs: 60 }, decide: respond() })
    const client = ask(`${GET}GET / HT`, at)
    client.take(`${HI}\r\nhi\n`)
    expect(client.untilEnd().text).toMatch(/^HTTP\/1.1 408 /)
  })

  test("between requests ends without a word", () => {
    const client = ask(
      GET,
      harness.listen({ timeouts: { ...SHORT, idleMs: 40 }, decide: respond() }),
    )
    expect(client.untilEnd()).toEqual({ text: `${HI}\r\nhi\n`, how: "end" })
    expect(harness.balance()).toEqual([])
  })

  test("for a body runs between its bytes, and its end is the client's fault", () => {
    const at = harness.listen({ timeouts: { ...SHORT, bodyMs: 80 } })
    const client = ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n", at)
    const peer = server.accept()
    for (const byte of "12345") {
      client.send(byte)
      const until = performance.now() + 30
      harness.until("30 ms", () => performance.now() > until)
    }
    expect(client.untilEnd().text).toMatch(/^HTTP\/1.1 408 /)
    expect(peer.untilEnd()).toMatchObject({ how: RESET, text: expect.stringMatching(/12345$/) })
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ client_timeout: 1 })
  })

  test("for a client that takes nothing ends with a reset: half an answer is none", () => {
    const at = harness.listen({
      timeouts: { ...SHORT, betweenBytesMs: 80, idleMs: 80 },
      decide: respond({ body: "x".repeat(200_000) }),
    })
    const client = ask(GET.repeat(100), at)
    harness.settle()
    harness.until("its end", () => harness.clients().length === 0)
    const { text, how } = client.untilEnd()
    expect([how, text.length < 100 * 200_000]).toEqual([RESET, true])
    expect(harness.balance()).toEqual([])
  })

  test("does not end a client that takes little at a time", () => {
    const at = harness.listen({
      timeouts: { ...SHORT, betweenBytesMs: 400, idleMs: 400 },
      decide: respond({ body: "x".repeat(280_000) }),
    })
    const client = ask(GET.repeat(30).replace(/\r\n\r\n$/, "\r\nConnection: close\r\n\r\n"), at)
    let got = 0
    const how = harness.until("the end", () => {
      const some = client.receiveSome(100_000)
      if (some instanceof Uint8Array) got += some.length
      return some === "end" || some === RESET ? some : undefined
    })
    expect([how, got > 30 * 280_000]).toEqual(["end", true])
  })
})

describe("a question", () => {
  const question = (
    settle: (verdict: PasswordVerdict) => ReturnType<typeof forward> | RespondDecision,
  ) =>
    respond({
      status: 401,
      question: {
        type: "password",
        password: "secret",
        hash: "h",
        settle: (verdict) => settle(verdict),
      },
    })

  test("holds the request, and those behind it, until it is answered", () => {
    const at = harness.listen({
      decide: (head) => {
        const isFirst = head.bytes.toString("latin1", head.pathStart, head.pathEnd) === "/first"
        return isFirst
          ? question((verdict) => (verdict === "right" ? forward() : respond()))
          : respond()
      },
    })
    const client = ask(
      `POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello${GET}`,
      at,
    )
    harness.until("the question", () => harness.asked.length === 1)
    harness.settle()
    expect([client.got, harness.asked[0]?.password]).toEqual(["", "secret"])
    harness.asked[0]?.answer("right")
    const peer = server.accept()
    expect(peer.takeHead()[0]).toBe("POST /first HTTP/1.1")
    peer.take("hello")
    peer.send(OK)
    client.take(`${OK}${HI}\r\nhi\n`)
  })

  test("is dropped with its client", () => {
    const client = ask(GET, harness.listen({ decide: question(() => forward()) }))
    harness.until("the question", () => harness.asked.length === 1)
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.asked).toEqual([])
    expect(harness.reasons()).toEqual({ client_aborted: 1 })
  })
})

describe("limits", () => {
  test("clients beyond max_connections wait for one to leave", () => {
    const at = harness.listen({ maxConnections: 1, decide: respond() })
    const first = ask(GET, at)
    first.take(HI)
    const second = ask(GET, at)
    harness.settle()
    expect(second.got).toBe("")
    first.close()
    second.take(HI)
  })

  test("a client that may not come is reset", () => {
    const at = harness.listen({ deny: [{ address: LOOPBACK, length: 32 }] })
    expect(harness.connect(at).untilEnd().how).toBe(RESET)
    expect(harness.reasons()).toEqual({ denied: 1 })
    expect(harness.unbalanced()).toEqual([])
  })
})

test("a client that resets while it waits for nothing leaves nothing behind", () => {
  for (const text of ["", "GET / H", `${GET}x`]) {
    const client = harness.connect(endpoint)
    if (text !== "") client.send(text)
    harness.settle()
    client.reset()
    harness.settle()
    expect(harness.unbalanced()).toEqual([])
  }
})

describe("a listener that changes", () => {
  test("serves the next request of an open connection as it is now", () => {
    const client = ask(GET)
    const peer = server.accept()
    peer.takeHead()
    harness.update({ routes: { decide: () => respond({ body: "new" }) }, trusts: () => true })
    client.send(GET)
    peer.send(OK)
    client.take(OK)
    client.take(/[\s\S]*?\r\n\r\nnew/)
    harness.update({ routes: { decide: () => forward() } })
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    expect(peer.takeHead()).toContain("X-Forwarded-For: 192.0.2.1, 127.0.0.1")
    peer.send(OK)
    client.take(OK)
  })
})

describe("a listener that goes", () => {
  test("ends at once those who only wait, and their connections to servers stay", () => {
    const client = ask(GET)
    const peer = server.accept()
    peer.takeHead()
    peer.send(OK)
    client.take(OK)
    harness.retire()
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    expect(harness.clients()).toEqual([])
    expect(peer.got).toBe("")
  })

  test("serves what has come, and says that it is the last", () => {
    const client = ask(GET)
    const peer = server.accept()
    peer.takeHead()
    peer.send(OK)
    client.take(OK)
    client.send(GET) // in the socket, and nobody has been told yet
    harness.retire()
    peer.takeHead()
    peer.send(OK)
    expect(client.takeHead()).toContain("Connection: close")
    expect(client.untilEnd()).toEqual({ text: "ok", how: "end" })
  })

  test("serves what is under way, be it answered or not, and nothing behind it", () => {
    const long = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
    const begun = ask(GET + GET)
    const peer = server.accept()
    peer.takeHead()
    peer.send(`${long}begun`)
    begun.take(`${long}begun`)
    const waiting = ask(GET)
    const other = server.accept()
    other.takeHead()
    const halved = ask(GET.slice(0, 20))
    harness.settle()
    harness.retire()
    peer.send("done")
    expect(begun.untilEnd()).toEqual({ text: "done", how: "end" })
    other.send(OK)
    expect(waiting.takeHead()).toContain("Connection: close")
    expect(waiting.untilEnd().text).toBe("ok")
    halved.send(GET.slice(20))
    other.takeHead()
    other.send(OK)
    expect(halved.takeHead()).toContain("Connection: close")
    for (const client of [begun, waiting, halved]) client.close()
    expect(harness.balance()).toEqual([])
  })

  test("lets who has just come ask once", () => {
    const client = harness.connect(endpoint)
    harness.settle()
    harness.retire()
    harness.settle()
    client.send(GET)
    const peer = server.accept()
    peer.takeHead()
    peer.send(OK)
    expect(client.takeHead()).toContain("Connection: close")
  })

  test("says it in its own answers, too", () => {
    const at = harness.listen({ decide: respond() })
    const client = harness.connect(at)
    harness.settle()
    harness.retire()
    client.send(GET)
    expect(client.untilEnd()).toEqual({ text: `${HI}Connection: close\r\n\r\nhi\n`, how: "end" })
  })
})
