/**
 * An owned SSL_CTX: what the connections of one certificate, or those to one pool, have in common.
 *
 * One thread makes it, uses it and frees it. OpenSSL would allow sharing, but then a pointer would
 * have to outlive threads that hang and come to; and a context per thread shares no locks. A
 * connection holds a reference of its own, so that `free` cuts nobody off.
 *
 * Certificates and keys come as PEM text: whoever read the files has checked just these bytes.
 */
import { NativeBytes } from "./bytes.ts"
import { NULL } from "./libc.ts"
import { forgetErrors, type Handle, type Openssl, openssl, takeError } from "./openssl.ts"

const SSL_CTRL_MODE = 33
const SSL_CTRL_SET_READ_AHEAD = 41
const SSL_CTRL_SET_SESS_CACHE_MODE = 44
const SSL_CTRL_SET_TLSEXT_TICKET_KEYS = 59
const SSL_CTRL_SET_GROUPS_LIST = 92
const SSL_CTRL_SET_MIN_PROTO_VERSION = 123

const SSL_MODE_ENABLE_PARTIAL_WRITE = 0x1
const SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER = 0x2
const SSL_MODE_RELEASE_BUFFERS = 0x10

export const SSL_OP_IGNORE_UNEXPECTED_EOF: number = 2 ** 7
export const SSL_OP_NO_COMPRESSION: number = 2 ** 17
export const SSL_OP_PRIORITIZE_CHACHA: number = 2 ** 21
export const SSL_OP_CIPHER_SERVER_PREFERENCE: number = 2 ** 22
export const SSL_OP_NO_RENEGOTIATION: number = 2 ** 30

const SSL_VERIFY_PEER = 0x1
const SSL_VERIFY_FAIL_IF_NO_PEER_CERT = 0x2

const PROTOCOL_VERSIONS = { "1.2": 0x303, "1.3": 0x304 } as const

/** Bytes of name, HMAC and AES key of session tickets, as OpenSSL lays them out. */
export const TICKET_KEYS_BYTES = 80

/**
 * Per full handshake with TLS 1.3. OpenSSL's default is two, for clients that open several
 * connections; each costs 5 % of a handshake. Go sends one as well.
 */
const TICKETS = 1

/** Certificates in one file; a bundle of a distribution's authorities has about 150. */
const CERTIFICATES_MAX = 4096

export class SslContext {
  readonly openssl: Openssl
  #handle: Handle | null

