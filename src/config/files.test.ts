/** The disk behind `Files`: a folder of its own for each test. */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { diskFiles, hasGlob, resolveFrom } from "./files.ts"
import { loadConfig } from "./load.ts"

let folder = ""
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "causeway-config-"))
})
afterEach(() => rmSync(folder, { recursive: true }))

function write(name: string, content: string | Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, content)
  return path
}

test("read() answers text and permission bits", () => {
  const path = write("a.toml", "name = 'ü'\n")
  chmodSync(path, 0o640)
  expect(diskFiles.read(path)).toEqual({ ok: true, value: { text: "name = 'ü'\n", mode: 0o640 } })
  expect(diskFiles.mode(path)).toEqual({ ok: true, value: 0o640 })
})

test("read() answers why it cannot", () => {
  const reason = (path: string) => {
    const result = diskFiles.read(path)
    return result.ok ? "" : result.reason
  }
  expect(reason(join(folder, "missing"))).toBe("no such file (ENOENT)")
  expect(reason(folder)).toBe("it is a directory")
  expect(reason("/dev/zero")).toBe("it is not a regular file")
  expect(reason(write("latin1", new Uint8Array([0xe9])))).toBe("it is not UTF-8 text")
  expect(reason(write("large", "#".repeat(32 * 1024 * 1024 + 1)))).toBe(
    "it is larger than 33554432 bytes",
  )
  expect(reason(join(write("file", ""), "child"))).toBe("ENOTDIR")
  expect(diskFiles.mode(join(folder, "missing"))).toEqual({
    ok: false,
    reason: "no such file (ENOENT)",
  })
})

test("find() follows symbolic links, as a mounted ConfigMap has them, and sorts", () => {
  mkdirSync(join(folder, "..data"))
  write("..data/b.toml", "")
  write("a.toml", "")
  write(".hidden.toml", "")
  symlinkSync("..data/b.toml", join(folder, "b.toml"))
  symlinkSync("nowhere", join(folder, "dangling.toml"))
  expect(diskFiles.find(join(folder, "*.toml"))).toEqual({
    ok: true,
    value: ["a.toml", "b.toml", "dangling.toml"].map((name) => join(folder, name)),
  })
})

test("find() finds nothing where there is no folder", () => {
  expect(diskFiles.find(join(folder, "missing/*.toml"))).toEqual({ ok: true, value: [] })
})

test("hasGlob() knows a pattern from a name", () => {
  expect(["a.toml", "conf.d/*.toml", "a?.toml", "[ab].toml", "{a,b}.toml"].map(hasGlob)).toEqual([
    false,
    true,
    true,
    true,
    true,
  ])
})

test("resolveFrom() is relative to the file that names it", () => {
  expect(resolveFrom("/etc/causeway/causeway.toml", "conf.d/a.toml")).toBe(
    "/etc/causeway/conf.d/a.toml",
  )
  expect(resolveFrom("causeway.toml", "a.toml")).toBe("a.toml")
  expect(resolveFrom("/etc/causeway/causeway.toml", "/srv/a.toml")).toBe("/srv/a.toml")
})

test("loadConfig() reads a folder of files from the disk", () => {
  mkdirSync(join(folder, "conf.d"))
  const main = write("causeway.toml", 'include = ["conf.d/*.toml"]\n')
  const a = write("conf.d/a.toml", '[[pool]]\nname = "p"\nservers = ["192.0.2.1:80"]\n')
  const b = write("conf.d/b.toml", '[[stream]]\nname = "s"\nbind = [":80"]\npool = "p"\n')
  expect(loadConfig(main)).toMatchObject({ ok: true, warnings: [], files: [main, a, b] })
})

test("loadConfig() does not mind an empty folder of files, as after the installation", () => {
  mkdirSync(join(folder, "conf.d"))
  const main = write("causeway.toml", 'include = ["conf.d/*.toml"]\n')
  expect(loadConfig(main)).toMatchObject({ ok: true, warnings: [], files: [main] })
})

test("loadConfig() reports an included file that is a folder", () => {
  mkdirSync(join(folder, "x.toml"))
  const main = write("causeway.toml", 'include = ["x.toml"]\n')
  expect(loadConfig(main)).toMatchObject({
    ok: false,
    diagnostics: [
      {
        line: 1,
        column: 12,
        message: `Cannot read the included file ${folder}/x.toml: it is a directory`,
      },
    ],
  })
})
