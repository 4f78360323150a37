import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test"
import { ECONNRESET } from "../../linux/errno.ts"
import { libc } from "../../linux/libc.ts"
import type { Endpoint } from "../../net/address.ts"
import { Harness, type Server } from "../fixtures/harness.ts"
import { randomOf, receiving, runFlows, sending } from "../fixtures/transfer.ts"

const RESET = -ECONNRESET
const MIB = 1024 * 1024
const LARGE = 64 * MIB
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

function asked(request: string, at = endpoint) {
  const client = harness.connect(at)
  client.send(request)
  const peer = server.accept()
  return { client, peer, head: peer.takeHead() }
}

/** The client asks once more, on the same connections: whatever came before was taken whole. */
function expectReusable({ client, peer }: ReturnType<typeof asked>): void {
  client.send(GET)
  expect(peer.takeHead()[0]).toBe("GET / HTTP/1.1")
  peer.send(OK)
  client.take(OK)
  client.close()
  expect(harness.balance()).toEqual([])
}

describe("a large response", () => {
  test("with a length arrives whole, spliced", () => {
    const pair = asked(GET)
    const splice = spyOn(libc, "splice")
    pair.peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`)
    pair.client.takeHead()
    runFlows(harness, [sending(pair.peer, LARGE), receiving(pair.client, LARGE)])
    expect(splice.mock.calls.length).toBeGreaterThan(50)
    splice.mockRestore()
    expectReusable(pair)
    expect(harness.records[0]).toMatchObject({ status: 200, reason: "finished" })
    expect(harness.records[0]?.bytesOut).toBeWithin(LARGE, LARGE + 100)
  })

  test("in chunks arrives whole", () => {
    const pair = asked(GET)
    pair.peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    pair.client.takeHead()
    runFlows(harness, [
      sending(pair.peer, LARGE, { isChunked: true }),
      receiving(pair.client, LARGE, { isChunked: true }),
    ])
    expectReusable(pair)
  })

  test("until close arrives whole", () => {
    const { client, peer } = asked(GET)
    peer.send("HTTP/1.1 200 OK\r\n\r\n")
    client.takeHead()
    runFlows(harness, [sending(peer, LARGE), receiving(client, LARGE)])
    peer.close()
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
    client.close()
    expect(harness.balance()).toEqual([])
  })

  test("in chunks arrives whole at a client of HTTP/1.0", () => {
    const { client, peer } = asked("GET / HTTP/1.0\r\n\r\n")
    peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    client.takeHead()
    const options = { isChunked: true, pieceMax: 5000 }
    runFlows(harness, [sending(peer, 8 * MIB, options), receiving(client, 8 * MIB)])
    expect(client.untilEnd()).toEqual({ text: "", how: "end" })
  })
})

describe("a large request", () => {
  test("with a length arrives whole", () => {
    const pair = asked(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LARGE}\r\n\r\n`)
    runFlows(harness, [sending(pair.client, LARGE), receiving(pair.peer, LARGE)])
    pair.peer.send(OK)
    pair.client.take(OK)
    expectReusable(pair)
    expect(harness.records[0]?.bytesIn).toBeWithin(LARGE, LARGE + 200)
  })

  test("in chunks arrives whole", () => {
    const pair = asked("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    runFlows(harness, [
      sending(pair.client, LARGE, { isChunked: true }),
      receiving(pair.peer, LARGE, { isChunked: true }),
    ])
    pair.peer.send(OK)
    pair.client.take(OK)
    expectReusable(pair)
  })

  test("passes its response, which began before it ended", () => {
    const size = 4 * MIB
    const { client, peer } = asked(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    peer.send(`HTTP/1.1 200 OK\r\nContent-Length: ${size + 4}\r\n\r\n`)
    expect(client.takeHead()).toContain("Connection: close")
    runFlows(harness, [
      sending(client, size, { seed: 11 }),
      receiving(peer, size, { seed: 12, pieceMax: 20_000 }),
      sending(peer, size, { seed: 13, pieceMax: 30_000 }),
      receiving(client, size, { seed: 14 }),
    ])
    peer.send("last")
    expect(client.untilEnd()).toEqual({ text: "last", how: "end" })
    peer.close()
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ finished: 1 })
  })
})

