/**
 * Certificates of Ingresses, by the host that a client asks for. A host belongs to the oldest
 * Ingress whose Secret is good for it, and a certificate is shown for the hosts it was given alone,
 * whatever other names it has: nobody takes over another's host by writing a Secret. One that
 * cannot be used is reported, and its hosts get the listener's own.
 */
import type { ClusterView, Ingress, ObjectKey, Secret } from "../objects.ts"
import { type Finding, type IngressProblem, problemOf, warning } from "./problem.ts"

/** As `tls/certificate.ts` has them. The reader is passed in: domains do not know each other. */
export interface Certificate {
  readonly chainPem: string
  readonly keyPem: string
  /** Lower case; "*.example.com" stands for one label. */
  readonly names: readonly string[]
  readonly keyType: "rsa" | "ec" | "ed25519"
  /** Unix time, milliseconds. */
  readonly notBefore: number
  readonly notAfter: number
  readonly warnings: readonly string[]
}

export type ReadCertificate = (
  chainPem: string,
  keyPem: string,
) =>
  | { readonly ok: true; readonly certificate: Certificate }
  | { readonly ok: false; readonly blame: "cert" | "key"; readonly reason: string }

export interface IngressCertificate extends Certificate {
  readonly secret: ObjectKey
}

export interface CertificatesFound {
  /** By Secret; `names` are the hosts they are shown for. */
  readonly certificates: readonly IngressCertificate[]
  /** All that are to be reached by TLS, also with the listener's own certificate. */
  readonly hosts: ReadonlySet<string>
  readonly problems: readonly IngressProblem[]
}

export class Certificates {
  readonly #read: ReadCertificate
  readonly #known = new WeakMap<Secret, ReturnType<ReadCertificate>>()

  constructor(read: ReadCertificate) {
    this.#read = read
  }

  /** `ingresses` are ours, oldest first. */
  find(ingresses: Iterable<Ingress>, secrets: ClusterView["secrets"]): CertificatesFound {
    const hosts = new Set<string>()
    const owners = new Map<string, { readonly secret: ObjectKey; readonly by: Ingress }>()
    const certificates = new Map<ObjectKey, Certificate>()
    const problems: IngressProblem[] = []
    for (const ingress of ingresses) {
      for (const { hosts: listed, secretName } of ingress.tls) {
        const wanted = (listed.length > 0 ? listed : hostsOf(ingress)).map(lowerCase)
        if (listed.length > 0) for (const host of wanted) hosts.add(host)
        if (secretName === "") continue
        const secret = `${ingress.meta.namespace}/${secretName}`
        const result = this.#certificate(secret, secrets)
        if ("finding" in result) {
          problems.push(problemOf(ingress, result.finding))
          continue
        }
        certificates.set(secret, result.certificate)
        for (const host of wanted) {
          const claim = { host, secret, by: ingress, isListed: listed.length > 0 }
          const finding = claimProblem(claim, result.certificate, owners)
          if (finding !== undefined) problems.push(problemOf(ingress, finding))
          else if (covers(result.certificate, host)) {
            hosts.add(host)
            if (!owners.has(host)) owners.set(host, { secret, by: ingress })
          }
        }
      }
    }
    return { certificates: granted(certificates, owners), hosts, problems }
  }

  #certificate(
    key: ObjectKey,
    secrets: ClusterView["secrets"],
  ): { readonly certificate: Certificate } | { readonly finding: Finding } {
    const secret = secrets.get(key)
    if (secret === undefined) {
      const message = `there is no Secret ${key}; its hosts get the default certificate`
      return { finding: warning("SecretNotFound", message) }
    }
    const { "tls.crt": chainPem = "", "tls.key": keyPem = "" } = secret.data
    const result = this.#known.get(secret) ?? this.#read(chainPem, keyPem)
    this.#known.set(secret, result)
    if (result.ok) return result
    const part = { cert: "tls.crt", key: "tls.key" }[result.blame]
    const message = `${part} of the Secret ${key} ${result.reason}; the default one is shown`
    return { finding: warning("InvalidCertificate", message) }
  }
}

interface Claim {
  readonly host: string
  readonly secret: ObjectKey
  readonly by: Ingress
  /** The Ingress says that this Secret is for this host. */
  readonly isListed: boolean
}

function claimProblem(
  { host, secret, isListed }: Claim,
  certificate: Certificate,
  owners: ReadonlyMap<string, { readonly secret: ObjectKey; readonly by: Ingress }>,
): Finding | undefined {
  if (!covers(certificate, host)) {
    if (!isListed) return undefined
    const message = `the certificate of ${secret} is not for ${host}; the default one is shown`
    return warning("CertificateNotForHost", message)
  }
  const owner = owners.get(host)
  if (owner === undefined || owner.secret === secret) return undefined
  const { namespace, name } = owner.by.meta
  const message = `${host} has its certificate from ${namespace}/${name}, which is older`
  return warning("Conflict", message)
}

function granted(
  certificates: ReadonlyMap<ObjectKey, Certificate>,
  owners: ReadonlyMap<string, { readonly secret: ObjectKey }>,
): IngressCertificate[] {
  const names = Map.groupBy(owners.keys(), (host) => owners.get(host)?.secret ?? "")
  return [...names].flatMap(([secret, hosts]) => {
    const certificate = certificates.get(secret)
    return certificate === undefined ? [] : [{ ...certificate, secret, names: hosts.sort() }]
  })
}

/** A wildcard is for one label, and as a host only for itself. */
export function covers({ names }: Pick<Certificate, "names">, host: string): boolean {
  return names.includes(host) || names.includes(host.replace(/^[^*.][^.]*\./, "*."))
}

function hostsOf({ rules }: Ingress): string[] {
  return [...new Set(rules.map(({ host }) => host))].filter((host) => host !== "")
}

function lowerCase(host: string): string {
  return host.toLowerCase()
}
