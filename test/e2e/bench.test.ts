/** `npm run bench` does what it says; a quick run has every row, and its figures mean nothing. */
import { expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { runCommand } from "../lab/process.ts"

const SCRIPT = resolve(import.meta.dir, "../../scripts/bench.ts")

interface BenchJson {
  readonly rows: readonly {
    readonly id: string
    readonly ratio: number
    readonly ratioMax?: number
    readonly passed?: boolean
    readonly series: readonly { readonly column: string; readonly median: number }[]
  }[]
}

test("bench --quick measures every row for all three programs", async () => {
  const directory = mkdtempSync(join(tmpdir(), "causeway-bench-"))
  try {
    const path = join(directory, "bench.json")
    const argv = [process.execPath, SCRIPT, "--quick", "--no-build", "--json", path]
    const { exitCode, stdout, stderr } = await runCommand(argv, { timeoutMs: 240_000 })
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.any(String) })
    const { rows }: BenchJson = await Bun.file(path).json()
    expect(rows.map(({ id, ratioMax }) => [id, ratioMax])).toEqual([
      ["stream.small.cpu", 1.05],
      ["stream.connection.cpu", 1.1],
      ["stream.download.cpu", 0.5],
      ["stream.upload.cpu", undefined],
      ["stream.paced.p99", 1.1],
      ["stream.paced.p50", undefined],
      ["stream.paced.p999", undefined],
      ["stream.paced.cpu", undefined],
      ["stream.idle.memory", undefined],
      ["stream.rest.memory", undefined],
      ["http.small.cpu", 0.95],
      ["http.connection.cpu", 1.05],
      ["http.tls.cpu", 1.05],
      ["http.handshake.cpu", 1.05],
      ["http.body.cpu", 0.65],
      ["http.paced.p99", 1.05],
      ["http.paced.p50", undefined],
      ["http.paced.cpu", undefined],
      ["http.idle.memory", 0.5],
      ["http.rest.memory", undefined],
    ])
    for (const { id, ratio, ratioMax, passed, series } of rows) {
      const columns = [...new Set(series.map(({ column }) => column))]
      expect([id, columns]).toEqual([id, ["causeway", "haproxy", "nginx"]])
      if (!id.endsWith(".idle.memory")) expect([id, ratio > 0]).toEqual([id, true])
      expect([id, passed]).toEqual([id, ratioMax === undefined ? undefined : ratio <= ratioMax])
    }
    expect(stdout).toMatch(/^CPU per small request, µs( +[\d.]+ ±\d+%){3} +[\d.]+ {2}≤ 1.05/m)
    expect(stdout).toMatch(/system calls per request\n +causeway +[\d.]+: \w+ [\d.]+, /)
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}, 250_000)
