/**
 * Who may pass. Here a value that cannot be read, or a way of asking that is not served, must not
 * mean "everybody": it means nobody (`refusal`), as in ingress-nginx, which answers 503 then.
 */
import type { Prefix } from "../../net/address.ts"
import type { ObjectKey } from "../objects.ts"
import { type AnnotationReader, PREFIX } from "./annotation-reader.ts"
import { type ExternalAuth, readExternalAuth } from "./options-external-auth.ts"
import { SECRET_NAME } from "./text-kinds.ts"

export interface AccessOptions {
  /** Empty: all. */
  readonly allow: readonly Prefix[]
  readonly deny: readonly Prefix[]
  readonly auth: AuthOption | undefined
  readonly external: ExternalAuth | undefined
  /** Why nobody may pass; "": they may. */
  readonly refusal: string
}

export interface AuthOption {
  readonly secret: ObjectKey
  /** "auth-file": an htpasswd file in the key `auth`; "auth-map": keys are names. */
  readonly type: "auth-file" | "auth-map"
  readonly realm: string
}

export function readAccess(reader: AnnotationReader, namespace: string): AccessOptions {
  const refusals: string[] = []
  const networks = (name: string) => {
    const prefixes = reader.networks(name)
    if (prefixes !== "invalid") return prefixes
    refusals.push(`${PREFIX}${name} cannot be read`)
    return []
  }
  const allowed = networks("whitelist-source-range")
  const allow = [...allowed, ...networks("allowlist-source-range")]
  const deny = networks("denylist-source-range")
  const auth = readAuth(reader, namespace)
  const external = readExternalAuth(reader)
  for (const each of [auth, external]) if (typeof each === "string") refusals.push(each)
  const unserved = UNSERVED.find((name) => reader.has(name))
  if (unserved !== undefined) refusals.push(`${PREFIX}${unserved} is not served here`)
  if (reader.choice("satisfy", ["all", "any"]) === "any") {
    reader.warn("UnsupportedAnnotation", `${PREFIX}satisfy: "any" is not served; all must hold`)
  }
  const [refusal = ""] = refusals
  return { allow, deny, auth: optionOf(auth), external: optionOf(external), refusal }
}

/** Or why it cannot be done. */
function readAuth(reader: AnnotationReader, namespace: string): AuthOption | string | undefined {
  const type = reader.raw("auth-type")
  const secret = reader.text("auth-secret", SECRET_NAME)
  const secretType = reader.raw("auth-secret-type") ?? "auth-file"
  const realm = reader.text("auth-realm", REALM) ?? "Authentication Required"
  if (type === undefined) {
    return reader.has("auth-secret") ? `${PREFIX}auth-secret needs auth-type: "basic"` : undefined
  }
  if (type !== "basic") return `${PREFIX}auth-type: only "basic" is served here`
  if (secret === undefined) return `${PREFIX}auth-type needs auth-secret`
  if (secretType !== "auth-file" && secretType !== "auth-map") {
    return `${PREFIX}auth-secret-type must be "auth-file" or "auth-map"`
  }
  const key = secret.includes("/") ? secret : `${namespace}/${secret}`
  return { secret: key, type: secretType, realm }
}

/** The text is why there is none. */
function optionOf<T>(option: T | string | undefined): T | undefined {
  return typeof option === "string" ? undefined : option
}

/** Ways of asking who a client is. */
const UNSERVED = ["auth-tls-secret", "auth-tls-match-cn"]

const REALM = {
  pattern: /^[\x20\x21\x23-\x5b\x5d-\x7e]{1,128}$/,
  expected: "text without quotes and line ends",
}