test("bodies of all kinds and sizes, in pieces of all sizes, stay apart on one connection", () => {
  const random = randomOf(7)
  const sizes = [0, 1, 100, 65_535, 65_536, 262_143, 262_144, 262_145, 700_000]
  const client = harness.connect(endpoint)
  let peer: ReturnType<Server["accept"]> | undefined
  for (let round = 0; round < 40; round++) {
    const pick = () => sizes[Math.floor(random() * sizes.length)] ?? 0
    const [up, down, isUpChunked, isDownChunked] = [pick(), pick(), random() < 0.5, random() < 0.5]
    const framing = (isChunked: boolean, size: number) =>
      isChunked ? "Transfer-Encoding: chunked" : `Content-Length: ${size}`
    client.send(`POST /${round} HTTP/1.1\r\nHost: a\r\n${framing(isUpChunked, up)}\r\n\r\n`)
    const options = (isChunked: boolean, seed: number) => {
      return {
        isChunked,
        seed: seed + round,
        pieceMax: 2 + Math.floor(Math.max(up, down) / 50 + random() ** 3 * 200_000),
      }
    }
    const upward = sending(client, up, options(isUpChunked, 100))
    const isEmpty = up === 0 && !isUpChunked
    if (!isEmpty) upward.step()
    peer ??= server.accept()
    expect(peer.takeHead()[0]).toBe(`POST /${round} HTTP/1.1`)
    if (!isEmpty) runFlows(harness, [upward, takenFirst(peer, up, isUpChunked)], round)
    peer.send(`HTTP/1.1 200 OK\r\n${framing(isDownChunked, down)}\r\n\r\n`)
    expect(client.takeHead()[0]).toBe("HTTP/1.1 200 OK")
    if (down === 0 && !isDownChunked) continue
    const downward = receiving(client, down, options(isDownChunked, 200))
    runFlows(harness, [sending(peer, down, options(isDownChunked, 300)), downward], round)
  }
  expect(harness.slot(0, "connectionsTotal")).toBe(1)
  client.close()
  expect(harness.balance()).toEqual([])
})

/** Like `receiving`, for a peer that `takeHead` has read ahead of. */
function takenFirst(peer: ReturnType<Server["accept"]>, total: number, isChunked: boolean) {
  let ahead: string | undefined = peer.takeBytes(peer.got.length)
  const read = peer.receiveSome.bind(peer)
  const flow = receiving(
    Object.assign(Object.create(peer), {
      receiveSome: (length?: number) => {
        if (ahead === undefined || ahead === "") return read(length)
        const bytes = Buffer.from(ahead, "latin1")
        ahead = undefined
        return bytes
      },
    }),
    total,
    { isChunked },
  )
  return flow
}

