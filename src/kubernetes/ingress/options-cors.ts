/** Cross-origin requests; what is not given is as in ingress-nginx. */
import type { CorsConfig } from "../../config/http-config.ts"
import type { AnnotationReader } from "./annotation-reader.ts"
import { TOKEN } from "./text-kinds.ts"

export function readCors(reader: AnnotationReader): CorsConfig | undefined {
  const isEnabled = reader.boolean("enable-cors") ?? false
  const allowOrigins = origins(reader)
  const cors = {
    allowOrigins,
    allowMethods: reader.texts("cors-allow-methods", METHOD) ?? METHODS,
    allowHeaders: reader.texts("cors-allow-headers", TOKENS) ?? HEADERS,
    exposeHeaders: reader.texts("cors-expose-headers", TOKENS) ?? [],
    // Browsers refuse credentials together with "*", so for all origins there are none.
    allowCredentials:
      (reader.boolean("cors-allow-credentials") ?? true) && !allowOrigins.includes("*"),
    maxAgeMs: reader.seconds("cors-max-age") ?? MAX_AGE_MS,
  }
  return isEnabled ? cors : undefined
}

/** A list that cannot be read allows nobody, not everybody. */
function origins(reader: AnnotationReader): readonly string[] {
  if (!reader.has("cors-allow-origin")) return ["*"]
  return reader.texts("cors-allow-origin", ORIGIN) ?? []
}

const ORIGIN = {
  pattern: /^(\*|null|[a-z][a-z0-9+.-]*:\/\/(\*\.)?[a-z0-9._-]+(:\d{1,5})?)$/,
  expected: 'origins such as "https://app.k8s.com", separated by commas',
}
const METHOD = { pattern: /^[A-Z][A-Z-]{0,19}$/, expected: "methods separated by commas" }
const TOKENS = { pattern: TOKEN.pattern, expected: "header names separated by commas" }

const METHODS = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"]
const HEADERS = [
  "DNT",
  "Keep-Alive",
  "User-Agent",
  "X-Requested-With",
  "If-Modified-Since",
  "Cache-Control",
  "Content-Type",
  "Range",
  "Authorization",
]
const MAX_AGE_MS = 1_728_000_000
