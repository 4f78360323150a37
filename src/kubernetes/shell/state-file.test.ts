import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Logger } from "../../log/logger.ts"
import type { MirrorSnapshot } from "../mirror.ts"
import { readStateFile, StateFile, writeStateFile } from "./state-file.ts"

const CLUSTER = "https://192.0.2.10:6443"

function namespaces(...names: string[]): MirrorSnapshot {
  const objects = names.map((name) => ({
    meta: {
      ...{ namespace: "", name, uid: "", resourceVersion: "7", createdEpochMs: 0 },
      ...{ isDeleting: false, labels: { a: "ä\n" }, annotations: {} },
    },
  }))
  return { version: 1, sources: [{ id: "namespaces", kind: "namespaces", objects }] }
}

let directory = ""
let path = ""
const lines: string[] = []
const log = new Logger({
  settings: { level: "debug", format: "text" },
  write: (line) => lines.push(line),
  now: () => new Date(0),
  isJournal: false,
})

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-state-"))
  path = join(directory, "cluster.state")
  lines.length = 0
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function save(snapshot: MirrorSnapshot): Promise<void> {
  await writeStateFile(path, { cluster: CLUSTER, snapshot, savedAtEpochMs: 1_000 })
}

describe("readStateFile()", () => {
  test("readStateFile() reads what writeStateFile() wrote, for nobody else to see", async () => {
    const snapshot = namespaces(...Array.from({ length: 250 }, (_, index) => `n${index}`))
    await save(snapshot)
    utimesSync(path, 0, 0.5)
    expect(await readStateFile(path, CLUSTER)).toEqual({ ok: true, snapshot, savedAtEpochMs: 1000 })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readdirSync(directory)).toEqual(["cluster.state"])
  })

  test("readStateFile() takes the file's time where it is later", async () => {
    await save(namespaces("a"))
    utimesSync(path, 60, 60)
    expect(await readStateFile(path, CLUSTER)).toMatchObject({ savedAtEpochMs: 60_000 })
  })

  test("readStateFile() says when there is none", async () => {
    expect(await readStateFile(path, CLUSTER)).toMatchObject({ ok: false, reason: "missing" })
    expect(await readStateFile(directory, CLUSTER)).toMatchObject({ reason: "unreadable" })
  })

  test("readStateFile() refuses another cluster's", async () => {
    await save(namespaces("a"))
    expect(await readStateFile(path, "https://other")).toEqual({
      ok: false,
      reason: "other_cluster",
      message: `The saved state ${path} is of ${CLUSTER}, not https://other`,
    })
  })

  const DAMAGE: readonly (readonly [string, (text: string) => string, string])[] = [
    ["an empty file", () => "", "damaged"],
    ["something else", () => "hello\n", "damaged"],
    ["another version", (text) => text.replace('"version":1', '"version":2'), "other_version"],
    ["a missing end", (text) => text.split("\n").slice(0, -2).join("\n"), "damaged"],
    ["a cut", (text) => text.slice(0, -40), "damaged"],
    ["a changed byte", (text) => text.replace('"name":"b"', '"name":"c"'), "damaged"],
    ["a missing object", (text) => text.split("\n").toSpliced(1, 1).join("\n"), "damaged"],
    ["something after the end", (text) => `${text}[0,{}]\n`, "damaged"],
  ]
  for (const [name, damage, reason] of DAMAGE) {
    test(`readStateFile() refuses ${name}`, async () => {
      await save(namespaces("a", "b"))
      writeFileSync(path, damage(readFileSync(path, "utf8")))
      expect(await readStateFile(path, CLUSTER)).toMatchObject({ ok: false, reason })
    })
  }
})

describe("StateFile", () => {
  test("StateFile writes at its stop what was touched, and nothing otherwise", async () => {
    const options = { path, cluster: () => CLUSTER, log, isCurrent: () => false }
    const untouched = new StateFile({ ...options, snapshot: () => namespaces("a") })
    await untouched.stop()
    expect(readdirSync(directory)).toEqual([])
    const touched = new StateFile({ ...options, snapshot: () => namespaces("a") })
    touched.touch()
    await touched.stop()
    expect(await readStateFile(path, CLUSTER)).toMatchObject({ ok: true })
  })

  test("StateFile says once that it cannot write", async () => {
    const file = new StateFile({
      ...{ path: join(directory, "file", "state"), cluster: () => CLUSTER, log },
      ...{ snapshot: () => namespaces("a"), isCurrent: () => false, intervalMs: 1 },
    })
    writeFileSync(join(directory, "file"), "in the way")
    file.touch()
    while (lines.length === 0) await Bun.sleep(1)
    await file.stop()
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain("Cannot save the cluster's state")
  })

  test("StateFile moves the file's time forward while the state is current", async () => {
    const file = new StateFile({
      ...{ path, cluster: () => CLUSTER, log, intervalMs: 1 },
      ...{ snapshot: () => namespaces("a"), isCurrent: () => true },
    })
    file.touch()
    while (!readdirSync(directory).includes("cluster.state")) await Bun.sleep(1)
    utimesSync(path, 1, 1)
    while (statSync(path).mtimeMs === 1000) await Bun.sleep(1)
    await file.stop()
  })
})
