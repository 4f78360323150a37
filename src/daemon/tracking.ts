/**
 * What the virtual routers track, on this side of the thread boundary: the states of checks and
 * pools, folded into one verdict per router by `vrrp/tracking.ts` and sent when it changes.
 *
 * Tracked interfaces are the vrrp thread's own: it follows the links.
 */
import type { TrackConfig, VrrpConfig } from "../config/config.ts"
import { isServerUsable } from "../pool/pool.ts"
import type { ServerBoard } from "../pool/server-board.ts"
import {
  combineTracking,
  evaluateTracking,
  NOTHING_TRACKED,
  type TrackedState,
  type Tracking,
} from "../vrrp/tracking.ts"
import type { RegisteredServer } from "./server-registry.ts"

/** Up with one server that may take traffic; unknown while a first check could still say so. */
export function poolState(servers: readonly RegisteredServer[], board: ServerBoard): TrackedState {
  if (servers.some(({ slot }) => isServerUsable(board, slot))) return "up"
  return servers.some(({ slot }) => board.health(slot) === "unknown") ? "unknown" : "down"
}

/** Evaluates routers and calls `send` for those whose verdict is not the one sent last. */
export class Trackers {
  readonly #stateOf: (tracked: TrackConfig) => TrackedState
  readonly #send: (router: string, tracking: Tracking) => void
  readonly #sent = new Map<string, Tracking>()
  #routers: readonly VrrpConfig[] = []
  #isLast = false

  constructor(
    stateOf: (tracked: TrackConfig) => TrackedState,
    send: (router: string, tracking: Tracking) => void,
  ) {
    this.#stateOf = stateOf
    this.#send = send
  }

  /** With true, routers take addresses only if no other edge has them. */
  standLast(isLast: boolean): void {
    this.#isLast = isLast
    this.update()
  }

  configure(routers: readonly VrrpConfig[]): void {
    this.#routers = routers
    const names = new Set(routers.map(({ name }) => name))
    for (const name of this.#sent.keys()) if (!names.has(name)) this.#sent.delete(name)
    this.update()
  }

  /** Call after any change of a check or pool. */
  update(): void {
    for (const { name, track } of this.#routers) {
      const followed = track.filter(({ type }) => type !== "interface")
      const tracking = combineTracking([
        evaluateTracking(followed, this.#stateOf),
        this.#isLast ? LAST : NOTHING_TRACKED,
      ])
      if (Bun.deepEquals(this.#sent.get(name), tracking)) continue
      this.#sent.set(name, tracking)
      this.#send(name, tracking)
    }
  }
}

/** Priority 1, whatever is configured. */
const LAST: Tracking = { ...NOTHING_TRACKED, weightSum: -512 }
