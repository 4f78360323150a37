/**
 * The addresses of a pool's servers as the kernel wants them, each made when it is first connected
 * to: of the tens of thousands of servers in a cluster a thread may never meet most.
 */
import type { NativeBytes } from "../linux/bytes.ts"
import { encodeSockaddr } from "../linux/sockaddr.ts"
import type { PoolServer } from "../pool/pool.ts"

export class Sockaddrs {
  readonly #made = new Map<PoolServer, NativeBytes>()

  /** `previous`: of the pool in whose place this one comes; what `servers` share with it stays. */
  constructor(servers: readonly PoolServer[], previous?: Sockaddrs) {
    if (previous === undefined || previous.#made.size === 0) return
    for (const server of servers) {
      const made = previous.#made.get(server)
      if (made !== undefined) this.#made.set(server, made)
    }
  }

  get(server: PoolServer): NativeBytes {
    const known = this.#made.get(server)
    if (known !== undefined) return known
    const made = encodeSockaddr(server.endpoint)
    this.#made.set(server, made)
    return made
  }
}
