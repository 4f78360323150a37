import { expect, test } from "bun:test"
import { FileChanges, type FileStamps } from "./file-changes.ts"

const cert = { modifiedMs: 1, bytes: 10, inode: 1 }
const key = { modifiedMs: 1, bytes: 20, inode: 2 }
const newCert = { modifiedMs: 2, bytes: 10, inode: 1 }
const newKey = { modifiedMs: 2, bytes: 20, inode: 3 }
const read: FileStamps = [cert, key]

test("handle() is unchanged while nothing happens", () => {
  const changes = new FileChanges(read)
  expect(changes.handle([{ ...cert }, { ...key }])).toBe("unchanged")
})

test("handle() waits until certificate and key have both been written, and tells once", () => {
  const changes = new FileChanges(read)
  expect(changes.handle([newCert, key])).toBe("settling")
  expect(changes.handle([newCert, newKey])).toBe("settling")
  expect(changes.handle([newCert, newKey])).toBe("changed")
  expect(changes.handle([newCert, newKey])).toBe("unchanged")
})

test.each([
  ["time", { ...cert, modifiedMs: 0 }],
  ["size", { ...cert, bytes: 11 }],
  ["inode", { ...cert, inode: 9 }],
  ["absence", undefined],
])("handle() notices a difference of %s", (_what, stamp) => {
  const changes = new FileChanges(read)
  expect(changes.handle([stamp, key])).toBe("settling")
  expect(changes.handle([stamp, key])).toBe("changed")
})

test("handle() is unchanged when a file comes back as it was", () => {
  const changes = new FileChanges(read)
  expect(changes.handle([undefined, key])).toBe("settling")
  expect(changes.handle(read)).toBe("unchanged")
})
