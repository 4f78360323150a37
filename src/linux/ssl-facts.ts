/**
 * What the handshake of a TLS connection has settled, read from OpenSSL's own memory.
 */
import { NativeBytes } from "./bytes.ts"
import { libc } from "./libc.ts"
import { type Handle, type Openssl, textAt } from "./openssl.ts"

/** Longer subjects are cut. */
const SUBJECT_BYTES_MAX = 2048

/** XN_FLAG_RFC2253: most specific part first, everything but printable ASCII escaped. */
const XN_FLAG_RFC2253 = 0x1110317

const VERSIONS: Readonly<Record<number, string>> = { 771: "TLSv1.2", 772: "TLSv1.3" }

const scratch = new NativeBytes(SUBJECT_BYTES_MAX)

/** "TLSv1.3". */
export function protocolVersion(openssl: Openssl, ssl: Handle): string {
  return VERSIONS[openssl.SSL_version(ssl)] ?? ""
}

/** "TLS_AES_128_GCM_SHA256". */
export function cipherName(openssl: Openssl, ssl: Handle): string {
  const cipher = openssl.SSL_get_current_cipher(ssl)
  return cipher === null ? "" : textAt(openssl.SSL_CIPHER_get_name(cipher))
}

/** The protocol agreed upon by ALPN, "" if none. */
export function selectedAlpn(openssl: Openssl, ssl: Handle): string {
  openssl.SSL_get0_alpn_selected(ssl, scratch.address, scratch.at(8))
  const length = scratch.view.getUint32(8, true)
  if (length === 0) return ""
  const address = Number(scratch.view.getBigUint64(0, true)) as Handle
  libc.memcpy(scratch.address, address, length)
  return Buffer.from(scratch.bytes.subarray(0, length)).toString("latin1")
}

/** Subject of the peer's certificate as of RFC 2253, in ASCII; "" without one. */
export function peerSubject(openssl: Openssl, ssl: Handle): string {
  const certificate = openssl.SSL_get1_peer_certificate(ssl)
  if (certificate === null) return ""
  const bio = openssl.BIO_new(openssl.BIO_s_mem())
  const name = openssl.X509_get_subject_name(certificate)
  openssl.X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253)
  const length = Math.max(openssl.BIO_read(bio, scratch.address, SUBJECT_BYTES_MAX), 0)
  openssl.BIO_free(bio)
  openssl.X509_free(certificate)
  return Buffer.from(scratch.bytes.subarray(0, length)).toString("latin1")
}

/** Why the peer's certificate is not believed: "self-signed certificate"; "" when it is. */
export function verifyFailure(openssl: Openssl, ssl: Handle): string {
  const result = openssl.SSL_get_verify_result(ssl)
  return result === 0 ? "" : textAt(openssl.X509_verify_cert_error_string(result))
}
