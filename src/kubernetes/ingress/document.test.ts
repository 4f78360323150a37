/** docs/ingress.md names what is served, all of it, and nothing else. */
import { describe, expect, test } from "bun:test"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { PREFIX } from "./annotation-reader.ts"
import { cluster, ingressManifest } from "./fixtures/cluster.ts"
import { readOptions } from "./options.ts"

const ROOT = resolve(import.meta.dir, "../../..")
const TEXT = readFileSync(join(ROOT, "docs/ingress.md"), "utf8")

/** Annotations in the first cells of tables. */
const listed = TEXT.split("\n")
  .filter((line) => line.startsWith("| `"))
  .flatMap((line) => [...(line.split(" | ")[0] ?? "").matchAll(/`([^`]+)`/g)])
  .map(([, name = ""]) => name)

function isRead(name: string): boolean {
  const manifest = ingressManifest("default/web", "rules: []", { [PREFIX + name]: "?" })
  const [ingress] = cluster(manifest).ingresses.values()
  if (ingress === undefined) throw new Error("There is no Ingress")
  return !readOptions(ingress).findings.some(({ message }) => NOT_READ.test(message))
}

/** What `reportRest` says of annotations that nobody has asked for. */
const NOT_READ = /is not served here; it is not used|has no effect here|is not known|is refused/

/** Whoever reads an annotation has its name as a text. */
function namesInSource(): string[] {
  const files = readdirSync(import.meta.dir).filter((file) => /^options[a-z-]*\.ts$/.test(file))
  const text = files.map((file) => readFileSync(join(import.meta.dir, file), "utf8")).join("\n")
  const plain = [...text.matchAll(/"([a-z]+(?:-[a-z]+)*)"/g)].map(([, name = ""]) => name)
  return [...new Set([...plain, "permanent-redirect-code", "temporal-redirect-code"])]
}

describe("docs/ingress.md", () => {
  test.each(listed)("%s is read", (name) => {
    expect(isRead(name)).toBe(true)
  })

  test("has all that are read", () => {
    expect(namesInSource().filter((name) => isRead(name) && !listed.includes(name))).toEqual([])
  })

  test("what it says is not served is not", () => {
    const section = TEXT.split("### Not served")[1]?.split("\n## ")[0] ?? ""
    const names = [...section.matchAll(/`([^`]+)`/g)].map(([, name = ""]) => name)
    expect(names.length).toBeGreaterThan(5)
    expect(names.filter(isRead)).toEqual([])
  })

  const links = [...TEXT.matchAll(/\]\(([^)]+)\)/g)].map(([, link = ""]) => link)
  test.each(links)("link %s", (link) => {
    expect(existsSync(join(ROOT, "docs", link))).toBe(true)
  })
})
