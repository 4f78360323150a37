/** An HTTP listening socket on one data thread: a client connection for each. */
import { Acceptor, type AcceptorOwner } from "../connection/acceptor.ts"
import { PlainTransport, type Transport } from "../connection/transport.ts"
import { decodeSockaddr } from "../linux/sockaddr.ts"
import { peerSockaddr } from "../linux/tcp.ts"
import type { Address, Prefix } from "../net/address.ts"
import { ClientConnection } from "./shell/client-connection.ts"
import type { HttpContext, HttpSettings } from "./shell/context.ts"

export interface HttpListenerSettings extends HttpSettings {
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  /** Undefined for a plain listener. */
  readonly secure: SecureLayer | undefined
}

/** TLS, which this folder knows nothing of. */
export interface SecureLayer {
  /** Takes over an accepted socket and calls one of the two, once. */
  begin(fd: number, user: SecureUser): void
}

export interface SecureUser {
  /** The handshake is done; bytes may wait in the transport of which epoll says nothing. */
  secured(transport: Transport): void
  /** The client is lost, and the socket about to be closed. */
  failed(reason: string, detail: string): void
}

export class HttpListener implements AcceptorOwner {
  readonly acceptor: Acceptor
  readonly #context: HttpContext
  #settings: HttpListenerSettings

  constructor(context: HttpContext, fd: number, settings: HttpListenerSettings) {
    this.#context = context
    this.#settings = settings
    this.acceptor = new Acceptor(context, this, { fd, settings })
  }

  /** New settings for new connections; open ones end their requests with the old ones. */
  update(settings: HttpListenerSettings): void {
    this.#settings = settings
    this.acceptor.update(settings)
  }

  openConnections(): number {
    const { row } = this.#settings
    let open = 0
    for (const table of this.#context.allCounters) open += table.get(row, "connections")
    return open
  }

  accepted(): void {
    this.#context.counters.add(this.#settings.row, "connectionsTotal", 1)
  }

  refused(reason: "denied" | "exhausted"): void {
    this.#context.counters.add(this.#settings.row, reason, 1)
  }

  start(client: number): void {
    const { counters } = this.#context
    const settings = this.#settings
    const { address } = decodeSockaddr(peerSockaddr)
    counters.add(settings.row, "connections", 1)
    if (settings.secure === undefined) {
      const transport = new PlainTransport(client)
      new ClientConnection(this.#context, settings, { transport, address })
      return
    }
    settings.secure.begin(client, {
      secured: (transport) => {
        new ClientConnection(this.#context, settings, { transport, address }).readNow()
      },
      failed: (reason, detail) =>
        this.#handshakeFailed({ client, settings, reason, detail, address }),
    })
  }

  #handshakeFailed(failure: {
    readonly client: number
    readonly settings: HttpListenerSettings
    readonly address: Address
    readonly reason: string
    readonly detail: string
  }): void {
    const { counters, ledger, budget, log } = this.#context
    const { row, name } = failure.settings
    counters.add(row, "connections", -1)
    counters.add(row, "handshake_failed", 1)
    ledger.release(failure.client)
    budget.release(1)
    log("debug", "TLS handshake failed", {
      listener: name,
      client: failure.address,
      reason: failure.reason,
      detail: failure.detail,
    })
  }

  warn(message: string, fields: Readonly<Record<string, string | number>>): void {
    this.#context.log("warn", message, { listener: this.#settings.name, ...fields })
  }

  fail(error: unknown): void {
    this.#context.log("error", "Accepting a connection failed", {
      listener: this.#settings.name,
      error: String(error),
    })
  }
}
