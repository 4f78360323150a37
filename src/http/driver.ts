/** An HTTP listening socket on one data thread: a client connection for each. */
import { Acceptor, type AcceptorOwner } from "../connection/acceptor.ts"
import { ProxyHeader, type ProxyHeaderFailure } from "../connection/proxy-header.ts"
import { PlainTransport, type Transport } from "../connection/transport.ts"
import { decodeSockaddr } from "../linux/sockaddr.ts"
import { peerSockaddr } from "../linux/tcp.ts"
import type { Address, Prefix } from "../net/address.ts"
import type { Instant } from "../net/time.ts"
import type { ProxiedEndpoints } from "../wire/proxy-protocol.ts"
import type { HttpEndReason } from "./counters.ts"
import { ClientConnection, type ConnectionOwner } from "./shell/client-connection.ts"
import type { HttpContext, HttpSettings } from "./shell/context.ts"
import { ParkedClients } from "./shell/parked-clients.ts"

export interface HttpListenerSettings extends HttpSettings {
  /** Asked of who connects, which is the proxy where there is one; routes ask of the client. */
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  /** Whether this peer must begin with a PROXY protocol header; undefined: nobody does. */
  readonly sendsProxyHeader: ((peer: Address) => boolean) | undefined
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

/** Somebody who connected, and as whom it is served: till then with the settings of that moment. */
interface AcceptedClient {
  readonly fd: number
  readonly settings: HttpListenerSettings
  readonly address: Address
  /** Where it connected to. */
  readonly port: number
  /** What a proxy has said: the address is not that of the socket's other end. */
  readonly proxied: ProxiedEndpoints | undefined
}

export class HttpListener implements AcceptorOwner, ConnectionOwner {
  readonly acceptor: Acceptor
  readonly #context: HttpContext
  readonly #parked: ParkedClients
  #settings: HttpListenerSettings
  #isRetired = false

  constructor(context: HttpContext, fd: number, settings: HttpListenerSettings) {
    this.#context = context
    this.#settings = settings
    this.#parked = new ParkedClients(context, this)
    this.acceptor = new Acceptor(context, this, { fd, settings })
  }

  get settings(): HttpListenerSettings {
    return this.#settings
  }

  /** What a request began with holds to its end, but for the time limits. */
  update(settings: HttpListenerSettings): void {
    this.#settings = settings
    this.acceptor.update(settings)
  }

  /** The socket is going: nobody new, and from the open connections no new requests. */
  retire(): void {
    this.acceptor.detach()
    this.#isRetired = true
    this.#parked.retire()
    for (const handler of this.#context.reactor.handlers()) {
      if (handler instanceof ClientConnection && handler.owner === this) handler.retire()
    }
  }

  park(fd: number, idleSince: Instant): void {
    this.#parked.park(fd, idleSince)
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

  start(fd: number): void {
    const settings = this.#settings
    const { address } = decodeSockaddr(peerSockaddr)
    this.#context.counters.add(settings.row, "connections", 1)
    const { port } = settings.endpoint
    const client = { fd, settings, address, port, proxied: undefined }
    if (settings.sendsProxyHeader?.(address) === true) return this.#awaitProxyHeader(client)
    this.#serve(client)
  }

  /** What follows is served as if it came from the client that the header names. */
  #awaitProxyHeader(proxy: AcceptedClient): void {
    const { fd, settings } = proxy
    new ProxyHeader(this.#context.reactor, {
      fd,
      timeoutMs: settings.timeouts.headMs,
      user: {
        received: (endpoints) => {
          if (endpoints === undefined) return this.#serve(proxy)
          const { address } = endpoints.source
          const { port } = endpoints.destination
          this.#serve({ fd, settings, address, port, proxied: endpoints })
        },
        failed: (failure) => {
          this.#lost(proxy, endReasonOf(failure))
          this.#tellFailure("PROXY protocol header missing", proxy, { reason: failure })
        },
        fault: (error) => this.fail(error),
      },
    })
  }

  #serve(client: AcceptedClient): void {
    const { fd, settings } = client
    if (settings.secure === undefined) {
      this.#open(client, new PlainTransport(fd))
      return
    }
    settings.secure.begin(fd, {
      secured: (transport) => this.#open(client, transport).readNow(),
      failed: (reason, detail) => {
        this.#lost(client, "handshake_failed")
        this.#tellFailure("TLS handshake failed", client, { reason, detail })
      },
    })
  }

  #open({ address, port, proxied }: AcceptedClient, transport: Transport): ClientConnection {
    const origin = { transport, address, port, proxied, owner: this, isResumed: false }
    const connection = new ClientConnection(this.#context, origin)
    if (this.#isRetired) connection.retire()
    return connection
  }

  /** Before it was a connection that counts for itself. */
  #lost({ fd, settings }: AcceptedClient, reason: HttpEndReason): void {
    const { counters, ledger, budget } = this.#context
    counters.add(settings.row, "connections", -1)
    counters.add(settings.row, reason, 1)
    ledger.release(fd)
    budget.release(1)
  }

  #tellFailure(
    message: string,
    { settings, address }: AcceptedClient,
    why: Readonly<Record<string, string>>,
  ): void {
    this.#context.log("debug", message, { listener: settings.name, client: address, ...why })
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

function endReasonOf(failure: ProxyHeaderFailure): HttpEndReason {
  const isOurs =
    failure === "address_released" || failure === "stopped" || failure === "internal_error"
  return isOurs ? failure : "bad_proxy_header"
}
