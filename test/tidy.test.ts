/**
 * The structure of the source, as a test: who may import whom, what a machine may not do, sizes,
 * left-overs. The second half plants a violation of each rule and sees it found.
 */
import { describe, expect, test } from "bun:test"
import packageJson from "../package.json" with { type: "json" }
import { layerViolations } from "./tidy/layers.ts"
import {
  cycleViolations,
  dependencyViolations,
  essayViolations,
  ffiViolations,
  functionLengthViolations,
  lockFileViolations,
  missingImportViolations,
  purityViolations,
  textViolations,
  unusedFiles,
} from "./tidy/rules.ts"
import { type SourceFile, sourceFile } from "./tidy/source.ts"

const ROOT = `${import.meta.dir}/..`
const files = await loadFiles()
const src = files.filter(({ path }) => path.startsWith("src/"))

describe("the source", () => {
  test("keeps the import directions", () => expect(src.flatMap(layerViolations)).toEqual([]))

  test("imports bun:ffi in src/linux alone", () => expect(src.flatMap(ffiViolations)).toEqual([]))

  test("has pure machines", () => expect(src.flatMap(purityViolations)).toEqual([]))

  test("has no import cycle", () => expect(cycleViolations(files)).toEqual([]))

  test("imports each runtime dependency from one folder", () =>
    expect(dependencyViolations(src, Object.keys(packageJson.dependencies))).toEqual([]))

  test("has functions of at most 70 lines", () =>
    expect(files.flatMap(functionLengthViolations)).toEqual([]))

  test("has no wide lines, left-over marks or focused tests", () =>
    expect(files.flatMap(textViolations)).toEqual([]))

  test("opens each file with its idea", () => expect(files.flatMap(essayViolations)).toEqual([]))

  test("imports files that exist, by their full name", () => {
    const paths = new Set(files.map(({ path }) => path))
    expect(files.flatMap((file) => missingImportViolations(file, paths))).toEqual([])
  })

  test("has no unused file", () => expect(unusedFiles(files)).toEqual([]))

  test("has a lock file without registry addresses", async () =>
    expect(lockFileViolations(await Bun.file(`${ROOT}/package-lock.json`).text())).toEqual([]))
})

