/** A stream's listening socket on one data thread: a session for each connection. */
import { Acceptor, type AcceptorOwner, peerHash } from "../connection/acceptor.ts"
import { ProxyHeader, type ProxyHeaderFailure } from "../connection/proxy-header.ts"
import { decodeSockaddr } from "../linux/sockaddr.ts"
import { closeFd, peerSockaddr } from "../linux/tcp.ts"
import { type Address, addressBytes, type Endpoint, type Prefix } from "../net/address.ts"
import { membership } from "../net/prefix-set.ts"
import { hashBytes } from "../pool/hash.ts"
import type { ProxiedEndpoints } from "../wire/proxy-protocol.ts"
import type { ListenerSettings, StreamContext } from "./context.ts"
import type { EndReason } from "./end-reason.ts"
import { Session } from "./session.ts"

/** For the header of a proxy, which has it ready when it connects. */
const PROXY_HEADER_MS_MAX = 5_000

export interface StreamListenerSpec extends ListenerSettings {
  /** Asked of who connects, which is the proxy where there is one. */
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  /** Who must begin with a PROXY protocol header; empty: nobody does. */
  readonly acceptProxyProtocol: readonly Prefix[]
}

export class StreamListener implements AcceptorOwner {
  readonly acceptor: Acceptor
  readonly #context: StreamContext
  #settings: ListenerSettings
  #sendsProxyHeader: ((peer: Address) => boolean) | undefined

  constructor(context: StreamContext, fd: number, spec: StreamListenerSpec) {
    this.#context = context
    this.#settings = spec
    this.#sendsProxyHeader = membership(spec.acceptProxyProtocol)
    this.acceptor = new Acceptor(context, this, { fd, settings: spec })
  }

  /** New settings for new connections; the socket and the open ones stay. */
  update(spec: StreamListenerSpec): void {
    this.#settings = spec
    this.#sendsProxyHeader = membership(spec.acceptProxyProtocol)
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
    const settings = this.#settings
    this.#context.listenerCounters.add(settings.row, "connections", 1)
    if (this.#sendsProxyHeader?.(decodeSockaddr(peerSockaddr).address) === true) {
      return this.#awaitProxyHeader(client, settings)
    }
    this.#serve(client, settings, undefined)
  }

  /** `proxied`: between whom the connection is; undefined: ask the socket. */
  #serve(
    client: number,
    settings: ListenerSettings,
    proxied:
      | { readonly peer: Endpoint; readonly endpoints: ProxiedEndpoints | undefined }
      | undefined,
  ): void {
    const { pools, accessLog } = this.#context
    const pool = pools.get(settings.pool)
    if (pool === undefined) {
      this.#lost(client, settings, "no_server")
      return closeFd(client)
    }
    const isNamed = accessLog !== undefined || pool.proxyProtocol !== undefined
    const peer = proxied?.endpoints?.source ?? proxied?.peer
    const session = new Session(this.#context, {
      settings,
      pool,
      client,
      clientEndpoint: peer ?? (isNamed ? decodeSockaddr(peerSockaddr) : undefined),
      proxied: proxied?.endpoints,
      clientHash: pool.usesClientHash ? (peer === undefined ? peerHash() : hashOf(peer)) : 0,
    })
    try {
      session.connect()
    } catch (error) {
      session.fail(error)
    }
  }

  /** What follows is served as if it came from the client that the header names. */
  #awaitProxyHeader(client: number, settings: ListenerSettings): void {
    const peer = decodeSockaddr(peerSockaddr)
    new ProxyHeader(this.#context.reactor, {
      fd: client,
      timeoutMs: PROXY_HEADER_MS_MAX,
      user: {
        received: (endpoints) => this.#serve(client, settings, { peer, endpoints }),
        failed: (failure) => {
          this.#lost(client, settings, endReasonOf(failure))
          this.#context.log("debug", "PROXY protocol header missing", {
            stream: settings.stream,
            client: peer.address,
            reason: failure,
          })
        },
        fault: (error) => this.fail(error),
      },
    })
  }

  /** Before it was a session that counts for itself. */
  #lost(client: number, { row }: ListenerSettings, reason: EndReason): void {
    const { listenerCounters, ledger, budget } = this.#context
    listenerCounters.add(row, "connections", -1)
    listenerCounters.add(row, reason, 1)
    ledger.release(client)
    budget.release(1)
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

function hashOf({ address }: Endpoint): number {
  const bytes = addressBytes(address)
  return hashBytes(bytes, 0, bytes.length)
}

function endReasonOf(failure: ProxyHeaderFailure): EndReason {
  const isOurs =
    failure === "address_released" || failure === "stopped" || failure === "internal_error"
  return isOurs ? failure : "bad_proxy_header"
}
