/**
 * Balancing policies: each chooses one of the candidates it is given, all of them usable and of one
 * tier, at least one. Weights are positive. Every implementation passes the contract suite in
 * `policy.test.ts`.
 */
import type { BalancePolicy } from "../config/config.ts"
import { mix } from "./hash.ts"

export interface Candidate {
  /** Same for the same server everywhere (policy `source`). */
  readonly hash: number
  readonly effectiveWeight: number
  readonly connections: number
  /** Working memory of the smooth weighted round robin. */
  currentWeight: number
}

export interface Policy<Server extends Candidate> {
  /** `key` is a 32-bit hash of the client. */
  choose(candidates: readonly Server[], key: number): Server
}

export function createPolicy<Server extends Candidate>(balance: BalancePolicy): Policy<Server> {
  switch (balance) {
    case "round_robin":
      return { choose: roundRobin }
    case "least_conn":
      return new LeastConnections()
    case "source":
      return { choose: source }
    case "first":
      return { choose: (candidates) => candidates[0] as Server }
  }
}

/**
 * Smooth weighted round robin (nginx): each gains its weight, the highest is chosen and pays the
 * total. Weights 5, 1, 1 give a a b a c a a, not a a a a a b c.
 */
function roundRobin<Server extends Candidate>(candidates: readonly Server[]): Server {
  let chosen = candidates[0] as Server
  let total = 0
  for (const candidate of candidates) {
    candidate.currentWeight += candidate.effectiveWeight
    total += candidate.effectiveWeight
    if (candidate.currentWeight > chosen.currentWeight) chosen = candidate
  }
  chosen.currentWeight -= total
  return chosen
}

/** Fewest connections per weight; round robin among equals, so that idle servers take turns. */
class LeastConnections<Server extends Candidate> implements Policy<Server> {
  readonly #least: Server[] = []

  choose(candidates: readonly Server[]): Server {
    let lowest = Number.POSITIVE_INFINITY
    for (const candidate of candidates) {
      const load = candidate.connections / candidate.effectiveWeight
      if (load > lowest) continue
      if (load < lowest) this.#least.length = 0
      lowest = load
      this.#least.push(candidate)
    }
    const chosen = roundRobin(this.#least)
    this.#least.length = 0
    return chosen
  }
}

/**
 * Weighted rendezvous hashing: each server scores the client, the highest score wins. When a server
 * leaves, only its own clients move, and both edges of a pair give a client the same server.
 */
function source<Server extends Candidate>(candidates: readonly Server[], key: number): Server {
  let chosen = candidates[0] as Server
  let highest = Number.NEGATIVE_INFINITY
  for (const candidate of candidates) {
    const uniform = (mix(key ^ candidate.hash) + 0.5) / 2 ** 32
    const score = -candidate.effectiveWeight / Math.log(uniform)
    if (score > highest) {
      highest = score
      chosen = candidate
    }
  }
  return chosen
}
