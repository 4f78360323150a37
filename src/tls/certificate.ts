/**
 * A certificate with its chain and key, out of PEM text: what it is for, how long it lasts, and
 * whether the three belong together. OpenSSL, which serves it, has its own say afterwards.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto"
import type { CertificateSpec, KeyType } from "./tls-spec.ts"

export interface Certificate extends CertificateSpec {
  /** Unix time, milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
  /** What some clients will take offence at. */
  readonly warnings: readonly string[]
}

export type CertificateResult =
  | { readonly ok: true; readonly certificate: Certificate }
  /** Which of the two texts is to blame. */
  | { readonly ok: false; readonly blame: "cert" | "key"; readonly reason: string }

/**
 * Reads PEM text: the certificate first, then what certifies it. A server's must have a name that
 * clients can ask for; a client's need not.
 */
export function readCertificate(
  chainPem: string,
  keyPem: string,
  { isServer }: { readonly isServer: boolean },
): CertificateResult {
  const chain = readChain(chainPem)
  if (!chain.ok) return { ok: false, blame: "cert", reason: chain.reason }
  const [leaf] = chain.certificates
  if (leaf === undefined) return { ok: false, blame: "cert", reason: "has no certificate in it" }
  const key = readKey(keyPem)
  if (!key.ok) return { ok: false, blame: "key", reason: key.reason }
  if (!leaf.checkPrivateKey(key.key)) {
    return { ok: false, blame: "key", reason: mismatch(chain.certificates, key.key) }
  }
  const keyType = KEY_TYPES[leaf.publicKey.asymmetricKeyType ?? ""]
  if (keyType === undefined) {
    const reason = `has a key of type ${leaf.publicKey.asymmetricKeyType}, not RSA or ECDSA`
    return { ok: false, blame: "cert", reason }
  }
  const { names, ignored } = namesOf(leaf)
  if (isServer && names.length === 0) {
    return { ok: false, blame: "cert", reason: "is for no host name (subjectAltName)" }
  }
  const warnings = [
    ...(isServer ? ignored : []).map(
      (name) => `the name ${JSON.stringify(name)} is of no use to us`,
    ),
    ...chainWarnings(chain.certificates),
  ]
  const notBefore = leaf.validFromDate.getTime()
  const notAfter = leaf.validToDate.getTime()
  return {
    ok: true,
    certificate: { chainPem, keyPem, names, keyType, notBefore, notAfter, warnings },
  }
}

/** Certificates of a PEM bundle, for authorities. */
export function countCertificates(pem: string): number {
  const chain = readChain(pem)
  return chain.ok ? chain.certificates.length : 0
}

type Chain =
  | { readonly ok: true; readonly certificates: readonly X509Certificate[] }
  | { readonly ok: false; readonly reason: string }

function readChain(pem: string): Chain {
  const certificates: X509Certificate[] = []
  for (const block of pem.match(CERTIFICATE_BLOCK) ?? []) {
    try {
      certificates.push(new X509Certificate(block))
    } catch {
      return {
        ok: false,
        reason: `has a certificate that cannot be read (${ordinal(certificates)})`,
      }
    }
  }
  return { ok: true, certificates }
}

type Key =
  | { readonly ok: true; readonly key: KeyObject }
  | { readonly ok: false; readonly reason: string }

/** OpenSSL's words are left out: nothing of a key is to reach a log. */
function readKey(pem: string): Key {
  if (!KEY_BLOCK.test(pem)) return { ok: false, reason: "has no private key in it" }
  if (ENCRYPTED_KEY.test(pem)) {
    return { ok: false, reason: "is encrypted with a passphrase, and nobody is there to type it" }
  }
  try {
    return { ok: true, key: createPrivateKey(pem) }
  } catch {
    return { ok: false, reason: "has a private key that cannot be read" }
  }
}

function mismatch(chain: readonly X509Certificate[], key: KeyObject): string {
  const other = chain.findIndex((certificate) => certificate.checkPrivateKey(key))
  return other > 0
    ? `belongs to certificate ${other + 1} of the file; that one must come first`
    : "is not the key of the certificate"
}

interface Names {
  readonly names: readonly string[]
  readonly ignored: readonly string[]
}

/**
 * DNS names, and only without any the common name, which clients do not look at any more
 * (RFC 9525 §6.3) but old internal certificates rely on.
 */
function namesOf(certificate: X509Certificate): Names {
  const alternatives = (certificate.subjectAltName ?? "")
    .split(", ")
    .filter((name) => name.startsWith("DNS:"))
    .map((name) => name.slice("DNS:".length))
  const common = /^CN=(.+)$/m.exec(certificate.subject)?.[1]
  const all = alternatives.length > 0 ? alternatives : common === undefined ? [] : [common]
  const isUsable = (name: string) => HOST_NAME.test(name)
  return {
    names: [...new Set(all.filter(isUsable).map((name) => name.toLowerCase().replace(/\.$/, "")))],
    ignored: all.filter((name) => !isUsable(name)),
  }
}

/** Clients get the certificates as they stand in the file, and most insist on the order. */
function chainWarnings(chain: readonly X509Certificate[]): string[] {
  return chain.slice(1).flatMap((issuer, index) => {
    const certificate = chain[index]
    const fits = certificate?.checkIssued(issuer) && certificate.verify(issuer.publicKey)
    return fits ? [] : [`certificate ${index + 2} of the file did not certify number ${index + 1}`]
  })
}

function ordinal(before: readonly unknown[]): string {
  return `number ${before.length + 1}`
}

const KEY_TYPES: Readonly<Record<string, KeyType>> = { rsa: "rsa", ec: "ec", ed25519: "ed25519" }

const CERTIFICATE_BLOCK =
  /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[^-]*-----END (?:X509 |TRUSTED )?CERTIFICATE-----/g
const KEY_BLOCK = /-----BEGIN (?:\w+ )*PRIVATE KEY-----/
const ENCRYPTED_KEY = /-----BEGIN ENCRYPTED PRIVATE KEY-----|^Proc-Type: 4,ENCRYPTED/m
/** A wildcard is a whole first label (RFC 9525 §6.3). */
const HOST_NAME = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?\.?$/i
