/**
 * Authorities and certificates made for a test with openssl: nothing secret, nothing that expires.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { execCommand } from "../lab/process.ts"

/** Paths of PEM files. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

export interface CertificateOptions {
  /** Default: EC P-256. */
  readonly rsa?: boolean
  readonly days?: number
}

/** Makes a self-signed authority in `directory`. */
export async function makeAuthority(directory: string, name: string): Promise<KeyPair> {
  const pair = pathsOf(directory, name)
  await request(pair, [
    ...["-x509", "-days", "30", "-subj", `/CN=${name}`],
    ...["-addext", "basicConstraints=critical,CA:TRUE"],
  ])
  return pair
}

/** Makes a certificate for `names`, the first of which is its subject too. */
export async function makeCertificate(
  authority: KeyPair,
  file: string,
  names: readonly string[],
  { rsa = false, days = 30 }: CertificateOptions = {},
): Promise<KeyPair> {
  const pair = pathsOf(join(authority.cert, ".."), file)
  const alternatives = names.map((name) => `${/^[\d.]+$/.test(name) ? "IP" : "DNS"}:${name}`)
  await request(
    pair,
    [
      ...["-x509", "-days", String(days), "-subj", `/O=Lab/CN=${names[0]}`],
      ...["-CA", authority.cert, "-CAkey", authority.key],
      ...["-addext", `subjectAltName=${alternatives.join(",")}`],
      ...["-addext", "basicConstraints=CA:FALSE"],
    ],
    rsa,
  )
  return pair
}

/** 80 bytes for `session_ticket_key_file`. */
export function makeTicketKey(path: string): string {
  writeFileSync(path, crypto.getRandomValues(new Uint8Array(80)), { mode: 0o600 })
  return path
}

async function request(pair: KeyPair, words: readonly string[], rsa = false): Promise<void> {
  const key = rsa ? ["rsa:2048"] : ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
  const files = ["-keyout", pair.key, "-out", pair.cert]
  await execCommand(["openssl", "req", "-newkey", ...key, "-nodes", ...files, ...words])
}

function pathsOf(directory: string, name: string): KeyPair {
  return { cert: join(directory, `${name}.crt`), key: join(directory, `${name}.key`) }
}
