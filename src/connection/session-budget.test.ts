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

test("isTightWith() leaves an eighth of the sessions' descriptors to those to come", () => {
  const budget = new SessionBudget(SessionBudget.allocate(), 80)
  for (let count = 0; count < 40; count++) budget.take()
  // Of 160 descriptors 80 are the sessions' own; 60 more make 140, which is 7/8.
  expect([budget.isTightWith(60), budget.isTightWith(61)]).toEqual([false, true])
})

test("setListening() takes what listening sockets hold from the sessions, in every thread", () => {
  const buffer = SessionBudget.allocate()
  const [control, thread] = [new SessionBudget(buffer, 4), new SessionBudget(buffer, 4)]
  control.setListening(3)
  expect([thread.sessionsMax, thread.take(), thread.take(), thread.take()]).toEqual([
    2,
    true,
    true,
    false,
  ])
  control.setListening(1)
  expect([thread.sessionsMax, thread.take(), thread.open]).toEqual([3, true, 3])
  control.setListening(1_000)
  expect(thread.sessionsMax).toBe(1)
})
