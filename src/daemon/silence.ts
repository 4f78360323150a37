/**
 * Keeps endpoints silent while their addresses go to the peer. Between the closing of our listeners
 * and the end of the address here, the kernel would refuse whoever connects. So sockets that drop
 * everything stand in for the listeners: the client hears nothing, its kernel repeats the SYN a
 * second later, and by then it is the peer who answers.
 */
import type { Fd } from "../linux/fd.ts"
import { listenSilently } from "../linux/tcp.ts"
import type { Endpoint } from "../net/address.ts"

export class Silence {
  readonly #sockets: readonly Fd[]

  constructor(endpoints: readonly Endpoint[]) {
    this.#sockets = endpoints.flatMap((endpoint) => {
      try {
        return listenSilently(endpoint)
      } catch {
        // No descriptor is left, perhaps. Then its clients are refused, which is no reason to stay.
        return []
      }
    })
  }

  close(): void {
    for (const socket of this.#sockets) socket.close()
  }
}
