import { expect, test } from "bun:test"
import { handshakeFailure } from "./handshake-failure.ts"

test.each([
  [0, "client_left"],
  [156, "not_tls"],
  [258, "old_version"],
  [193, "nothing_in_common"],
  [199, "client_certificate_missing"],
  [1048, "client_alert"], // alert 48, unknown_ca
  [143, "protocol_error"],
] as const)("handshakeFailure() of OpenSSL's reason %i is %s", (reason, expected) => {
  expect(handshakeFailure(reason)).toBe(expected)
})
