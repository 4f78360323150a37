import { expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { LogLimiter } from "./log-limiter.ts"

test("admit() lets 20 records a second pass and counts the rest", () => {
  const limiter = new LogLimiter()
  const first = Array.from({ length: 25 }, () => limiter.admit(instant(5000)).admitted)
  expect(first.filter((admitted) => admitted)).toHaveLength(20)
  expect(limiter.admit(instant(5999))).toEqual({ admitted: false, leftOut: 0 })
  expect(limiter.admit(instant(6000))).toEqual({ admitted: true, leftOut: 6 })
  expect(limiter.admit(instant(6000))).toEqual({ admitted: true, leftOut: 0 })
})
