import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Logger } from "../log/logger.ts"
import type { Address } from "../net/address.ts"
import type { StreamRecord } from "../stream/context.ts"
import { AccessLog, formatAccess } from "./access-log.ts"
import { eventually } from "./fixtures/echo.ts"

const RECORD: StreamRecord = {
  stream: "mysql-read",
  client: { address: "198.51.100.7" as Address, port: 40_000 },
  listen: { address: "2001:db8::1" as Address, port: 3306 },
  pool: "replicas",
  server: "m1",
  connectMs: 0.4321,
  durationMs: 1234.56,
  bytesIn: 120,
  bytesOut: 5_000_000_000,
  retries: 1,
  reason: "finished",
}
const NOW = new Date("2026-03-01T12:34:56.789Z")

describe("formatAccess()", () => {
  test("text", () => {
    expect(formatAccess(RECORD, NOW.toISOString(), "text")).toBe(
      "2026-03-01T12:34:56.789Z mysql-read 198.51.100.7:40000 [2001:db8::1]:3306 replicas/m1 " +
        "0.4/1234.6 120/5000000000 1 finished",
    )
  })

  test("text without a server", () => {
    const record = { ...RECORD, server: "", reason: "no_server" as const }
    expect(formatAccess(record, NOW.toISOString(), "text")).toContain(" replicas/- ")
  })

  test("json", () => {
    expect(JSON.parse(formatAccess(RECORD, NOW.toISOString(), "json"))).toEqual({
      time: "2026-03-01T12:34:56.789Z",
      stream: "mysql-read",
      client: "198.51.100.7:40000",
      listen: "[2001:db8::1]:3306",
      pool: "replicas",
      server: "m1",
      connect_ms: 0.4,
      duration_ms: 1234.6,
      bytes_in: 120,
      bytes_out: 5_000_000_000,
      retries: 1,
      reason: "finished",
    })
  })
})

describe("AccessLog", () => {
  let directory: string
  let path: string
  let lines: string[]
  let access: AccessLog

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "causeway-access-"))
    path = join(directory, "access.log")
    lines = []
    access = new AccessLog(
      new Logger({
        settings: { level: "debug", format: "text" },
        write: (line) => lines.push(line),
        now: () => NOW,
        isJournal: true,
      }),
    )
  })

  afterEach(() => {
    access.close()
    rmSync(directory, { recursive: true })
  })

  function linesOf(file: string): string[] {
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").slice(0, -1) : []
  }

  test("is off without a path", () => {
    access.configure({ access: "", format: "text" })
    access.write([RECORD], NOW)
    expect(access.isEnabled).toBe(false)
  })

  test("appends a line for each record", async () => {
    access.configure({ access: path, format: "text" })
    expect(access.isEnabled).toBe(true)
    access.write([RECORD, { ...RECORD, server: "m2" }], NOW)
    await eventually("two lines", () => linesOf(path).length === 2)
    expect(linesOf(path)[1]).toContain("replicas/m2")
  })

  test("is opened anew at a reload, so that it can be moved away", async () => {
    access.configure({ access: path, format: "text" })
    access.write([RECORD], NOW)
    await eventually("a line", () => linesOf(path).length === 1)
    renameSync(path, `${path}.1`)
    access.configure({ access: path, format: "json" })
    access.write([RECORD], NOW)
    await eventually("a line in the new file", () => linesOf(path)[0]?.startsWith("{") === true)
    expect(linesOf(`${path}.1`)).toHaveLength(1)
  })

  test("drops lines rather than memory while nobody takes them, and says how many", async () => {
    Bun.spawnSync(["mkfifo", path])
    access.configure({ access: path, format: "text" })
    const batch = Array.from({ length: 10_000 }, () => RECORD)
    for (let count = 0; count < 10; count++) access.write(batch, NOW)
    const reader = Bun.spawn(["cat", path], { stdout: "ignore" })
    await eventually("the warning", () => {
      access.write([RECORD], NOW)
      return lines.length > 0
    })
    // Each line has 121 bytes: 8 MiB are reached within the seventh batch.
    expect(lines[0]).toMatch(/^<4>log: Access lines dropped: the log is too slow lines=3\d{4}$/)
    access.close()
    await reader.exited
  })

  test("says when it cannot be written, and drops what comes", async () => {
    access.configure({ access: join(directory, "no/such/directory"), format: "text" })
    access.write([RECORD], NOW)
    await eventually("the error", () => lines.length > 0)
    expect(lines[0]).toStartWith("<3>log: Cannot write the access log path=")
    expect(access.isEnabled).toBe(false)
    access.write([RECORD], NOW)
  })
})
