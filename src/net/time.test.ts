import { expect, test } from "bun:test"
import { after, earlier, instant } from "./time.ts"

test("after() adds, earlier() takes the first of those there are", () => {
  expect<number>(after(instant(5), 1.5)).toBe(6.5)
  expect<number | undefined>(earlier(instant(5), instant(4))).toBe(4)
  expect<number | undefined>(earlier(undefined, instant(4))).toBe(4)
  expect<number | undefined>(earlier(instant(5), undefined)).toBe(5)
  expect(earlier(undefined, undefined)).toBeUndefined()
})
