/**
 * One TLS connection over a non-blocking socket, client's or server's side: the `Transport` that
 * `http/` reads and writes through when it does not read and write the socket itself.
 *
 * What it answers follows the plain transport: a count, 0 for the peer's end, a negated errno;
 * -EAGAIN for a wait, whichever way the bytes go that are waited for (`wantsWrite` tells). Under
 * edge-triggered epoll a read must go on until it waits, but trying costs a system call: as a read
 * that gets less than OpenSSL asked the kernel for has emptied the socket, a short plaintext with
 * nothing left over in OpenSSL is taken for the end of it.
 */
import type { NativeBytes } from "../../linux/bytes.ts"
import { EAGAIN, ECONNRESET, EKEYREJECTED, EPROTO } from "../../linux/errno.ts"
import {
  forgetErrors,
  type Handle,
  type Openssl,
  SSL_ERROR_SSL,
  SSL_ERROR_SYSCALL,
  SSL_ERROR_WANT_READ,
  SSL_ERROR_WANT_WRITE,
  SSL_ERROR_ZERO_RETURN,
  systemErrno,
  takeError,
} from "../../linux/openssl.ts"
import type { SslContext } from "../../linux/ssl-context.ts"
import {
  cipherName,
  peerSubject,
  protocolVersion,
  selectedAlpn,
  verifyFailure,
} from "../../linux/ssl-facts.ts"
import { resumableSession } from "../../linux/ssl-peer.ts"
import { closeFd, resetFd, shutdownWrite } from "../../linux/tcp.ts"

/** SSL_R_UNEXPECTED_EOF_WHILE_READING: FIN without close_notify. */
const UNEXPECTED_EOF = 294
/** SSL_R_CERTIFICATE_VERIFY_FAILED: the other side's is not for us to believe. */
const CERTIFICATE_VERIFY_FAILED = 134

/**
 * OpenSSL asks the kernel for 16.6 KiB or more. Less than this came out of a read that cannot have
 * got all it asked for: 8 KiB, and 29 bytes of frame for each of 4 records. (A peer that pads its
 * records to fill the buffer to the byte would delay itself.)
 */
const SHORT_PLAINTEXT_BYTES = 8 * 1024
const SHORT_RECORDS = 4

export class TlsTransport {
  readonly fd: number
  readonly canSplice = false
  /** The last read, or the handshake, waits for room to write. */
  wantsWrite = false
  /** "TLSv1.3" once the handshake is done. */
  tlsVersion = ""
  /** OpenSSL's words for what broke the connection; "" while nothing has. */
  failure = ""
  /** Number of that reason in sslerr.h, 0 if there is none. */
  failureReason = 0
  readonly #openssl: Openssl
  readonly #ssl: Handle
  /** What reads answer from now on: 0 or a negated errno. */
  #end: number | undefined = undefined
  /** A read stopped for want of room, so that a later short one proves nothing. */
  #mayHoldMore = false
  /** Asked for with every request that is forwarded. */
  #peerSubject: string | undefined = undefined
  #keepSession: ((session: Handle) => void) | undefined
  /** SSL_ERROR_WANT_READ or SSL_ERROR_WANT_WRITE, of the last call that waits. */
  #waitsFor = 0
  #isClosed = false

  /**
   * Takes over the socket `fd`. `keepSession` gets the session once the peer has sent what it takes
   * to resume it, and owns it. Throws when OpenSSL has no memory.
   */
  constructor(
    context: SslContext,
    fd: number,
    role: "server" | "client",
    keepSession?: (session: Handle) => void,
  ) {
    this.fd = fd
    this.#keepSession = keepSession
    this.#openssl = context.openssl
    const ssl = this.#openssl.SSL_new(context.handle)
    if (ssl === null || this.#openssl.SSL_set_fd(ssl, fd) !== 1) {
      this.#openssl.SSL_free(ssl)
      throw new Error(`Cannot make a TLS connection: ${takeError(this.#openssl).text}`)
    }
    this.#ssl = ssl
    if (role === "server") this.#openssl.SSL_set_accept_state(ssl)
    else this.#openssl.SSL_set_connect_state(ssl)
  }

  /** For what is set before the handshake. Neither to be kept nor freed. */
  get handle(): Handle {
    return this.#ssl
  }

  /** A read answered less than asked, and there is nothing more to read before the next event. */
  get isDrainedByShortRead(): boolean {
    return this.#end === undefined
  }

  /** "TLS_AES_128_GCM_SHA256". */
  get cipher(): string {
    return this.#isClosed ? "" : cipherName(this.#openssl, this.#ssl)
  }

  /** The protocol agreed upon by ALPN, "" if none. */
  get alpn(): string {
    return this.#isClosed ? "" : selectedAlpn(this.#openssl, this.#ssl)
  }

