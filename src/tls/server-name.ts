/**
 * Which certificates answer for a name: those that carry it exactly, else those with a wildcard for
 * it (one label, RFC 9525 §6.3), else the first, where it is meant for everybody. Of several the
 * first of each key type is taken, so that OpenSSL can show ECDSA to whoever verifies it, and RSA
 * to the others.
 */
import type { CertificateSpec } from "./tls-spec.ts"

type Named = Pick<CertificateSpec, "names" | "keyType">

export class ServerNames {
  readonly #certificates: readonly Named[]
  readonly #exact = new Map<string, number[]>()
  /** By what follows the asterisk and its dot. */
  readonly #wildcards = new Map<string, number[]>()
  readonly #hasDefault: boolean
  readonly #default: readonly number[]

  /** Names in lower case. */
  constructor(certificates: readonly Named[], { hasDefault }: { readonly hasDefault: boolean }) {
    this.#certificates = certificates
    for (const [index, { names }] of certificates.entries()) {
      for (const name of names) {
        if (name.startsWith("*.")) append(this.#wildcards, name.slice(2), index)
        else append(this.#exact, name, index)
      }
    }
    this.#hasDefault = hasDefault
    this.#default = hasDefault ? this.#companions(0) : []
  }

  /** Whether all names lead to the same certificates, so that none need be known. */
  get isSingle(): boolean {
    return this.#hasDefault && this.#certificates.length === this.#default.length
  }

  /** Indices of the certificates to show, one per key type; empty: none is for this name. */
  select(serverName: string): readonly number[] {
    const candidates = this.#candidates(serverName)
    return candidates === undefined ? this.#default : this.#firstOfEachType(candidates)
  }

  #candidates(serverName: string): readonly number[] | undefined {
    const exact = this.#exact.get(serverName)
    if (exact !== undefined) return exact
    const dot = serverName.indexOf(".")
    return dot <= 0 ? undefined : this.#wildcards.get(serverName.slice(dot + 1))
  }

  /** A certificate, and those of other key types with the same names. */
  #companions(index: number): readonly number[] {
    const names = this.#nameKey(index)
    const same = [...this.#certificates.keys()].filter((other) => this.#nameKey(other) === names)
    return this.#firstOfEachType(same)
  }

  #nameKey(index: number): string {
    return [...(this.#certificates[index]?.names ?? [])].sort().join()
  }

  #firstOfEachType(indices: readonly number[]): readonly number[] {
    const typeOf = (index: number) => this.#certificates[index]?.keyType
    return indices.filter(
      (index, at) => indices.findIndex((other) => typeOf(other) === typeOf(index)) === at,
    )
  }
}

function append(map: Map<string, number[]>, key: string, index: number): void {
  const list = map.get(key)
  if (list === undefined) map.set(key, [index])
  else if (!list.includes(index)) list.push(index)
}