describe("back-pressure", () => {
  /** Writes until the other side takes no more; bytes written. */
  function fill(flow: ReturnType<typeof sending>): number {
    for (let quiet = 0; quiet < 50; ) {
      const before = flow.bytes
      for (let count = 0; count < 10; count++) flow.step()
      harness.pass(0)
      quiet = flow.bytes === before ? quiet + 1 : 0
    }
    return flow.bytes
  }

  for (const framing of [`Content-Length: ${LARGE}`, "Transfer-Encoding: chunked", "A: b"]) {
    test(`stops a server whose client does not read (${framing.slice(0, 10)})`, () => {
      const { client, peer } = asked(GET)
      const isChunked = framing.startsWith("T")
      peer.send(`HTTP/1.1 200 OK\r\n${framing}\r\n\r\n`)
      client.takeHead()
      const flow = sending(peer, LARGE, { isChunked })
      expect(fill(flow)).toBeLessThan(40 * MIB)
      runFlows(harness, [flow, receiving(client, LARGE, { isChunked })])
    })
  }

  test("stops a client whose server does not read", () => {
    const pair = asked(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LARGE}\r\n\r\n`)
    const flow = sending(pair.client, LARGE)
    expect(fill(flow)).toBeLessThan(40 * MIB)
    runFlows(harness, [flow, receiving(pair.peer, LARGE)])
    pair.peer.send(OK)
    pair.client.take(OK)
    expectReusable(pair)
  })
})

test("an upload does not keep others waiting", () => {
  const uploading = asked(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LARGE}\r\n\r\n`)
  const flow = sending(uploading.client, LARGE)
  const into = receiving(uploading.peer, LARGE)
  const other = harness.connect(endpoint)
  other.send(GET)
  for (let count = 0; count < 20; count++) flow.step()
  let passes = 0
  const peer = harness.until("the other's request", () => {
    passes++
    for (let count = 0; count < 20; count++) flow.step()
    into.step()
    return server.tryAccept()
  })
  expect(passes).toBeLessThan(20)
  peer.takeHead()
})

describe("an answer before the end of the request", () => {
  const POST = `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${LARGE}\r\n\r\n`
  const TOO_LARGE = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno"

  test("reaches the client although the server closes with the request unread", () => {
    for (let round = 0; round < 5; round++) {
      const { client, peer } = asked(POST)
      const flow = sending(client, LARGE, { seed: round })
      for (let count = 0; count < 10 + round * 20; count++) {
        flow.step()
        harness.pass(0)
      }
      peer.send(TOO_LARGE)
      peer.close() // the kernel resets: there are bytes that nobody has read
      for (let count = 0; count < 20; count++) {
        try {
          flow.step()
        } catch {}
        harness.pass(0)
      }
      expect(client.take(/HTTP\/1.1 413 [\s\S]*Connection: close\r\n\r\nno/)).toContain("413")
      client.close()
      expect(harness.balance()).toEqual([])
    }
    expect(harness.reasons()).toEqual({ finished: 5 })
  })

  test("of a server that closes without one is ours", () => {
    const { client, peer } = asked(POST)
    const flow = sending(client, LARGE)
    for (let count = 0; count < 20; count++) {
      flow.step()
      harness.pass(0)
    }
    peer.close()
    const head = harness.until("an answer", () => {
      try {
        flow.step()
      } catch {}
      return client.got.includes("\r\n\r\n") && client.takeHead()
    })
    expect(head[0]).toBe("HTTP/1.1 502 Bad Gateway")
    client.close()
    expect(harness.balance()).toEqual([])
    expect(harness.reasons()).toEqual({ server_aborted: 1 })
  })
})

describe("a response that is cut short", () => {
  const cases: readonly (readonly [name: string, response: string])[] = [
    ["with a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"],
    ["with a great length", `HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\nhel`],
    ["in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"],
    ["before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n"],
    ["in the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n"],
  ]
  for (const [name, response] of cases) {
    test(`${name} cannot be taken for a whole one`, () => {
      for (const how of ["close", "reset"] as const) {
        const { client, peer } = asked(GET)
        peer.send(response)
        client.take(response)
        peer[how]()
        expect(client.untilEnd()).toEqual({ text: "", how: RESET })
        expect(harness.balance()).toEqual([])
      }
      expect(harness.reasons()).toEqual({ server_aborted: 2 })
    })
  }

  test("until close by a reset cannot either", () => {
    const { client, peer } = asked(GET)
    peer.send("HTTP/1.1 200 OK\r\n\r\nhel")
    client.takeHead()
    peer.reset()
    expect(client.untilEnd().how).toBe(RESET)
    expect(harness.reasons()).toEqual({ server_aborted: 1 })
  })

  test("by a chunk that is none", () => {
    for (const rest of ["x\r\n", "3\r\nabcd\r\n", "0\r\nContent-Length: 3\r\n\r\n"]) {
      const { client, peer } = asked(GET)
      peer.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
      client.take(/[\s\S]*a\r\n/)
      peer.send(rest)
      expect(client.untilEnd().how).toBe(RESET)
      expect(peer.untilEnd().how).toBe(RESET)
      expect(harness.balance()).toEqual([])
    }
    expect(harness.reasons()).toEqual({ bad_response: 3 })
  })
})
