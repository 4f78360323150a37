/**
 * The forms of password hashes that can be verified, by their text: bcrypt and argon2, which are
 * slow on purpose, and those that `htpasswd` made for long and that can be guessed by the billion.
 */

export type PasswordHashKind = "bcrypt" | "argon2" | "md5-crypt" | "sha1"

/** Undefined: nobody's password can be verified with it. */
export function passwordHashKind(hash: string): PasswordHashKind | undefined {
  return FORMS.find(({ form }) => form.test(hash))?.kind
}

export function isVerifiableHash(hash: string): boolean {
  return passwordHashKind(hash) !== undefined
}

/** Whether somebody who has the hash is kept from the password. */
export function isStrongHash(hash: string): boolean {
  const kind = passwordHashKind(hash)
  return kind === "bcrypt" || kind === "argon2"
}

const FORMS: readonly { readonly kind: PasswordHashKind; readonly form: RegExp }[] = [
  { kind: "bcrypt", form: /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/ },
  { kind: "argon2", form: /^\$argon2(id|i|d)\$[\w=,$+/.-]+$/ },
  { kind: "md5-crypt", form: /^\$(apr1|1)\$[^$:\s]{0,8}\$[./A-Za-z0-9]{22}$/ },
  // 20 bytes of SHA-1; with a salt of up to 64 bytes behind them.
  { kind: "sha1", form: /^\{SHA\}[A-Za-z0-9+/]{27}=$/ },
  { kind: "sha1", form: /^\{SSHA\}(?=.{28,112}$)[A-Za-z0-9+/]{27}[A-Za-z0-9+/]+={0,2}$/ },
]
