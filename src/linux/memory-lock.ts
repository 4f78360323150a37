/**
 * Keeps what the process needs in memory, so that no thread of it ever waits for a disk.
 *
 * The kernel drops pages of files (the program itself) when memory is short, and those of nothing
 * else unless there is swap. So only the files' are locked where nothing of ours can be swapped:
 * locked memory cannot be given back (MADV_DONTNEED: EINVAL), and the runtime frees much of what it
 * takes at a start. The unit says MemorySwapMax=0.
 */
import type { Pointer } from "bun:ffi"
import { readFileSync } from "node:fs"
import { lastErrno, libc } from "./libc.ts"

const MCL_CURRENT = 1
const MCL_FUTURE = 2
const MCL_ONFAULT = 4
const MLOCK_ONFAULT = 1

export type LockResult = { readonly ok: true } | { readonly ok: false; readonly errno: number }

export interface Mapping {
  readonly start: number
  readonly length: number
}

/**
 * Pages stay once they are touched, because else the kernel would populate the whole reserved heap
 * of the runtime at once (measured: 15 s, 6.4 GB).
 */
export function lockMemory(): LockResult {
  return canBeSwapped() ? lockAll() : lockFiles()
}

function lockAll(): LockResult {
  if (libc.mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) === 0) return { ok: true }
  return { ok: false, errno: lastErrno() }
}

function lockFiles(): LockResult {
  for (const { start, length } of fileMappings(readFileSync("/proc/self/maps", "latin1"))) {
    if (libc.mlock2(start as Pointer, length, MLOCK_ONFAULT) === 0) continue
    return { ok: false, errno: lastErrno() }
  }
  return { ok: true }
}

/** Of files, from /proc/PID/maps (proc_pid_maps(5)), without those too large for one call. */
export function fileMappings(maps: string): Mapping[] {
  return maps.split("\n").flatMap((line) => {
    const match = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ (\d+) /.exec(line)
    const [, from = "", to = "", inode = "0"] = match ?? []
    if (inode === "0") return []
    const start = Number.parseInt(from, 16)
    const length = Number.parseInt(to, 16) - start
    return length < 2 ** 31 ? { start, length } : []
  })
}

/** Swap is in use on this machine, and our control group may use it. */
function canBeSwapped(): boolean {
  const areas = read("/proc/swaps").trim().split("\n").length - 1
  if (areas <= 0) return false
  const [, group = ""] = /^0::(.*)$/m.exec(read("/proc/self/cgroup")) ?? []
  return read(`/sys/fs/cgroup${group}/memory.swap.max`).trim() !== "0"
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return "" // no swap, or no such control group
  }
}
