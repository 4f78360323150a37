/** What a mistyped word was meant to be. */
import { expect, test } from "bun:test"
import { nearest } from "./nearest.ts"

const KEYS = [
  "name",
  "interface",
  "virtual_router_id",
  "priority",
  "preempt",
  "preempt_delay",
  "max_fails",
]

test.each([
  ["priorty", "priority"],
  ["pirority", "priority"],
  ["prioritty", "priority"],
  ["virtual-router-id", "virtual_router_id"],
  ["maxFails", "max_fails"],
  ["Interface", "interface"],
  ["preemptdelay", "preempt_delay"],
  ["nmae", "name"],
])("nearest(%p) is %p", (word, expected) => {
  expect(nearest(word, KEYS)).toBe(expected)
})

test.each(["", "x", "foo", "balance", "id"])("nearest(%p) is nothing", (word) => {
  expect(nearest(word, KEYS)).toBeUndefined()
})
