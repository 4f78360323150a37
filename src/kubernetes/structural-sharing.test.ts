import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { shared } from "./structural-sharing.ts"

describe("shared()", () => {
  test("is the old value when nothing is other", () => {
    const before = { a: [1, { b: "x" }], c: undefined }
    expect(shared(before, { a: [1, { b: "x" }], c: undefined })).toBe(before)
  })

  test("keeps the parts that are the same", () => {
    const before = { meta: { version: "1", labels: { a: "b" } }, list: [{ n: 1 }, { n: 2 }] }
    const after = { meta: { version: "2", labels: { a: "b" } }, list: [{ n: 1 }, { n: 3 }] }
    const result = shared(before, after)
    expect(result).toEqual(after)
    expect(result.meta.labels).toBe(before.meta.labels)
    expect(result.list[0]).toBe(before.list[0] as { n: number })
  })

  test.each([
    [{ a: 1 }, {}],
    [{}, { a: 1 }],
    [{ a: undefined }, {}],
    [{}, { a: undefined }],
    [[1], [1, 2]],
    [[1, 2], [1]],
    [{ a: [] }, { a: {} }],
    [null, {}],
    [{}, null],
    [undefined, { a: 1 }],
  ])("of %j and %j is the second", (before, after) => {
    expect(shared<unknown>(before, after)).toStrictEqual(after)
    expect(shared<unknown>(before, after)).not.toBe(before)
  })

  test("is always equal to the new value, and changes neither", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (before, after) => {
        const texts = [JSON.stringify(before), JSON.stringify(after)]
        expect(shared<unknown>(before, after)).toEqual(after)
        expect([JSON.stringify(before), JSON.stringify(after)]).toEqual(texts)
      }),
    )
  })
})