  /** Throws when OpenSSL is missing. */
  constructor(role: "server" | "client") {
    this.openssl = openssl()
    const method = this.openssl[role === "server" ? "TLS_server_method" : "TLS_client_method"]()
    this.#handle = this.openssl.SSL_CTX_new(method)
    if (this.#handle === null) throw new Error(this.#failure("Cannot make a TLS context"))
    const mode =
      SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS
    this.#control(SSL_CTRL_MODE, mode, NULL)
    // One read(2) takes a record's header and body, and what follows.
    this.#control(SSL_CTRL_SET_READ_AHEAD, 1, NULL)
    this.#control(SSL_CTRL_SET_SESS_CACHE_MODE, 0, NULL)
    this.setOptions(SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION)
  }

  get handle(): Handle {
    if (this.#handle === null) throw new Error("Use of a freed TLS context")
    return this.#handle
  }

  setOptions(options: number): void {
    this.openssl.SSL_CTX_set_options(this.handle, options)
  }

  setMinVersion(version: "1.2" | "1.3"): void {
    this.#control(SSL_CTRL_SET_MIN_PROTO_VERSION, PROTOCOL_VERSIONS[version], NULL)
  }

  /** TLS 1.2 and 1.3 are chosen from separate lists. Throws when OpenSSL knows none of them. */
  setCiphers(tls12: string, tls13: string): void {
    const [list, suites] = [NativeBytes.text(tls12), NativeBytes.text(tls13)]
    const isSet =
      this.openssl.SSL_CTX_set_cipher_list(this.handle, list.address) === 1 &&
      this.openssl.SSL_CTX_set_ciphersuites(this.handle, suites.address) === 1
    if (!isSet) throw new Error(this.#failure("Cannot choose TLS ciphers"))
  }

  /** Key exchange groups, most wanted first; false when OpenSSL does not know one of them. */
  setGroups(groups: string): boolean {
    const list = NativeBytes.text(groups)
    const isSet = this.#control(SSL_CTRL_SET_GROUPS_LIST, 0, list.address) === 1n
    forgetErrors(this.openssl)
    return isSet
  }

  /**
   * Adds a certificate, what certifies it, and its key; one per key type. Returns why not, else "".
   */
  useCertificate(chainPem: string, keyPem: string): string {
    const { openssl } = this
    forgetErrors(openssl)
    const certificates = this.#readCertificates(chainPem)
    const [certificate, ...issuers] = certificates
    const key = this.#readKey(keyPem)
    const stack = openssl.OPENSSL_sk_new_null()
    for (const issuer of issuers) openssl.OPENSSL_sk_push(stack, issuer)
    try {
      if (certificate === undefined) return "no certificate in it"
      if (key === null) return this.#failure("the key cannot be read")
      const used = openssl.SSL_CTX_use_cert_and_key(this.handle, certificate, key, stack, 1)
      return used === 1 ? "" : this.#failure("refused")
    } finally {
      openssl.OPENSSL_sk_free(stack)
      for (const each of certificates) openssl.X509_free(each)
      openssl.EVP_PKEY_free(key)
      forgetErrors(openssl)
    }
  }

  /** Believes certificates that these authorities certify. Returns how many there are. */
  trust(bundlePem: string): number {
    const { openssl } = this
    const store = openssl.SSL_CTX_get_cert_store(this.handle)
    const certificates = this.#readCertificates(bundlePem)
    for (const certificate of certificates) {
      openssl.X509_STORE_add_cert(store, certificate)
      openssl.X509_free(certificate)
    }
    forgetErrors(openssl)
    return certificates.length
  }

  /** Believes what the host believes. */
  trustSystem(): void {
    this.openssl.SSL_CTX_set_default_verify_paths(this.handle)
    forgetErrors(this.openssl)
  }

  /** A server tells its clients which authorities it believes, so that they know what to send. */
  nameClientAuthorities(bundlePem: string): void {
    for (const certificate of this.#readCertificates(bundlePem)) {
      this.openssl.SSL_CTX_add_client_CA(this.handle, certificate)
      this.openssl.X509_free(certificate)
    }
    forgetErrors(this.openssl)
  }

  /** "optional" (server): the peer may send no certificate; one that it sends must be good. */
  verifyPeer(how: "optional" | "required"): void {
    const required = how === "required" ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0
    this.openssl.SSL_CTX_set_verify(this.handle, SSL_VERIFY_PEER | required, NULL)
  }

  /**
   * Sessions are resumed only where this says the same, at most 32 bytes; and with it come the keys
   * of their tickets, `TICKET_KEYS_BYTES` long.
   */
  setSessions(context: Uint8Array, ticketKeys: Uint8Array): void {
    if (ticketKeys.length !== TICKET_KEYS_BYTES) throw new RangeError("Ticket keys of a wrong size")
    const id = NativeBytes.of(context)
    const keys = NativeBytes.of(ticketKeys)
    this.openssl.SSL_CTX_set_session_id_context(this.handle, id.address, context.length)
    this.#control(SSL_CTRL_SET_TLSEXT_TICKET_KEYS, TICKET_KEYS_BYTES, keys.address)
    keys.bytes.fill(0)
    this.openssl.SSL_CTX_set_num_tickets(this.handle, TICKETS)
  }

  /** Server: `selector` answers ALPN, see ssl-alpn.ts. */
  setAlpnSelector(selector: Handle): void {
    this.openssl.SSL_CTX_set_alpn_select_cb(this.handle, selector, NULL)
  }

  free(): void {
    if (this.#handle === null) return
    this.openssl.SSL_CTX_free(this.#handle)
    this.#handle = null
  }

  #control(command: number, value: number, address: Handle | null): bigint {
    return this.openssl.SSL_CTX_ctrl(this.handle, command, value, address)
  }

  #readCertificates(pem: string): Handle[] {
    const certificates: Handle[] = []
    this.#withBio(pem, (bio) => {
      while (certificates.length < CERTIFICATES_MAX) {
        const certificate = this.openssl.PEM_read_bio_X509(bio, NULL, NULL, NULL)
        if (certificate === null) return // the end, which OpenSSL reports as an error
        certificates.push(certificate)
      }
    })
    forgetErrors(this.openssl)
    return certificates
  }

  /** With an empty passphrase at hand: OpenSSL would ask for one on the terminal. */
  #readKey(pem: string): Handle | null {
    const passphrase = NativeBytes.text("")
    return this.#withBio(pem, (bio) =>
      this.openssl.PEM_read_bio_PrivateKey(bio, NULL, NULL, passphrase.address),
    )
  }

  #withBio<Result>(pem: string, read: (bio: Handle) => Result): Result {
    const bytes = NativeBytes.of(Buffer.from(`${pem}\n`, "latin1"))
    const bio = this.openssl.BIO_new_mem_buf(bytes.address, bytes.bytes.length)
    if (bio === null) throw new Error(this.#failure("Cannot read PEM"))
    try {
      return read(bio)
    } finally {
      this.openssl.BIO_free(bio)
      bytes.bytes.fill(0)
    }
  }

  #failure(what: string): string {
    const { text } = takeError(this.openssl)
    return text === "" ? what : `${what}: ${text}`
  }
}
