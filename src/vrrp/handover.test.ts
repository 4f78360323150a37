import { expect, test } from "bun:test"
import { instant } from "../net/time.ts"
import { Handover } from "./handover.ts"

const T0 = instant(1000)

function held(): Handover {
  const handover = new Handover()
  handover.handle({ type: "activate" }, T0)
  return handover
}

test("Handover.handle() holds the addresses on activate, and again on a second one", () => {
  const handover = new Handover()
  expect(handover.handle({ type: "activate" }, T0)).toEqual([{ type: "hold" }])
  expect(handover.handle({ type: "activate" }, T0)).toEqual([{ type: "hold" }])
  expect(handover.state).toEqual({ name: "held" })
})

test("Handover.handle() removes and says farewell only once the sessions have left", () => {
  const handover = held()
  const deactivate = { type: "deactivate", farewell: true } as const
  expect(handover.handle(deactivate, T0)).toEqual([{ type: "leave" }])
  expect(handover.handle({ type: "timeout" }, instant(1049.9))).toEqual([])
  expect(handover.handle({ type: "left" }, instant(1049.9))).toEqual([
    { type: "remove" },
    { type: "farewell" },
  ])
  expect(handover.deadline()).toBeUndefined()
})

test("Handover.handle() waits 50 ms for an answer and no longer", () => {
  const handover = held()
  handover.handle({ type: "deactivate", farewell: false }, T0)
  expect(handover.deadline()).toBe(instant(1050))
  expect(handover.handle({ type: "timeout" }, instant(1050))).toEqual([{ type: "remove" }])
  expect(handover.handle({ type: "left" }, instant(1051))).toEqual([])
})

test("Handover.handle() keeps the addresses when activated while leaving", () => {
  const handover = held()
  handover.handle({ type: "deactivate", farewell: true }, T0)
  expect(handover.handle({ type: "activate" }, instant(1010))).toEqual([{ type: "hold" }])
  expect(handover.handle({ type: "left" }, instant(1020))).toEqual([])
  expect(handover.handle({ type: "timeout" }, instant(9000))).toEqual([])
})

test("Handover.handle() ignores deactivate when nothing is held", () => {
  expect(new Handover().handle({ type: "deactivate", farewell: true }, T0)).toEqual([])
})

test("Handover.handle() keeps its first deadline when deactivated twice", () => {
  const handover = held()
  handover.handle({ type: "deactivate", farewell: true }, T0)
  expect(handover.handle({ type: "deactivate", farewell: false }, instant(1030))).toEqual([])
  expect(handover.deadline()).toBe(instant(1050))
})
