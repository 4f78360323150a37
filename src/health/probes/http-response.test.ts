import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { HttpResponseReader } from "./http-response.ts"

interface Outcome {
  state: string
  status: number
  body?: string
  reason?: string
}

/** Reads `portions`, then the end of the stream when it is still wanting. */
function read(portions: readonly (string | Uint8Array)[], isBodyWanted = true): Outcome {
  const reader = new HttpResponseReader({ isBodyWanted, bodyBytesMax: 64 })
  for (const portion of portions) {
    reader.push(typeof portion === "string" ? Buffer.from(portion, "latin1") : portion)
  }
  if (reader.state !== "failed") reader.end()
  const { state, status, reason } = reader
  return state === "failed" ? { state, status, reason } : { state, status, body: reader.body() }
}

const done = (status: number, body: string): Outcome => ({ state: "done", status, body })
const failed = (status: number, reason: string): Outcome => ({ state: "failed", status, reason })

const CASES: [string, string, Outcome][] = [
  ["a body of known length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", done(200, "ok")],
  [
    "no more than the length says",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500",
    done(200, "ok"),
  ],
  ["an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", done(200, "")],
  ["a body until close", "HTTP/1.0 503 Busy\r\n\r\ncome later", done(503, "come later")],
  [
    "chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n" +
      "3;x=1\r\none\r\n00B \r\n and two !!\r\n0\r\nT: x\r\n\r\n",
    done(200, "one and two !!"),
  ],
  [
    "the final response behind interim ones",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n" +
      "HTTP/1.1 204 No Content\r\n\r\n",
    done(204, ""),
  ],
  ["a switch of protocols", "HTTP/1.1 101 Switching\r\n\r\n\x81", done(101, "")],
  ["no body where there is none", "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", done(304, "")],
  ["a status line without reason", "HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", done(404, "")],
  ["a field name in any case", "HTTP/1.1 200 OK\r\ncontent-LENGTH:   1 \r\n\r\nab", done(200, "a")],
  ["nothing", "", failed(0, "closed without a response")],
  ["half a head", "HTTP/1.1 200 OK\r\nContent-Le", failed(0, "closed without a response")],
  [
    "half a body",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
    failed(200, "closed within the body"),
  ],
  [
    "half the chunks",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    failed(200, "closed within the body"),
  ],
  ["another protocol", "SSH-2.0-OpenSSH_9.2\r\n", failed(0, "not an HTTP response")],
  ["a status that is none", "HTTP/1.1 099 What\r\n\r\n", failed(0, "not an HTTP response")],
  ["HTTP/2 by prior knowledge", "\0\0\x12\x04\0\0\0\0\0", failed(0, "not an HTTP response")],
  [
    "a length that is none",
    "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
    failed(200, "Content-Length is not a number"),
  ],
  [
    "a chunk size that is none",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    failed(200, "malformed chunk"),
  ],
  [
    "a chunk longer than its size",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    failed(200, "malformed chunk"),
  ],
]

describe("HttpResponseReader", () => {
  test.each(CASES)("push() reads %s", (_, bytes, outcome) => {
    expect(read([bytes])).toEqual(outcome)
  })

  test.each(CASES)("push() gives the same byte by byte, for %s", (_, bytes, outcome) => {
    expect(read([...bytes])).toEqual(outcome)
  })

  test("push() gives the same at any cuts, and never throws, for any bytes", () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.constantFrom(...CASES.map(([, text]) => new Uint8Array(Buffer.from(text, "latin1")))),
    )
    fc.assert(
      fc.property(bytes, fc.array(fc.nat(200)), (all, cuts) => {
        const places = [0, ...cuts.map((cut) => Math.min(cut, all.length)), all.length]
        places.sort((a, b) => a - b)
        const portions = places.slice(1).map((place, at) => all.subarray(places[at], place))
        expect(read(portions)).toEqual(read([all]))
      }),
    )
  })

  test("push() is done after the head when no body is wanted", () => {
    const reader = new HttpResponseReader({ isBodyWanted: false, bodyBytesMax: 64 })
    reader.push(Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"))
    expect([reader.state, reader.body()]).toEqual(["done", ""])
  })

  const head = "HTTP/1.1 200 OK\r\n\r\n"
  test("push() cuts the body at its limit, and takes one of exactly that size", () => {
    expect(read([`${head}${"a".repeat(64)}`])).toEqual(done(200, "a".repeat(64)))
    expect(read([`${head}${"a".repeat(65)}`])).toEqual(done(200, "a".repeat(64)))
    expect(read([head, "a".repeat(63), "bc"])).toEqual(done(200, `${"a".repeat(63)}b`))
  })

  test("push() takes a chunk line of 1 KiB and refuses one byte more", () => {
    const start = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    const line = `2;${"x".repeat(1022)}`
    const largest = `${start}${line}\r\nok\r\n0\r\n\r\n`
    expect(read([largest])).toEqual(done(200, "ok"))
    expect(read([...largest])).toEqual(done(200, "ok"))
    expect(read([`${start}${line}x\r\nok\r\n0\r\n\r\n`])).toEqual(failed(200, "malformed chunk"))
    expect(read([`${start}${line}xx`])).toEqual(failed(200, "malformed chunk"))
  })

  test("push() takes a head of 16 KiB and refuses one byte more", () => {
    const start = "HTTP/1.1 204 No Content\r\nX: "
    const filler = "x".repeat(16 * 1024 - start.length)
    const largest = `${start}${filler}\r\n\r\n`
    expect(read([largest])).toEqual(done(204, ""))
    expect(read([...largest])).toEqual(done(204, ""))
    const tooLarge = failed(0, "the response head is too large")
    expect(read([`${start}${filler}x\r\n\r\n`])).toEqual(tooLarge)
    expect(read([`${start}${filler}xxxx`])).toEqual(tooLarge)
  })
})
