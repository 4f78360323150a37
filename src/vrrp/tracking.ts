/**
 * What a virtual router's tracked objects come to, by keepalived's rules: a positive weight is
 * added while the object is up, a negative one subtracted while it is down, and without a weight
 * (or with 0, as keepalived means it) an object that is down puts the router into Fault. An object
 * not yet known counts for nothing and leaves the whole unsettled; a router does not start before
 * everything is known.
 */
import type { TrackConfig } from "../config/config.ts"

export type TrackedState = "unknown" | "up" | "down"

export interface Tracking {
  /** Whether everything tracked is known. */
  readonly settled: boolean
  readonly weightSum: number
  /** Why the router must be in Fault; undefined: it need not. */
  readonly fault: string | undefined
}

export const NOTHING_TRACKED: Tracking = { settled: true, weightSum: 0, fault: undefined }

/** `stateOf` knows the checks, interfaces and pools; a pool is up while it has a usable server. */
export function evaluateTracking(
  track: readonly TrackConfig[],
  stateOf: (tracked: TrackConfig) => TrackedState,
): Tracking {
  return combineTracking(track.map((tracked) => evaluateOne(tracked, stateOf(tracked))))
}

/** The first fault is the one named. */
export function combineTracking(parts: readonly Tracking[]): Tracking {
  return {
    settled: parts.every((part) => part.settled),
    weightSum: parts.reduce((sum, part) => sum + part.weightSum, 0),
    fault: parts.find((part) => part.fault !== undefined)?.fault,
  }
}

function evaluateOne(tracked: TrackConfig, state: TrackedState): Tracking {
  if (state === "unknown") return { ...NOTHING_TRACKED, settled: false }
  const { weight } = tracked
  if (weight === undefined || weight === 0)
    return { ...NOTHING_TRACKED, fault: state === "down" ? describeFault(tracked) : undefined }
  return { ...NOTHING_TRACKED, weightSum: weight > 0 === (state === "up") ? weight : 0 }
}

function describeFault({ type, target }: TrackConfig): string {
  if (type === "pool") return `pool ${target} has no usable server`
  return `${type} ${target} is down`
}

/**
 * A warning when no state of the tracked objects can change who wins against any priority heard:
 * 150 with a weight of -20 never loses to 100, and 90 with +5 never wins. Undefined while no peer
 * was heard, or when a tie is possible (the addresses then decide).
 */
export function weightsNeverMatter(
  router: { readonly priority: number; readonly track: readonly TrackConfig[] },
  peerPriorities: readonly number[],
): string | undefined {
  const weights = router.track.map(({ weight }) => weight ?? 0).filter((weight) => weight !== 0)
  if (weights.length === 0 || peerPriorities.length === 0) return undefined
  const lowest = clampPriority(router.priority + sum(weights.filter((weight) => weight < 0)))
  const highest = clampPriority(router.priority + sum(weights.filter((weight) => weight > 0)))
  if (peerPriorities.some((priority) => lowest <= priority && priority <= highest)) return undefined
  const heard = [...peerPriorities].sort((a, b) => a - b).join(", ")
  const range = `ours is ${lowest} to ${highest}, peers have ${heard}`
  return `tracked weights never change the winner: ${range}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

/** 0 and 255 mean "stopped" and "owner" (RFC 9568 §5.2.4), which no weight may make of a router. */
export function clampPriority(priority: number): number {
  return Math.min(254, Math.max(1, priority))
}
