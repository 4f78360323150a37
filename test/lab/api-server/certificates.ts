/**
 * The cluster's authority, the server's certificate and those of users, made with openssl when a
 * server starts: nothing secret, nothing that expires, nothing in the repository.
 */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { execCommand } from "../process.ts"

export interface KeyPair {
  readonly certPath: string
  readonly keyPath: string
  readonly cert: string
  readonly key: string
}

export async function makeAuthority(directory: string): Promise<KeyPair> {
  await request(directory, "ca", [
    ...["-subj", "/CN=kubernetes"],
    ...["-addext", "basicConstraints=critical,CA:TRUE"],
  ])
  return read(directory, "ca")
}

/** `names`: host names and addresses. */
export async function makeServerCertificate(
  directory: string,
  names: readonly string[],
): Promise<KeyPair> {
  const isAddress = (name: string) => /^[\d.]+$|:/.test(name)
  const alternatives = names.map((name) => `${isAddress(name) ? "IP" : "DNS"}:${name}`)
  await request(directory, "server", [
    ...["-subj", "/CN=kube-apiserver", ...signedBy(directory)],
    ...["-addext", `subjectAltName=${alternatives.join(",")}`],
    ...["-addext", "basicConstraints=CA:FALSE"],
  ])
  return read(directory, "server")
}

/** A user's: the subject's CN is the name, each O a group. */
export async function makeClientCertificate(
  directory: string,
  user: string,
  groups: readonly string[],
): Promise<KeyPair> {
  const file = `client-${user.replaceAll(/[^\w.-]/g, "_")}`
  const subject = [...groups.map((group) => `/O=${group}`), `/CN=${user}`].join("")
  await request(directory, file, [
    ...["-subj", subject, ...signedBy(directory)],
    ...["-addext", "basicConstraints=CA:FALSE"],
    ...["-addext", "extendedKeyUsage=clientAuth"],
  ])
  return read(directory, file)
}

function signedBy(directory: string): string[] {
  return ["-CA", join(directory, "ca.crt"), "-CAkey", join(directory, "ca.key")]
}

async function request(directory: string, file: string, words: readonly string[]): Promise<void> {
  await execCommand([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-days", "30", "-keyout", join(directory, `${file}.key`)],
    ...["-out", join(directory, `${file}.crt`), ...words],
  ])
}

function read(directory: string, file: string): KeyPair {
  const certPath = join(directory, `${file}.crt`)
  const keyPath = join(directory, `${file}.key`)
  return {
    certPath,
    keyPath,
    cert: readFileSync(certPath, "utf8"),
    key: readFileSync(keyPath, "utf8"),
  }
}
