import { describe, expect, test } from "bun:test"
import { FIELD, fieldNumber, HASH_SEED } from "./field-names.ts"
import { bytes, LIMITS } from "./fixtures/heads.ts"
import { FORWARDING_FIELDS } from "./forwarding.ts"
import { RequestHead } from "./head.ts"
import { connectionOptions, copyFields, FieldFilter } from "./hop-by-hop.ts"
import { HeadWriter } from "./parts.ts"

const NOTHING_MORE = new FieldFilter({ numbers: [], others: [] })
/** As a route has it. */
const ROUTE = new FieldFilter({
  numbers: [FIELD.host, ...FORWARDING_FIELDS],
  others: ["x-user", "x_internal"],
})

function headOf(fields: readonly string[]): RequestHead {
  const head = new RequestHead()
  const text = bytes(
    `GET / HTTP/1.1\r\nHost: a\r\n${fields.map((each) => `${each}\r\n`).join("")}\r\n`,
  )
  expect(head.parse(text, 0, text.length, LIMITS)).toBe("complete")
  return head
}

/** The lines that are copied of a request with these and a Host. */
function copied(fields: readonly string[], filter = NOTHING_MORE): string[] {
  const head = headOf(fields)
  const writer = new HeadWriter(Buffer.alloc(4096), 0, 4096)
  copyFields(head, writer, { filter, nominated: connectionOptions(head).nominated })
  return writer.bytes.toString("latin1", 0, writer.at).split("\r\n").slice(0, -1)
}

describe("copyFields()", () => {
  test("copies fields as they stand, in order", () => {
    const fields = ["B:c", "Accept:  */* ", "b: \xe9", "Cookie: x=y", "Authorization: Basic x"]
    expect(copied(fields)).toEqual(["Host: a", ...fields])
  })

  test("leaves out what is for one hop, wherever it stands (RFC 9110 §7.6.1)", () => {
    const fields = ["Keep-Alive: 1", "A: 1", "TE: x", "Proxy-Connection: x", "B: 2", "Upgrade: x"]
    expect(copied(["Connection: close", ...fields, "HTTP2-Settings: x"])).toEqual([
      "Host: a",
      "A: 1",
      "B: 2",
    ])
  })

  test("leaves out Transfer-Encoding, which the writer of the body adds", () => {
    expect(copied(["Transfer-Encoding: chunked", "A: 1"])).toEqual(["Host: a", "A: 1"])
  })

  test("leaves out what Connection nominates", () => {
    const fields = [
      "X-Foo: 1",
      "Connection: close, x-foo ,\tX-Bar,,",
      "A: 1",
      "x-bar: 2",
      "X-Foo: 3",
    ]
    expect(copied(fields)).toEqual(["Host: a", "A: 1"])
  })

  test("lets nobody nominate a field that we or the server rely on", () => {
    const kept = [
      "Content-Length: 0",
      "Cookie: a",
      "Authorization: b",
      "Expect: 100-continue",
      "Origin: c",
    ]
    const names = kept.map((line) => line.split(":")[0]).join(", ")
    expect(copied([`Connection: Host, ${names}`, ...kept])).toEqual(["Host: a", ...kept])
  })

  test("leaves out the fields of a route, also in disguise", () => {
    const fields = [
      "X-Forwarded-For: 1",
      "x_forwarded_for: 2",
      "X-User: 3",
      "X_USER: 4",
      "X-Internal: 5",
    ]
    expect(copied([...fields, "X_Internal: 6", "X-Users: 7"], ROUTE)).toEqual(["X-Users: 7"])
  })

  test("leaves out framing in disguise", () => {
    const fields = ["Content_Length: 5", "TRANSFER_ENCODING: chunked", "Transfer-encoding_: x"]
    expect(copied([...fields, "x_y: z"])).toEqual(["Host: a", "Transfer-encoding_: x", "x_y: z"])
  })

  test("leaves out Proxy, which a CGI program would take for its proxy (CVE-2016-5385)", () => {
    expect(copied(["Proxy: http://evil/", "A: 1"])).toEqual(["Host: a", "A: 1"])
  })
})

describe("connectionOptions()", () => {
  test("reads every Connection field and every option", () => {
    const head = headOf([
      "Connection: Keep-Alive",
      "Connection: X-A , upgrade",
      "connection: CLOSE",
    ])
    expect(connectionOptions(head)).toEqual({
      close: true,
      keepAlive: true,
      upgrade: true,
      nominated: ["x-a"],
    })
  })

  test("takes none for none, and makes no object for the usual ones", () => {
    const none = connectionOptions(headOf([]))
    expect(none).toEqual({ close: false, keepAlive: false, upgrade: false, nominated: undefined })
    expect(connectionOptions(headOf(["A: 1"]))).toBe(none)
    const kept = connectionOptions(headOf(["Connection: keep-alive"]))
    expect(kept).toEqual({ ...none, keepAlive: true })
    expect(connectionOptions(headOf(["Connection: Keep-Alive"]))).toBe(kept)
    expect(connectionOptions(headOf(["Connection:"]))).toEqual(none)
  })
})

test("fieldNumber() knows a name only as a whole", () => {
  const head = headOf(["hos: 1", "hosts: 1", "host1: 1", "Content-Lengt: 1", "content-length: 1"])
  expect(Array.from(head.numbers.subarray(1, head.fieldCount))).toEqual([
    0,
    0,
    0,
    0,
    FIELD["content-length"],
  ])
  expect(fieldNumber(HASH_SEED, bytes("x"), 0, 1)).toBe(0)
})
