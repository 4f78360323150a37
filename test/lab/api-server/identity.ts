/**
 * Who is asking: bearer tokens and client certificates, as kube-apiserver's authenticators see
 * them. No credentials at all is the user `system:anonymous`; wrong ones are 401.
 */
import { randomBytes } from "node:crypto"
import type { Request } from "./http.ts"
import { unauthorized } from "./status.ts"

export interface User {
  readonly name: string
  readonly groups: readonly string[]
}

export class Identities {
  readonly #users = new Map<string, User>()
  /** token → name of its user */
  readonly #tokens = new Map<string, string>()

  add(name: string, groups: readonly string[] = []): void {
    this.#users.set(name, { name, groups: [...groups, ...accountGroups(name)] })
  }

  get(name: string): User | undefined {
    return this.#users.get(name)
  }

  /** A further token of a user; the others stay valid. */
  issueToken(name: string): string {
    if (!this.#users.has(name)) this.add(name)
    const token = randomBytes(24).toString("base64url")
    this.#tokens.set(token, name)
    return token
  }

  /** Every token of the user is refused from now on. */
  revokeTokens(name: string): void {
    for (const [token, owner] of this.#tokens) if (owner === name) this.#tokens.delete(token)
  }

  /** Throws 401. */
  authenticate({ certificate, headers }: Request): User {
    if (certificate?.isTrusted) {
      return authenticated(certificate.commonName, certificate.organizations)
    }
    const [scheme = "", token = ""] = (headers.get("authorization") ?? "").trim().split(" ")
    if (scheme.toLowerCase() === "bearer" && token !== "") return this.#userOf(token)
    if (certificate !== undefined) throw unauthorized()
    return { name: "system:anonymous", groups: ["system:unauthenticated"] }
  }

  #userOf(token: string): User {
    const user = this.#users.get(this.#tokens.get(token) ?? "")
    if (user === undefined) throw unauthorized()
    return authenticated(user.name, user.groups)
  }
}

function authenticated(name: string, groups: readonly string[]): User {
  return { name, groups: [...groups, "system:authenticated"] }
}

/** Groups that a service account's token brings. */
function accountGroups(name: string): string[] {
  const match = /^system:serviceaccount:([^:]+):/.exec(name)
  return match === null
    ? []
    : ["system:serviceaccounts", `system:serviceaccounts:${match[1] ?? ""}`]
}
