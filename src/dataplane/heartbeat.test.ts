import { expect, test } from "bun:test"
import { Heartbeat } from "./heartbeat.ts"

test("both sides of a heartbeat see the same count, number and verdict", () => {
  const control = new Heartbeat()
  const thread = new Heartbeat(control.buffer)
  expect([control.beats, control.threadId, thread.isRetired]).toEqual([0, 0, false])
  thread.beat()
  thread.beat()
  thread.identify(4711)
  control.retire()
  expect([control.beats, control.threadId, thread.isRetired]).toEqual([2, 4711, true])
})
