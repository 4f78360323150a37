/**
 * What the process asks of the kernel about itself: descriptors, memory, scheduling.
 */
import { readFileSync } from "node:fs"
import { NativeBytes } from "./bytes.ts"
import { check } from "./fd.ts"
import { lastErrno, libc, NULL } from "./libc.ts"

const RLIMIT_NOFILE = 7
const RLIMIT_BYTES = 16
const SCHED_FIFO = 1
/** On Linux of a thread, whatever POSIX says. */
const PRIO_PROCESS = 0
/** Children of the process do not inherit real-time scheduling. */
const SCHED_RESET_ON_FORK = 0x40000000

/** Raises the soft limit of open files to the hard one; returns the limit in force. */
export function raiseOpenFilesLimit(): number {
  const limit = new NativeBytes(RLIMIT_BYTES)
  check(libc.prlimit(0, RLIMIT_NOFILE, NULL, limit.address), "read the open files limit")
  const hard = limit.view.getBigUint64(8, true)
  limit.view.setBigUint64(0, hard, true)
  check(libc.prlimit(0, RLIMIT_NOFILE, limit.address, NULL), "raise the open files limit")
  return Number(hard < 2n ** 31n ? hard : 2n ** 31n)
}

/** The kernel's number of the calling thread. */
export function threadId(): number {
  return libc.gettid()
}

/**
 * Whether a thread of this process could act on a signal now: not while it waits for something in
 * the kernel that cannot be interrupted (state D), not while a debugger has stopped it (t).
 */
export function canBeInterrupted(thread: number): boolean {
  try {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, "latin1")
    // The state follows the command name, which may itself hold blanks and parentheses.
    return "RS".includes(stat.charAt(stat.lastIndexOf(")") + 2))
  } catch {
    return false // it has ended
  }
}

/** The nice value of a thread of this process; undefined once it has ended. */
export function niceOf(thread: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/self/task/${thread}/stat`, "latin1")
    // proc_pid_stat(5), number 19; number 3 is the first after the name.
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16])
  } catch {
    return undefined
  }
}

/**
 * Threads that it starts inherit it. False: refused, as a lower one is without CAP_SYS_NICE or an
 * RLIMIT_NICE, or the thread has ended.
 */
export function setNice(thread: number, nice: number): boolean {
  return libc.setpriority(PRIO_PROCESS, thread, nice) === 0
}

/** Puts the calling thread under SCHED_FIFO with `priority` (1–99). */
export function useFifoScheduling(priority: number): { ok: true } | { ok: false; errno: number } {
  const parameter = new NativeBytes(4)
  parameter.view.setInt32(0, priority, true)
  const policy = SCHED_FIFO | SCHED_RESET_ON_FORK
  if (libc.sched_setscheduler(0, policy, parameter.address) === 0) return { ok: true }
  return { ok: false, errno: lastErrno() }
}

/**
 * Asks for slices of 0.1 ms for the calling thread: what wakes up with a shorter slice than what
 * runs takes the processor at once, where it would wait for milliseconds (EEVDF, Linux 6.12). Older
 * kernels take no notice. False: refused.
 */
export function useShortSlices(): boolean {
  const number = SCHED_SETATTR[process.arch]
  if (number === undefined) return false
  const attributes = new NativeBytes(SCHED_ATTR_BYTES)
  attributes.view.setUint32(0, SCHED_ATTR_BYTES, true)
  attributes.view.setInt32(SCHED_ATTR_NICE, niceOf(threadId()) ?? 0, true)
  attributes.view.setBigUint64(SCHED_ATTR_RUNTIME, SHORT_SLICE_NS, true)
  return libc.syscall(number, 0, attributes.address, 0) === 0
}

/** struct sched_attr (sched_setattr(2)): SCHED_OTHER is 0. */
const SCHED_ATTR_BYTES = 48
const SCHED_ATTR_NICE = 16
const SCHED_ATTR_RUNTIME = 24
const SHORT_SLICE_NS = 100_000n
/** The C library has no function for it before 2.41. */
const SCHED_SETATTR: Readonly<Record<string, number>> = { x64: 314, arm64: 274 }
