import { expect, test } from "bun:test"
import { CounterTable, counterColumns, doublesIn } from "./counter-table.ts"

const COLUMNS = counterColumns(["open", "total", "bytes"], ["open"])
const ROWS = 4

function table(buffer = CounterTable.allocate(COLUMNS.width, ROWS)) {
  return new CounterTable(COLUMNS, doublesIn(buffer))
}

test("add() and get() address one cell, which another view of the buffer sees", () => {
  const buffer = CounterTable.allocate(COLUMNS.width, ROWS)
  const counters = table(buffer)
  counters.add(2, "total", 3)
  counters.add(2, "total", 2 ** 40)
  counters.add(3, "open", 1)
  const reader = table(buffer)
  expect(reader.get(2, "total")).toBe(1_099_511_627_779)
  expect(reader.get(3, "open")).toBe(1)
  expect([reader.get(2, "open"), reader.get(2, "bytes"), reader.get(1, "total")]).toEqual([0, 0, 0])
})

test("sumOf() adds up a column over all rows", () => {
  const counters = table()
  for (let row = 0; row < ROWS; row++) counters.add(row, "bytes", 10 ** row)
  counters.add(0, "total", 5)
  expect(counters.sumOf("bytes")).toBe(1111)
})

test("clearRow() clears one row", () => {
  const counters = table()
  for (let row = 0; row < ROWS; row++) counters.add(row, "total", 1)
  counters.clearRow(1)
  expect([0, 1, 2, 3].map((row) => counters.get(row, "total"))).toEqual([1, 0, 1, 1])
})

test("clearGauges() keeps what only grows", () => {
  const counters = table()
  counters.add(0, "open", 2)
  counters.add(3, "open", 1)
  counters.add(3, "total", 7)
  counters.clearGauges()
  expect(counters.sumOf("open")).toBe(0)
  expect(counters.get(3, "total")).toBe(7)
})
