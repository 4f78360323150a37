/**
 * TLS towards servers in one thread: a context per pool, and the latest session of each server, so
 * that a new connection to it costs no full handshake (RFC 8446 §2.2).
 */
import type { Handle } from "../../linux/openssl.ts"
import { SslContext } from "../../linux/ssl-context.ts"
import { expectPeer } from "../../linux/ssl-peer.ts"
import { disableNagle } from "../../linux/tcp.ts"
import type { ClientTlsSpec } from "../tls-spec.ts"
import { TlsTransport } from "./transport.ts"

/** Servers whose sessions are kept; the oldest goes first. */
const SESSIONS_MAX = 1024

export class ClientTls {
  readonly spec: ClientTlsSpec
  readonly #context: SslContext
  readonly #sessions = new Map<string, Handle>()
  #isClosed = false

  /** Throws when OpenSSL is missing, or refuses the certificate. */
  constructor(spec: ClientTlsSpec) {
    this.spec = spec
    this.#context = clientContext(spec)
  }

  /**
   * The client's side of a connection on `fd`, connected or connecting, which it takes over.
   * `address` and `port` are the server's. Throws when nobody can have the name.
   */
  open(fd: number, server: { readonly address: string; readonly port: number }): TlsTransport {
    // The request follows the last flight of the handshake, for which no answer is due.
    disableNagle(fd)
    const key = `${server.address} ${server.port}`
    const transport = new TlsTransport(this.#context, fd, "client", (session) => {
      this.#keep(key, session)
    })
    const { serverName, verify } = this.spec
    const session = this.#sessions.get(key) ?? null
    try {
      const name = serverName === "" ? server.address : serverName
      expectPeer(this.#context.openssl, transport.handle, { name, verify, session })
      return transport
    } catch (error) {
      transport.close("reset")
      throw error
    }
  }

  /** Connections live on. */
  close(): void {
    this.#isClosed = true
    for (const session of this.#sessions.values()) this.#context.openssl.SSL_SESSION_free(session)
    this.#sessions.clear()
    this.#context.free()
  }

  /** Owns `session` from here on. */
  #keep(key: string, session: Handle): void {
    const { openssl } = this.#context
    if (this.#isClosed) return openssl.SSL_SESSION_free(session)
    const before = this.#sessions.get(key)
    if (before !== undefined) openssl.SSL_SESSION_free(before)
    this.#sessions.delete(key)
    this.#sessions.set(key, session)
    if (this.#sessions.size <= SESSIONS_MAX) return
    for (const [oldest, stale] of this.#sessions) {
      openssl.SSL_SESSION_free(stale)
      this.#sessions.delete(oldest)
      return
    }
  }
}

/** Throws when OpenSSL refuses the certificate. */
export function clientContext(spec: ClientTlsSpec): SslContext {
  const context = new SslContext("client")
  try {
    context.setMinVersion(spec.minVersion)
    if (spec.verify) {
      if (spec.caPem === "") context.trustSystem()
      else if (context.trust(spec.caPem) === 0)
        throw new Error("No certificate authority in ca_file")
      context.verifyPeer("required")
    }
    if (spec.certificate !== undefined) {
      const { chainPem, keyPem } = spec.certificate
      const refusal = context.useCertificate(chainPem, keyPem)
      if (refusal !== "") throw new Error(`Client certificate: ${refusal}`)
    }
    return context
  } catch (error) {
    context.free()
    throw error
  }
}
