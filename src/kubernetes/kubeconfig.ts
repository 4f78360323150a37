/**
 * How to reach the API server and as whom: read from a kubeconfig, or from the few keys that
 * `[kubernetes]` has instead of one. Only says where credentials are; `shell/credentials.ts` reads
 * them, again and again, because tokens and certificates rotate.
 *
 * What cannot be honoured is refused by name and never skipped: an exec plugin left out silently
 * would make a user "system:anonymous" and every message after that a riddle. Programs are not run,
 * because a daemon that holds virtual addresses should not depend on one.
 *
 * https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
 */
import type { KubernetesConfig } from "../config/config.ts"

export interface ClusterAccess {
  /** "https://192.0.2.10:6443", without a slash at the end. */
  readonly server: string
  /** Authorities believed; undefined: the host's. */
  readonly authorities: Material | undefined
  /** False with insecure-skip-tls-verify. */
  readonly verify: boolean
  /** Name asked for and verified; "": the one in `server`. */
  readonly tlsServerName: string
  readonly token: Material | undefined
  readonly clientCertificate: { readonly cert: Material; readonly key: Material } | undefined
  /** Of the context; "default" where it names none. */
  readonly namespace: string
  /** Name of the context; "" without a kubeconfig. */
  readonly context: string
}

/** PEM or a token: at hand, or in a file that may be replaced at any time. */
export type Material =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "file"; readonly path: string }

export type KubeconfigResult =
  | { readonly ok: true; readonly access: ClusterAccess }
  | {
      readonly ok: false
      readonly reason: KubeconfigProblem
      /** What, where, and what to do. */
      readonly message: string
    }

export type KubeconfigProblem =
  | "not_yaml"
  | "not_a_kubeconfig"
  | "missing_context"
  | "missing_cluster"
  | "missing_user"
  | "bad_server"
  | "bad_value"
  | "exec_plugin"
  | "auth_provider"
  | "password"
  | "impersonation"
  | "proxy"
  | "plain_credentials"

export interface KubeconfigOptions {
  /** Folder of the kubeconfig: relative names in it start there. */
  readonly directory: string
  /** "": the file's current-context. */
  readonly context: string
  /** Throws on what is not YAML. */
  readonly parseYaml: (text: string) => unknown
}

/** Reads the text of a kubeconfig. */
export function readKubeconfig(text: string, options: KubeconfigOptions): KubeconfigResult {
  try {
    const file = parse(text, options.parseYaml)
    const contextName = options.context || textAt(file, "current-context", "")
    if (contextName === "") {
      return fail(
        "missing_context",
        "The kubeconfig has no current-context: name one with kubernetes.context",
      )
    }
    const context = entry(file, "contexts", contextName)
    const cluster = entry(file, "clusters", textAt(context.value, "cluster", context.where))
    const user = entry(file, "users", textAt(context.value, "user", context.where))
    return { ok: true, access: accessOf({ contextName, context, cluster, user }, options) }
  } catch (error) {
    if (error instanceof Refusal) return fail(error.reason, error.message)
    throw error
  }
}

/** From `api_server`, `ca_file` and `token_file`. */
export function accessWithoutKubeconfig(
  config: Pick<KubernetesConfig, "apiServer" | "caFile" | "tokenFile">,
): KubeconfigResult {
  try {
    const access: ClusterAccess = {
      server: serverUrl(config.apiServer, "kubernetes.api_server"),
      authorities: fileOrNone(config.caFile),
      verify: true,
      tlsServerName: "",
      token: fileOrNone(config.tokenFile),
      clientCertificate: undefined,
      namespace: "default",
      context: "",
    }
    refusePlainCredentials(access)
    return { ok: true, access }
  } catch (error) {
    if (error instanceof Refusal) return fail(error.reason, error.message)
    throw error
  }
}

type Fields = Readonly<Record<string, unknown>>

/** A named entry of one of the three lists. */
interface Entry {
  readonly value: Fields
  /** For messages: `users "edge"`. */
  readonly where: string
}

interface Parts {
  readonly contextName: string
  readonly context: Entry
  readonly cluster: Entry
  readonly user: Entry
}

class Refusal extends Error {
  readonly reason: KubeconfigProblem

  constructor(reason: KubeconfigProblem, message: string) {
    super(message)
    this.reason = reason
  }
}

function parse(text: string, parseYaml: (text: string) => unknown): Fields {
  let value: unknown
  try {
    value = parseYaml(text)
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    throw new Refusal("not_yaml", `The kubeconfig is not YAML: ${detail}`)
  }
  if (!isFields(value))
    throw new Refusal("not_a_kubeconfig", "The kubeconfig is not a YAML mapping")
  const kind = value["kind"]
  if (kind !== undefined && kind !== "Config") {
    throw new Refusal(
      "not_a_kubeconfig",
      `The kubeconfig has kind ${quote(kind)} instead of Config`,
    )
  }
  return value
}

const MISSING = {
  contexts: "missing_context",
  clusters: "missing_cluster",
  users: "missing_user",
} as const satisfies Record<string, KubeconfigProblem>

const INNER = { contexts: "context", clusters: "cluster", users: "user" } as const

function entry(file: Fields, list: keyof typeof INNER, name: string): Entry {
  const entries = Array.isArray(file[list]) ? file[list].filter(isFields) : []
  const found = entries.find((each) => each["name"] === name)
  if (found === undefined) {
    const names = entries.map((each) => quote(each["name"])).join(", ") || "none"
    throw new Refusal(
      MISSING[list],
      `The kubeconfig has no ${INNER[list]} ${quote(name)} in ${list} (there: ${names})`,
    )
  }
  const value = found[INNER[list]] ?? {}
  const where = `${list} ${quote(name)}`
  if (!isFields(value))
    throw new Refusal("bad_value", `${where} in the kubeconfig is not a mapping`)
  return { value, where }
}

