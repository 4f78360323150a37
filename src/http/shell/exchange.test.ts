import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test"
import { libc } from "../../linux/libc.ts"
import type { Endpoint } from "../../net/address.ts"
import { forward, Harness, type Peer, type Server } from "../fixtures/harness.ts"

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

const GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

/** A client and the server's side of its first exchange, which is answered. */
function exchanged(): { readonly client: Peer; readonly peer: Peer } {
  const client = harness.connect(endpoint)
  client.send(GET)
  const peer = server.accept()
  peer.takeHead()
  peer.send(OK)
  client.take(OK)
  return { client, peer }
}

/** Sends a request on a connection of its own; client and server after the head has arrived. */
function asked(request: string, at = endpoint) {
  const client = harness.connect(at)
  client.send(request)
  const peer = server.accept()
  return { client, peer, head: peer.takeHead() }
}

/** What the client gets of a response, head and all, when the server sends this and closes. */
function answered(request: string, response: string, at = endpoint): string {
  const { client, peer } = asked(request, at)
  peer.send(response)
  peer.close()
  const { text } = client.untilEnd()
  client.close()
  return text
}

describe("request", () => {
  test("goes to the server with its fields and what is told of the client", () => {
    const { head } = asked(
      "GET /a?b HTTP/1.1\r\nHost: x.example\r\nAccept: */*\r\nCookie: c=d\r\n\r\n",
    )
    expect(head.slice(0, -1)).toEqual([
      "GET /a?b HTTP/1.1",
      "Host: x.example",
      "Accept: */*",
      "Cookie: c=d",
      "X-Forwarded-For: 127.0.0.1",
      "X-Forwarded-Proto: http",
      `X-Forwarded-Port: ${endpoint.port}`,
      "X-Real-IP: 127.0.0.1",
      "X-Forwarded-Host: x.example",
      "Forwarded: for=127.0.0.1;proto=http;host=x.example",
    ])
    expect(head.at(-1)).toMatch(/^X-Request-ID: [0-9a-f]{32}$/)
  })

  test("takes its Host from an absolute target (RFC 9112 §3.2.2)", () => {
    const { head } = asked("GET http://B:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n")
    expect(head.slice(0, 2)).toEqual(["GET /c?d HTTP/1.1", "Host: B:81"])
    expect(head.filter((line) => /^host:/i.test(line))).toHaveLength(1)
  })

  test("gets the path / where an absolute target has none", () => {
    expect(asked("GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n").head[0]).toBe("GET /?q HTTP/1.1")
  })

  test("of HTTP/1.0 without Host names the address it came to", () => {
    const { head } = asked("GET / HTTP/1.0\r\n\r\n")
    expect(head.slice(0, 2)).toEqual(["GET / HTTP/1.1", `Host: 127.0.0.1:${endpoint.port}`])
    expect(head.filter((line) => /^host/i.test(line))).toHaveLength(1)
  })

  test("gets target, Host and fields of its route and of its decision", () => {
    const decide = forward(
      { host: "internal", requestFields: "X-Route: 1\r\n" },
      { target: "/rewritten", requestFields: "X-Decision: 2\r\n" },
    )
    const { head } = asked(GET, harness.listen({ decide }))
    expect(head.slice(0, 2)).toEqual(["GET /rewritten HTTP/1.1", "Host: internal"])
    expect(head).toContain("X-Route: 1")
    expect(head).toContain("X-Decision: 2")
    expect(head).toContain("X-Forwarded-Host: a")
  })

  test("cannot strip what the server relies on (RFC 9110 §7.6.1)", () => {
    const { head, peer } = asked(
      "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length, X-Forwarded-For, X-Mine, Host\r\n" +
        "Content-Length: 5\r\nX-Mine: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\r\nhello",
    )
    expect(head).toContain("Content-Length: 5")
    expect(head).toContain("Host: a")
    expect(head).toContain("X-Forwarded-For: 127.0.0.1")
    expect(head.join("\n")).not.toMatch(/X-Mine|6\.6\.6\.6|Connection/)
    peer.take("hello")
  })

  test("leaves no field of the client's in a spelling that a server could take for ours", () => {
    const { head } = asked(`${GET.slice(0, -2)}X_Forwarded_For: 6.6.6.6\r\nProxy: x\r\n\r\n`)
    expect(head.join("\n")).not.toMatch(/6\.6\.6\.6|Proxy/)
  })
})

