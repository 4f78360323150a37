/**
 * The TLS files of all `[[http]]`: read and checked as a whole, kept for what asks for them, and
 * looked at from time to time, because certificates are renewed without anybody telling us.
 */
import { createHash } from "node:crypto"
import type { Config, PoolConfig, PoolTlsConfig } from "../config/config.ts"
import { TICKET_KEYS_BYTES } from "../linux/ssl-context.ts"
import { expiryWarning } from "../tls/expiry.ts"
import { type CertificateFacts, loadServerTls } from "../tls/shell/certificate-files.ts"
import { loadClientTls } from "../tls/shell/client-files.ts"
import type { ReadFile, TlsFileProblem } from "../tls/shell/file-reader.ts"
import { FileWatch } from "../tls/shell/file-watch.ts"
import type { CertificateSpec, ClientTlsSpec, ServerTlsSpec } from "../tls/tls-spec.ts"

/** What was read for one configuration. */
export interface TlsFiles {
  readonly specs: ReadonlyMap<string, ServerTlsSpec>
  /** Towards the servers, by pool. */
  readonly pools: ReadonlyMap<string, ClientTlsSpec>
  readonly certificates: ReadonlyMap<string, readonly CertificateFacts[]>
  readonly warnings: readonly string[]
  readonly read: readonly ReadFile[]
}

/** What a cluster adds. */
export interface ClusterTls {
  /** `[[http]]` with `ingress = true`. */
  readonly listeners: ReadonlySet<string>
  readonly certificates: readonly (CertificateSpec & {
    /** "namespace/name". */
    readonly secret: string
    readonly notBefore: number
    readonly notAfter: number
  })[]
  readonly pools: readonly Pick<PoolConfig, "name" | "tls">[]
}

export class TlsStore {
  readonly #onChange: () => void
  /** Of listeners without a key file: the same in all threads, for as long as the process lives. */
  readonly #ticketKeys = crypto.getRandomValues(new Uint8Array(TICKET_KEYS_BYTES))
  #files: TlsFiles = {
    specs: new Map(),
    pools: new Map(),
    certificates: new Map(),
    warnings: [],
    read: [],
  }
  #watch: FileWatch | undefined
  #cluster: ClusterTls = { listeners: new Set(), certificates: [], pools: [] }
  /** With the cluster's certificates, by listener. */
  readonly #clusterSpecs = new Map<string, { base: ServerTlsSpec; spec: ServerTlsSpec }>()
  #clusterPools = new Map<string, { config: PoolTlsConfig; spec: ClientTlsSpec }>()

  /** `onChange` is called when a file that is in use has changed. */
  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  /** Reads the files that `config` names; changes nothing. Throws with all that is wrong. */
  load(config: Pick<Config, "http" | "pools">): TlsFiles {
    const specs = new Map<string, ServerTlsSpec>()
    const certificates = new Map<string, readonly CertificateFacts[]>()
    const problems: TlsFileProblem[] = []
    const warnings: TlsFileProblem[] = []
    const read: ReadFile[] = []
    for (const { name, tls } of config.http) {
      if (tls === undefined) continue
      const loaded = loadServerTls(tls, { listener: name, ticketKeys: this.#ticketKeys })
      if (!loaded.ok) problems.push(...loaded.problems)
      else {
        specs.set(name, loaded.spec)
        certificates.set(name, loaded.certificates)
        warnings.push(...loaded.warnings, ...expiryWarnings(loaded.certificates))
        read.push(...loaded.files)
      }
    }
    const pools = new Map<string, ClientTlsSpec>()
    for (const { name, tls } of config.pools) {
      if (tls === undefined) continue
      const loaded = loadClientTls(tls)
      if (!loaded.ok) problems.push(...loaded.problems)
      else {
        pools.set(name, loaded.spec)
        warnings.push(...loaded.warnings)
        read.push(...loaded.files)
      }
    }
    // A host without OpenSSL is the same problem for all of them.
    const lines = [...new Set(problems.map(formatProblem))]
    if (lines.length > 0) throw new Error(lines.join("\n"))
    return { specs, pools, certificates, warnings: warnings.map(formatProblem), read }
  }

  /** Makes what was loaded what is served. */
  use(files: TlsFiles): void {
    this.#files = files
    this.#watch?.stop()
    this.#watch = new FileWatch(files.read, this.#onChange)
    this.#watch.start()
  }

  /**
   * Takes over what the cluster has: certificates, for the listeners that serve its Ingresses, and
   * TLS towards its pools. Returns the pools whose TLS cannot be used, and why.
   */
  useCluster(cluster: ClusterTls): ReadonlyMap<string, string> {
    if (cluster.certificates !== this.#cluster.certificates) this.#clusterSpecs.clear()
    this.#cluster = cluster
    const refused = new Map<string, string>()
    const known = this.#clusterPools
    this.#clusterPools = new Map()
    for (const { name, tls } of cluster.pools) {
      if (tls === undefined) continue
      const before = known.get(name)
      if (before !== undefined && Bun.deepEquals(before.config, tls)) {
        this.#clusterPools.set(name, before)
        continue
      }
      const loaded = loadClientTls(tls)
      if (loaded.ok) this.#clusterPools.set(name, { config: tls, spec: loaded.spec })
      else refused.set(name, loaded.problems.map(formatProblem).join("; "))
    }
    return refused
  }

  spec(http: string): ServerTlsSpec | undefined {
    const base = this.#files.specs.get(http)
    const { listeners, certificates } = this.#cluster
    if (base === undefined || certificates.length === 0 || !listeners.has(http)) return base
    const known = this.#clusterSpecs.get(http)
    if (known?.base === base) return known.spec
    const added = certificates.map(({ chainPem, keyPem, names, keyType }) => {
      return { chainPem, keyPem, names, keyType }
    })
    const hash = createHash("sha256").update(base.id).update(JSON.stringify(added))
    const spec = {
      ...base,
      id: hash.digest("hex"),
      certificates: [...base.certificates, ...added],
    }
    this.#clusterSpecs.set(http, { base, spec })
    return spec
  }

  poolSpec(pool: string): ClientTlsSpec | undefined {
    return this.#files.pools.get(pool) ?? this.#clusterPools.get(pool)?.spec
  }

  certificates(http: string): readonly CertificateFacts[] {
    const ofFiles = this.#files.certificates.get(http) ?? []
    if (!this.#cluster.listeners.has(http)) return ofFiles
    const ofCluster = this.#cluster.certificates.map(({ secret, ...facts }) => {
      const { names, keyType, notBefore, notAfter } = facts
      return { file: `Secret ${secret}`, names, keyType, notBefore, notAfter }
    })
    return [...ofFiles, ...ofCluster]
  }

  get files(): TlsFiles {
    return this.#files
  }

  get warnings(): readonly string[] {
    return this.#files.warnings
  }

  close(): void {
    this.#watch?.stop()
  }
}

function expiryWarnings(certificates: readonly CertificateFacts[]): TlsFileProblem[] {
  return certificates.flatMap((facts) => {
    const reason = expiryWarning(facts, Date.now())
    return reason === "" ? [] : [{ file: facts.file, reason }]
  })
}

function formatProblem({ file, reason }: TlsFileProblem): string {
  return file === "" ? reason : `${file} ${reason}`
}
