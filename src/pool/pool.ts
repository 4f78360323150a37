/**
 * A pool picks the server for a new connection: who may be used at all, then the policy's choice.
 *
 * Usable servers fall into tiers, and a policy only ever sees the best tier that is not empty:
 * primaries known to be up; primaries whose first check is still out; backups, likewise; and as the
 * last resort those that only live traffic has ejected, because a guess from failed connects must
 * not turn "some fail" into "all fail" (nginx does the same). A server that its check found down,
 * or that the operator took out, is in no tier.
 */
import type { BalancePolicy } from "../config/config.ts"
import type { Endpoint } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import { hashText } from "./hash.ts"
import { type Candidate, createPolicy, type Policy } from "./policy.ts"
import type { ServerBoard } from "./server-board.ts"
import type { ServerCounters } from "./server-counters.ts"

/** A server as a thread knows it; plain data. */
export interface PoolServerSpec {
  readonly name: string
  readonly endpoint: Endpoint
  readonly slot: number
  readonly backup: boolean
  /** 0 = unlimited. */
  readonly maxConnections: number
}

export interface PoolSpec {
  readonly name: string
  readonly balance: BalancePolicy
  readonly slowStartMs: number
  readonly servers: readonly PoolServerSpec[]
}

/** The shared knowledge a pool reads. `counters` holds the table of every data thread. */
export interface PoolView {
  readonly board: ServerBoard
  readonly counters: readonly ServerCounters[]
}

/** A server is never ramped below this share of its weight. */
const SLOW_START_SHARE_MIN = 0.05

const TIER_BACKUP = 2
const TIER_UNKNOWN = 1
const TIER_EJECTED = 4

export class Pool {
  readonly name: string
  readonly servers: readonly PoolServer[]
  readonly #view: PoolView
  readonly #policy: Policy<PoolServer>
  readonly #slowStartMs: number
  readonly #candidates: PoolServer[] = []

  /**
   * `previous` is the pool in whose place this one comes: servers that stay are the same objects,
   * and go on with their turns. Where servers come and go many times a second, those that stand
   * first would else get most of the work.
   */
  constructor(spec: PoolSpec, view: PoolView, previous?: Pool) {
    this.name = spec.name
    this.#view = view
    this.#slowStartMs = spec.slowStartMs
    this.#policy = createPolicy(spec.balance)
    const known = new Map(previous?.servers.map((server) => [server.slot, server]))
    this.servers = spec.servers.map((server) => {
      const before = known.get(server.slot)
      return before?.isLike(server) === true ? before : new PoolServer(server)
    })
    if (previous !== undefined) levelTurns(this.servers)
  }

  /**
   * The server for a new connection, or undefined when none may be used. `key` is a hash of the
   * client (policy `source`); `tried` are servers that have already failed this connection.
   */
  pick(key: number, now: Instant, tried: readonly PoolServer[]): PoolServer | undefined {
    const candidates = this.#candidates
    candidates.length = 0
    let best = Number.POSITIVE_INFINITY
    for (const server of this.servers) {
      const tier = tried.includes(server) ? undefined : this.#tier(server, now)
      if (tier === undefined || tier > best) continue
      if (tier < best) candidates.length = 0
      best = tier
      candidates.push(server)
    }
    return candidates.length === 0 ? undefined : this.#policy.choose(candidates, key)
  }

  /** The server in this slot, if it may be used for one more connection (a sticky client's). */
  usable(slot: number, now: Instant, tried: readonly PoolServer[]): PoolServer | undefined {
    const server = this.servers.find((each) => each.slot === slot)
    if (server === undefined || tried.includes(server)) return undefined
    const tier = this.#tier(server, now)
    return tier === undefined || tier >= TIER_EJECTED ? undefined : server
  }

  /** Lower is better; undefined: not usable. Also brings the server's figures up to date. */
  #tier(server: PoolServer, now: Instant): number | undefined {
    const { board } = this.#view
    const { slot } = server
    const health = board.health(slot)
    if (health === "down" || board.admin(slot) !== "ready") return undefined
    server.effectiveWeight = board.weight(slot) * this.#slowStartShare(slot, now)
    if (server.effectiveWeight === 0) return undefined
    server.connections = connectionsOf(this.#view, slot)
    if (server.maxConnections > 0 && server.connections >= server.maxConnections) return undefined
    return (
      (health === "unknown" ? TIER_UNKNOWN : 0) +
      (server.backup ? TIER_BACKUP : 0) +
      (board.isEjected(slot, now) ? TIER_EJECTED : 0)
    )
  }

  #slowStartShare(slot: number, now: Instant): number {
    const since = this.#slowStartMs === 0 ? 0 : this.#view.board.slowStartSince(slot)
    if (since === 0) return 1
    return Math.min(1, Math.max(SLOW_START_SHARE_MIN, (now - since) / this.#slowStartMs))
  }
}

/** A member of a `Pool`; the mutable fields are the pool's and its policy's working memory. */
export class PoolServer implements Candidate {
  readonly name: string
  readonly endpoint: Endpoint
  readonly slot: number
  readonly backup: boolean
  readonly maxConnections: number
  readonly hash: number
  effectiveWeight = 0
  connections = 0
  currentWeight = 0

  constructor(spec: PoolServerSpec) {
    this.name = spec.name
    this.endpoint = spec.endpoint
    this.slot = spec.slot
    this.backup = spec.backup
    this.maxConnections = spec.maxConnections
    // Of the address, not of the position: both edges and all threads must agree.
    this.hash = hashText(`${spec.endpoint.address} ${spec.endpoint.port}`)
  }

  isLike({ name, endpoint, slot, backup, maxConnections }: PoolServerSpec): boolean {
    return (
      name === this.name &&
      endpoint.address === this.endpoint.address &&
      endpoint.port === this.endpoint.port &&
      slot === this.slot &&
      backup === this.backup &&
      maxConnections === this.maxConnections
    )
  }
}

/**
 * Who leaves takes its credit or debt with it. Turns are relative: as long as they add up to
 * nothing, a newcomer, who has none, is neither preferred nor passed over.
 */
function levelTurns(servers: readonly PoolServer[]): void {
  const sum = servers.reduce((total, { currentWeight }) => total + currentWeight, 0)
  const share = sum / servers.length
  for (const server of servers) server.currentWeight -= share
}

/** Open connections to a server over all data threads. */
export function connectionsOf({ counters }: PoolView, slot: number): number {
  let sum = 0
  for (const table of counters) sum += table.get(slot, "connections")
  return sum
}

/** Whether a pool could serve a new connection, as far as checks and the operator say. */
export function isServerUsable(board: ServerBoard, slot: number): boolean {
  const health = board.health(slot)
  return (
    board.admin(slot) === "ready" &&
    board.weight(slot) > 0 &&
    (health === "up" || health === "unchecked")
  )
}
