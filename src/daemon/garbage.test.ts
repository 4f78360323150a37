import { expect, test } from "bun:test"
import { Garbage, type Heap } from "./garbage.ts"

const MIB = 1024 * 1024

/** `done` has a letter for each: "n" what is new, "b" begins all, "a" all. */
function heapOf(mib: number) {
  const heap = { mib, cleanMib: mib, done: "" }
  const functions: Heap = {
    size: () => heap.mib * MIB,
    collectNew: () => {
      heap.done += "n"
    },
    beginAll: () => {
      heap.done += "b"
    },
    collectAll: () => {
      heap.done += "a"
      heap.mib = heap.cleanMib
    },
  }
  return { heap, garbage: new Garbage(functions) }
}

test("Garbage.read() collects what is new for each half MiB of JSON", () => {
  const { heap, garbage } = heapOf(30)
  for (let count = 0; count < 511; count++) garbage.read(1024)
  expect(heap.done).toBe("")
  garbage.read(1024)
  expect(heap.done).toBe("n")
  garbage.read(3 * MIB)
  expect(heap.done).toBe("nn")
})

test("Garbage.read() begins to collect all when 16 MiB have grown old, once", () => {
  const { heap, garbage } = heapOf(30)
  heap.mib = 46
  garbage.read(MIB)
  expect(heap.done).toBe("n")
  heap.mib = 47
  garbage.read(MIB)
  expect(heap.done).toBe("nnb")
  heap.mib = 32
  garbage.read(MIB)
  heap.mib = 48
  garbage.read(MIB)
  expect(heap.done).toBe("nnbnn")
  heap.mib = 49
  garbage.read(MIB)
  expect(heap.done).toBe("nnbnnnb")
})

test("Garbage.read() does not take for garbage what a full collection has left", () => {
  const { heap, garbage } = heapOf(30)
  heap.cleanMib = 60
  heap.mib = 60
  garbage.collect()
  garbage.read(MIB)
  expect(heap.done).toBe("an")
})
