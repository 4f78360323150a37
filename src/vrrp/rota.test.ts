import { expect, test } from "bun:test"
import { Rota } from "./rota.ts"

test("Rota.take() goes round, slice by slice", () => {
  const rota = new Rota(["a", "b", "c", "d", "e"])
  expect([rota.take(2), rota.take(2), rota.take(2), rota.take(2)]).toEqual([
    ["a", "b"],
    ["c", "d"],
    ["e", "a"],
    ["b", "c"],
  ])
})

test("Rota.take() gives each item once however many are asked for", () => {
  const rota = new Rota(["a", "b", "c"])
  expect([rota.take(2), rota.take(9)]).toEqual([
    ["a", "b"],
    ["c", "a", "b"],
  ])
  expect(new Rota([]).take(3)).toEqual([])
})

test("Rota goes on where the one before it was when the list has changed", () => {
  const rota = new Rota(["a", "b", "c", "d"])
  rota.take(3)
  expect(new Rota(["a", "b", "c", "d", "e"], rota).take(2)).toEqual(["d", "e"])
  expect(new Rota(["a", "b"], rota).take(1)).toEqual(["b"])
  expect(new Rota([], rota).take(1)).toEqual([])
})
