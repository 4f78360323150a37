/**
 * Any bytes at all: a head is complete, incomplete or refused; nothing is thrown, no byte beyond
 * the last is read, and the pieces in which it comes change nothing. Random bytes seldom get past
 * the method, so most inputs are good messages with something broken. A failure prints its seed.
 */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { guarded, LIMITS } from "./fixtures/heads.ts"
import { type Head, type HeadResult, RequestHead, ResponseHead } from "./head.ts"
import { connectionOptions, copyFields, FieldFilter } from "./hop-by-hop.ts"
import { HeadWriter } from "./parts.ts"

const SMALL = { headBytesMax: 300, fieldsMax: 6 }

const REQUESTS = [
  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
  "\r\nPOST /a/b?c=%20d HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 12\r\nConnection: keep-alive, X-A\r\nX-A: b\r\n\r\nhello world!",
  "PUT http://b.example/x HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n0\r\n\r\n",
  "OPTIONS * HTTP/1.0\r\nAccept: */*\r\nCookie: a=b; c=d\r\nX_Forwarded_For: x\r\n\r\n",
]
const RESPONSES = [
  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello",
  "HTTP/1.0 404 \r\nConnection: close, x\r\nX: y\r\n\r\n",
  "HTTP/1.1 204\r\nTransfer-Encoding: chunked\r\n\r\n",
]
/** What an attacker would put in, and where parsers have differed. */
const INSERTS = [
  ...[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    "\x0b",
    "\x7f",
    "\xa0",
    "\xff",
    ":",
    ",",
    ";",
    "_",
  ],
  ...[
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Host: b\r\n",
    " x\r\n",
    "HTTP/1.1",
  ],
  ...["content-length", "chunked", "+", "-", "0x", "%00", "#", "@", "[", "]", "é"],
]

type Mutation = (text: string) => string
const place = fc.double({ min: 0, max: 1, noNaN: true })
const at = (text: string, where: number) => Math.floor(where * text.length)
const mutation: fc.Arbitrary<Mutation> = fc.oneof(
  fc.tuple(place, fc.constantFrom(...INSERTS)).map(([where, insert]) => (text: string) => {
    return text.slice(0, at(text, where)) + insert + text.slice(at(text, where))
  }),
  fc.tuple(place, fc.nat({ max: 12 })).map(([where, count]) => (text: string) => {
    return text.slice(0, at(text, where)) + text.slice(at(text, where) + count)
  }),
  fc.tuple(place, fc.nat({ max: 255 })).map(([where, byte]) => (text: string) => {
    return (
      text.slice(0, at(text, where)) + String.fromCharCode(byte) + text.slice(at(text, where) + 1)
    )
  }),
  fc.tuple(place, place, place).map(([from, to, into]) => (text: string) => {
    const [start, end] = [at(text, Math.min(from, to)), at(text, Math.max(from, to))]
    return text.slice(0, at(text, into)) + text.slice(start, end) + text.slice(at(text, into))
  }),
)

function mutated(texts: readonly string[]): fc.Arbitrary<string> {
  return fc
    .tuple(fc.constantFrom(...texts), fc.array(mutation, { maxLength: 4 }))
    .map(([text, mutations]) => mutations.reduce((result, mutate) => mutate(result), text))
}

const anyBytes = fc
  .uint8Array({ maxLength: 200 })
  .map((each) => Buffer.from(each).toString("latin1"))

/** Inputs that once went wrong. */
const SAVED: readonly string[] = [
  "\r", // read the byte after the last
  "\r\nG",
  "GET / HTTP/1.1\r\nHost:\r\n\r\n", // taken for the Host of the request before
  "GET /a HTTP/1.1\r\nConnection: content-length\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
]

/** Parses all beginnings of `text`, with a watch over what is read. */
function judge(head: Head, text: string): void {
  const buffer = Buffer.from(text, "latin1")
  for (const limits of [LIMITS, SMALL]) {
    const start = Math.min(3, buffer.length)
    const whole = head.parse(guarded(buffer, start, buffer.length), start, buffer.length, limits)
    const headEnd = head.end
    if (whole === "complete") judgeComplete(head, text, start, buffer.length)
    for (let end = start; end < buffer.length; end++) {
      const early = head.parse(buffer, start, end, limits)
      if (early === "incomplete") continue
      expect<HeadResult>(early).toBe(whole)
      expect(end >= headEnd || whole !== "complete").toBe(true)
    }
  }
}

function judgeComplete(head: Head, text: string, start: number, end: number): void {
  expect(text.slice(head.end - 4, head.end)).toMatch(/\r\n\r\n$/)
  expect(head.start >= start && head.fieldsStart <= head.end && head.end <= end).toBe(true)
  expect(text.slice(head.start, head.end)).not.toMatch(/\r(?!\n)|(?<!\r)\n|\0|\n[ \t]/)
  expect(head.isChunked && head.contentLength >= 0).toBe(false)
  if (head instanceof RequestHead) judgeRequest(head, text)
  const writer = new HeadWriter(Buffer.alloc(4096), 0, 4096)
  const filter = new FieldFilter({ numbers: [], others: ["x-a"] })
  copyFields(head, writer, { filter, nominated: connectionOptions(head).nominated })
  const copied = writer.bytes.toString("latin1", 0, writer.at)
  expect(copied).toMatch(/^([^\s:\0]+:[^\r\n\0]*\r\n)*$/)
  expect(copied).not.toMatch(/^(connection|transfer.encoding|te|x.a):/im)
  expect(/^content-length:/im.test(copied)).toBe(head.contentLength >= 0)
}

function judgeRequest(head: RequestHead, text: string): void {
  expect(text.slice(head.pathStart, head.pathEnd)).toMatch(/^(\/|\?|\*$|$)[\x21-\x7e]*$/)
  expect(head.authority).toMatch(/^[\x21\x23-\x2e\x30-\x3b\x3d\x41-\x5b\x5d\x5f\x61-\x7a\x7e]*$/)
  expect(head.method).toMatch(/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/)
  if (head.minorVersion === 1) expect(head.host).not.toBe("")
}

test("RequestHead is never surprised", () => {
  const head = new RequestHead()
  for (const text of SAVED) judge(head, `xxx${text}`)
  const property = fc.property(
    fc.oneof({ weight: 9, arbitrary: mutated(REQUESTS) }, anyBytes),
    (text) => {
      judge(head, `xxx${text}`)
    },
  )
  fc.assert(property, { numRuns: 1500 })
})

test("ResponseHead is never surprised", () => {
  const head = new ResponseHead()
  const property = fc.property(
    fc.oneof({ weight: 9, arbitrary: mutated(RESPONSES) }, anyBytes),
    (text) => {
      judge(head, `xxx${text}`)
    },
  )
  fc.assert(property, { numRuns: 1000 })
})
