import { expect, test } from "bun:test"
import { SlotAllocator } from "./slot-allocator.ts"

const anyIdle = () => true

test("allocate() hands out slots that were never used before freed ones", () => {
  const slots = new SlotAllocator(3)
  expect(slots.allocate(anyIdle)).toBe(0)
  slots.free(0)
  expect(slots.allocate(anyIdle)).toBe(1)
  expect(slots.allocate(anyIdle)).toBe(2)
  expect(slots.allocate(anyIdle)).toBe(0)
})

test("allocate() takes the slot that has been free the longest, and only an idle one", () => {
  const slots = new SlotAllocator(3)
  for (let count = 0; count < 3; count++) slots.allocate(anyIdle)
  for (const slot of [2, 0, 1]) slots.free(slot)
  expect(slots.allocate((slot) => slot !== 2)).toBe(0)
  expect(slots.allocate(anyIdle)).toBe(2)
  expect(slots.allocate(() => false)).toBeUndefined()
  expect(slots.allocate(anyIdle)).toBe(1)
  expect(slots.allocate(anyIdle)).toBeUndefined()
})
