/**
 * What ingress-nginx knows and we do not serve, each with what that means; and what nobody knows.
 * Snippets are configuration of another program, written by whoever may write an Ingress: they are
 * refused by name.
 */
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"

/** Call it last: what has been read by then is served. */
export function reportRest(reader: AnnotationReader): void {
  for (const name of reader.unknown()) {
    const full = PREFIX + name
    if (name.endsWith("-snippet")) {
      reader.warn("RefusedSnippet", `${full} is refused: snippets of nginx are never applied`)
    } else if (WITHOUT_EFFECT.has(name)) {
      reader.notice("UnsupportedAnnotation", `${full} has no effect here and needs none`)
    } else if (UNSERVED.some((pattern) => pattern.test(name))) {
      reader.warn("UnsupportedAnnotation", `${full} is not served here; it is not used`)
    } else reader.notice("UnknownAnnotation", `${full} is not known`)
  }
}

/** Tunes what nginx has to be told, or what is so anyway: bodies are never held whole. */
const WITHOUT_EFFECT = new Set([
  "client-body-buffer-size",
  "proxy-buffer-size",
  "proxy-buffering",
  "proxy-buffers-number",
  "proxy-busy-buffers-size",
  "proxy-http-version",
  "proxy-max-temp-file-size",
  "proxy-request-buffering",
  "preserve-trailing-slash",
  "http2-push-preload",
  "service-upstream",
  "enable-rewrite-log",
  "auth-cache-duration",
  "auth-cache-key",
  "auth-keepalive",
  "auth-keepalive-requests",
  "auth-keepalive-share-vars",
  "auth-keepalive-timeout",
  "affinity-canary-behavior",
])

const UNSERVED = [
  /^auth-/,
  /^canary-/,
  /^cors-/,
  /^custom-/,
  /^enable-/,
  /^fastcgi-/,
  /^influxdb-/,
  /^limit-/,
  /^mirror-/,
  /^modsecurity-/,
  /^open(tracing|telemetry)-/,
  /^proxy-/,
  /^session-cookie-/,
  /^ssl-/,
  /^upstream-hash-by-/,
  /^(connection-proxy-header|default-backend|disable-proxy-intercept-errors)$/,
  /^use-port-in-redirects$/,
]
