import { describe, expect, test } from "bun:test"
import { bytes, fieldsOf, LIMITS, parseGrowing } from "./fixtures/heads.ts"
import { type HeadError, RequestHead, ResponseHead } from "./head.ts"
import { statusOfHeadError } from "./status.ts"

const H = "Host: a\r\n"

/** What of a parsed request differs from that of "GET / HTTP/1.1", Host "a". */
type Golden = Partial<
  Pick<
    RequestHead,
    | "method"
    | "host"
    | "authority"
    | "minorVersion"
    | "contentLength"
    | "isChunked"
    | "expectsContinue"
    | "start"
    | "end"
  > & { path: string; fields: string[] }
>

const ACCEPTED: readonly (readonly [name: string, text: string, golden: Golden])[] = [
  ["the shortest one", `GET / HTTP/1.1\r\n${H}\r\n`, { end: 27 }],
  ["a stray empty line before", `\r\nGET / HTTP/1.1\r\n${H}\r\n`, { start: 2, end: 29 }],
  ["nothing of what follows", `GET / HTTP/1.1\r\n${H}\r\nGET /next`, { end: 27 }],
  ["path and query", `GET /a/b?c=d&e=/f HTTP/1.1\r\n${H}\r\n`, { path: "/a/b?c=d&e=/f" }],
  [
    "odd but allowed characters",
    `GET /"<>\\^\`{|}%zz HTTP/1.1\r\n${H}\r\n`,
    { path: '/"<>\\^`{|}%zz' },
  ],
  ["any method", `M-SEARCH / HTTP/1.1\r\n${H}\r\n`, { method: "M-SEARCH" }],
  [
    "all tchars in a method",
    `!#$%&'*+-.^_\`|~09az / HTTP/1.1\r\n${H}\r\n`,
    { method: "!#$%&'*+-.^_`|~09az" },
  ],
  [
    "HTTP/1.0 without Host",
    "GET / HTTP/1.0\r\n\r\n",
    { minorVersion: 0, host: "", authority: "", fields: [] },
  ],
  [
    "HTTP/1.0 with an empty Host",
    "GET / HTTP/1.0\r\nHost:\r\n\r\n",
    { minorVersion: 0, host: "", authority: "", fields: ["host="] },
  ],
  [
    "Host with a port",
    "GET / HTTP/1.1\r\nHost: A.Example:8080\r\n\r\n",
    { host: "a.example", authority: "A.Example:8080", fields: ["host=A.Example:8080"] },
  ],
  [
    "Host with an empty port",
    "GET / HTTP/1.1\r\nHost: a:\r\n\r\n",
    { host: "a", authority: "a:", fields: ["host=a:"] },
  ],
  [
    "an IPv6 Host",
    "GET / HTTP/1.1\r\nHost: [2001:DB8::1]:80\r\n\r\n",
    { host: "[2001:db8::1]", authority: "[2001:DB8::1]:80", fields: ["host=[2001:DB8::1]:80"] },
  ],
  [
    "a name with _ and ~",
    "GET / HTTP/1.1\r\nHost: _a~b\r\n\r\n",
    { host: "_a~b", authority: "_a~b", fields: ["host=_a~b"] },
  ],
  [
    "absolute form",
    `GET http://B:81/c?d HTTP/1.1\r\n${H}\r\n`,
    { host: "b", authority: "B:81", path: "/c?d" },
  ],
  [
    "absolute form without a path",
    `GET http://b HTTP/1.1\r\n${H}\r\n`,
    { host: "b", authority: "b", path: "" },
  ],
  [
    "absolute form with a query alone",
    `GET HTTPS://b?q HTTP/1.1\r\n${H}\r\n`,
    { host: "b", authority: "b", path: "?q" },
  ],
  [
    "absolute form of 1.0 without Host",
    "GET http://b/ HTTP/1.0\r\n\r\n",
    { minorVersion: 0, host: "b", authority: "b", fields: [] },
  ],
  ["asterisk form", `OPTIONS * HTTP/1.1\r\n${H}\r\n`, { method: "OPTIONS", path: "*" }],
  [
    "no blank after the colon",
    "GET / HTTP/1.1\r\nHost:a\r\nB:c\r\n\r\n",
    { fields: ["host=a", "b=c"] },
  ],
  [
    "blanks around a value",
    "GET / HTTP/1.1\r\nHost: \t a \t \r\nB:\t\t\r\n\r\n",
    { fields: ["host=a", "b="] },
  ],
  [
    "obs-text in a value",
    `GET / HTTP/1.1\r\n${H}B: \xe9\xff\r\n\r\n`,
    { fields: ["host=a", "b=\xe9\xff"] },
  ],
  [
    "Content-Length",
    `POST / HTTP/1.1\r\n${H}Content-Length: 42\r\n\r\n`,
    { method: "POST", contentLength: 42, fields: ["host=a", "content-length=42"] },
  ],
  [
    "Content-Length 0",
    `GET / HTTP/1.1\r\n${H}content-length:0\r\n\r\n`,
    { contentLength: 0, fields: ["host=a", "content-length=0"] },
  ],
  [
    "a long Content-Length",
    `PUT / HTTP/1.1\r\n${H}Content-Length: 999999999999999\r\n\r\n`,
    {
      method: "PUT",
      contentLength: 999_999_999_999_999,
      fields: ["host=a", "content-length=999999999999999"],
    },
  ],
  [
    "Transfer-Encoding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\n\r\n`,
    { method: "POST", isChunked: true, fields: ["host=a", "transfer-encoding=chunked"] },
  ],
  [
    "Transfer-Encoding in any case",
    `POST / HTTP/1.1\r\n${H}tRANSFER-eNCODING: cHUNKED\r\n\r\n`,
    { method: "POST", isChunked: true, fields: ["host=a", "transfer-encoding=cHUNKED"] },
  ],
  [
    "Expect",
    `PUT / HTTP/1.1\r\n${H}Expect: 100-Continue\r\n\r\n`,
    { method: "PUT", expectsContinue: true, fields: ["host=a", "expect=100-Continue"] },
  ],
  [
    "an expectation of HTTP/1.0, which nobody has",
    `PUT / HTTP/1.0\r\n${H}Expect: 100-continue\r\n\r\n`,
    { method: "PUT", minorVersion: 0, fields: ["host=a", "expect=100-continue"] },
  ],
  [
    "a disguised length, which is none",
    `GET / HTTP/1.1\r\n${H}Content_Length: 5\r\n\r\n`,
    { fields: ["host=a", "content_length=5"] },
  ],
]