function accessOf(parts: Parts, options: KubeconfigOptions): ClusterAccess {
  const { cluster, user } = parts
  refuseCluster(cluster)
  refuseUser(user)
  const token = textAt(user.value, "token", user.where)
  const access: ClusterAccess = {
    server: serverUrl(textAt(cluster.value, "server", cluster.where), cluster.where),
    authorities: pem(cluster, "certificate-authority", options.directory),
    verify: cluster.value["insecure-skip-tls-verify"] !== true,
    tlsServerName: textAt(cluster.value, "tls-server-name", cluster.where),
    // As kubectl reads them: the file wins over the text beside it.
    token:
      fileIn(user, "tokenFile", options.directory) ??
      (token === "" ? undefined : { type: "text", text: token }),
    clientCertificate: clientCertificate(user, options.directory),
    namespace: textAt(parts.context.value, "namespace", parts.context.where) || "default",
    context: parts.contextName,
  }
  if (!access.verify && access.authorities !== undefined) {
    throw new Refusal(
      "bad_value",
      `${cluster.where} has both insecure-skip-tls-verify and a certificate-authority: remove one`,
    )
  }
  refusePlainCredentials(access)
  return access
}

function refuseCluster({ value, where }: Entry): void {
  if (isGiven(value["proxy-url"])) {
    throw new Refusal(
      "proxy",
      `${where} has a proxy-url: Causeway reaches the API server directly; remove it`,
    )
  }
}

function refuseUser({ value, where }: Entry): void {
  if (isGiven(value["exec"])) {
    const command = isFields(value["exec"]) ? quote(value["exec"]["command"]) : "a program"
    throw new Refusal(
      "exec_plugin",
      `${where} gets its credentials from ${command} (exec), which is not run: ` +
        "use a token, a tokenFile or a client certificate",
    )
  }
  if (isGiven(value["auth-provider"])) {
    throw new Refusal(
      "auth_provider",
      `${where} has an auth-provider: use a token, a tokenFile or a client certificate`,
    )
  }
  if (isGiven(value["username"]) || isGiven(value["password"])) {
    throw new Refusal(
      "password",
      `${where} has a username or password, which no API server takes since Kubernetes 1.19: ` +
        "use a token, a tokenFile or a client certificate",
    )
  }
  if (Object.keys(value).some((key) => /^as($|-)/.test(key) && isGiven(value[key]))) {
    throw new Refusal(
      "impersonation",
      `${where} impersonates another user (as): name a user of its own`,
    )
  }
}

/** Only a server on this very host may see them in plain text (`kubectl proxy`, tests). */
function refusePlainCredentials(access: ClusterAccess): void {
  if (access.server.startsWith("https:")) return
  const { hostname } = new URL(access.server)
  if (/^(localhost|127\.[\d.]+|\[::1\])$/.test(hostname)) return
  if (access.token === undefined) return
  throw new Refusal(
    "plain_credentials",
    `${access.server} would get the token over a plain connection: use https`,
  )
}

function clientCertificate(user: Entry, directory: string): ClusterAccess["clientCertificate"] {
  const cert = pem(user, "client-certificate", directory)
  const key = pem(user, "client-key", directory)
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) {
    const missing = cert === undefined ? "client-certificate" : "client-key"
    throw new Refusal("bad_value", `${user.where} has no ${missing} to go with the other half`)
  }
  return { cert, key }
}

/** `name-data` holds PEM in base64 and wins over the path in `name`. */
function pem(where: Entry, name: string, directory: string): Material | undefined {
  const encoded = textAt(where.value, `${name}-data`, where.where)
  if (encoded === "") return fileIn(where, name, directory)
  const text = Buffer.from(encoded, "base64").toString("latin1")
  if (!text.includes("-----BEGIN ")) {
    throw new Refusal("bad_value", `${name}-data of ${where.where} is not PEM in base64`)
  }
  return { type: "text", text }
}

function fileIn(where: Entry, name: string, directory: string): Material | undefined {
  const path = textAt(where.value, name, where.where)
  if (path === "") return undefined
  return { type: "file", path: path.startsWith("/") ? path : `${directory}/${path}` }
}

function fileOrNone(path: string): Material | undefined {
  return path === "" ? undefined : { type: "file", path }
}

function serverUrl(text: string, where: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isUsable =
    url !== undefined &&
    /^https?:$/.test(url.protocol) &&
    `${url.username}${url.password}${url.search}${url.hash}` === ""
  if (!isUsable) {
    throw new Refusal(
      "bad_server",
      `${where} has server ${quote(text)} instead of a URL such as "https://192.0.2.10:6443"`,
    )
  }
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}`
}

/** "" where there is none. */
function textAt(fields: Fields, name: string, where: string): string {
  const value = fields[name] ?? ""
  if (typeof value === "string") return value
  throw new Refusal("bad_value", `${name} of ${where || "the kubeconfig"} is not a text`)
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function isGiven(value: unknown): boolean {
  return value !== undefined && value !== null && value !== ""
}

function quote(value: unknown): string {
  return JSON.stringify(value) ?? "(nothing)"
}

function fail(reason: KubeconfigProblem, message: string): KubeconfigResult {
  return { ok: false, reason, message }
}
