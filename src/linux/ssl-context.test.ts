import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { CERTIFICATES, KEYS } from "./fixtures/certificates.ts"
import { loadOpenssl, openssl, opensslVersion, takeError } from "./openssl.ts"
import { SslContext } from "./ssl-context.ts"

let context: SslContext

beforeEach(() => {
  context = new SslContext("server")
})

afterEach(() => {
  context.free()
})

test("loadOpenssl() finds OpenSSL 3 on this host", () => {
  expect(loadOpenssl().ok).toBe(true)
  expect(opensslVersion()).toStartWith("OpenSSL 3.")
})

describe("useCertificate()", () => {
  test.each([
    ["", "shop", "shop"],
    ["", "shopRsa", "shopRsa"],
    ["refused: private key mismatch", "shop", "plain"],
    ["refused: ee key too small", "shortKey", "shortKey"],
    ["the key cannot be read: bad decrypt", "shop", "shopEncrypted"],
  ] as const)("says %p of %s with the key of %s", (reason, certificate, key) => {
    expect(context.useCertificate(CERTIFICATES[certificate], KEYS[key])).toBe(reason)
  })

  test("says what a text without certificate or key lacks", () => {
    expect(context.useCertificate("", KEYS.shop)).toBe("no certificate in it")
    expect(context.useCertificate(CERTIFICATES.shop, "")).toBe(
      "the key cannot be read: unsupported",
    )
  })

  test("leaves nothing in the error queue", () => {
    context.useCertificate(CERTIFICATES.shop, KEYS.plain)
    context.trust("nothing")
    expect(takeError(openssl())).toEqual({ reason: 0, text: "" })
  })
})

test("trust() counts the authorities of a bundle", () => {
  expect(context.trust(`# ours\n${CERTIFICATES.authority}${CERTIFICATES.intermediate}`)).toBe(2)
  expect(context.trust("nothing")).toBe(0)
})

test("setCiphers() throws, and setGroups() says so, when OpenSSL does not know them", () => {
  expect(() => context.setCiphers("NONSENSE", "")).toThrow(
    "Cannot choose TLS ciphers: no cipher match",
  )
  expect(context.setGroups("X25519:NONSENSE")).toBe(false)
  expect(context.setGroups("X25519:P-256")).toBe(true)
})

test("free() is done once, and using it afterwards is an error instead of a crash", () => {
  context.free()
  context.free()
  expect(() => context.handle).toThrow("Use of a freed TLS context")
})
