import { afterEach, beforeEach, expect, test } from "bun:test"
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Logger } from "../log/logger.ts"
import { Notifier } from "./notifier.ts"

let directory: string
let output: string
let lines: string[]
let notifier: Notifier

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-notify-"))
  output = join(directory, "output")
  lines = []
  notifier = new Notifier(
    new Logger({
      settings: { level: "debug", format: "text" },
      write: (line) => lines.push(line),
      now: () => new Date(0),
      isJournal: true,
    }),
  )
})

afterEach(() => rmSync(directory, { recursive: true }))

function script(body: string): string {
  const path = join(directory, "notify")
  writeFileSync(path, `#!/bin/sh\n${body}\n`)
  chmodSync(path, 0o755)
  return path
}

function written(): string[] {
  return existsSync(output) ? readFileSync(output, "utf8").split("\n").slice(0, -1) : []
}

test("notify() calls the program as keepalived does", async () => {
  const program = script(`echo "$@" >> ${output}`)
  for (const state of ["initialize", "backup", "active", "fault"] as const) {
    notifier.notify("edge", { program, state, priority: 100 })
  }
  await notifier.idle()
  expect(written()).toEqual([
    "INSTANCE edge STOP 100",
    "INSTANCE edge BACKUP 100",
    "INSTANCE edge MASTER 100",
    "INSTANCE edge FAULT 100",
  ])
})

test("notify() runs the programs of one router one at a time, those of two at once", async () => {
  // Each waits for the other router's to have begun, which a queue for all would never let happen.
  const program = script(`
    echo "begin $2 $3" >> ${output}
    until grep -q "begin a $3" ${output} && grep -q "begin b $3" ${output}; do :; done
    echo "end $2 $3" >> ${output}`)
  for (const state of ["active", "backup"] as const) {
    for (const router of ["a", "b"]) notifier.notify(router, { program, state, priority: 1 })
  }
  await notifier.idle()
  const ofA = written().filter((line) => line.includes(" a "))
  expect(ofA).toEqual(["begin a MASTER", "end a MASTER", "begin a BACKUP", "end a BACKUP"])
})

test("notify() drops the oldest that wait behind a slow program, never the latest", async () => {
  const go = join(directory, "go")
  const program = script(`until test -e ${go}; do :; done; echo "$4" >> ${output}`)
  for (let priority = 1; priority <= 30; priority++) {
    notifier.notify("edge", { program, state: "active", priority })
  }
  writeFileSync(go, "")
  await notifier.idle()
  const ran = written().map(Number)
  expect([ran.length, ran[0], ran[1], ran.at(-1)]).toEqual([17, 1, 15, 30])
})

test("a program that fails or is not there is logged, and the next runs all the same", async () => {
  const program = script(`echo "$3" >> ${output}; exit 3`)
  notifier.notify("edge", { program, state: "active", priority: 1 })
  notifier.notify("edge", { program: "/no/such/program", state: "backup", priority: 1 })
  notifier.notify("edge", { program, state: "fault", priority: 1 })
  await notifier.idle()
  expect(written()).toEqual(["MASTER", "FAULT"])
  expect(lines).toHaveLength(3)
  expect(lines[0]).toBe(
    `<4>vrrp: Notify program failed router=edge program=${program} state=MASTER code=3`,
  )
  expect(lines[1]).toStartWith("<4>vrrp: Cannot run notify program router=edge")
})

test("notify() without a program does nothing", async () => {
  notifier.notify("edge", { program: "", state: "active", priority: 1 })
  await notifier.idle()
  expect(lines).toEqual([])
})
