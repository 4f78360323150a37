/** How servers are spoken to: what makes a pool of its own. */
import type { ObjectKey } from "../objects.ts"
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"
import { SECRET_NAME } from "./text-kinds.ts"

export interface BackendOptions {
  /** "unserved": a protocol that is not spoken here. */
  readonly protocol: "http" | "https" | "unserved"
  /** With "https". */
  readonly tls: BackendTls | undefined
  readonly connectTimeoutMs: number | undefined
}

export interface BackendTls {
  readonly verify: boolean
  /** "": the server's address. */
  readonly serverName: string
  /** `ca.crt` to verify with, `tls.crt` and `tls.key` to show; "": none. */
  readonly secret: ObjectKey | ""
  readonly minVersion: "1.2" | "1.3"
}

export function readBackend(reader: AnnotationReader, namespace: string): BackendOptions {
  const protocol = readProtocol(reader)
  const seconds = reader.seconds("proxy-connect-timeout")
  const verify = reader.choice("proxy-ssl-verify", ["on", "off"]) === "on"
  const asksName = reader.choice("proxy-ssl-server-name", ["on", "off"])
  const name = reader.text("proxy-ssl-name", SERVER_NAME) ?? ""
  const secret = reader.text("proxy-ssl-secret", SECRET_NAME) ?? ""
  const protocols = reader.raw("proxy-ssl-protocols")
  // Anything below is too old to be asked for.
  const minVersion = protocols === "TLSv1.3" ? "1.3" : "1.2"
  const key = secret === "" || secret.includes("/") ? secret : `${namespace}/${secret}`
  const serverName = asksName === "off" && !verify ? "" : name
  const tls =
    protocol === "https" ? ({ verify, serverName, secret: key, minVersion } as const) : undefined
  return { protocol, tls, connectTimeoutMs: seconds }
}

function readProtocol(reader: AnnotationReader): BackendOptions["protocol"] {
  const value = reader.raw("backend-protocol")?.toUpperCase()
  if (value === undefined || value === "HTTP" || value === "AUTO_HTTP") return "http"
  if (value === "HTTPS") return "https"
  if (["GRPC", "GRPCS", "FCGI", "AJP"].includes(value)) {
    const message = `${PREFIX}backend-protocol: ${value} is not spoken here; answered with 503`
    reader.warn("UnsupportedAnnotation", message)
    return "unserved"
  }
  const message = `${PREFIX}backend-protocol must be "HTTP" or "HTTPS"; HTTP is used`
  reader.warn("InvalidAnnotation", message)
  return "http"
}

const SERVER_NAME = { pattern: /^[A-Za-z0-9_.-]{1,253}$/, expected: "a host name" }
