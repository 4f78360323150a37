/**
 * System calls of a program, counted by strace in a pass of its own: tracing slows a program down
 * manyfold, so nothing is timed meanwhile. What the C library answers without the kernel (the
 * clock) is not seen, and costs next to nothing.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import type { Host } from "../../test/lab/host.ts"

/** Name → calls. */
export type SyscallCounts = ReadonlyMap<string, number>

/**
 * Counts over all threads of `pids` while `load` runs, less what the program does unasked in the
 * same time (clocks that tick, an allocator that tidies up).
 */
export async function countSyscalls(
  host: Host,
  pids: readonly number[],
  load: () => Promise<unknown>,
): Promise<SyscallCounts> {
  const startedAt = performance.now()
  const loaded = await trace(host, pids, load)
  const elapsedMs = performance.now() - startedAt
  const idle = await trace(host, pids, () => Bun.sleep(elapsedMs))
  const net = [...loaded].map(([name, calls]) => [name, calls - (idle.get(name) ?? 0)] as const)
  return new Map(net.filter(([, calls]) => calls > 0))
}

async function trace(
  host: Host,
  pids: readonly number[],
  during: () => Promise<unknown>,
): Promise<SyscallCounts> {
  const path = join(host.directory, `strace-${host.processes.length}`)
  const targets = pids.flatMap((pid) => ["-p", String(pid)])
  const strace = host.spawn(["strace", "-f", "-c", "-o", path, ...targets])
  for (const pid of pids) await strace.waitFor(new RegExp(`Process ${pid} attached`))
  await during()
  await strace.stop({ signal: "SIGINT" })
  return parseSummary(readFileSync(path, "utf8"))
}

/** The table of `strace -c`: % time, seconds, usecs/call, calls, errors (may be empty), name. */
export function parseSummary(text: string): SyscallCounts {
  const counts = new Map<string, number>()
  for (const line of text.split("\n")) {
    const match = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/.exec(line)
    const [, calls = "", name = ""] = match ?? []
    if (name !== "" && name !== "total") counts.set(name, Number(calls))
  }
  return counts
}

/** "5.02: recvfrom 2.00, sendto 1.00, …" per unit of work. Rare calls count in the sum alone. */
export function describeSyscalls(counts: SyscallCounts, units: number): string {
  const total = [...counts.values()].reduce((sum, each) => sum + each, 0)
  const frequent = [...counts]
    .filter(([, calls]) => calls / units >= RARE_PER_UNIT)
    .toSorted(([, a], [, b]) => b - a)
  const list = frequent.map(([name, calls]) => `${name} ${(calls / units).toFixed(2)}`)
  return `${(total / units).toFixed(2)}: ${list.join(", ")}`
}

const RARE_PER_UNIT = 0.02
