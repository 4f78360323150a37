import { describe, expect, test } from "bun:test"
import { CERTIFICATES, KEYS } from "../linux/fixtures/certificates.ts"
import { countCertificates, readCertificate as read } from "./certificate.ts"

const { shop, intermediate, authority } = CERTIFICATES

describe("readCertificate()", () => {
  test("reads names, key type and validity of a chain", () => {
    const chainPem = `${shop}${intermediate}${authority}`
    const result = readCertificate(chainPem, KEYS.shop)
    if (!result.ok) throw new Error(result.reason)
    const { notBefore, notAfter, ...rest } = result.certificate
    expect(rest).toEqual({
      chainPem,
      keyPem: KEYS.shop,
      names: ["shop.example", "*.shop.example", "shop.test"],
      keyType: "ec",
      warnings: [],
    })
    expect((notAfter - notBefore) / 86_400_000).toBe(36_500)
  })

  test.each([
    ["rsa", CERTIFICATES.shopRsa, KEYS.shopRsa],
    ["ed25519", CERTIFICATES.edwards, KEYS.edwards],
  ])("knows a key of type %s", (keyType, certificate, key) => {
    const result = readCertificate(certificate, key)
    expect(result.ok && result.certificate.keyType).toBe(keyType as never)
  })

  test("takes the common name where there is no other", () => {
    const result = readCertificate(CERTIFICATES.commonName, KEYS.commonName)
    expect(result.ok && result.certificate.names).toEqual(["old.example"])
  })

  test("leaves out names that no client asks for", () => {
    const result = readCertificate(CERTIFICATES.oddNames, KEYS.oddNames)
    expect(result.ok && result.certificate.names).toEqual(["good.example"])
    expect(result.ok && result.certificate.warnings).toEqual([
      'the name "f*.odd.example" is of no use to us',
      'the name "a b" is of no use to us',
    ])
  })

  test("warns of a chain in disorder", () => {
    const result = readCertificate(`${shop}${authority}${intermediate}`, KEYS.shop)
    expect(result.ok && result.certificate.warnings).toEqual([
      "certificate 2 of the file did not certify number 1",
      "certificate 3 of the file did not certify number 2",
    ])
  })

  test("takes certificate and key out of one file", () => {
    const both = `${KEYS.shop}${shop}`
    expect(readCertificate(both, both).ok).toBe(true)
  })

  test.each([
    ["cert", "has no certificate in it", KEYS.shop, KEYS.shop],
    ["cert", "has a certificate that cannot be read (number 2)", damaged(shop), KEYS.shop],
    ["cert", "is for no host name (subjectAltName)", CERTIFICATES.address, KEYS.address],
    ["key", "has no private key in it", shop, shop],
    ["key", "has a private key that cannot be read", shop, damagedKey()],
    ["key", "is encrypted with a passphrase, and nobody is there to type it", shop, encrypted(1)],
    ["key", "is encrypted with a passphrase, and nobody is there to type it", shop, encrypted(8)],
    ["key", "is not the key of the certificate", shop, KEYS.plain],
    [
      "key",
      "belongs to certificate 2 of the file; that one must come first",
      `${intermediate}${shop}`,
      KEYS.shop,
    ],
  ] as const)("blames the %s: %s", (blame, reason, chainPem, keyPem) => {
    expect(readCertificate(chainPem, keyPem)).toEqual({ ok: false, blame, reason })
  })
})

test("readCertificate() asks no host name of a client's certificate", () => {
  const result = read(CERTIFICATES.client, KEYS.client, { isServer: false })
  expect(result.ok && result.certificate).toMatchObject({ names: [], warnings: [] })
})

test("countCertificates() counts those of a bundle", () => {
  expect(countCertificates(`# ours\n${authority}\n${intermediate}`)).toBe(2)
  expect(countCertificates("nothing")).toBe(0)
})

function readCertificate(chainPem: string, keyPem: string) {
  return read(chainPem, keyPem, { isServer: true })
}

function damaged(pem: string): string {
  return `${pem}${pem.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA")}`
}

function damagedKey(): string {
  return KEYS.shop.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA")
}

function encrypted(kind: 1 | 8): string {
  return kind === 1 ? KEYS.shopEncrypted : KEYS.shopEncryptedPkcs8
}
