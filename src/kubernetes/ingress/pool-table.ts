/** The pools that routes name, each once. */
import type { BalancePolicy, PoolConfig } from "../../config/config.ts"
import type { ClusterView, Ingress, IngressBackend } from "../objects.ts"
import { backendPool } from "./backend.ts"
import type { BackendOptions } from "./options-backend.ts"
import { type IngressProblem, problemOf } from "./problem.ts"

export interface PoolUse {
  readonly namespace: string
  readonly backend: BackendOptions
  readonly balance: BalancePolicy | undefined
  /** Who is told when it cannot be. */
  readonly by: Ingress
}

export class PoolTable {
  readonly #view: Pick<ClusterView, "services" | "secrets">
  readonly #template: PoolConfig
  readonly #problems: IngressProblem[]
  readonly #pools = new Map<string, PoolConfig>()

  constructor(
    view: Pick<ClusterView, "services" | "secrets">,
    context: { readonly template: PoolConfig; readonly problems: IngressProblem[] },
  ) {
    this.#view = view
    this.#template = context.template
    this.#problems = context.problems
  }

  /** By name. */
  get pools(): PoolConfig[] {
    return [...this.#pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** The name of the pool; undefined: there is no such backend, and a problem more. */
  nameOf(to: IngressBackend, { by, ...use }: PoolUse): string | undefined {
    const { services, secrets } = this.#view
    const result = backendPool(to, { ...use, services, secrets, template: this.#template })
    if (!result.ok) {
      this.#problems.push(problemOf(by, result.finding))
      return undefined
    }
    const { pool } = result
    if (!this.#pools.has(pool.name)) this.#pools.set(pool.name, pool)
    return pool.name
  }
}
