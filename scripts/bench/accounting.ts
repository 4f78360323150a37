/**
 * What a program and its children used, from the kernel's books.
 *
 * CPU time is the scheduler's own count in nanoseconds per thread (/proc/PID/task/TID/schedstat,
 * first field), not the 10 ms ticks of /proc/PID/stat. Where the kernel is built without
 * CONFIG_IRQ_TIME_ACCOUNTING it includes what the thread's own sends cost in softirq, which is a
 * large part of a proxy's work.
 */
import { readdirSync, readFileSync } from "node:fs"

/** Thread → CPU nanoseconds so far. */
export type CpuReading = ReadonlyMap<string, number>

/** A process with all its descendants. */
export function processTree(pid: number): number[] {
  const children = threads(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter(Boolean).map(Number),
  )
  return [pid, ...children.flatMap(processTree)]
}

export function readCpu(pids: readonly number[]): CpuReading {
  const reading = new Map<string, number>()
  for (const pid of pids) {
    for (const thread of threads(pid)) {
      const [runNs = "0"] = read(`/proc/${pid}/task/${thread}/schedstat`).split(" ")
      reading.set(`${pid}/${thread}`, Number(runNs))
    }
  }
  return reading
}

/** Of all threads between two readings. A thread that ended in between takes its share with it. */
export function cpuNsBetween(before: CpuReading, after: CpuReading): number {
  let sum = 0
  for (const [thread, runNs] of after) sum += runNs - (before.get(thread) ?? 0)
  return sum
}

/** Proportional set size: pages shared between processes count once, divided among them. */
export function pssBytes(pids: readonly number[]): number {
  const sizesKib = pids.map((pid) => {
    const pss = /^Pss:\s+(\d+) kB/m.exec(read(`/proc/${pid}/smaps_rollup`))
    return Number(pss?.[1] ?? 0)
  })
  return 1024 * sizesKib.reduce((sum, each) => sum + each, 0)
}

function threads(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
  } catch {
    return []
  }
}

/** Empty when the process or thread has ended meanwhile. */
function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return ""
  }
}
