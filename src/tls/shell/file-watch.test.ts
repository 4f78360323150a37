import { afterEach, beforeEach, expect, test } from "bun:test"
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stampOf } from "./file-reader.ts"
import { FileWatch } from "./file-watch.ts"

let directory: string
let watch: FileWatch
let changes: number

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-watch-"))
  writeFileSync(join(directory, "one"), "1")
  symlinkSync("one", join(directory, "link"))
  changes = 0
  watch = new FileWatch([read("link"), read("absent")], () => changes++)
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

test("look() finds nothing while nothing happens", () => {
  watch.look()
  watch.look()
  expect(changes).toBe(0)
})

test("look() tells of another file behind a symbolic link, once it has come to rest", () => {
  writeFileSync(join(directory, "two"), "2")
  symlinkSync("two", join(directory, "link.new"))
  renameSync(join(directory, "link.new"), join(directory, "link"))
  watch.look()
  expect(changes).toBe(0)
  watch.look()
  expect(changes).toBe(1)
  watch.look()
  expect(changes).toBe(1)
})

test("look() tells of a file that was not there", () => {
  writeFileSync(join(directory, "absent"), "")
  watch.look()
  watch.look()
  expect(changes).toBe(1)
})

test("start() looks at its interval by itself", async () => {
  const told = Promise.withResolvers<void>()
  const timed = new FileWatch([read("one")], told.resolve)
  timed.start(1)
  writeFileSync(join(directory, "one"), "longer")
  await told.promise
  timed.stop()
})

function read(name: string) {
  const path = join(directory, name)
  return { path, stamp: stampOf(path) }
}
