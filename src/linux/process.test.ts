import { expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { release } from "node:os"
import {
  canBeInterrupted,
  niceOf,
  raiseOpenFilesLimit,
  setNice,
  threadId,
  useShortSlices,
} from "./process.ts"

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

test("setNice() puts a thread behind others, and short slices leave it there", () => {
  const before = niceOf(threadId()) ?? 0
  try {
    expect(setNice(threadId(), before + 3)).toBe(true)
    expect(niceOf(threadId())).toBe(before + 3)
    expect(useShortSlices()).toBe(true)
    expect(niceOf(threadId())).toBe(before + 3)
  } finally {
    setNice(threadId(), before)
  }
  expect(niceOf(0x7fffffff)).toBeUndefined()
  expect(setNice(0x7fffffff, 0)).toBe(false)
})

test("canBeInterrupted() is true of a thread that runs, false of one that has ended", () => {
  expect(canBeInterrupted(threadId())).toBe(true)
  expect(canBeInterrupted(0x7fffffff)).toBe(false)
})

test("useShortSlices() gives the calling thread slices of 0.1 ms, where the kernel has them", () => {
  expect(useShortSlices()).toBe(true)
  const [major = 0, minor = 0] = release().split(".").map(Number)
  const shown = /^se\.slice +: +(\d+)/m.exec(readFileSync("/proc/self/sched", "utf8"))?.[1]
  // Kernels that do not have them show no slice, or the one that all threads share.
  if (major * 100 + minor >= 612 && shown !== undefined) expect(shown).toBe("100000")
})
