/**
 * Authorities, token and client certificate, as files hold them now. A bound service-account token
 * lives an hour and certificates a year; both are replaced in their files while the program runs,
 * so the files are looked at again every few seconds of use, and at once after a 401.
 *
 * A file that cannot be read any more leaves what it said before in use: a rename in progress, or a
 * mount gone, is no reason to stop being somebody.
 */
import { existsSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { monotonicNow } from "../../linux/clock.ts"
import type { Instant } from "../../net/time.ts"
import type { ClusterAccess, Material } from "../kubeconfig.ts"

/** What a request needs, in `fetch`'s terms. */
export interface RequestCredentials {
  readonly tls: {
    readonly ca?: string
    readonly cert?: string
    readonly key?: string
    readonly serverName?: string
    readonly rejectUnauthorized: boolean
  }
  /** "": none. */
  readonly token: string
}

export type CredentialsResult =
  | { readonly ok: true; readonly credentials: RequestCredentials }
  | { readonly ok: false; readonly message: string }

export class Credentials {
  readonly #access: ClusterAccess
  readonly #now: () => Instant
  #current: RequestCredentials | undefined
  #readAt: Instant | undefined
  #problem: string | undefined
  #reading: Promise<CredentialsResult> | undefined

  constructor(
    access: ClusterAccess,
    { now = monotonicNow }: { readonly now?: () => Instant } = {},
  ) {
    this.#access = access
    this.#now = now
  }

  /** What to send now; reads the files when the last look is too old. */
  async current(): Promise<CredentialsResult> {
    const age = this.#readAt === undefined ? Number.POSITIVE_INFINITY : this.#now() - this.#readAt
    if (this.#current !== undefined && age < REREAD_MS) {
      return { ok: true, credentials: this.#current }
    }
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined
    })
    return await this.#reading
  }

  /** The server does not take them. True when the files hold others by now. */
  async refresh(): Promise<boolean> {
    const before = this.#current
    this.#readAt = undefined
    await this.current()
    return this.#current !== before
  }

  /** What keeps a file from being read; what it said before is in use, if it ever said anything. */
  problem(): string | undefined {
    return this.#problem
  }

  async #read(): Promise<CredentialsResult> {
    try {
      const credentials = await readCredentials(this.#access)
      // The same object while nothing changes: `refresh` tells by it.
      if (!Bun.deepEquals(credentials, this.#current)) this.#current = credentials
      this.#problem = undefined
    } catch (error) {
      this.#problem = error instanceof Error ? error.message : String(error)
    }
    this.#readAt = this.#now()
    if (this.#current !== undefined) return { ok: true, credentials: this.#current }
    return { ok: false, message: this.#problem ?? "" }
  }
}

async function readCredentials(access: ClusterAccess): Promise<RequestCredentials> {
  const ca = access.authorities ?? hostAuthorities()
  const certificate = access.clientCertificate
  return {
    tls: {
      ...(ca === undefined || !access.verify ? {} : { ca: await pem(ca, "authorities") }),
      ...(certificate === undefined
        ? {}
        : {
            cert: await pem(certificate.cert, "client certificate"),
            key: await pem(certificate.key, "client key"),
          }),
      ...(access.tlsServerName === "" ? {} : { serverName: access.tlsServerName }),
      rejectUnauthorized: access.verify,
    },
    token: access.token === undefined ? "" : await token(access.token),
  }
}

async function pem(material: Material, what: string): Promise<string> {
  const text = await textOf(material, what)
  if (text.includes("-----BEGIN ")) return text
  throw new Error(`Cannot use ${pathOf(material)} as ${what}: not PEM`)
}

/** One line of characters that a header field may hold (RFC 6750 §2.1 allows still fewer). */
async function token(material: Material): Promise<string> {
  const text = (await textOf(material, "token")).trim()
  if (/^[\x21-\x7e]+$/.test(text)) return text
  throw new Error(`Cannot use ${pathOf(material)} as token: empty, or not one line of text`)
}

async function textOf(material: Material, what: string): Promise<string> {
  if (material.type === "text") return material.text
  try {
    return await readFile(material.path, "utf8")
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error)
    throw new Error(`Cannot read ${material.path} (${what}): ${code}`)
  }
}

function pathOf(material: Material): string {
  return material.type === "file" ? material.path : "what the kubeconfig holds"
}

/** The bundle that this host's administrator keeps; without one, the one inside Bun. */
function hostAuthorities(): Material | undefined {
  const path = HOST_BUNDLES.find((each) => existsSync(each))
  return path === undefined ? undefined : { type: "file", path }
}

const HOST_BUNDLES = [
  "/etc/ssl/certs/ca-certificates.crt", // Debian, Ubuntu, Alpine
  "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora, RHEL
]
const REREAD_MS = 10_000