const REFUSED: readonly (readonly [reason: HeadError, text: string])[] = [
  // start line
  ["bad-start-line", " GET / HTTP/1.1\r\n"],
  ["bad-start-line", "GET  / HTTP/1.1\r\n"],
  ["bad-start-line", "GET /  HTTP/1.1\r\n"],
  ["bad-start-line", "GET\t/ HTTP/1.1\r\n"],
  ["bad-start-line", "GET / HTTP/1.1 \r\n"],
  ["bad-start-line", "G(T / HTTP/1.1\r\n"],
  ["bad-start-line", "GE\0T / HTTP/1.1\r\n"],
  ["bad-start-line", "G\xc9T / HTTP/1.1\r\n"],
  ["bad-start-line", "get / HTTP/1.1\r\n"],
  ["bad-start-line", "Head / HTTP/1.1\r\n"],
  ["bad-start-line", "GET /a#b HTTP/1.1\r\n"],
  ["bad-start-line", "GET /a\x7f HTTP/1.1\r\n"],
  ["bad-start-line", "GET /a\0b HTTP/1.1\r\n"],
  ["bad-start-line", "GET /\xe9 HTTP/1.1\r\n"],
  ["bad-start-line", "GET /a\tb HTTP/1.1\r\n"],
  ["bad-start-line", "GET / http/1.1\r\n"],
  ["bad-start-line", "GET / HTTP/1.1x\r\n"],
  ["bad-start-line", "GET / HTTP/11\r\n\r\n"],
  ["bad-start-line", "GET / HTTP/+1.1\r\n"],
  ["bad-start-line", "GET / HTTP/1.x\r\n"],
  ["bad-start-line", "GET / XTTP/1.1\r\n"],
  ["bad-start-line", "\x16\x03\x01\x02\0"],
  ["bare-lf", "\nGET / HTTP/1.1\r\n"],
  ["bare-lf", "GET / HTTP/1.1\nHost: a\n\n"],
  ["bare-lf", "GET /\n"],
  ["bare-cr", "\r\r\nGET / HTTP/1.1\r\n"],
  ["bare-cr", "\r\n\r\nGET / HTTP/1.1\r\n"],
  ["bare-cr", "\rGET / HTTP/1.1\r\n"],
  ["bare-cr", "GET /\r\n"],
  ["bare-cr", "GET / HTTP/1.1\rX"],
  ["unsupported-version", "GET / HTTP/0.9\r\n"],
  ["unsupported-version", "GET / HTTP/1.2\r\n"],
  ["unsupported-version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["unsupported-version", "GET / HTTP/3.0\r\n"],
  // names of fields
  ["obs-fold", `GET / HTTP/1.1\r\n${H} b: c\r\n`],
  ["obs-fold", `GET / HTTP/1.1\r\n Host: a\r\n`],
  ["obs-fold", `GET / HTTP/1.1\r\n${H}B: c\r\n\td\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nHost : a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nHost\t: a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\n: a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nHo st: a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nH\0st: a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nH\xf6st: a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nHost(x): a\r\n`],
  ["bad-field-name", `GET / HTTP/1.1\r\nHost\r\n`],
  ["bare-lf", `GET / HTTP/1.1\r\nHost\n`],
  ["bare-lf", `GET / HTTP/1.1\r\n\n`],
  // values
  ["bare-lf", `GET / HTTP/1.1\r\nHost: a\nB: c\r\n`],
  ["bare-cr", `GET / HTTP/1.1\r\nHost: a\rB: c\r\n`],
  ["bare-cr", `GET / HTTP/1.1\r\nHost: a\r\r\n`],
  ["bare-cr", `GET / HTTP/1.1\r\n${H}\rX`],
  ["bad-field-value", `GET / HTTP/1.1\r\nHost: a\0\r\n`],
  ["bad-field-value", `GET / HTTP/1.1\r\nHost: a\x0bb\r\n`],
  ["bad-field-value", `GET / HTTP/1.1\r\nHost: a\x7f\r\n`],
  ["bad-field-value", `GET / HTTP/1.1\r\n${H}B: \x1b[31m\r\n`],
  // host
  ["missing-host", "GET / HTTP/1.1\r\n\r\n"],
  ["missing-host", "GET http://a/ HTTP/1.1\r\n\r\n"],
  ["bad-host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"],
  ["bad-host", `GET / HTTP/1.1\r\n${H}${H}\r\n`],
  ["bad-host", `GET / HTTP/1.0\r\n${H}${H}\r\n`],
  ["bad-host", `GET / HTTP/1.1\r\n${H}hOST: b\r\n\r\n`],
  ...[
    ...["a b", "a,b:x", "a/b", "a@b", "a?b", "a#b", "a:", "a:x", "a:99999", "a:+80", "a:123456"],
    ...[
      "[::1",
      "::1",
      "[::1]x",
      "[]",
      "[:::]",
      "[1::2::3]",
      "[127.0.0.1]",
      "[fe80::1%eth0]",
      "a\\b",
    ],
    ...['"a"', "<a>", "a%", "a%0", "a%zz", "\xe9", "a:80:80"],
  ]
    .filter((host) => host !== "a:")
    .map((host) => ["bad-host", `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`] as const),
  ["bad-host", `GET http://b/ HTTP/1.1\r\nHost: a b\r\n\r\n`],
  ["bad-host", `GET http://u:p@b/ HTTP/1.1\r\n${H}\r\n`],
  ["bad-host", `GET http://b:x/ HTTP/1.1\r\n${H}\r\n`],
  // target
  ["bad-target", `GET a HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET ?a HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET * HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `OPTIONS *a HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET http:/// HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET http:/b HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET ftp://b/ HTTP/1.1\r\n${H}\r\n`],
  ["bad-target", `GET b:80 HTTP/1.1\r\n${H}\r\n`],
  ["method-not-served", `CONNECT b:80 HTTP/1.1\r\n${H}\r\n`],
  ["method-not-served", `CONNECT / HTTP/1.1\r\n${H}\r\n`],
  ["method-not-served", `TRACE / HTTP/1.1\r\n${H}\r\n`],
  // length of the body
  ...[
    "",
    "-1",
    "+1",
    "1 1",
    "1,1",
    "0x1",
    "1.0",
    "1e3",
    " ",
    "a",
    "\xb2",
    "1_0",
    "1234567890123456",
  ].map(
    (value) =>
      ["bad-content-length", `POST / HTTP/1.1\r\n${H}Content-Length: ${value}\r\n\r\n`] as const,
  ),
  ["bad-content-length", `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nContent-Length: 5\r\n\r\n`],
  ["bad-content-length", `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\ncontent-length: 6\r\n\r\n`],
  ["bad-content-length", `GET / HTTP/1.1\r\n${H}Content-Length: 0\r\nContent-Length: 0\r\n\r\n`],
  [
    "length-and-transfer-encoding",
    `POST / HTTP/1.1\r\n${H}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
  ],
  [
    "length-and-transfer-encoding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n`,
  ],
  ...[
    "",
    "xchunked",
    "chunkedx",
    '"chunked"',
    "chunked;a=b",
    "chunked, chunked",
    "chunked,",
    ",chunked",
    "chunked, gzip",
    "x, chunked",
    "chun ked",
    "\x0bchunked",
  ].map(
    (value) =>
      [
        value === "\x0bchunked" ? "bad-field-value" : "bad-transfer-encoding",
        `POST / HTTP/1.1\r\n${H}Transfer-Encoding: ${value}\r\n\r\n`,
      ] as const,
  ),
  [
    "bad-transfer-encoding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
  ],
  [
    "bad-transfer-encoding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n`,
  ],
  ["bad-transfer-encoding", `POST / HTTP/1.0\r\n${H}Transfer-Encoding: chunked\r\n\r\n`],
  [
    "unsupported-transfer-coding",
    `POST / HTTP/1.1\r\n${H}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n`,
  ],
  ...[
    "gzip",
    "x-gzip",
    "GZIP",
    "identity",
    "deflate",
    "compress",
    "gzip, chunked",
    "gzip , deflate,\tchunked",
  ].map(
    (value) =>
      [
        "unsupported-transfer-coding",
        `POST / HTTP/1.1\r\n${H}Transfer-Encoding: ${value}\r\n\r\n`,
      ] as const,
  ),
  // expectation
  ...["", "200-ok", "100-continue, 100-continue", "y 100-continue", "100-continue;q=1"].map(
    (value) => ["unknown-expectation", `PUT / HTTP/1.1\r\n${H}Expect: ${value}\r\n\r\n`] as const,
  ),
  ["unknown-expectation", `PUT / HTTP/1.1\r\n${H}Expect: 100-continue\r\nExpect: x\r\n\r\n`],
]

describe("RequestHead", () => {
  const head = new RequestHead()

  for (const [name, text, golden] of ACCEPTED) {
    test(`takes ${name}`, () => {
      expect(parseGrowing(head, text)).toBe("complete")
      const { path = "/", fields = ["host=a"], ...expected } = golden
      expect(bytes(text).toString("latin1", head.pathStart, head.pathEnd)).toBe(path)
      expect(fieldsOf(head)).toEqual(fields)
      const { method, host, authority, minorVersion, contentLength, isChunked } = head
      const { expectsContinue, start, end } = head
      expect({
        method,
        host,
        authority,
        minorVersion,
        contentLength,
        isChunked,
        expectsContinue,
        start,
        end,
      }).toEqual({
        method: "GET",
        host: "a",
        authority: "a",
        minorVersion: 1,
        contentLength: -1,
        isChunked: false,
        expectsContinue: false,
        start: 0,
        end: text.length,
        ...expected,
      })
    })
  }

  for (const [reason, text] of REFUSED) {
    test(`refuses ${JSON.stringify(text)}: ${reason}`, () => {
      expect(parseGrowing(head, text)).toBe(reason)
      expect(parseGrowing(head, `${text}${" ".repeat(20)}GET / HTTP/1.1\r\n${H}\r\n`)).toBe(reason)
    })
  }

  test("never reads an empty Host as the one before it", () => {
    const fresh = new RequestHead()
    const empty = bytes("GET / HTTP/1.1\r\nHost:\r\n\r\n")
    expect(fresh.parse(empty, 0, empty.length, LIMITS)).toBe("bad-host")
    expect(parseGrowing(fresh, `GET / HTTP/1.1\r\n${H}\r\n`)).toBe("complete")
    expect(fresh.parse(empty, 0, empty.length, LIMITS)).toBe("bad-host")
  })

  test("leaves nothing of one message in the next", () => {
    const first = `PUT http://b:1/x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n`
    expect(parseGrowing(head, first)).toBe("complete")
    expect(parseGrowing(head, "GET / HTTP/1.0\r\n\r\n")).toBe("complete")
    expect([head.host, head.authority, head.contentLength, head.fieldCount]).toEqual([
      "",
      "",
      -1,
      0,
    ])
  })

  test("starts where it is told to", () => {
    const text = `xyz\r\nGET /a HTTP/1.1\r\n${H}\r\nrest`
    expect(head.parse(bytes(text), 5, text.length, LIMITS)).toBe("complete")
    expect([head.start, head.end, head.targetStart, head.targetEnd]).toEqual([5, 33, 9, 11])
  })

  describe("limits", () => {
    const filled = (size: number) => {
      const text = `GET / HTTP/1.1\r\n${H}B: \r\n\r\n`
      return text.replace("B: ", `B: ${"b".repeat(size - text.length)}`)
    }

    test("a head of just the size is taken, one byte more is refused, however it comes", () => {
      const limits = { headBytesMax: 200, fieldsMax: 10 }
      expect(parseGrowing(head, filled(200), { limits })).toBe("complete")
      expect(parseGrowing(head, filled(201), { limits })).toBe("head-too-large")
      const endless = bytes(filled(300)).subarray(0, 200)
      expect(head.parse(endless, 0, 200, limits)).toBe("incomplete")
      expect(head.parse(bytes(filled(300)), 0, 201, limits)).toBe("head-too-large")
    })

    test("the body does not count", () => {
      const limits = { headBytesMax: 27, fieldsMax: 10 }
      const text = `GET / HTTP/1.1\r\n${H}\r\n${"x".repeat(1000)}`
      expect(parseGrowing(head, text, { limits })).toBe("complete")
    })

    test("a target that alone is too long is told apart", () => {
      const limits = { headBytesMax: 100, fieldsMax: 10 }
      const text = `GET /${"a".repeat(100)} HTTP/1.1\r\n${H}\r\n`
      expect(parseGrowing(head, text, { limits })).toBe("target-too-long")
    })

    test("so many fields and no more", () => {
      const limits = { headBytesMax: 10_000, fieldsMax: 3 }
      const fields = (count: number) => `GET / HTTP/1.1\r\n${H}${"B: c\r\n".repeat(count - 1)}\r\n`
      expect(parseGrowing(head, fields(3), { limits })).toBe("complete")
      expect(parseGrowing(head, fields(4), { limits })).toBe("too-many-fields")
    })

    test("1024 fields whatever the configuration says", () => {
      const limits = { headBytesMax: 64 * 1024, fieldsMax: 5000 }
      const fields = (count: number) =>
        bytes(`GET / HTTP/1.1\r\n${H}${"B:\r\n".repeat(count - 1)}\r\n`)
      expect(head.parse(fields(1024), 0, fields(1024).length, limits)).toBe("complete")
      expect(head.parse(fields(1025), 0, fields(1025).length, limits)).toBe("too-many-fields")
    })
  })

  test("finds fields by number and by name", () => {
    const text = `GET / HTTP/1.1\r\n${H}X-One: 1\r\nCookie: c\r\nx-one: 2\r\n\r\n`
    expect(parseGrowing(head, text)).toBe("complete")
    expect(head.valueByName("x-one")).toBe("1")
    expect(head.valueByName("x-two")).toBeUndefined()
    expect(head.valueByName("x-on")).toBeUndefined()
    expect(head.hasName(1, "x-one")).toBe(true)
    expect(head.hasName(1, "x-two")).toBe(false)
    expect(text.slice(head.fieldStart(1), head.fieldEnd(1))).toBe("X-One: 1\r\n")
    expect(text.slice(head.fieldStart(3), head.fieldEnd(3))).toBe("x-one: 2\r\n")
  })
})

const RESPONSES: readonly (readonly [text: string, golden: Partial<ResponseHead>])[] = [
  ["HTTP/1.1 200 OK\r\n\r\n", { status: 200 }],
  ["HTTP/1.0 200 OK\r\n\r\n", { status: 200, minorVersion: 0 }],
  ["HTTP/1.1 404\r\n\r\n", { status: 404 }],
  ["HTTP/1.1 404 \r\n\r\n", { status: 404 }],
  ["HTTP/1.1 999 \xe9 \t!\r\n\r\n", { status: 999 }],
  ["HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", { status: 204, contentLength: 0 }],
  ["HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", { status: 200, isChunked: true }],
]

const BAD_RESPONSES: readonly (readonly [reason: HeadError, text: string])[] = [
  ["bad-start-line", "\r\nHTTP/1.1 200 OK\r\n"],
  ["bad-start-line", "HTTP/2 200 OK\r\n\r\n"],
  ["bad-start-line", "http/1.1 200 OK\r\n"],
  ["bad-start-line", "ICY 200 OK\r\n"],
  ["bad-start-line", "HTTP/1.1  200 OK\r\n"],
  ["bad-start-line", "HTTP/1.1 99 OK\r\n\r\n"],
  ["bad-start-line", "HTTP/1.1 099 OK\r\n"],
  ["bad-start-line", "HTTP/1.1 2000 OK\r\n"],
  ["bad-start-line", "HTTP/1.1 20x OK\r\n"],
  ["bad-start-line", "HTTP/1.1 -20 OK\r\n"],
  ["bad-start-line", "HTTP/1.1 200\tOK\r\n"],
  ["bad-start-line", "HTTP/1.1 200 O\0K\r\n"],
  ["unsupported-version", "HTTP/1.2 200 OK\r\n"],
  ["bare-lf", "HTTP/1.1 200 OK\nA: b\n\n"],
  ["bare-cr", "HTTP/1.1 200 OK\rA: b\r\n"],
  ["obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n"],
  ["bad-field-name", "HTTP/1.1 200 OK\r\nA : b\r\n"],
  ["bad-field-value", "HTTP/1.1 200 OK\r\nA: b\0\r\n"],
  ["bare-lf", "HTTP/1.1 200 OK\r\nA: b\n\r\n"],
  ["bad-content-length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"],
  ["bad-content-length", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"],
  ["bad-content-length", "HTTP/1.1 204 OK\r\nContent-Length: -1\r\n\r\n"],
  [
    "length-and-transfer-encoding",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
  ],
  ["unsupported-transfer-coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"],
  ["bad-transfer-encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n"],
  ["bad-transfer-encoding", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
]

describe("ResponseHead", () => {
  const head = new ResponseHead()

  for (const [text, golden] of RESPONSES) {
    test(`takes ${JSON.stringify(text)}`, () => {
      expect(parseGrowing(head, text)).toBe("complete")
      const { status, minorVersion, contentLength, isChunked, end } = head
      expect({ status, minorVersion, contentLength, isChunked, end }).toEqual({
        status: 200,
        minorVersion: 1,
        contentLength: -1,
        isChunked: false,
        end: text.length,
        ...golden,
      })
    })
  }

  for (const [reason, text] of BAD_RESPONSES) {
    test(`refuses ${JSON.stringify(text)}: ${reason}`, () => {
      expect(parseGrowing(head, text)).toBe(reason)
    })
  }
})

test("statusOfHeadError() tells what the client should do differently", () => {
  const statuses = [...new Set(REFUSED.map(([reason]) => reason))].map((reason) => [
    reason,
    statusOfHeadError(reason),
  ])
  expect(Object.fromEntries(statuses)).toEqual({
    "bad-start-line": 400,
    "bare-lf": 400,
    "bare-cr": 400,
    "unsupported-version": 505,
    "obs-fold": 400,
    "bad-field-name": 400,
    "bad-field-value": 400,
    "missing-host": 400,
    "bad-host": 400,
    "bad-target": 400,
    "method-not-served": 501,
    "bad-content-length": 400,
    "length-and-transfer-encoding": 400,
    "bad-transfer-encoding": 400,
    "unsupported-transfer-coding": 501,
    "unknown-expectation": 417,
  })
  expect(statusOfHeadError("head-too-large")).toBe(431)
  expect(statusOfHeadError("too-many-fields")).toBe(431)
  expect(statusOfHeadError("target-too-long")).toBe(414)
})
