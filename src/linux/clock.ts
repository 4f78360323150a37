/**
 * CLOCK_MONOTONIC, the one clock of all threads. `performance.now()` will not do: its origin is the
 * start of each Worker, and instants are compared across threads (ejections, heartbeats).
 */
import { type Instant, instant } from "../net/time.ts"
import { NativeBytes } from "./bytes.ts"
import { libc } from "./libc.ts"

const CLOCK_MONOTONIC = 1
const timespec = new NativeBytes(16)
// Little-endian 64-bit seconds and nanoseconds; uptime seconds and nanoseconds fit the low words.
const words = new Int32Array(timespec.bytes.buffer)

/** Milliseconds since boot, with fractions. */
export function monotonicNow(): Instant {
  libc.clock_gettime(CLOCK_MONOTONIC, timespec.address)
  return instant((words[0] as number) * 1e3 + (words[2] as number) / 1e6)
}
