/**
 * A file of users and password hashes as `htpasswd -B` writes it. Only bcrypt and argon2 are taken:
 * the other formats of htpasswd (MD5, SHA-1, crypt) can be guessed by the billion.
 */
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
    if (colon < 1 || !HASH.test(hash)) {
      const message = `Line ${index + 1} of ${path} is not a name and a bcrypt or argon2 hash`
      report.error(node, message, `Make it with htpasswd -B ${path} NAME`)
      return INVALID
    }
    // The same algorithm under the name that PHP and htpasswd gave it.
    users.set(line.slice(0, colon), hash.replace(/^\$2y\$/, "$2b$"))
  }
  if (users.size === 0) report.warning(node, `${path} names nobody: every request is refused`)
  return Object.fromEntries(users)
}

const HASH = /^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$|^\$argon2(id|i|d)\$[\w=,$+/.-]+$/
