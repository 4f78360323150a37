import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type ChunkedError, ChunkedScanner } from "./chunked.ts"
import { bytes } from "./fixtures/heads.ts"

interface Outcome {
  /** Bytes that belong to the body, or what is wrong with it. */
  readonly end: number | ChunkedError
  readonly isDone: boolean
  readonly content: string
}

/** Feeds `text` in the pieces that `cuts` (ascending) make. */
function scan(text: string, cuts: readonly number[] = []): Outcome {
  const scanner = new ChunkedScanner({ notesContent: true })
  const buffer = bytes(text)
  let content = ""
  let start = 0
  for (const cut of [...cuts, buffer.length]) {
    const end = scanner.scan(buffer, start, cut)
    for (const [from, to] of scanner.content ?? []) content += text.slice(from, to)
    if (typeof end === "string") return { end, isDone: false, content }
    start = end
    if (end < cut) break
  }
  expect(scanner.contentBytes).toBe(content.length)
  return { end: start, isDone: scanner.isDone, content }
}

/** Whole, and a byte at a time: the same. */
function scanBoth(text: string): Outcome {
  const whole = scan(text)
  expect(
    scan(
      text,
      Array.from(text, (_, at) => at),
    ),
  ).toEqual(whole)
  return whole
}

describe("ChunkedScanner", () => {
  const COMPLETE: readonly (readonly [text: string, content: string])[] = [
    ["0\r\n\r\n", ""],
    ["5\r\nhello\r\n0\r\n\r\n", "hello"],
    ["5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"],
    ["a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"],
    ["0000000000005\r\nhello\r\n000\r\n\r\n", "hello"],
    ["4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"],
    ["5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"],
    ["1;\r\nx\r\n0;a\r\n\r\n", "x"],
    ['1;a=b;c="d e";\tf \xe9\r\nx\r\n0\r\n\r\n', "x"],
    [`1;${"a".repeat(256)}\r\nx\r\n0\r\n\r\n`, "x"],
    ["0\r\nDigest: x\r\n\r\n", ""],
    ["0\r\nA:\r\nB:\t \r\nX-Sum: \xe9:;\r\n\r\n", ""],
  ]
  for (const [text, content] of COMPLETE) {
    test(`follows ${JSON.stringify(text.slice(0, 60))} to its end`, () => {
      expect(scanBoth(text)).toEqual({ end: text.length, isDone: true, content })
      expect(scan(`${text}GET / HTTP/1.1`)).toEqual({ end: text.length, isDone: true, content })
      for (let end = 0; end < text.length; end++) {
        expect(scan(text.slice(0, end))).toMatchObject({ end, isDone: false })
      }
    })
  }

  const BROKEN: readonly (readonly [reason: ChunkedError, text: string])[] = [
    ...[
      "\r\n",
      " 5\r\n",
      "-5\r\n",
      "+5\r\n",
      "g\r\n",
      "0x5\r\n",
      ";a\r\n",
      "\n",
      "\0",
      "5_0\r\n",
    ].map((text) => ["bad-chunk-size", text] as const),
    ["bad-chunk-size", "5 \r\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-size", "5 ;a\r\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-size", "5\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-size", "5\r\rhello\r\n0\r\n\r\n"],
    ["bad-chunk-size", "00000000000005\r\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-size", "fffffffffffffffff\r\n"],
    ["bad-chunk-extension", "5;a\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-extension", "5;a=\0\r\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-extension", '5;a="\nb"\r\nhello\r\n0\r\n\r\n'],
    ["bad-chunk-size", "5;a\rb\r\nhello\r\n0\r\n\r\n"],
    ["bad-chunk-extension", `5;${"a".repeat(257)}`],
    ["bad-chunk-end", "5\r\nhello0\r\n\r\n"],
    ["bad-chunk-end", "5\r\nhello\n0\r\n\r\n"],
    ["bad-chunk-end", "5\r\nhello\r0\r\n\r\n"],
    ["bad-chunk-end", "5\r\nhello!\r\n0\r\n\r\n"],
    ["bad-trailer", "0\r\nX\r\n\r\n"],
    ["bad-trailer", "0\r\n: a\r\n\r\n"],
    ["bad-trailer", "0\r\n A: b\r\n\r\n"],
    ["bad-trailer", "0\r\nA : b\r\n\r\n"],
    ["bad-trailer", "0\r\nA: b\r\n c\r\n\r\n"],
    ["bad-trailer", "0\r\nA: b\n\r\n"],
    ["bad-trailer", "0\r\nA: b\rB: c\r\n\r\n"],
    ["bad-trailer", "0\r\nA: \0\r\n\r\n"],
    ["bad-trailer", "0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["bad-trailer", "0\r\n\rX"],
    ["bad-trailer", "0\r\n\n"],
    ["forbidden-trailer", "0\r\nContent-Length: 5\r\n\r\n"],
    ["forbidden-trailer", "0\r\nA: b\r\ntRANSFER_ENCODING: chunked\r\n\r\n"],
    ["forbidden-trailer", "0\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"],
    ["forbidden-trailer", "0\r\nHost: a\r\n\r\n"],
    ["trailer-too-large", `0\r\nA: ${"b".repeat(16 * 1024)}`],
    ["trailer-too-large", `0\r\n${"A: b\r\n".repeat(3000)}`],
  ]
  for (const [reason, text] of BROKEN) {
    test(`refuses ${JSON.stringify(text.slice(0, 60))}: ${reason}`, () => {
      expect(scanBoth(text).end).toBe(reason)
    })
  }

  test("takes 52 bits of size for what they are", () => {
    const scanner = new ChunkedScanner({ notesContent: false })
    const start = bytes("fffffffffffff\r\n12345")
    expect(scanner.scan(start, 0, start.length)).toBe(start.length)
    expect([scanner.contentBytes, scanner.isDone]).toEqual([5, false])
    expect(scanner.content).toBeUndefined()
  })
})

/** The grammar read off the whole text at once, with nothing in common with the scanner. */
function naive(text: string): Outcome {
  let rest = text
  let content = ""
  const failed = { end: "bad-chunk-size" as const, isDone: false, content: "" }
  for (;;) {
    const line = /^([0-9A-Fa-f]{1,13})(;[\t\x20-\x7e\x80-\xff]{0,256})?\r\n/.exec(rest)
    if (line === null) return failed
    rest = rest.slice(line[0].length)
    const size = Number.parseInt(line[1] as string, 16)
    if (size === 0) break
    if (rest.slice(size, size + 2) !== "\r\n") return failed
    content += rest.slice(0, size)
    rest = rest.slice(size + 2)
  }
  const trailers = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n/.exec(rest)
  if (trailers === null || /^(te|host|x[-_]real[-_]ip):/im.test(trailers[0])) return failed
  return { end: text.length - rest.length + trailers[0].length, isDone: true, content }
}

const arbitraryChunk = fc
  .tuple(
    fc.string({ unit: fc.constantFrom("a", "\r", "\n", "0", ";"), maxLength: 40 }),
    fc.constantFrom("", "", "", ";", ";a", ';a="b c"', "\n", " ", ";\n", "\r"),
    fc.constantFrom("\r\n", "\r\n", "\r\n", "\r\n", "\n", "", "\r"),
    fc.nat({ max: 3 }),
  )
  .map(([data, extension, end, zeros]) => {
    const size = "0".repeat(zeros) + data.length.toString(16)
    return data === "" ? "" : `${size}${extension}\r\n${data}${end}`
  })

const arbitraryBody = fc
  .tuple(
    fc.array(arbitraryChunk, { maxLength: 5 }),
    fc.array(
      fc.constantFrom("A: b\r\n", "A:\r\n", "TE: x\r\n", "X_Real-IP:\r\n", "x\r\n", "A: b\n"),
      {
        maxLength: 2,
      },
    ),
    fc.constantFrom("\r\n", "\r\n", "\r\n", "\n", ""),
    fc.constantFrom("", "GET / HTTP/1.1\r\n", "\r\n"),
  )
  .map(
    ([chunks, trailers, end, next]) => `${chunks.join("")}0\r\n${trailers.join("")}${end}${next}`,
  )

test("ChunkedScanner ends where a reader of the whole text does, in whatever pieces it comes", () => {
  fc.assert(
    fc.property(arbitraryBody, fc.array(fc.nat({ max: 300 })), (text, places) => {
      const cuts = places.filter((place) => place <= text.length).sort((a, b) => a - b)
      const expected = naive(text)
      const outcome = scan(text, cuts)
      expect(outcome.isDone).toBe(expected.isDone)
      if (expected.isDone) expect(outcome).toEqual(expected)
    }),
    { numRuns: 3000 },
  )
})
