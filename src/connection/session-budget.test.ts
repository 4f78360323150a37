import { expect, test } from "bun:test"
import { SessionBudget } from "./session-budget.ts"

test("SessionBudget is shared, and refuses beyond its limit without keeping what it refused", () => {
  const buffer = SessionBudget.allocate()
  const [first, second] = [new SessionBudget(buffer, 3), new SessionBudget(buffer, 3)]
  expect([first.take(), second.take(), first.take()]).toEqual([true, true, true])
  expect([first.take(), second.take(), first.open]).toEqual([false, false, 3])
  second.release(2)
  expect([first.open, first.take()]).toEqual([1, true])
})
