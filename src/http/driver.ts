/** An HTTP listening socket on one data thread: a client connection for each. */
import { Acceptor, type AcceptorOwner } from "../connection/acceptor.ts"
import { decodeSockaddr } from "../linux/sockaddr.ts"
import { peerSockaddr } from "../linux/tcp.ts"
import type { Prefix } from "../net/address.ts"
import { ClientConnection } from "./client-connection.ts"
import type { HttpContext, HttpSettings } from "./context.ts"
import { PlainTransport, type Transport } from "./transport.ts"

export interface HttpListenerSettings extends HttpSettings {
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  /** Puts TLS around an accepted socket; undefined for a plain listener. */
  readonly secure: ((fd: number) => Transport) | undefined
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
    const { address } = decodeSockaddr(peerSockaddr)
    const transport = this.#settings.secure?.(client) ?? new PlainTransport(client)
    this.#context.counters.add(this.#settings.row, "connections", 1)
    new ClientConnection(this.#context, this.#settings, { transport, address })
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
