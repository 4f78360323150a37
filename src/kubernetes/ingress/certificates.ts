/**
 * Certificates of Ingresses, by the host that a client asks for. A host belongs to the oldest
 * Ingress whose Secret is good for it, and a certificate is shown for the hosts it was given alone,
 * whatever other names it has. What has rules for a host is asked first: with the oldest of those
 * the host belongs to their namespace, and nobody in another takes it over by writing a Secret, nor
 * has its plain requests sent to TLS. One that cannot be used is reported, and its hosts get the
 * listener's own.
 */
import {
  type ClusterView,
  type Ingress,
  type IngressTls,
  keyOf,
  type ObjectKey,
  type Secret,
} from "../objects.ts"
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
    const inOrder = [...ingresses]
    const claims = new Claims(inOrder)
    for (const ingress of inOrder) {
      for (const entry of ingress.tls) {
        claims.list(ingress, entry)
        if (entry.secretName === "") continue
        const secret = `${ingress.meta.namespace}/${entry.secretName}`
        const result = this.#certificate(secret, secrets)
        if ("finding" in result) claims.problems.push(problemOf(ingress, result.finding))
        else claims.claim({ secret, by: ingress, entry, certificate: result.certificate })
      }
    }
    return claims
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
  readonly secret: ObjectKey
  readonly by: Ingress
  readonly entry: IngressTls
  readonly certificate: Certificate
}

/** Who has which host. */
class Claims implements CertificatesFound {
  readonly hosts = new Set<string>()
  readonly problems: IngressProblem[] = []
  readonly #owners = new Map<string, Claim>()
  /** Of hosts that have rules. */
  readonly #namespaces = new Map<string, string>()

  constructor(ingresses: readonly Ingress[]) {
    for (const ingress of ingresses) {
      for (const host of hostsOf(ingress)) {
        if (!this.#namespaces.has(host)) this.#namespaces.set(host, ingress.meta.namespace)
      }
    }
  }

  get certificates(): IngressCertificate[] {
    const granted = Map.groupBy(this.#owners, ([, { secret }]) => secret)
    return [...granted.values()].flatMap((owned) => {
      const claim = owned[0]?.[1]
      const names = owned.map(([host]) => host).sort()
      return claim === undefined ? [] : [{ ...claim.certificate, secret: claim.secret, names }]
    })
  }

  /** Hosts that an Ingress wants by TLS, with whatever certificate. */
  list(by: Ingress, { hosts }: IngressTls): void {
    for (const host of hosts.map((each) => each.toLowerCase())) {
      if (this.#mayHave(by, host)) this.hosts.add(host)
      else {
        const namespace = this.#namespaces.get(host)
        this.#report(by, "Conflict", `${host} belongs to the namespace ${namespace}; left out`)
      }
    }
  }

  #mayHave({ meta }: Ingress, host: string): boolean {
    return (this.#namespaces.get(host) ?? meta.namespace) === meta.namespace
  }

  /** Without hosts of its own an entry is for those of the rules, as far as the names go. */
  claim(claim: Claim): void {
    const { by, entry, certificate } = claim
    const listed = entry.hosts.length > 0 ? entry.hosts : hostsOf(by)
    for (const host of listed.map((each) => each.toLowerCase())) {
      if (!this.#mayHave(by, host)) continue
      if (covers(certificate, host)) this.#take(host, claim)
      else if (entry.hosts.length > 0) {
        const message = `the certificate of ${claim.secret} is not for ${host}`
        this.#report(by, "CertificateNotForHost", `${message}; the default one is shown`)
      }
    }
  }

  #take(host: string, claim: Claim): void {
    this.hosts.add(host)
    const owner = this.#owners.get(host)
    if (owner === undefined) this.#owners.set(host, claim)
    else if (owner.secret !== claim.secret) {
      const message = `${host} has its certificate from ${keyOf(owner.by.meta)}, which is older`
      this.#report(claim.by, "Conflict", message)
    }
  }

  #report(ingress: Ingress, reason: Finding["reason"], message: string): void {
    this.problems.push(problemOf(ingress, warning(reason, message)))
  }
}

/** A wildcard is for one label, and as a host only for itself. */
export function covers({ names }: Pick<Certificate, "names">, host: string): boolean {
  return names.includes(host) || names.includes(host.replace(/^[^*.][^.]*\./, "*."))
}

function hostsOf({ rules }: Ingress): string[] {
  return [...new Set(rules.map(({ host }) => host.toLowerCase()))].filter((host) => host !== "")
}
