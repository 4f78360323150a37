/** Local addresses to connect from (`pool.source`), in turn, for all kinds of listener. */
import type { NativeBytes } from "../linux/bytes.ts"

let turn = 0

/** The next one, or undefined when the kernel is to choose. */
export function nextSource(sources: readonly NativeBytes[]): NativeBytes | undefined {
  if (sources.length === 0) return undefined
  turn = (turn + 1) % sources.length
  return sources[turn]
}
