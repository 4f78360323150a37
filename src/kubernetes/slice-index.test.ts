import { expect, test } from "bun:test"
import fc from "fast-check"
import { meta, slice } from "./fixtures/endpoint-objects.ts"
import type { EndpointSlice } from "./objects.ts"
import { SliceIndex } from "./slice-index.ts"

const of = (name: string, service: string): EndpointSlice => slice(name, [], [], { service })
const names = (index: SliceIndex, service: string) =>
  index.slicesOf(service).map((each) => each.meta.name)

test("SliceIndex.slicesOf() finds all slices of a Service, and nobody else's", () => {
  const index = new SliceIndex()
  expect(index.set("training/web-a", of("web-a", "web"))).toEqual(["training/web"])
  expect(index.set("training/web-b", of("web-b", "web"))).toEqual(["training/web"])
  expect(index.set("training/api-a", of("api-a", "api"))).toEqual(["training/api"])
  const elsewhere = { ...of("web-c", "web"), meta: meta("web-c", { namespace: "other" }) }
  expect(index.set("other/web-c", elsewhere)).toEqual(["other/web"])
  expect(names(index, "training/web")).toEqual(["web-a", "web-b"])
  expect(names(index, "training/none")).toEqual([])
})

test("SliceIndex.set() names both Services when a slice changes hands", () => {
  const index = new SliceIndex()
  index.set("training/x", of("x", "web"))
  expect(index.set("training/x", of("x", "api"))).toEqual(["training/web", "training/api"])
  expect(names(index, "training/web")).toEqual([])
  expect(index.set("training/x", of("x", ""))).toEqual(["training/api"])
  expect(index.set("training/x", of("x", ""))).toEqual([])
})

test("SliceIndex.delete() forgets a slice once", () => {
  const index = new SliceIndex(new Map([["training/x", of("x", "web")]]))
  expect(index.delete("training/x")).toEqual(["training/web"])
  expect(index.delete("training/x")).toEqual([])
  expect(names(index, "training/web")).toEqual([])
})

test("SliceIndex is after any changes what it would be from scratch", () => {
  const change = fc.record({
    name: fc.constantFrom("a", "b", "c", "d"),
    service: fc.option(fc.constantFrom("", "web", "api"), { nil: undefined }),
  })
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const index = new SliceIndex()
      const slices = new Map<string, EndpointSlice>()
      for (const { name, service } of changes) {
        const key = `training/${name}`
        if (service === undefined) {
          index.delete(key)
          slices.delete(key)
        } else {
          index.set(key, of(name, service))
          slices.set(key, of(name, service))
        }
      }
      const scratch = new SliceIndex(slices)
      for (const service of ["training/web", "training/api", "training/"]) {
        expect(names(index, service).sort()).toEqual(names(scratch, service).sort())
      }
    }),
  )
})
