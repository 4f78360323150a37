/**
 * The TLS files of all `[[http]]`: read and checked as a whole, kept for what asks for them, and
 * looked at from time to time, because certificates are renewed without anybody telling us.
 */
import type { Config } from "../config/config.ts"
import { TICKET_KEYS_BYTES } from "../linux/ssl-context.ts"
import { expiryWarning } from "../tls/expiry.ts"
import { type CertificateFacts, loadServerTls } from "../tls/shell/certificate-files.ts"
import { loadClientTls } from "../tls/shell/client-files.ts"
import type { ReadFile, TlsFileProblem } from "../tls/shell/file-reader.ts"
import { FileWatch } from "../tls/shell/file-watch.ts"
import type { ClientTlsSpec, ServerTlsSpec } from "../tls/tls-spec.ts"

/** What was read for one configuration. */
export interface TlsFiles {
  readonly specs: ReadonlyMap<string, ServerTlsSpec>
  /** Towards the servers, by pool. */
  readonly pools: ReadonlyMap<string, ClientTlsSpec>
  readonly certificates: ReadonlyMap<string, readonly CertificateFacts[]>
  readonly warnings: readonly string[]
  readonly read: readonly ReadFile[]
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

  spec(http: string): ServerTlsSpec | undefined {
    return this.#files.specs.get(http)
  }

  poolSpec(pool: string): ClientTlsSpec | undefined {
    return this.#files.pools.get(pool)
  }

  certificates(http: string): readonly CertificateFacts[] {
    return this.#files.certificates.get(http) ?? []
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
