/** The promise of the writer's Lease, on thousands of histories (`fixtures/two-edges.ts`). */
import { expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { POOL_FIRST, simulate } from "./fixtures/two-edges.ts"
import type { LoadBalancersConfig } from "./load-balancers.ts"

const SEEDS = Number(process.env["CAUSEWAY_SEEDS"] ?? 300)

const CONFIG = {
  kubernetes: { loadBalancerClass: "causeway.dev/edge", claimUnclassed: true },
  addressPools: [
    {
      name: "pool",
      addresses: [{ first: POOL_FIRST, last: "192.0.2.8" as Address }],
      vrrp: ["a", "b"],
      autoAssign: true,
    },
  ],
  vrrp: ["a", "b"].map((name) => ({ name, addresses: [], unadvertisedAddresses: [] })),
  streams: [],
  http: [],
  admin: { listen: [], tokenFile: "" },
} as unknown as LoadBalancersConfig

test(`two edges never give one address twice or move one, on ${SEEDS} histories`, () => {
  for (let seed = 0; seed < SEEDS; seed++) {
    const { violations, pending, served } = simulate(seed, CONFIG)
    expect({ seed, violations, pending }).toEqual({ seed, violations: [], pending: [] })
    expect({ seed, served: served[0] }).toEqual({ seed, served: served[1] ?? "" })
  }
})
