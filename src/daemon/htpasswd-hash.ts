/**
 * Passwords against the hashes that `htpasswd` makes without -B: MD5-crypt under Apache's name
 * ($apr1$) or that of crypt(3) ($1$), and SHA-1 bare ({SHA}) or with a salt behind it ({SSHA}).
 * They protect little, but they are what existing files and Secrets hold.
 */
import { createHash, timingSafeEqual } from "node:crypto"

/** A hash of another form is nobody's password. */
export function verifyHtpasswd(password: string, hash: string): boolean {
  const bytes = Buffer.from(password, "utf8")
  const crypt = /^(\$(?:apr1|1)\$)([^$]{0,8})\$/.exec(hash)
  if (crypt !== null) {
    const [, magic = "", salt = ""] = crypt
    return isSame(Buffer.from(md5Crypt(bytes, magic, salt)), Buffer.from(hash))
  }
  const sha = /^\{S?SHA\}(.*)$/.exec(hash)?.[1]
  if (sha === undefined) return false
  const stored = Buffer.from(sha, "base64")
  const digest = stored.subarray(0, SHA1_BYTES)
  return isSame(sha1(bytes, stored.subarray(SHA1_BYTES)), digest)
}

function isSame(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right)
}

function sha1(...parts: readonly Uint8Array[]): Buffer {
  return digestOf("sha1", parts)
}

/**
 * Poul-Henning Kamp's algorithm, the whole of it: the password and the salt are stirred into an
 * MD5 by rules without a reason, a thousand times.
 */
function md5Crypt(password: Buffer, magic: string, saltText: string): string {
  const salt = Buffer.from(saltText, "utf8")
  const inner = md5([password, salt, password])
  const parts: Uint8Array[] = [password, Buffer.from(magic), salt]
  for (let left = password.length; left > 0; left -= MD5_BYTES) {
    parts.push(inner.subarray(0, Math.min(left, MD5_BYTES)))
  }
  for (let bits = password.length; bits > 0; bits >>= 1) {
    parts.push((bits & 1) === 1 ? NUL : password.subarray(0, 1))
  }
  let digest = md5(parts)
  for (let round = 0; round < ROUNDS; round++) digest = stir(digest, { password, salt, round })
  return `${magic}${saltText}$${encoded(digest)}`
}

function stir(
  digest: Buffer,
  { password, salt, round }: { password: Buffer; salt: Buffer; round: number },
): Buffer {
  const isOdd = (round & 1) === 1
  return md5([
    isOdd ? password : digest,
    ...(round % 3 === 0 ? [] : [salt]),
    ...(round % 7 === 0 ? [] : [password]),
    isOdd ? digest : password,
  ])
}

/** Six bits a character, the lowest first, of groups of bytes in crypt(3)'s own order. */
function encoded(digest: Buffer): string {
  const groups = BYTE_ORDER.map(([high, middle, low]) => {
    const value = (at(digest, high) << 16) | (at(digest, middle) << 8) | at(digest, low)
    return characters(value, 4)
  })
  return groups.join("") + characters(at(digest, LAST_BYTE), 2)
}

function characters(value: number, count: number): string {
  return Array.from({ length: count }, (_, index) => ALPHABET[(value >> (6 * index)) & 63]).join("")
}

function at(digest: Buffer, index: number): number {
  return digest[index] ?? 0
}

function md5(parts: readonly Uint8Array[]): Buffer {
  return digestOf("md5", parts)
}

function digestOf(algorithm: "md5" | "sha1", parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(algorithm)
  for (const part of parts) hash.update(part)
  return hash.digest()
}

const MD5_BYTES = 16
const SHA1_BYTES = 20
const ROUNDS = 1000
const NUL = Buffer.from([0])
const BYTE_ORDER = [
  [0, 6, 12],
  [1, 7, 13],
  [2, 8, 14],
  [3, 9, 15],
  [4, 10, 5],
] as const
const LAST_BYTE = 11
const ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
