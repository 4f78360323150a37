/** A pool with what connecting to its servers needs: the same for all kinds of listener. */
import type { NativeBytes } from "../linux/bytes.ts"
import type { Endpoint, Family } from "../net/address.ts"
import type { Pool, PoolServer } from "../pool/pool.ts"
import type { ProxyVersion } from "../wire/proxy-protocol.ts"
import type { Transport } from "./transport.ts"

export interface ServerPool {
  readonly pool: Pool
  readonly connectTimeoutMs: number
  readonly connectRetries: number
  readonly maxFails: number
  readonly failTimeoutMs: number
  readonly closeOnDown: boolean
  /** The servers' addresses as the kernel wants them. */
  readonly sockaddrs: Pick<ReadonlyMap<PoolServer, NativeBytes>, "get">
  /** Whether the policy looks at the client at all. */
  readonly usesClientHash: boolean
  /** Puts TLS on a socket that connects to a server; undefined: the servers speak plain text. */
  readonly secure: ((fd: number, server: Endpoint) => Transport) | undefined
  /** Header sent to each server before anything else; undefined: none. */
  readonly proxyProtocol: ProxyVersion | undefined
  /** Local addresses to connect from, in turn, by family; empty: the kernel chooses. */
  readonly sources: Readonly<Record<Family, readonly NativeBytes[]>>
}
