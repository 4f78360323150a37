/**
 * A file of users and password hashes as `htpasswd` writes it. bcrypt and argon2 are what is asked
 * for; the older formats (MD5, SHA-1) are taken with a warning, since they can be guessed by the
 * billion. Those of crypt(3) are not.
 */
import { isStrongHash, isVerifiableHash } from "../net/password-hash.ts"
import { type Context, INVALID, type Invalid } from "./decode.ts"
import type { TomlNode } from "./toml.ts"

export type Users = Readonly<Record<string, string>>

/** Names the first line that cannot be used. `node` is where the file is named. */
export function readUsers(node: TomlNode, path: string, context: Context): Users | Invalid {
  const { report, files } = context
  const file = files.read(path)
  if (!file.ok) {
    report.error(node, `Cannot read ${path}: ${file.reason}`)
    return INVALID
  }
  if ((file.value.mode & 0o004) !== 0) {
    report.warning(node, `Every user may read ${path}`, `Run chmod o-r ${path}`)
  }
  const users = new Map<string, string>()
  for (const [index, line] of file.value.text.split(/\r?\n/).entries()) {
    if (line === "" || line.startsWith("#")) continue
    const colon = line.indexOf(":")
    const hash = line.slice(colon + 1)
    if (colon < 1 || !isVerifiableHash(hash)) {
      const kinds = "bcrypt, argon2, MD5 or SHA-1"
      const message = `Line ${index + 1} of ${path} is not a name and a hash of ${kinds}`
      report.error(node, message, `Make it with htpasswd -B ${path} NAME`)
      return INVALID
    }
    users.set(line.slice(0, colon), hash)
  }
  const weak = [...users.values()].filter((hash) => !isStrongHash(hash)).length
  if (weak > 0) {
    const message = `${weak} of the hashes in ${path} are of a kind that can be guessed quickly`
    report.warning(node, message, `Make them anew with htpasswd -B ${path} NAME`)
  }
  if (users.size === 0) report.warning(node, `${path} names nobody: every request is refused`)
  return Object.fromEntries(users)
}
