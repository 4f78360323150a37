/**
 * Waiting for a condition instead of sleeping: asks again and again until the answer is truthy, and
 * says at the end what it was waiting for and what it saw last.
 */

export interface WaitOptions {
  readonly timeoutMs?: number
  readonly intervalMs?: number
  /** Completes "Timed out waiting for …". */
  readonly what?: string
}

/** The first truthy answer; an exception counts as "not yet". Throws after `timeoutMs` (10 s). */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: WaitOptions = {},
): Promise<Exclude<T, false | undefined | null>> {
  const { timeoutMs = 10_000, intervalMs = 20, what = "a condition" } = options
  const giveUpAt = performance.now() + timeoutMs
  let last: unknown
  do {
    try {
      const answer = await probe()
      if (answer) return answer as Exclude<T, false | undefined | null>
      last = answer
    } catch (error) {
      last = error
    }
    await Bun.sleep(intervalMs)
  } while (performance.now() < giveUpAt)
  throw new Error(`Timed out after ${timeoutMs} ms waiting for ${what}; last: ${describe(last)}`)
}

/** Wall-clock time in milliseconds with a fraction, comparable between processes and captures. */
export function epochMs(): number {
  return performance.timeOrigin + performance.now()
}

function describe(value: unknown): string {
  if (value instanceof Error) return value.message
  return Bun.inspect(value)
}
