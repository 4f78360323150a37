/** Names and password hashes of a Secret (ingress-nginx: `auth-secret`). They are never logged. */
import { isVerifiableHash } from "../../net/password-hash.ts"
import type { ClusterView, Secret } from "../objects.ts"
import type { AuthOption } from "./options-access.ts"
import { type Finding, warning } from "./problem.ts"

export type UsersResult =
  | {
      readonly ok: true
      readonly users: Readonly<Record<string, string>>
      readonly findings: readonly Finding[]
    }
  /** Nobody can be let in. */
  | { readonly ok: false; readonly findings: readonly Finding[] }

export class AuthUsers {
  /** A Secret is read once; each of the two forms is another key. */
  readonly #known = new WeakMap<Secret, Map<AuthOption["type"], UsersResult>>()

  of({ secret: key, type }: AuthOption, secrets: ClusterView["secrets"]): UsersResult {
    const secret = secrets.get(key)
    if (secret === undefined) {
      const message = `there is no Secret ${key} to authenticate with; answered with 503`
      return { ok: false, findings: [warning("SecretNotFound", message)] }
    }
    const known = this.#known.get(secret) ?? new Map<AuthOption["type"], UsersResult>()
    this.#known.set(secret, known)
    const result = known.get(type) ?? readUsers(secret, { key, type })
    known.set(type, result)
    return result
  }
}

function readUsers(
  { data }: Secret,
  { key, type }: { readonly key: string; readonly type: AuthOption["type"] },
): UsersResult {
  const { auth } = data
  if (type === "auth-file" && auth === undefined) {
    const message = `the Secret ${key} has no key "auth"; answered with 503`
    return { ok: false, findings: [warning("SecretNotFound", message)] }
  }
  const pairs = type === "auth-file" ? pairsOfFile(auth ?? "") : Object.entries(data)
  const usable = pairs.flatMap(([name, hash]) => {
    const normal = hash.trim().replace(/^\$2y\$/, "$2b$")
    return isVerifiableHash(normal) ? [[name, normal] as const] : []
  })
  const refused = pairs.length - usable.length
  const message = `${refused} entries of the Secret ${key} have a hash that cannot be verified`
  return {
    ok: true,
    users: Object.fromEntries(usable),
    findings: [
      ...(refused === 0 ? [] : [warning("AccessDenied", message)]),
      ...(usable.length > 0
        ? []
        : [warning("AccessDenied", `the Secret ${key} names nobody: all are refused`)]),
    ],
  }
}

/** Lines of "name:hash", as `htpasswd` writes them. */
function pairsOfFile(text: string): [string, string][] {
  return text.split(/\r?\n/).flatMap((line): [string, string][] => {
    if (line.trim() === "" || line.startsWith("#")) return []
    const colon = line.indexOf(":")
    return [[line.slice(0, Math.max(colon, 0)), line.slice(colon + 1)]]
  })
}
