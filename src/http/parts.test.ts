import { describe, expect, test } from "bun:test"
import { bytesOf, HeadWriter } from "./parts.ts"

const LONG = "0123456789".repeat(5)

function writer(length = 200): HeadWriter {
  return new HeadWriter(Buffer.alloc(300, 0xa5), 50, length)
}

function textIn({ bytes, start, at }: HeadWriter): string {
  return bytes.toString("latin1", start, at)
}

describe("HeadWriter", () => {
  test("appends texts, ranges and fields, short and long", () => {
    const head = writer()
    head.text("a\xe9")
    head.text(LONG)
    head.copy(Buffer.from(`xx${LONG}`), 2, 6)
    head.copy(Buffer.from(`xx${LONG}`), 2, 52)
    head.put(bytesOf("\xff\r\n"))
    head.field("Name", "value")
    expect(textIn(head)).toBe(`a\xe9${LONG}0123${LONG}\xff\r\nName: value\r\n`)
    expect([head.start, head.length, head.isFull]).toEqual([50, 122, false])
  })

  test("says when something did not fit, and writes nothing beyond its room", () => {
    const fills = [
      (head: HeadWriter) => head.text("x".repeat(11)),
      (head: HeadWriter) => head.text(LONG),
      (head: HeadWriter) => head.copy(Buffer.from(LONG), 0, 11),
      (head: HeadWriter) => head.put(bytesOf(LONG)),
    ]
    for (const fill of fills) {
      const head = writer(10)
      fill(head)
      expect([head.isFull, head.length]).toEqual([true, 0])
      head.text("0123456789")
      expect(textIn(head)).toBe("0123456789")
      expect([head.bytes[49], head.bytes[60]]).toEqual([0xa5, 0xa5])
      head.reset()
      expect([head.isFull, head.length]).toEqual([false, 0])
    }
  })
})
