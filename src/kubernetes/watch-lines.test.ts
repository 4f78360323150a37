import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { WatchLines } from "./watch-lines.ts"

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

describe("WatchLines.push()", () => {
  test("push() gives a line when its end has come", () => {
    const splitter = new WatchLines()
    expect(splitter.push(bytes('{"a":1}'))).toEqual({ ok: true, lines: [] })
    expect(splitter.pendingBytes).toBe(7)
    expect(splitter.push(bytes('\n{"b":'))).toEqual({ ok: true, lines: ['{"a":1}'] })
    expect(splitter.push(bytes("2}\n\n{}\n"))).toEqual({ ok: true, lines: ['{"b":2}', "{}"] })
    expect(splitter.pendingBytes).toBe(0)
  })

  test("push() takes a line at the limit and refuses one byte more, for good", () => {
    const splitter = new WatchLines({ bytesMax: 4 })
    expect(splitter.push(bytes("1234\n12"))).toEqual({ ok: true, lines: ["1234"] })
    expect(splitter.push(bytes("34"))).toEqual({ ok: true, lines: [] })
    expect(splitter.push(bytes("5\n"))).toEqual({ ok: false, reason: "line_too_long" })
    expect(splitter.push(bytes("1\n"))).toEqual({ ok: false, reason: "line_too_long" })
  })

  test("push() keeps no hold of the chunk", () => {
    const splitter = new WatchLines()
    const chunk = bytes("ab")
    splitter.push(chunk)
    chunk.fill(0x78)
    expect(splitter.push(bytes("c\n"))).toEqual({ ok: true, lines: ["abc"] })
  })

  test("push() gives the same lines however they are cut", () => {
    const text = '{"name":"Bär"}\n{"name":"日本"}\n\n{"x":"🙂"}\n'
    const whole = bytes(text)
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: whole.length }), { maxLength: 20 }),
        (cuts) => {
          const splitter = new WatchLines()
          const places = [0, ...new Set(cuts.toSorted((a, b) => a - b)), whole.length]
          const lines = places.slice(1).flatMap((end, index) => {
            const result = splitter.push(whole.subarray(places[index], end))
            return result.ok ? result.lines : ["refused"]
          })
          expect(lines).toEqual(['{"name":"Bär"}', '{"name":"日本"}', '{"x":"🙂"}'])
        },
      ),
    )
  })
})
