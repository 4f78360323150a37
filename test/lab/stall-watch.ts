/**
 * Whether the machine itself stood still. The figures that these tests hold edges to leave some
 * tens of milliseconds above what the protocol takes, and on two shared processors a process is
 * now and then not run for longer than that. A timer of our own that wakes late says so: only
 * then, and only when it was late by as much as the figure is too high, may a test measure once
 * more.
 */
import { report } from "./report.ts"

const TICK_MS = 2

export class StallWatch implements Disposable {
  /** The most by which a wake-up was late. */
  longestMs = 0
  #lastMs = performance.now()
  readonly #timer: Timer

  constructor() {
    this.#timer = setInterval(() => this.#tick(), TICK_MS)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  #tick(): void {
    const nowMs = performance.now()
    this.longestMs = Math.max(this.longestMs, nowMs - this.#lastMs - TICK_MS)
    this.#lastMs = nowMs
  }
}

/**
 * What `measure` returns, in milliseconds. Measured twice when a figure is above its limit and the
 * machine stood still for as long as the excess; judging the figures is the caller's.
 */
export async function withinLimits<Figures extends Readonly<Record<string, number>>>(
  what: string,
  limits: Figures,
  measure: () => Promise<Figures>,
): Promise<Figures> {
  using stalls = new StallWatch()
  const figures = await measure()
  const excessMs = Math.max(
    ...Object.entries(limits).map(([name, limit]) => (figures[name] ?? 0) - limit),
  )
  if (excessMs <= 0 || stalls.longestMs < excessMs) return figures
  report(
    `${what}: the machine stood still for ${Math.round(stalls.longestMs)} ms, measured again`,
    figures,
  )
  return measure()
}
