/**
 * Field names that the proxy itself acts on, each with a number, so that the parser names a field
 * once and everyone after it compares numbers.
 */
import { NAME } from "./syntax.ts"

export const FIELD_NAMES = [
  "host",
  "connection",
  "content-length",
  "transfer-encoding",
  "expect",
  "upgrade",
  "keep-alive",
  "te",
  "trailer",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "x-forwarded-for",
  "x-forwarded-proto",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-real-ip",
  "x-request-id",
  "forwarded",
  "x-ssl-client-s-dn",
  "cookie",
  "authorization",
  "origin",
  "http2-settings",
  "proxy",
] as const

export type FieldName = (typeof FIELD_NAMES)[number]

/** 0 is any other name. */
export const OTHER_FIELD = 0
/**
 * A name of ours with "_" for "-" ("X_Real_IP"): nobody's field, but a server that makes variables
 * of names would take it for the real one. It is never copied (nginx drops such names, too).
 */
export const DISGUISED_FIELD = 255

const numbers = Object.fromEntries(FIELD_NAMES.map((name, index) => [name, index + 1]))
/** The number of each name, from 1. */
export const FIELD: Readonly<Record<FieldName, number>> = numbers as Record<FieldName, number>

export const HASH_SEED = 0x811c9dc5 | 0

/** One step of the hash over a name's bytes, each as `NAME` folds it. */
export function hashStep(hash: number, folded: number): number {
  return Math.imul(hash ^ folded, 0x01000193)
}

const UNDERSCORE = 0x5f
const BUCKETS = 1024
const buckets = new Uint8Array(BUCKETS)
for (const name of FIELD_NAMES) {
  const bucket = bucketOf(hashOf(name))
  if (buckets[bucket] !== 0) throw new Error(`Two field names share a bucket: ${name}`)
  buckets[bucket] = FIELD[name]
}

/**
 * The number of the name whose hash is given: at most one known name has it, and the range is
 * compared with that one.
 */
export function fieldNumber(hash: number, bytes: Uint8Array, start: number, end: number): number {
  const number = buckets[bucketOf(hash)] as number
  if (number === 0) return OTHER_FIELD
  const name = FIELD_NAMES[number - 1] as string
  if (name.length !== end - start) return OTHER_FIELD
  let isDisguised = false
  for (let at = 0; at < name.length; at++) {
    const byte = bytes[start + at] as number
    if (NAME[byte] !== name.charCodeAt(at)) return OTHER_FIELD
    if (byte === UNDERSCORE) isDisguised = true
  }
  return isDisguised ? DISGUISED_FIELD : number
}

function hashOf(name: string): number {
  let hash = HASH_SEED
  for (let at = 0; at < name.length; at++) hash = hashStep(hash, name.charCodeAt(at))
  return hash
}

function bucketOf(hash: number): number {
  return (hash ^ (hash >>> 16)) & (BUCKETS - 1)
}
