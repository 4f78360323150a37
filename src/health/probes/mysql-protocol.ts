/**
 * The part of the MySQL client/server protocol that a check needs, as pure functions over bytes:
 * packet framing, the connection phase of protocol version 10 (handshake, authentication), and the
 * query SELECT 1. MariaDB and MySQL agree in all of it.
 *
 * Own code and not `Bun.SQL`, because a check must control every byte: complete a handshake as a
 * user that does not exist, name no database when none is asked for, never retry, and leave no
 * half-made handshake behind when it is given up.
 *
 * Protocol: dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html, and "Client/Server
 * Protocol" of the MariaDB Knowledge Base.
 */
import { constants, createHash, publicEncrypt } from "node:crypto"

export interface MysqlPacket {
  readonly sequence: number
  readonly payload: Buffer
}

/** What the server says first. */
export interface MysqlGreeting {
  readonly serverVersion: string
  /** 20 bytes that the password is mixed with. */
  readonly scramble: Buffer
  readonly authPlugin: string
}

export interface MysqlError {
  readonly code: number
  readonly message: string
}

export type Parsed<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly reason: string }

/** First byte of a payload in the connection phase and of a result. */
export const OK_HEADER = 0x00
export const AUTH_MORE_DATA_HEADER = 0x01
export const EOF_HEADER = 0xfe
export const AUTH_SWITCH_HEADER = 0xfe
export const ERR_HEADER = 0xff

/** Cuts a byte stream into packets: 3 bytes of length, 1 of sequence, the payload. */
export class MysqlPacketReader {
  #pending = Buffer.alloc(0)

  push(bytes: Uint8Array): void {
    this.#pending = Buffer.concat([this.#pending, bytes])
  }

  /** The next whole packet, or undefined until more bytes come. */
  next(): Parsed<MysqlPacket> | undefined {
    if (this.#pending.length < HEADER_BYTES) return undefined
    const length = this.#pending.readUIntLE(0, 3)
    if (length === 0 || length > PACKET_BYTES_MAX) return { ok: false, reason: "not MySQL" }
    const end = HEADER_BYTES + length
    if (this.#pending.length < end) return undefined
    const sequence = this.#pending.readUInt8(3)
    const payload = this.#pending.subarray(HEADER_BYTES, end)
    this.#pending = this.#pending.subarray(end)
    return { ok: true, value: { sequence, payload } }
  }
}

export function encodePacket(sequence: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUIntLE(payload.length, 0, 3)
  header.writeUInt8(sequence & 0xff, 3)
  return Buffer.concat([header, payload])
}

/** Protocol::HandshakeV10. */
export function parseGreeting(payload: Buffer): Parsed<MysqlGreeting> {
  const fields = new Cursor(payload)
  const protocol = fields.integer(1)
  if (protocol !== 10) return { ok: false, reason: `not MySQL, or protocol version ${protocol}` }
  const serverVersion = fields.textToNul()
  fields.bytes(4) // connection id
  const scrambleStart = fields.bytes(8)
  fields.bytes(1)
  const capabilitiesLow = fields.integer(2)
  fields.bytes(3) // character set, status
  const capabilities = capabilitiesLow + fields.integer(2) * 0x10000
  const scrambleBytes = fields.integer(1)
  fields.bytes(10)
  if ((capabilities & CLIENT_PROTOCOL_41) === 0) return { ok: false, reason: "MySQL before 4.1" }
  const scrambleRest = fields.bytes(Math.max(13, scrambleBytes - 8)).subarray(0, 12)
  const hasPlugin = (capabilities & CLIENT_PLUGIN_AUTH) !== 0
  const authPlugin = hasPlugin ? fields.textToNul() : NATIVE_PASSWORD
  if (fields.isOverrun) return { ok: false, reason: "truncated MySQL greeting" }
  const scramble = Buffer.concat([scrambleStart, scrambleRest])
  return { ok: true, value: { serverVersion, scramble, authPlugin } }
}

/** ERR_Packet; before the handshake it comes without an SQL state. */
export function parseError(payload: Buffer): MysqlError {
  const fields = new Cursor(payload)
  fields.bytes(1)
  const code = fields.integer(2)
  const text = fields.rest().toString("utf8")
  return { code, message: text.startsWith("#") ? text.slice(6) : text }
}

/** Protocol::AuthSwitchRequest. */
export function parseAuthSwitch(payload: Buffer): { plugin: string; scramble: Buffer } {
  const fields = new Cursor(payload)
  fields.bytes(1)
  const plugin = fields.textToNul()
  return { plugin, scramble: fields.rest().subarray(0, SCRAMBLE_BYTES) }
}

export interface HandshakeResponse {
  readonly user: string
  /** Empty: none. */
  readonly database: string
  readonly authPlugin: string
  readonly authResponse: Uint8Array
}

/** Protocol::HandshakeResponse41, the payload. */
export function encodeHandshakeResponse(response: HandshakeResponse): Buffer {
  const { user, database, authPlugin, authResponse } = response
  const fixed = Buffer.alloc(32)
  const withDatabase = database === "" ? 0 : CLIENT_CONNECT_WITH_DB
  fixed.writeUInt32LE(CAPABILITIES | withDatabase, 0)
  fixed.writeUInt32LE(PACKET_BYTES_MAX, 4)
  fixed.writeUInt8(UTF8_GENERAL_CI, 8)
  return Buffer.concat([
    fixed,
    nulTerminated(user),
    Buffer.from([authResponse.length]),
    authResponse,
    database === "" ? Buffer.alloc(0) : nulTerminated(database),
    nulTerminated(authPlugin),
  ])
}

export const COM_QUIT = Buffer.from([0x01])

/** COM_QUERY, the payload. */
export function encodeQuery(sql: string): Buffer {
  return Buffer.concat([Buffer.from([0x03]), Buffer.from(sql, "utf8")])
}

export const NATIVE_PASSWORD = "mysql_native_password"
export const CACHING_SHA2_PASSWORD = "caching_sha2_password"

/** The answer to a scramble, or undefined for a plugin that is not spoken here. */
export function authResponse(
  plugin: string,
  password: string,
  scramble: Buffer,
): Buffer | undefined {
  if (plugin !== NATIVE_PASSWORD && plugin !== CACHING_SHA2_PASSWORD) return undefined
  if (password === "") return Buffer.alloc(0)
  if (plugin === NATIVE_PASSWORD) {
    // SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password)))
    const once = digest("sha1", Buffer.from(password, "utf8"))
    return xor(once, digest("sha1", scramble, digest("sha1", once)))
  }
  // SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble)
  const once = digest("sha256", Buffer.from(password, "utf8"))
  return xor(once, digest("sha256", digest("sha256", once), scramble))
}

/**
 * caching_sha2_password, full authentication without TLS: the password under the server's RSA key.
 * Undefined when `publicKey`, PEM text from the network, is not one.
 */
export function encryptPassword(
  password: string,
  scramble: Buffer,
  publicKey: string,
): Buffer | undefined {
  const masked = xor(nulTerminated(password), scramble)
  try {
    return publicEncrypt({ key: publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING }, masked)
  } catch {
    return undefined
  }
}

function digest(algorithm: "sha1" | "sha256", ...parts: readonly Uint8Array[]): Buffer {
  return createHash(algorithm).update(Buffer.concat(parts)).digest()
}

/** `mask` is repeated over `bytes`. */
function xor(bytes: Buffer, mask: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, at) => byte ^ (mask[at % mask.length] ?? 0)))
}

