/**
 * `auth-url`: another server says who may pass. It is asked over a pool, so it must be one that the
 * edge can reach by itself: a Service by its name in the cluster, or, by "$host", a path of the
 * same host that some Ingress serves, which is how oauth2-proxy is set up.
 */
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"
import { TOKEN } from "./text-kinds.ts"

export interface ExternalAuth {
  readonly server: AuthServer
  /** Path and query that are asked for. */
  readonly path: string
  /** Fields of its answer that the request gets. */
  readonly copyHeaders: readonly string[]
  /** Where a client without a login is sent, with "$host" in it perhaps; "": nowhere. */
  readonly signin: string
}

export type AuthServer =
  | {
      readonly type: "service"
      readonly namespace: string
      readonly service: string
      readonly port: number
      readonly isTls: boolean
    }
  /** Whoever serves that path of the request's host. */
  | { readonly type: "host" }

/** Or why it cannot be asked. */
export function readExternalAuth(reader: AnnotationReader): ExternalAuth | string | undefined {
  const url = reader.raw("auth-url")
  const signin = readSignin(reader)
  const copyHeaders = readCopied(reader)
  const method = reader.raw("auth-method") ?? "GET"
  if (url === undefined) return undefined
  if (method !== "GET") return `${PREFIX}auth-method: only "GET" is served here`
  const match = AUTH_URL.exec(url)
  if (match === null) {
    return `${PREFIX}auth-url must name a Service (http://NAME.NAMESPACE.svc/PATH) or $host`
  }
  const [, scheme = "", service, namespace = "", port, path = ""] = match
  const isTls = scheme.toLowerCase() === "https"
  const number = port === undefined ? (isTls ? 443 : 80) : Number(port)
  const server: AuthServer =
    service === undefined
      ? { type: "host" }
      : { type: "service", namespace, service, port: number, isTls }
  return { server, path: path === "" ? "/" : path, copyHeaders, signin }
}

/** What frames a message, or tells of its client, is the edge's alone: see `isOurs` for files. */
function readCopied(reader: AnnotationReader): readonly string[] {
  const names = reader.texts("auth-response-headers", FIELDS) ?? []
  const refused = names.filter((name) => EDGE_FIELDS.test(name))
  if (refused.length === 0) return names
  const message = `${PREFIX}auth-response-headers: ${refused.join(", ")} is not copied`
  reader.warn("InvalidAnnotation", message)
  return names.filter((name) => !refused.includes(name))
}

/** Without the address to come back to, which is added when a client is sent there. */
function readSignin(reader: AnnotationReader): string {
  const value = reader.raw("auth-signin")
  if (value === undefined) return ""
  const signin = value.replace(/([?&])rd=\$[a-z_]+(&|$)/, "$1").replace(/[?&]$/, "")
  if (SIGNIN_URL.test(signin)) return signin
  const message = `${PREFIX}auth-signin is not a URL, with $host or rd=$escaped_request_uri at most`
  reader.warn("InvalidAnnotation", message)
  return ""
}

const LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
const SERVICE = String.raw`(${LABEL})\.(${LABEL})\.svc(?:\.[a-z0-9.-]+)?`
const AUTH_URL = new RegExp(
  String.raw`^(https?)://(?:\$host|${SERVICE})(?::(\d{1,5}))?(/[\x21\x23\x25-\x5b\x5d-\x7e]*)?$`,
  "i",
)
const SIGNIN_URL =
  /^https?:\/\/(?:\$host|[A-Za-z0-9_.-]+(?::\d{1,5})?)(?:\/[\x21\x23\x25-\x5b\x5d-\x7e]*)?$/
const EDGE_FIELDS = new RegExp(
  "^(connection|content-length|expect|forwarded|host|http2-settings|keep-alive|proxy|" +
    "proxy-connection|te|trailer|transfer-encoding|upgrade|x-forwarded-(for|host|port|proto)|" +
    "x-real-ip|x-request-id|x-ssl-client-s-dn)$",
  "i",
)
const FIELDS = { pattern: TOKEN.pattern, expected: "header names separated by commas" }