describe("keep-alive", () => {
  test("serves a client's requests on one connection to the server", () => {
    const { client, peer } = exchanged()
    for (const path of ["/1", "/2", "/3"]) {
      client.send(GET.replace("/", path))
      expect(peer.takeHead()[0]).toBe(`GET ${path} HTTP/1.1`)
      peer.send(OK)
      client.take(OK)
    }
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 4 })
    expect([harness.listener("requests"), harness.route("requests")]).toEqual([4, 4])
    expect(harness.slot(0, "connectionsTotal")).toBe(1)
    expect(harness.records.map(({ status, server: name }) => [status, name])).toEqual(
      new Array(4).fill([200, "a"]),
    )
  })

  test("costs a read and a write on each side per request, and nothing else", () => {
    const { client, peer } = exchanged()
    const exchange = () => {
      client.send(GET)
      peer.takeHead()
      peer.send(OK)
      client.take(OK)
    }
    exchange() // Nagle's algorithm is turned off before the second write
    const names = [
      "recv",
      "send",
      "splice",
      "setsockopt",
      "epoll_ctl",
      "shutdown",
      "close",
    ] as const
    const spies = names.map((name) => spyOn(libc, name))
    exchange()
    const own = new Set(harness.ledger.heldBy(1))
    const calls = spies.map(
      (spy) => spy.mock.calls.filter(([fd]) => own.has(fd as unknown as number)).length,
    )
    for (const spy of spies) spy.mockRestore()
    expect(calls).toEqual([2, 2, 0, 0, 0, 0, 0])
  })

  test("of an HTTP/1.0 client is said and kept", () => {
    const { client, peer } = asked("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n")
    peer.send(OK)
    expect(client.takeHead()).toEqual([
      "HTTP/1.1 200 OK",
      "Content-Length: 2",
      "Connection: keep-alive",
    ])
    client.take("ok")
    client.send(GET)
    expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
  })

  test("ends after a request that says close, and after any of HTTP/1.0", () => {
    for (const request of [
      GET.replace("Host", "Connection: Close\r\nHost"),
      "GET / HTTP/1.0\r\n\r\n",
    ]) {
      const { client, peer } = asked(request)
      peer.send(OK)
      expect(client.takeHead()).toContain("Connection: close")
      expect(client.untilEnd()).toEqual({ text: "ok", how: "end" })
      peer.close()
      harness.settle()
    }
  })

  test("answers pipelined requests in order, one at a time", () => {
    const client = harness.connect(endpoint)
    const paths = ["/1", "/2", "/3", "/4"]
    client.send(paths.map((path) => GET.replace("/", path)).join(""))
    const peer = server.accept()
    for (const path of paths) {
      expect(peer.takeHead()[0]).toBe(`GET ${path} HTTP/1.1`)
      harness.settle()
      expect(peer.got).toBe("")
      peer.send(OK.replace("ok", path))
      expect(client.takeHead()).toEqual(["HTTP/1.1 200 OK", "Content-Length: 2"])
      client.take(path)
    }
  })

  test("finds the next request behind a body, wherever the pieces are cut", () => {
    const stream =
      "POST /1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" +
      "POST /2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nT: v\r\n\r\n" +
      "\r\nGET /3 HTTP/1.1\r\nHost: a\r\n\r\n"
    for (const size of [1, 7, 40, 1000]) {
      const client = harness.connect(endpoint)
      client.sendInPieces(stream, size)
      const peer = size === 1 ? server.accept() : (server.tryAccept() ?? lastPeer)
      lastPeer = peer as Peer
      const answer = (method: string, body: string) => {
        expect(lastPeer?.takeHead()[0]).toBe(method)
        lastPeer?.take(body)
        lastPeer?.send(OK)
        client.take(OK)
      }
      answer("POST /1 HTTP/1.1", "hello")
      answer("POST /2 HTTP/1.1", "3;x\r\nabc\r\n0\r\nT: v\r\n\r\n")
      answer("GET /3 HTTP/1.1", "")
      client.close()
      harness.settle()
    }
  })
  let lastPeer: Peer | undefined
})