function nulTerminated(text: string): Buffer {
  return Buffer.from(`${text}\0`, "utf8")
}

/** Reads fields one after the other. Past the end it yields zeros and remembers it. */
class Cursor {
  isOverrun = false
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  bytes(count: number): Buffer {
    const taken = this.#bytes.subarray(this.#at, this.#at + count)
    this.#at += count
    if (taken.length === count) return taken
    this.isOverrun = true
    return Buffer.concat([taken], count)
  }

  /** Unsigned, little-endian, 1 or 2 bytes. */
  integer(bytes: 1 | 2): number {
    return this.bytes(bytes).readUIntLE(0, bytes)
  }

  textToNul(): string {
    const end = this.#bytes.indexOf(0, this.#at)
    const length = (end < 0 ? this.#bytes.length : end) - this.#at
    const text = this.bytes(Math.max(0, length)).toString("utf8")
    this.#at++
    return text
  }

  rest(): Buffer {
    return this.#bytes.subarray(this.#at)
  }
}

const HEADER_BYTES = 4
const SCRAMBLE_BYTES = 20
/** Nothing that a check is sent comes near it; "HTTP" read as a length is 5 MB. */
const PACKET_BYTES_MAX = 64 * 1024
const UTF8_GENERAL_CI = 33

const CLIENT_LONG_PASSWORD = 0x1
const CLIENT_CONNECT_WITH_DB = 0x8
const CLIENT_PROTOCOL_41 = 0x200
const CLIENT_TRANSACTIONS = 0x2000
const CLIENT_SECURE_CONNECTION = 0x8000
const CLIENT_PLUGIN_AUTH = 0x80000
const CAPABILITIES =
  CLIENT_LONG_PASSWORD |
  CLIENT_PROTOCOL_41 |
  CLIENT_TRANSACTIONS |
  CLIENT_SECURE_CONNECTION |
  CLIENT_PLUGIN_AUTH
