import { expect, test } from "bun:test"
import { ServerNames } from "./server-name.ts"

const names = new ServerNames(
  [
    { names: ["default.example"], keyType: "rsa" },
    { names: ["*.example.com", "example.com"], keyType: "rsa" },
    { names: ["www.example.com"], keyType: "ec" },
    { names: ["*.example.com", "example.com"], keyType: "ec" },
    { names: ["www.example.com"], keyType: "ec" },
    { names: ["default.example"], keyType: "ec" },
  ],
  { hasDefault: true },
)

test.each([
  ["www.example.com", [2]],
  ["shop.example.com", [1, 3]],
  ["example.com", [1, 3]],
  ["default.example", [0, 5]],
  ["a.b.example.com", [0, 5]],
  ["other.example", [0, 5]],
  ["", [0, 5]],
  [".example.com", [0, 5]],
  ["*.example.com", [1, 3]],
  ["com", [0, 5]],
])("select() of %j is %j", (name, expected) => {
  expect(names.select(name)).toEqual(expected)
})

test("select() takes the first of a key type", () => {
  const twice = new ServerNames(
    [
      { names: ["a.example"], keyType: "rsa" },
      { names: ["a.example"], keyType: "rsa" },
    ],
    { hasDefault: true },
  )
  expect(twice.select("a.example")).toEqual([0])
})

test.each([
  [[["a.example"]], true],
  [[["a.example"], ["b.example"]], false],
])("isSingle with the names %j is %p", (lists, expected) => {
  const certificates = lists.map((list) => ({ names: list, keyType: "ec" as const }))
  expect(new ServerNames(certificates, { hasDefault: true }).isSingle).toBe(expected)
})

test("isSingle holds for RSA and ECDSA of the same names", () => {
  const pair = new ServerNames(
    [
      { names: ["a.example", "b.example"], keyType: "rsa" },
      { names: ["b.example", "a.example"], keyType: "ec" },
    ],
    { hasDefault: true },
  )
  expect(pair.isSingle).toBe(true)
  expect(pair.select("b.example")).toEqual([0, 1])
})

test.each([
  [[], "a.example", []],
  [[["a.example"]], "a.example", [0]],
  [[["a.example"]], "b.example", []],
  [[["a.example"]], "", []],
  [[["*.a.example"]], "x.a.example", [0]],
])("without a default, select() with the names %j of %j is %j", (lists, name, expected) => {
  const certificates = lists.map((list) => ({ names: list, keyType: "ec" as const }))
  const some = new ServerNames(certificates, { hasDefault: false })
  expect(some.select(name)).toEqual(expected)
  expect(some.isSingle).toBe(false)
})
