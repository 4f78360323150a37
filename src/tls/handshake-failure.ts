/**
 * Why a client did not come through its handshake: the label of a counter. OpenSSL's own words, of
 * which there are hundreds, go into the log.
 */
export type HandshakeFailure =
  | "timeout"
  /** The connection ended, by FIN or RST. */
  | "client_left"
  /** The client spoke HTTP, or something else that is not TLS. */
  | "not_tls"
  /** Its TLS versions end below ours. */
  | "old_version"
  /** No cipher, group or signature in common. */
  | "nothing_in_common"
  /** None of its protocols is ours (no_application_protocol). */
  | "no_application_protocol"
  /** It asked for a name for which there is no certificate, or for none. */
  | "unrecognized_name"
  | "client_certificate_missing"
  | "client_certificate_refused"
  /** The client refused, most often our certificate. */
  | "client_alert"
  | "protocol_error"
  | "internal_error"
  /** Ended from outside, see `OutsideReason`. */
  | "address_released"
  | "server_down"
  | "stopped"

/** Reasons of sslerr.h (OpenSSL 3; its numbers are part of the ABI). 0: no reason but the end. */
export function handshakeFailure(reason: number): HandshakeFailure {
  if (reason === 0) return "client_left"
  if (reason > ALERTS_FROM) return "client_alert"
  return REASONS[reason] ?? "protocol_error"
}

/** SSL_AD_REASON_OFFSET: an alert received is this and its number. */
const ALERTS_FROM = 1000

const REASONS: Readonly<Record<number, HandshakeFailure>> = {
  294: "client_left", // UNEXPECTED_EOF_WHILE_READING
  155: "not_tls", // HTTPS_PROXY_REQUEST
  156: "not_tls", // HTTP_REQUEST
  267: "not_tls", // WRONG_VERSION_NUMBER
  258: "old_version", // UNSUPPORTED_PROTOCOL
  396: "old_version", // VERSION_TOO_LOW
  193: "nothing_in_common", // NO_SHARED_CIPHER
  101: "nothing_in_common", // NO_SUITABLE_KEY_SHARE
  295: "nothing_in_common", // NO_SUITABLE_GROUPS
  118: "nothing_in_common", // NO_SUITABLE_SIGNATURE_ALGORITHM
  235: "no_application_protocol", // NO_APPLICATION_PROTOCOL
  199: "client_certificate_missing", // PEER_DID_NOT_RETURN_A_CERTIFICATE
  134: "client_certificate_refused", // CERTIFICATE_VERIFY_FAILED
}