  /** Subject of the peer's verified certificate as of RFC 2253, in ASCII; "" without one. */
  get peerSubject(): string {
    if (this.#isClosed) return ""
    this.#peerSubject ??= peerSubject(this.#openssl, this.#ssl)
    return this.#peerSubject
  }

  get isResumed(): boolean {
    return !this.#isClosed && this.#openssl.SSL_session_reused(this.#ssl) === 1
  }

  /** Goes on with the handshake: 0 when it is done, or a negated errno. */
  handshake(): number {
    if (this.#end !== undefined) return this.#end
    forgetErrors(this.#openssl)
    const result = this.#openssl.SSL_do_handshake(this.#ssl)
    if (result === 1) {
      this.wantsWrite = false
      this.tlsVersion = protocolVersion(this.#openssl, this.#ssl)
      return 0
    }
    const answer = this.#explain(result)
    this.wantsWrite = answer === -EAGAIN && this.#waitsFor === SSL_ERROR_WANT_WRITE
    // The peer's end before the end of the handshake is no end but a failure.
    return answer === 0 ? -ECONNRESET : answer
  }

  read(into: NativeBytes, offset: number, length: number): number {
    if (this.#end !== undefined) return this.#end
    let total = 0
    for (let records = 1; ; records++) {
      forgetErrors(this.#openssl)
      const count = this.#openssl.SSL_read(this.#ssl, into.at(offset + total), length - total)
      if (count <= 0) {
        const answer = this.#explain(count)
        this.wantsWrite = answer === -EAGAIN && this.#waitsFor === SSL_ERROR_WANT_WRITE
        if (answer === -EAGAIN) this.#mayHoldMore = false
        else this.#end = answer
        return total > 0 ? total : answer
      }
      total += count
      if (this.#keepSession !== undefined) this.#handOverSession(this.#keepSession)
      if (total === length) {
        this.#mayHoldMore = true
        return total
      }
      if (records <= SHORT_RECORDS && total < SHORT_PLAINTEXT_BYTES && !this.#mayHoldMore) {
        if (this.#openssl.SSL_has_pending(this.#ssl) === 0) return total
      }
    }
  }

  /**
   * Writes as much as the socket takes. After -EAGAIN, or less than all, the next call must go on
   * with the same bytes: a record of them may be encrypted already.
   */
  write(from: NativeBytes, start: number, end: number): number {
    if (this.#isClosed) return -ECONNRESET
    let at = start
    while (at < end) {
      forgetErrors(this.#openssl)
      const count = this.#openssl.SSL_write(this.#ssl, from.at(at), end - at)
      if (count <= 0) {
        const answer = this.#explain(count)
        if (answer === 0) return -ECONNRESET
        return at > start && answer === -EAGAIN ? at - start : answer
      }
      at += count
    }
    return at - start
  }

  /** close_notify and FIN: nothing more will be written. */
  finishWriting(): void {
    if (this.#isClosed) return
    this.#notifyClose()
    shutdownWrite(this.fd)
  }

  close(how: "finish" | "reset"): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#end = -ECONNRESET
    if (how === "finish") this.#notifyClose()
    this.#openssl.SSL_free(this.#ssl)
    if (how === "finish") closeFd(this.fd)
    else resetFd(this.fd)
  }

  /** The server's tickets precede its first answer. */
  #handOverSession(keep: (session: Handle) => void): void {
    this.#keepSession = undefined
    const session = resumableSession(this.#openssl, this.#ssl)
    if (session !== null) keep(session)
  }

  /** Best effort: OpenSSL leaves it where a record waits to be sent; after a failure we must. */
  #notifyClose(): void {
    if (this.failure !== "") return
    this.#openssl.SSL_shutdown(this.#ssl)
  }

  /** The answer for a call of OpenSSL that returned `result`, not more than 0. */
  #explain(result: number): number {
    const errno = systemErrno()
    const error = this.#openssl.SSL_get_error(this.#ssl, result)
    switch (error) {
      case SSL_ERROR_WANT_READ:
      case SSL_ERROR_WANT_WRITE:
        this.#waitsFor = error
        return -EAGAIN
      case SSL_ERROR_ZERO_RETURN:
        return 0
      case SSL_ERROR_SYSCALL:
        this.failure = "connection lost"
        forgetErrors(this.#openssl)
        return errno > 0 ? -errno : -ECONNRESET
      case SSL_ERROR_SSL: {
        const { reason, text } = takeError(this.#openssl)
        this.failure = text || "protocol error"
        this.failureReason = reason
        if (reason === CERTIFICATE_VERIFY_FAILED) {
          this.failure = verifyFailure(this.#openssl, this.#ssl)
          return -EKEYREJECTED
        }
        return reason === UNEXPECTED_EOF ? -ECONNRESET : -EPROTO
      }
      default:
        this.failure = `unexpected SSL error ${error}`
        return -EPROTO
    }
  }
}
