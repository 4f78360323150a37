/** A pool with what connecting to its servers needs: the same for all kinds of listener. */
import type { NativeBytes } from "../linux/bytes.ts"
import type { Family } from "../net/address.ts"
import type { Pool, PoolServer } from "../pool/pool.ts"

export interface ServerPool {
  readonly pool: Pool
  readonly connectTimeoutMs: number
  readonly connectRetries: number
  readonly maxFails: number
  readonly failTimeoutMs: number
  readonly closeOnDown: boolean
  /** The servers' addresses as the kernel wants them. */
  readonly sockaddrs: ReadonlyMap<PoolServer, NativeBytes>
  /** Whether the policy looks at the client at all. */
  readonly usesClientHash: boolean
  /** Local addresses to connect from, in turn, by family; empty: the kernel chooses. */
  readonly sources: Readonly<Record<Family, readonly NativeBytes[]>>
}
