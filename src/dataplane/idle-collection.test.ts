import { expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { IdleCollection } from "./idle-collection.ts"

test("isDue() after 200 ms without an event, once", () => {
  const collection = new IdleCollection(instant(0))
  expect(collection.isDue(1_000, instant(0))).toBe(false)
  expect(collection.isDue(1_000, instant(199))).toBe(false)
  expect(collection.isDue(1_000, instant(200))).toBe(true)
  expect(collection.isDue(1_000, instant(20_000))).toBe(false)
})

test("isDue() is false for as long as something happens", () => {
  const collection = new IdleCollection(instant(0))
  for (let at = 0; at < 2_000; at += 150) {
    expect(collection.isDue(1_000 + at, instant(at))).toBe(false)
  }
})

test("isDue() is false when too little has happened to be worth it", () => {
  const collection = new IdleCollection(instant(0))
  collection.isDue(999, instant(0))
  expect(collection.isDue(999, instant(5_000))).toBe(false)
})

test("isDue() again 10 s later at the earliest", () => {
  const collection = new IdleCollection(instant(0))
  collection.isDue(1_000, instant(0))
  expect(collection.isDue(1_000, instant(300))).toBe(true)
  collection.isDue(9_000, instant(400))
  expect(collection.isDue(9_000, instant(10_299))).toBe(false)
  expect(collection.isDue(9_000, instant(10_300))).toBe(true)
})
