/**
 * What all pools of Services have in common: everything that the Service does not say is as in a
 * `[[pool]]` that does not say it, but for the other servers that are tried. Pods go in numbers
 * when a Deployment rolls, and a client should not meet two dead ones in a row.
 */
import type { PoolConfig } from "../config/config.ts"

export const SERVICE_POOL: Omit<PoolConfig, "name" | "kubernetes"> = {
  balance: "round_robin",
  servers: [],
  maxFails: 2,
  failTimeoutMs: 30_000,
  connectTimeoutMs: 1000,
  connectRetries: 3,
  source: [],
  slowStartMs: 0,
  onDown: "keep",
  check: undefined,
  tls: undefined,
  proxyProtocol: "off",
}
