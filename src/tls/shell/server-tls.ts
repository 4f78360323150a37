/**
 * A listener's TLS in one thread: the OpenSSL contexts of its certificates, made when a client
 * first asks for one. A reload that brings a thousand certificates then costs the thread nothing at
 * once.
 *
 * It never changes: other settings, or a renewed certificate, are another `ServerTls`. Connections
 * hold on to what they were opened with.
 */
import { alpnSelector } from "../../linux/ssl-alpn.ts"
import {
  SSL_OP_CIPHER_SERVER_PREFERENCE,
  SSL_OP_IGNORE_UNEXPECTED_EOF,
  SSL_OP_PRIORITIZE_CHACHA,
  SslContext,
} from "../../linux/ssl-context.ts"
import { ServerNames } from "../server-name.ts"
import type { ServerTlsSpec } from "../tls-spec.ts"
import { TlsTransport } from "./transport.ts"

/**
 * Forward secrecy and authenticated encryption only, which every client since 2014 has. ECDSA
 * first: its signature costs a tenth of RSA's. AES-128 before AES-256: cheaper, and as good as any;
 * who has no AES hardware asks for ChaCha20 and gets it.
 */
const TLS_1_2_CIPHERS = [
  "ECDHE-ECDSA-AES128-GCM-SHA256",
  "ECDHE-ECDSA-CHACHA20-POLY1305",
  "ECDHE-ECDSA-AES256-GCM-SHA384",
  "ECDHE-RSA-AES128-GCM-SHA256",
  "ECDHE-RSA-CHACHA20-POLY1305",
  "ECDHE-RSA-AES256-GCM-SHA384",
].join(":")
const TLS_1_3_CIPHERS = [
  "TLS_AES_128_GCM_SHA256",
  "TLS_CHACHA20_POLY1305_SHA256",
  "TLS_AES_256_GCM_SHA384",
].join(":")
/** The first list that OpenSSL knows: the hybrid with ML-KEM comes with version 3.5. */
const GROUPS = ["X25519MLKEM768:X25519:P-256:P-384", "X25519:P-256:P-384"]

export class ServerTls {
  readonly spec: ServerTlsSpec
  readonly #names: ServerNames
  readonly #contexts = new Map<string, SslContext>()
  #isClosed = false

  constructor(spec: ServerTlsSpec) {
    this.spec = spec
    this.#names = new ServerNames(spec.certificates, spec)
  }

  /** Whether the certificate depends on the name the client asks for. */
  get needsServerName(): boolean {
    return !this.#names.isSingle
  }

  /** Whether there is something to show to a client that asks for this name. */
  serves(serverName: string): boolean {
    return this.#names.select(serverName).length > 0
  }

  /**
   * The server's side of a connection on `fd`, which it takes over. Throws when OpenSSL refuses a
   * certificate, which `loadServerTls` finds beforehand.
   */
  open(fd: number, serverName: string): TlsTransport {
    const context = this.#contextOf(this.#names.select(serverName))
    try {
      return new TlsTransport(context, fd, "server")
    } finally {
      // A client that was accepted before, and says only now whom it wants.
      if (this.#isClosed) this.#freeContexts()
    }
  }

  /** Connections live on, and so do handshakes. */
  close(): void {
    this.#isClosed = true
    this.#freeContexts()
  }

  #freeContexts(): void {
    for (const context of this.#contexts.values()) context.free()
    this.#contexts.clear()
  }

  #contextOf(certificates: readonly number[]): SslContext {
    const key = certificates.join()
    const known = this.#contexts.get(key)
    if (known !== undefined) return known
    const made = serverContext(this.spec, certificates)
    this.#contexts.set(key, made)
    return made
  }
}

/** A context that shows the certificates with these indices. Throws when OpenSSL refuses one. */
export function serverContext(spec: ServerTlsSpec, certificates: readonly number[]): SslContext {
  const context = new SslContext("server")
  try {
    for (const index of certificates) {
      const certificate = spec.certificates[index]
      if (certificate === undefined) throw new RangeError(`No certificate ${index}`)
      const refusal = context.useCertificate(certificate.chainPem, certificate.keyPem)
      if (refusal !== "") throw new Error(`Certificate of ${certificate.names[0]}: ${refusal}`)
    }
    configure(context, spec)
    return context
  } catch (error) {
    context.free()
    throw error
  }
}

function configure(context: SslContext, spec: ServerTlsSpec): void {
  context.setMinVersion(spec.minVersion)
  context.setCiphers(TLS_1_2_CIPHERS, TLS_1_3_CIPHERS)
  if (!GROUPS.some((groups) => context.setGroups(groups))) throw new Error("No TLS groups")
  // With our order, ECDSA comes before RSA. Clients that leave without close_notify are no news,
  // and a request that is cut short shows it by its framing.
  context.setOptions(
    SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA | SSL_OP_IGNORE_UNEXPECTED_EOF,
  )
  context.setSessions(spec.sessionContext, spec.ticketKeys)
  if (spec.alpn.length > 0) context.setAlpnSelector(alpnSelector(spec.alpn))
  if (spec.clientCertificates === "off") return
  context.trust(spec.clientCaPem)
  context.nameClientAuthorities(spec.clientCaPem)
  context.verifyPeer(spec.clientCertificates)
}
