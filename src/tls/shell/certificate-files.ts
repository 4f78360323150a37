/**
 * Reads the files of a listener's TLS settings, checks them, and makes of them what the data
 * threads are sent. For the control thread at start, at reload and when a file has changed, and for
 * `causeway check`; all or nothing, with every file that is wrong named.
 */
import { createHash } from "node:crypto"
import type { TlsConfig } from "../../config/http-config.ts"
import { loadOpenssl } from "../../linux/openssl.ts"
import { SslContext, TICKET_KEYS_BYTES } from "../../linux/ssl-context.ts"
import { type Certificate, countCertificates, readCertificate } from "../certificate.ts"
import type { ServerTlsSpec } from "../tls-spec.ts"
import { FileReader, type ReadFile, type TlsFileProblem } from "./file-reader.ts"

/** A certificate that is served, without its key: for status, metrics and warnings. */
export interface CertificateFacts {
  readonly file: string
  readonly names: readonly string[]
  readonly keyType: string
  readonly notBefore: number
  readonly notAfter: number
}

export type ServerTlsLoad =
  | {
      readonly ok: true
      readonly spec: ServerTlsSpec
      readonly certificates: readonly CertificateFacts[]
      readonly warnings: readonly TlsFileProblem[]
      /** What was read, for `FileWatch`. */
      readonly files: readonly ReadFile[]
    }
  | { readonly ok: false; readonly problems: readonly TlsFileProblem[] }

export interface ServerTlsOptions {
  /** Its name keeps the sessions of one listener from being resumed at another. */
  readonly listener: string
  /** Used where no file gives them: random, the same for all threads, `TICKET_KEYS_BYTES` long. */
  readonly ticketKeys: Uint8Array
}

/** Protocols we speak over TLS. */
const ALPN_PROTOCOLS = ["http/1.1", "http/1.0"]

export function loadServerTls(config: TlsConfig, options: ServerTlsOptions): ServerTlsLoad {
  const reader = new FileReader()
  const openssl = loadOpenssl()
  if (!openssl.ok) reader.report("", openssl.reason)
  const certificates = config.certificates.flatMap(({ cert, key }) => {
    return readPair(reader, { cert, key })
  })
  const clientCaPem = readAuthorities(reader, config.clientCaFile)
  const ticketKeys = readTicketKeys(reader, config.sessionTicketKeyFile) ?? options.ticketKeys
  if (openssl.ok) reportRefused(reader, certificates)
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems }
  const parts = {
    certificates: certificates.map(({ certificate }) => toSpec(certificate)),
    // Those that are added later are for the names they were given alone.
    hasDefault: certificates.length > 0,
    minVersion: config.minVersion,
    clientCertificates: config.clientCertificates,
    clientCaPem,
    sessionContext: sessionContext(options.listener, config.clientCertificates, clientCaPem),
    ticketKeys,
    alpn: ALPN_PROTOCOLS,
  }
  return {
    ok: true,
    spec: { id: digest(parts), ...parts },
    certificates: certificates.map(({ file, certificate }) => factsOf(file, certificate)),
    warnings: reader.warnings,
    files: reader.files,
  }
}

interface ReadCertificate {
  readonly file: string
  readonly certificate: Certificate
}

function readPair(
  reader: FileReader,
  files: { readonly cert: string; readonly key: string },
): ReadCertificate[] {
  const chainPem = reader.text(files.cert)
  const keyPem = reader.text(files.key)
  reader.warnIfPublic(files.key)
  if (chainPem === undefined || keyPem === undefined) return []
  const result = readCertificate(chainPem, keyPem, { isServer: true })
  if (!result.ok) {
    reader.report(files[result.blame], result.reason)
    return []
  }
  for (const warning of result.certificate.warnings) reader.warn(files.cert, warning)
  return [{ file: files.cert, certificate: result.certificate }]
}

/** A bundle of authorities; "" without a file, or where it is reported. */
export function readAuthorities(reader: FileReader, file: string): string {
  const pem = file === "" ? undefined : reader.text(file)
  if (pem === undefined) return ""
  if (countCertificates(pem) === 0) reader.report(file, "has no certificate in it")
  return pem
}

function readTicketKeys(reader: FileReader, file: string): Uint8Array | undefined {
  const keys = file === "" ? undefined : reader.bytes(file)
  if (keys === undefined) return undefined
  reader.warnIfPublic(file)
  if (keys.length === TICKET_KEYS_BYTES) return new Uint8Array(keys)
  const hint = `make it with: openssl rand -out ${file} ${TICKET_KEYS_BYTES}`
  reader.report(file, `has ${keys.length} bytes, not ${TICKET_KEYS_BYTES} (${hint})`)
  return undefined
}

/** OpenSSL's own judgement, such as of keys too short for the host's security level. */
function reportRefused(reader: FileReader, certificates: readonly ReadCertificate[]): void {
  if (certificates.length === 0) return
  const context = new SslContext("server")
  for (const { file, certificate } of certificates) {
    const refusal = context.useCertificate(certificate.chainPem, certificate.keyPem)
    if (refusal !== "") reader.report(file, `is not accepted by OpenSSL: ${refusal}`)
  }
  context.free()
}

function toSpec({ chainPem, keyPem, names, keyType }: Certificate) {
  return { chainPem, keyPem, names, keyType }
}

function factsOf(file: string, certificate: Certificate): CertificateFacts {
  const { names, keyType, notBefore, notAfter } = certificate
  return { file, names, keyType, notBefore, notAfter }
}

/** The same in both edges of a pair, and another one when other clients are let in. */
function sessionContext(...parts: readonly string[]): Uint8Array {
  return new Uint8Array(createHash("sha256").update(JSON.stringify(parts)).digest())
}

function digest(parts: Omit<ServerTlsSpec, "id">): string {
  const text = JSON.stringify(parts, (_key, value: unknown) => {
    return value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value
  })
  return createHash("sha256").update(text).digest("hex")
}
