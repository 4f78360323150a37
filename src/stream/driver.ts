/** A stream's listening socket on one data thread: a session for each connection. */
import { Acceptor, type AcceptorOwner, peerHash } from "../connection/acceptor.ts"
import { decodeSockaddr } from "../linux/sockaddr.ts"
import { closeFd, peerSockaddr } from "../linux/tcp.ts"
import type { Prefix } from "../net/address.ts"
import type { ListenerSettings, StreamContext } from "./context.ts"
import { Session } from "./session.ts"

export interface StreamListenerSpec extends ListenerSettings {
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
}

export class StreamListener implements AcceptorOwner {
  readonly acceptor: Acceptor
  readonly #context: StreamContext
  #settings: ListenerSettings

  constructor(context: StreamContext, fd: number, spec: StreamListenerSpec) {
    this.#context = context
    this.#settings = spec
    this.acceptor = new Acceptor(context, this, { fd, settings: spec })
  }

  /** New settings for new connections; the socket and the open ones stay. */
  update(spec: StreamListenerSpec): void {
    this.#settings = spec
    this.acceptor.update(spec)
  }

  openConnections(): number {
    const { row } = this.#settings
    let open = 0
    for (const table of this.#context.allListenerCounters) open += table.get(row, "connections")
    return open
  }

  accepted(): void {
    this.#context.listenerCounters.add(this.#settings.row, "connectionsTotal", 1)
  }

  refused(reason: "denied" | "exhausted"): void {
    this.#context.listenerCounters.add(this.#settings.row, reason, 1)
  }

  start(client: number): void {
    const { listenerCounters, ledger, budget, pools, accessLog } = this.#context
    const settings = this.#settings
    const pool = pools.get(settings.pool)
    if (pool === undefined) {
      listenerCounters.add(settings.row, "no_server", 1)
      ledger.release(client)
      budget.release(1)
      return closeFd(client)
    }
    listenerCounters.add(settings.row, "connections", 1)
    const session = new Session(this.#context, {
      settings,
      pool,
      client,
      clientEndpoint: accessLog ? decodeSockaddr(peerSockaddr) : undefined,
      clientHash: pool.usesClientHash ? peerHash() : 0,
    })
    try {
      session.connect()
    } catch (error) {
      session.fail(error)
    }
  }

  warn(message: string, fields: Readonly<Record<string, string | number>>): void {
    this.#context.log("warn", message, { stream: this.#settings.stream, ...fields })
  }

  fail(error: unknown): void {
    this.#context.log("error", "Accepting a connection failed", {
      stream: this.#settings.stream,
      error: String(error),
    })
  }
}
