import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { canBeInterrupted, raiseOpenFilesLimit, threadId } from "./process.ts"

test("raiseOpenFilesLimit() makes the hard limit the one in force", () => {
  const limit = raiseOpenFilesLimit()
  const [, soft, hard] =
    /^Max open files +(\d+|unlimited) +(\d+|unlimited)/m.exec(
      readFileSync("/proc/self/limits", "utf8"),
    ) ?? []
  expect(soft).toBe(hard)
  expect(limit).toBe(Number(hard))
  expect(raiseOpenFilesLimit()).toBe(limit)
})

test("threadId() is the number the kernel has for the calling thread", () => {
  expect(threadId()).toBe(process.pid)
})

test("canBeInterrupted() is true of a thread that runs, false of one that has ended", () => {
  expect(canBeInterrupted(threadId())).toBe(true)
  expect(canBeInterrupted(0x7fffffff)).toBe(false)
})