describe("response", () => {
  const cases: readonly (readonly [name: string, response: string, got: string])[] = [
    ["with a length", `${OK}`, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    [
      "in chunks, with extensions and trailers",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nT: v\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nT: v\r\n\r\n",
    ],
    [
      "without a body",
      "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
      "HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
    ],
    [
      "304 with the length of what it does not send",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    ],
    [
      "204 with a length or coding that it must not have (RFC 9110 §8.6)",
      "HTTP/1.1 204 -\r\nContent-Length: 5\r\n\r\n",
      "HTTP/1.1 204 -\r\n\r\n",
    ],
    [
      "204 with chunks that it must not have",
      "HTTP/1.1 204 -\r\nTransfer-Encoding: chunked\r\n\r\n",
      "HTTP/1.1 204 -\r\n\r\n",
    ],
    [
      "without a reason (RFC 9112 §4)",
      "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    ],
    [
      "of a status nobody knows",
      "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
    ],
    [
      "with fields for one hop",
      "HTTP/1.1 200 OK\r\nConnection: X-A, Content-Length\r\nKeep-Alive: 5\r\nX-A: 1\r\nContent-Length: 0\r\nB: 2\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nB: 2\r\n\r\n",
    ],
    [
      "of HTTP/1.0 with a length",
      "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
  ]
  for (const [name, response, got] of cases) {
    test(`${name} comes whole, in whatever pieces, and the client may ask again`, () => {
      for (const size of [1000, 9, 1]) {
        const { client, peer } = asked(GET)
        peer.sendInPieces(response, size)
        client.take(got)
        client.send(GET)
        peer.close()
        const next = server.accept()
        next.takeHead()
        next.send(OK)
        client.take(OK)
        next.close()
        harness.settle()
        expect(client.got).toBe("")
      }
    })
  }

  test("until the server closes ends with the client's connection", () => {
    expect(answered(GET, "HTTP/1.1 200 OK\r\nA: b\r\n\r\nall of it")).toBe(
      "HTTP/1.1 200 OK\r\nA: b\r\nConnection: close\r\n\r\nall of it",
    )
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })

  test("to HEAD has the fields of a body and none", () => {
    for (const fields of ["Content-Length: 5", "Transfer-Encoding: chunked", "A: b"]) {
      const { client, peer } = asked(GET.replace("GET", "HEAD"))
      peer.send(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`)
      client.take(`HTTP/1.1 200 OK\r\n${fields}\r\n\r\n`)
      client.send(GET)
      expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
      client.close()
      peer.untilEnd()
      peer.close()
    }
  })

  test("in chunks is decoded for HTTP/1.0, which knows none", () => {
    const response =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\nok\r\n3\r\n \r\n\r\n0\r\nT: v\r\n\r\n"
    for (const size of [1000, 5, 1]) {
      const { client, peer } = asked("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      peer.sendInPieces(response, size)
      expect(client.untilEnd()).toEqual({
        text: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok \r\n",
        how: "end",
      })
      peer.close()
      harness.settle()
    }
  })

  test("gets the fields of its route and of its decision", () => {
    const decide = forward(
      { responseFields: "X-Route: 1\r\n", stickyFields: (slot) => `Set-Cookie: s=${slot}\r\n` },
      { responseFields: "X-Decision: 2\r\n" },
    )
    const { client, peer } = asked(GET, harness.listen({ decide }))
    peer.send(OK)
    expect(client.takeHead()).toEqual([
      "HTTP/1.1 200 OK",
      "Content-Length: 2",
      "X-Route: 1",
      "X-Decision: 2",
      "Set-Cookie: s=0",
    ])
  })

  test("counts a status beyond those that exist as an error of the server's", () => {
    const { client, peer } = asked(GET)
    peer.send("HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n")
    client.takeHead()
    expect(harness.listener("status5xx")).toBe(1)
    expect(harness.listener("durationMsTotal")).toBeLessThan(1000)
    expect(harness.listener("duration3")).toBe(0)
  })
})

describe("interim response", () => {
  const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n"
  const PUT = "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

  test("100 lets the client send its body (RFC 9110 §10.1.1)", () => {
    const { client, peer, head } = asked(PUT)
    expect(head).toContain("Expect: 100-continue")
    peer.send(CONTINUE)
    client.take(CONTINUE)
    client.send("hello")
    peer.take("hello")
    peer.send(OK)
    client.take(OK)
    client.send(GET)
    expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
  })

  test("103 and others come before the final one, in whatever pieces", () => {
    const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    for (const size of [1000, 11, 1]) {
      const { client, peer } = asked(GET)
      peer.sendInPieces(hints + hints + OK, size)
      client.take(hints + hints + OK)
      peer.close()
      client.close()
      harness.settle()
    }
  })

  test("is not for HTTP/1.0 (RFC 9110 §15.2)", () => {
    const { client, peer } = asked("GET / HTTP/1.0\r\n\r\n")
    peer.send(`${CONTINUE}${OK}`)
    expect(client.untilEnd().text).toBe(
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    )
  })

  test("loses what is for one hop", () => {
    const { client, peer } = asked(GET)
    peer.send(
      "HTTP/1.1 103 -\r\nConnection: close, X-A\r\nX-A: 1\r\nLink: x\r\nContent-Length: 7\r\n\r\n",
    )
    client.take("HTTP/1.1 103 -\r\nLink: x\r\n\r\n")
  })

  test("by the thousand at once is no trouble", () => {
    const { client, peer } = asked(GET)
    const many = CONTINUE.repeat(9000)
    peer.send(many + OK)
    expect(client.takeBytes(many.length)).toBe(many)
    client.take(OK)
  })

  test("a final response instead of 100 ends the exchange: what follows is body nobody waits for", () => {
    const { client, peer } = asked(PUT)
    peer.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    expect(client.takeHead()).toContain("Connection: close")
    client.take("no")
    client.send("hello")
    expect(client.untilEnd().how).toBe("end")
    expect(peer.untilEnd().text).toBe("")
  })
})
