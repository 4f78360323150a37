/** Session affinity by cookie. */
import type { StickyConfig } from "../../config/http-config.ts"
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"
import { TOKEN } from "./text-kinds.ts"

export interface StickyOptions {
  readonly cookie: string
  /** "": the path of the rule. */
  readonly path: string
  /** "": none. */
  readonly domain: string
  /** undefined: where clients are sent to https. */
  readonly isSecure: boolean | undefined
  readonly sameSite: StickyConfig["sameSite"] | undefined
  /** undefined: until the browser is closed. */
  readonly maxAgeMs: number | undefined
}

export function readSticky(reader: AnnotationReader): StickyOptions | undefined {
  const affinity = reader.raw("affinity")
  const sticky = {
    cookie: reader.text("session-cookie-name", TOKEN) ?? "INGRESSCOOKIE",
    path: reader.text("session-cookie-path", COOKIE_PATH) ?? "",
    domain: reader.text("session-cookie-domain", COOKIE_DOMAIN) ?? "",
    isSecure: reader.boolean("session-cookie-secure"),
    sameSite: reader.choice("session-cookie-samesite", ["strict", "lax", "none"]),
    maxAgeMs: readAge(reader),
  }
  // Read so that they are known: a failed server always loses its sessions here, and a cookie that
  // names one is kept as long as that server lives, which is what both modes come to.
  reader.choice("affinity-mode", ["balanced", "persistent"])
  reader.boolean("session-cookie-change-on-failure")
  if (affinity === undefined) return undefined
  if (affinity === "cookie") return sticky
  const message = `${PREFIX}affinity: only "cookie" is served; it is not used`
  reader.warn("InvalidAnnotation", message)
  return undefined
}

/** Max-Age goes before Expires (RFC 6265 §5.3), and all browsers know it. */
function readAge(reader: AnnotationReader): number | undefined {
  const expires = reader.seconds("session-cookie-expires")
  return reader.seconds("session-cookie-max-age") ?? expires
}

const COOKIE_PATH = {
  pattern: /^\/[\x21-\x3a\x3c-\x7e]{0,255}$/,
  expected: "a path without blanks and semicolons",
}
const COOKIE_DOMAIN = {
  pattern: /^\.?[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$/,
  expected: "a host name",
}
