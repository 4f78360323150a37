import { expect, test } from "bun:test"
import { Garbage, type Heap } from "./garbage.ts"

const MIB = 1024 * 1024

/** `done` has an "n" for what is new, an "a" for all, a "t" for tidying up, each time. */
function heapOf(mib: number) {
  const heap = { mib, cleanMib: mib, done: "" }
  const functions: Heap = {
    size: () => heap.mib * MIB,
    collectNew: () => {
      heap.done += "n"
    },
    collectAll: () => {
      heap.done += "a"
      heap.mib = heap.cleanMib
    },
    tidyUp: () => {
      heap.done += "t"
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

test("Garbage.read() collects all when 20 MiB have grown old", () => {
  const { heap, garbage } = heapOf(30)
  heap.mib = 50
  garbage.read(MIB)
  expect(heap.done).toBe("n")
  heap.mib = 51
  garbage.read(MIB)
  expect([heap.done, heap.mib]).toEqual(["nna", 30])
})

test("Garbage.read() does not take for garbage what tidying up has left", () => {
  const { heap, garbage } = heapOf(30)
  heap.cleanMib = 60
  heap.mib = 80
  garbage.tidyUp()
  garbage.read(MIB)
  expect(heap.done).toBe("tn")
})
