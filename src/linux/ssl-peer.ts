/**
 * Whom a client's TLS connection is for: the name it asks for and holds the certificate against.
 */
import { isIP } from "node:net"
import { NativeBytes } from "./bytes.ts"
import { NULL } from "./libc.ts"
import { forgetErrors, type Handle, type Openssl } from "./openssl.ts"

const SSL_CTRL_SET_TLSEXT_HOSTNAME = 55
const TLSEXT_NAMETYPE_HOST_NAME = 0
/** "f*.example.com" matches nothing (RFC 9525 §6.3). */
const X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS = 0x4

/** To be called before the handshake. Throws when OpenSSL has no memory. */
export function expectPeer(
  openssl: Openssl,
  ssl: Handle,
  peer: {
    /** Host name or IP address. */
    readonly name: string
    readonly verify: boolean
    /** To be resumed, if the server still knows it. */
    readonly session: Handle | null
  },
): void {
  const name = NativeBytes.text(peer.name)
  const isAddress = isIP(peer.name) !== 0
  let isSet = true
  // A literal address is not allowed in server_name (RFC 6066 §3).
  if (!isAddress) {
    const command = SSL_CTRL_SET_TLSEXT_HOSTNAME
    isSet = openssl.SSL_ctrl(ssl, command, TLSEXT_NAMETYPE_HOST_NAME, name.address) === 1n
  }
  if (peer.verify && isAddress) {
    const parameters = openssl.SSL_get0_param(ssl)
    isSet &&= openssl.X509_VERIFY_PARAM_set1_ip_asc(parameters, name.address) === 1
  } else if (peer.verify) {
    openssl.SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)
    isSet &&= openssl.SSL_set1_host(ssl, name.address) === 1
  }
  if (peer.session !== NULL) openssl.SSL_set_session(ssl, peer.session)
  forgetErrors(openssl)
  if (!isSet) throw new Error(`Cannot ask for the TLS server name ${peer.name}`)
}

/** The connection's session, to be freed by the caller; null when it cannot be resumed. */
export function resumableSession(openssl: Openssl, ssl: Handle): Handle | null {
  const session = openssl.SSL_get1_session(ssl)
  if (session === null || openssl.SSL_SESSION_is_resumable(session) === 1) return session
  openssl.SSL_SESSION_free(session)
  return null
}
