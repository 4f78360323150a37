import { expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { IdleCollection } from "./idle-collection.ts"

test("isDue() after 1.5 s without an event, once", () => {
  const collection = new IdleCollection(instant(0))
  expect(collection.isDue(1_000, instant(0))).toBe(false)
  expect(collection.isDue(1_000, instant(1_499))).toBe(false)
  expect(collection.isDue(1_000, instant(1_500))).toBe(true)
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

test("isDue() in the next lull, when enough has happened till then", () => {
  const collection = new IdleCollection(instant(0))
  collection.isDue(1_000, instant(0))
  expect(collection.isDue(1_000, instant(2_000))).toBe(true)
  collection.isDue(1_999, instant(3_000))
  expect(collection.isDue(1_999, instant(5_000))).toBe(false)
  collection.isDue(2_000, instant(5_001))
  expect(collection.isDue(2_000, instant(6_501))).toBe(true)
})
