/**
 * Who was Active when, judged from the adverts on the wire alone.
 *
 * A router speaks only while it is Active, so an unbroken series of its adverts is a tenure: from
 * the first to the last, or to its farewell (priority 0). A silence of two intervals breaks the
 * series: a router that is Active skips no advert. Where the tenures of two routers overlap, both
 * were Active: in an orderly handover the last advert of one comes before the first of the other,
 * or the two cross on the wire.
 */
import type { Capture } from "../lab/capture.ts"

export interface Advert {
  readonly atMs: number
  readonly source: string
  readonly priority: number
}

export interface Tenure {
  readonly source: string
  readonly fromMs: number
  readonly toMs: number
}

export interface Overlap {
  readonly first: Tenure
  readonly second: Tenure
  readonly ms: number
}

const SILENCE_INTERVALS = 2

/** In the order of their beginnings. */
export function tenures(adverts: readonly Advert[], intervalMs: number): Tenure[] {
  const done: Tenure[] = []
  const open = new Map<string, Tenure>()
  for (const { atMs, source, priority } of adverts.toSorted((a, b) => a.atMs - b.atMs)) {
    const current = open.get(source)
    const goesOn = current !== undefined && atMs - current.toMs < SILENCE_INTERVALS * intervalMs
    if (current !== undefined && !goesOn) done.push(current)
    open.delete(source)
    if (priority > 0)
      open.set(source, { source, fromMs: goesOn ? current.fromMs : atMs, toMs: atMs })
    else if (goesOn) done.push({ ...current, toMs: atMs })
  }
  return [...done, ...open.values()].toSorted((a, b) => a.fromMs - b.fromMs)
}

/** Pairs of tenures of different routers that share time. */
export function overlaps(all: readonly Tenure[]): Overlap[] {
  return all.flatMap((first, at) =>
    all.slice(at + 1).flatMap((second) => {
      const ms = Math.min(first.toMs, second.toMs) - second.fromMs
      return first.source === second.source || ms < 0 ? [] : [{ first, second, ms }]
    }),
  )
}

/** How often the Active Router was another one than before. */
export function transitions(all: readonly Tenure[]): number {
  return all.filter(({ source }, at) => at > 0 && all[at - 1]?.source !== source).length
}

/** IPv4 adverts of one virtual router. Throws when the capture is not complete. */
export async function readAdverts(capture: Capture, virtualRouterId = 51): Promise<Advert[]> {
  const fields = ["frame.time_epoch", "ip.src", "vrrp.prio"]
  if (capture.lost > 0) throw new Error(`The capture has lost ${capture.lost} frames`)
  const rows = await capture.fields(fields, `vrrp.virt_rtr_id == ${virtualRouterId}`)
  return rows.map(([at, source = "", priority]) => ({
    atMs: Number(at) * 1_000,
    source,
    priority: Number(priority),
  }))
}