describe("a planted violation is found", () => {
  const found = (rule: (file: SourceFile) => string[], path: string, text: string) =>
    rule(sourceFile(path, text))

  test.each([
    ["src/vrrp/machine.ts", 'import { open } from "../linux/fd.ts"', "src/linux/fd.ts"],
    ["src/vrrp/machine.ts", 'import { parse } from "../config/toml.ts"', "src/config/toml.ts"],
    [
      "src/vrrp/driver.ts",
      'import type { A } from "../stream/flow.ts"',
      "src/stream/flow.ts (type)",
    ],
    ["src/net/mac.ts", 'export { x } from "../log/log.ts"', "src/log/log.ts"],
    ["src/daemon/start.ts", 'import { run } from "../commands/run.ts"', "src/commands/run.ts"],
    ["src/main.ts", 'import { Daemon } from "./daemon/daemon.ts"', "src/daemon/daemon.ts"],
    ["src/linux/fd.ts", `await ${"import"}("../daemon/start.ts")`, "src/daemon/start.ts"],
  ])("%s with %s", (path, text, target) => {
    expect(found(layerViolations, path, text)).toEqual([`${path}: may not import ${target}`])
  })

  test("a machine that imports its driver", () => {
    const text = 'import {\n  start,\n} from "./driver.ts"'
    expect(found(layerViolations, "src/vrrp/machine.ts", text)).toEqual([
      "src/vrrp/machine.ts: a machine may not import the shell src/vrrp/driver.ts",
    ])
  })

  test("a folder without a rule", () => {
    expect(found(layerViolations, "src/misc/x.ts", "")).toEqual([
      "src/misc/x.ts: no rule for its folder in test/tidy/layers.ts",
    ])
  })

  test.each([
    ["src/vrrp/machine.ts", 'import type { C } from "../config/config.ts"'],
    ["src/vrrp/machine.ts", 'import { type C, type D } from "../config/config.ts"'],
    ["src/vrrp/driver.ts", 'import { socket } from "../linux/tcp.ts"'],
    ["src/daemon/start.ts", 'import { Thread } from "../vrrp/thread.ts"'],
    ["src/main.ts", 'import { run } from "./commands/run.ts"'],
  ])("but %s may have %s", (path, text) => {
    expect(found(layerViolations, path, text)).toEqual([])
  })

  test("bun:ffi outside src/linux", () => {
    const text = 'import { dlopen } from "bun:ffi"'
    expect(found(ffiViolations, "src/tls/openssl.ts", text)).toHaveLength(1)
    expect(found(ffiViolations, "src/linux/openssl.ts", text)).toEqual([])
  })

  test.each([
    "const now = Date.now()",
    "const at = performance.now()",
    "setTimeout(next, 1)",
    "const id = Math.random()",
    'console.log("x")',
    "const name = process.env",
    "await Bun.sleep(1)",
  ])("a machine with %s", (text) => {
    expect(found(purityViolations, "src/pool/policy.ts", text)).toHaveLength(1)
    expect(found(purityViolations, "src/pool/policy.ts", `// ${text}`)).toEqual([])
    expect(found(purityViolations, "src/health/driver.ts", text)).toEqual([])
  })

  test("an import cycle", () => {
    const cycle = [
      sourceFile("src/net/a.ts", 'import { b } from "./b.ts"'),
      sourceFile("src/net/b.ts", 'import type { C } from "./c.ts"'),
      sourceFile("src/net/c.ts", 'import { a } from "./a.ts"'),
    ]
    expect(cycleViolations(cycle)).toEqual([
      "src/net/a.ts → src/net/b.ts → src/net/c.ts → src/net/a.ts",
    ])
  })

  test("a dependency used in two folders, in none, and one that is not declared", () => {
    const users = [
      sourceFile("src/admin/app.ts", 'import { Hono } from "hono"'),
      sourceFile("src/http/app.ts", 'import { cors } from "hono/cors"\nimport x from "left-pad"'),
    ]
    expect(dependencyViolations(users, ["hono", "toml"])).toEqual([
      "src/http/app.ts: left-pad is not a dependency",
      "hono: imported from [src/admin, src/http], not one folder",
      "toml: imported from [], not one folder",
    ])
  })

  test.each([
    ["export function f(): void {", "}"],
    ["  async #method(a: number): Promise<void> {", "  }"],
    ["const f = (a: number) => {", "}"],
    ["  list.forEach((a) => {", "  })"],
    ["export async function f(\n  a: string,\n): Promise<void> {", "}"],
    ['])("a test of %s", (a) => {', "})"],
  ])("a long function that begins %j", (head, tail) => {
    const text = (lines: number) => `${head}\n${"    step()\n".repeat(lines)}${tail}\n`
    const headLines = head.split("\n").length
    const fits = text(69 - headLines)
    expect(found(functionLengthViolations, "src/a.ts", fits)).toEqual([])
    expect(found(functionLengthViolations, "src/a.ts", text(70 - headLines))).toEqual([
      "src/a.ts:1: function of 71 lines",
    ])
  })

  test.each([
    "  if (a) {",
    "for (const a of b) {",
    "export interface A {",
    "export class A {",
    "  } catch (error) {",
    "switch (a) {",
    "const table = {",
  ])("but a long block that begins %j is no function", (head) => {
    const tail = `${head.slice(0, head.search(/\S/))}}`
    const text = `${head}\n${"    step()\n".repeat(80)}${tail}\n`
    expect(found(functionLengthViolations, "src/a.ts", text)).toEqual([])
  })

  test("but a test may hold a long literal, and any file an address", () => {
    const literal = `  expect(a).toBe("${"x".repeat(100)}")`
    expect(found(textViolations, "src/net/a.test.ts", literal)).toEqual([])
    expect(found(textViolations, "src/net/a.ts", `// https://a.example/${literal}`)).toEqual([])
    expect(found(textViolations, "src/net/a.test.ts", `//${literal}`)).toHaveLength(1)
  })

  test.each([
    `const a = "${"x".repeat(100)}"`,
    `// ${"FIX"}ME later`,
    `// ${"TO"}DO later`,
    `test.${"only"}("x", () => {})`,
  ])("a line with %j", (line) => {
    expect(found(textViolations, "src/net/a.ts", line)).toHaveLength(1)
  })

  test("a file that does not open with a comment", () => {
    expect(found(essayViolations, "src/net/a.ts", "export const a = 1")).toHaveLength(1)
  })

  test("an import of a file that does not exist", () => {
    const text = 'import { b } from "./b"\nimport { c } from "./c.ts"'
    const file = sourceFile("src/net/a.ts", text)
    expect(missingImportViolations(file, new Set(["src/net/b.ts"]))).toHaveLength(2)
  })

  test("a file that nothing imports", () => {
    const some = [
      sourceFile("src/main.ts", 'import { a } from "./a.ts"'),
      sourceFile("src/a.ts", ""),
      sourceFile("src/b.ts", 'import { a } from "./a.ts"'),
      sourceFile("src/b.test.ts", 'import { b } from "./b.ts"'),
      sourceFile("test/lab/c.ts", ""),
      sourceFile("test/lab/program.ts", ""),
      sourceFile("test/lab.test.ts", 'spawn(dir + "/lab/program.ts")'),
    ]
    expect(unusedFiles(some)).toEqual(["src/b.ts", "test/lab/c.ts"])
  })

  test("a lock file that names a registry", () => {
    expect(lockFileViolations('"resolved": "https://registry.example/a.tgz"')).toHaveLength(1)
  })
})

async function loadFiles(): Promise<SourceFile[]> {
  const paths = [...new Bun.Glob("{src,test,scripts}/**/*.ts").scanSync(ROOT)].toSorted()
  return Promise.all(
    paths.map(async (path) => sourceFile(path, await Bun.file(`${ROOT}/${path}`).text())),
  )
}
