/** Hash tables in one array. */
import { expect, test } from "bun:test"
import fc from "fast-check"
import { hashOf, KeyRegions, RegionWriter } from "./key-regions.ts"

/** A needle in the middle of other bytes. */
function bytesOf(text: string) {
  return { bytes: Buffer.from(`<<${text}>>`, "latin1"), start: 2, end: 2 + text.length }
}

function regions(...tables: readonly (readonly (readonly [text: string, value: number])[])[]) {
  const writer = new RegionWriter()
  const starts = tables.map((table, index) => {
    const keys = table.map(([text, value]) => {
      return { hash: hashOf(text), text: writer.text(text), value }
    })
    return writer.region([index, 10 + index, 20 + index, -1], keys)
  })
  const built = new KeyRegions(writer)
  const find = (table: number, text: string) => {
    return built.find(starts[table] as number, hashOf(text), bytesOf(text))
  }
  const header = (table: number, index: number) => built.header(starts[table] as number, index)
  return { find, header }
}

test("hashOf() is FNV-1a, 32 bits", () => {
  // From the test vectors of the FNV page
  expect(hashOf("") >>> 0).toBe(0x811c9dc5)
  expect(hashOf("a") >>> 0).toBe(0xe40c292c)
  expect(hashOf("foobar") >>> 0).toBe(0xbf9cf968)
})

test("KeyRegions.find() answers for each region by itself", () => {
  const { find, header } = regions(
    [
      ["/a", 1],
      ["/ab", 2],
      ["/a longer key", 3],
      ["", 4],
    ],
    [["/a", 5]],
    [],
  )
  expect([find(0, "/a"), find(0, "/ab"), find(0, "/a longer key"), find(0, "")]).toEqual([
    1, 2, 3, 4,
  ])
  expect([find(1, "/a"), find(1, "/ab"), find(1, "")]).toEqual([5, -1, -1])
  expect([find(2, "/a"), find(2, "")]).toEqual([-1, -1])
  expect([header(0, 1), header(1, 1), header(2, 2), header(2, 3)]).toEqual([10, 11, 22, -1])
})

test("KeyRegions.find() compares bytes, not hashes alone", () => {
  // Two pairs of words that FNV-1a gives the same hash
  expect(hashOf("costarring")).toBe(hashOf("liquid"))
  const { find } = regions([
    ["liquid", 1],
    ["declinate", 2],
    ["macallums", 3],
  ])
  expect([find(0, "costarring"), find(0, "liquid")]).toEqual([-1, 1])
  expect([find(0, "declinate"), find(0, "macallums")]).toEqual([2, 3])
})

test("KeyRegions.find() finds every key, and no other", () => {
  const texts = fc.uniqueArray(fc.string({ unit: "binary-ascii", maxLength: 9 }), {
    minLength: 1,
    maxLength: 200,
  })
  fc.assert(
    fc.property(texts, texts, (keys, others) => {
      const { find } = regions(keys.map((text, value) => [text, value] as const))
      expect(keys.map((text) => find(0, text))).toEqual(keys.map((_, value) => value))
      for (const text of others) expect(find(0, text)).toBe(keys.indexOf(text))
    }),
    { numRuns: 100 },
  )
})
