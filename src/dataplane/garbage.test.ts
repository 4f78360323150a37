import { expect, test } from "bun:test"
import { Garbage, type Heap } from "./garbage.ts"

const MIB = 1024 * 1024
const LIMITS = { newMax: MIB / 2, oldBytesMax: 20 * MIB }

/** `done` says what was done: "n" new, "a" all, "g" giving back, "t" tidying up. */
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
    giveBack: () => {
      heap.done += "g"
      heap.mib = heap.cleanMib
    },
    tidyUp: () => {
      heap.done += "t"
      heap.mib = heap.cleanMib
    },
  }
  return { heap, garbage: new Garbage(LIMITS, functions) }
}

test("Garbage.made() collects what is new for each half MiB", () => {
  const { heap, garbage } = heapOf(30)
  for (let count = 0; count < 511; count++) garbage.made(1024)
  expect(heap.done).toBe("")
  garbage.made(1024)
  expect(heap.done).toBe("n")
  garbage.made(3 * MIB)
  expect(heap.done).toBe("nn")
})

test("Garbage.made() collects all when 20 MiB have grown old", () => {
  const { heap, garbage } = heapOf(30)
  heap.mib = 50
  garbage.made(MIB)
  expect(heap.done).toBe("n")
  heap.mib = 51
  garbage.made(MIB)
  expect([heap.done, heap.mib]).toEqual(["nna", 30])
})

test("Garbage.made() does not take for garbage what tidying up has left", () => {
  const { heap, garbage } = heapOf(30)
  heap.cleanMib = 60
  heap.mib = 80
  garbage.tidyUp()
  garbage.made(MIB)
  expect(heap.done).toBe("tn")
})

test("Garbage.giveBack() is a beginning, too", () => {
  const { heap, garbage } = heapOf(30)
  heap.mib = 50
  heap.cleanMib = 45
  garbage.giveBack()
  heap.mib = 60
  garbage.made(MIB)
  expect(heap.done).toBe("gn")
})
