import { expect, test } from "bun:test"
import { readdirSync, readFileSync } from "node:fs"
import { niceOf, setNice, threadId } from "../linux/process.ts"
import { BackgroundThreads } from "./background-threads.ts"

test("control and the runtime's own threads step back, the collectors of garbage do not", () => {
  const threads = readdirSync("/proc/self/task").map(Number)
  const before = new Map(threads.map((thread) => [thread, niceOf(thread)]))
  const nameOf = (thread: number) => readFileSync(`/proc/self/task/${thread}/comm`, "utf8").trim()
  const background = new BackgroundThreads()
  const own = threadId()
  expect(background.nice).toBe(before.get(own) ?? Number.NaN)
  try {
    background.stepBack()
    expect(niceOf(own)).toBe(background.nice + 5)
    const compiler = threads.find((thread) => nameOf(thread) === "JITWorker")
    if (compiler !== undefined) expect(niceOf(compiler)).toBe(background.nice + 5)
    for (const thread of threads.filter((each) => nameOf(each).endsWith("ollector Thread"))) {
      expect(niceOf(thread)).toBe(before.get(thread) ?? Number.NaN)
    }
  } finally {
    background.stop()
    for (const [thread, nice] of before) if (nice !== undefined) setNice(thread, nice)
  }
  expect(niceOf(own)).toBe(background.nice)
})
