import { expect, test } from "bun:test"
import { SharedMemory } from "./shared-memory.ts"

test("what one window of the memory is given, another sees", () => {
  const location = SharedMemory.allocate(1 << 20)
  const memory = new SharedMemory(location)
  expect(memory.length).toBe(131_072)
  expect(memory.doubles(131_070, 2)).toEqual(new Float64Array([0, 0]))
  memory.doubles(100, 10)[3] = 1.5
  expect(new SharedMemory(location).doubles(103, 1)[0]).toBe(1.5)
})

test("doubles() refuses what is outside", () => {
  const memory = new SharedMemory(SharedMemory.allocate(4096))
  expect(() => memory.doubles(511, 2)).toThrow("No double 513 in 4096 bytes")
})

test("another thread sees it, too", async () => {
  const location = SharedMemory.allocate(4096)
  const worker = new Worker(new URL("./fixtures/shared-memory-worker.ts", import.meta.url).href)
  const { promise, resolve } = Promise.withResolvers<void>()
  worker.onmessage = () => resolve()
  worker.postMessage(location)
  await promise
  expect(new SharedMemory(location).doubles(7, 1)[0]).toBe(42)
  worker.terminate()
})
