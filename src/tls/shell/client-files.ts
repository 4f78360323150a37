/**
 * Reads and checks the files of a pool's TLS settings, as `certificate-files.ts` does those of a
 * listener. A data thread that is sent the result makes its context without a doubt.
 */
import { createHash } from "node:crypto"
import type { PoolTlsConfig } from "../../config/config.ts"
import { loadOpenssl } from "../../linux/openssl.ts"
import { readCertificate } from "../certificate.ts"
import type { ClientTlsSpec } from "../tls-spec.ts"
import { readAuthorities } from "./certificate-files.ts"
import { clientContext } from "./client-tls.ts"
import { FileReader, type ReadFile, type TlsFileProblem } from "./file-reader.ts"

export type ClientTlsLoad =
  | {
      readonly ok: true
      readonly spec: ClientTlsSpec
      readonly warnings: readonly TlsFileProblem[]
      readonly files: readonly ReadFile[]
    }
  | { readonly ok: false; readonly problems: readonly TlsFileProblem[] }

export function loadClientTls(config: PoolTlsConfig): ClientTlsLoad {
  const reader = new FileReader()
  const openssl = loadOpenssl()
  if (!openssl.ok) reader.report("", openssl.reason)
  const { verify, serverName, minVersion, caFile, cert } = config
  const caPem = config.caPem === "" ? readAuthorities(reader, caFile) : config.caPem
  const certificate = readIdentity(reader, config)
  const parts = { verify, serverName, minVersion, caPem, certificate }
  const id = createHash("sha256").update(JSON.stringify(parts)).digest("hex")
  const spec: ClientTlsSpec = { id, ...parts }
  if (reader.problems.length === 0) {
    const refusal = trial(spec)
    if (refusal !== "") reader.report(cert, `is not accepted by OpenSSL: ${refusal}`)
  }
  if (reader.problems.length > 0) return { ok: false, problems: reader.problems }
  return { ok: true, spec, warnings: reader.warnings, files: reader.files }
}

function readIdentity(
  reader: FileReader,
  { cert, key, certPem, keyPem: ownKeyPem }: PoolTlsConfig,
): ClientTlsSpec["certificate"] {
  if (cert === "" && certPem === "") return undefined
  const chainPem = certPem === "" ? reader.text(cert) : certPem
  const keyPem = ownKeyPem === "" ? reader.text(key) : ownKeyPem
  if (ownKeyPem === "") reader.warnIfPublic(key)
  if (chainPem === undefined || keyPem === undefined) return undefined
  const result = readCertificate(chainPem, keyPem, { isServer: false })
  if (!result.ok) reader.report({ cert, key }[result.blame], result.reason)
  else for (const warning of result.certificate.warnings) reader.warn(cert, warning)
  return { chainPem, keyPem }
}

function trial(spec: ClientTlsSpec): string {
  try {
    clientContext(spec).free()
    return ""
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
