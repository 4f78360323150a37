import { describe, expect, test } from "bun:test"
import { HeldBytes } from "./held-bytes.ts"

function textOf(held: HeldBytes): string {
  const target = Buffer.alloc(held.length)
  held.copyTo(target)
  return target.toString()
}

describe("HeldBytes", () => {
  test("keeps a copy of a range", () => {
    const source = Buffer.from("0123456789")
    const held = new HeldBytes(source, 2, 5)
    source.fill(0)
    expect([textOf(held), held.length]).toEqual(["234", 3])
  })

  test("grows by what is appended, a byte at a time too", () => {
    const held = new HeldBytes(Buffer.from("a"), 0, 1)
    const source = Buffer.from("xbcdefghijklmnopqrstuvwxyzx")
    for (let at = 1; at < 26; at++) held.append(source, at, at + 1)
    expect(textOf(held)).toBe("abcdefghijklmnopqrstuvwxyz")
  })

  test("is taken from the front, and appended to after that", () => {
    const held = new HeldBytes(Buffer.from("0123456789"), 0, 10)
    held.start = 7
    expect([textOf(held), held.length]).toEqual(["789", 3])
    held.append(Buffer.from("abcdefgh"), 0, 8)
    expect([textOf(held), held.length]).toEqual(["789abcdefgh", 11])
  })
})
