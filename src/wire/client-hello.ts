/**
 * The ClientHello, a TLS client's first message, as far as it is needed to choose a certificate or
 * a server before anything is answered (RFC 8446 §4.1.2; RFC 6066 §3 server_name; RFC 7301 ALPN).
 *
 *   record     type 22 │ version 2 │ length 2 │ fragment …          (one or more)
 *   handshake  type 1  │ length 3  │ body …                         (the fragments, joined)
 *   body       version 2 │ random 32 │ session id <1> │ ciphers <2> │ compression <1> │ ext <2>
 *   extension  type 2 │ length 2 │ data
 *
 * It comes in clear text from whoever connects, so each length is held against the structure it
 * lies in. What OpenSSL refuses anyway is not looked for here, and what is refused here is still
 * shown to OpenSSL, which answers with the right alert.
 */

export interface ClientHello {
  /** Lower case, without a trailing dot; "" when the client names nobody. */
  readonly serverName: string
  /** Offered protocols, in the client's order. */
  readonly alpn: readonly string[]
  /** Highest version offered, 0x0304 for TLS 1.3. */
  readonly versionMax: number
}

/** Why bytes are no ClientHello. */
export type ClientHelloFault =
  /** Not the first byte of a handshake record: plain text, most likely. */
  | "not_tls"
  /** A handshake record, but of no TLS version. */
  | "unsupported_version"
  /** A handshake message, but another one. */
  | "not_client_hello"
  | "malformed"
  | "too_large"

export type ClientHelloResult =
  | { readonly type: "complete"; readonly hello: ClientHello }
  /** So far it may become one; it cannot be whole with fewer than `bytesMin` bytes. */
  | { readonly type: "incomplete"; readonly bytesMin: number }
  | { readonly type: "fault"; readonly fault: ClientHelloFault }

/**
 * Record headers included. Browsers send 600 bytes, 1 800 with a post-quantum key share; OpenSSL
 * accepts no message of more than this.
 */
export const CLIENT_HELLO_BYTES_MAX: number = 16 * 1024

const CONTENT_TYPE_HANDSHAKE = 22
const HANDSHAKE_TYPE_CLIENT_HELLO = 1
const VERSION_MAJOR = 3
const RECORD_HEADER_BYTES = 5
const HANDSHAKE_HEADER_BYTES = 4
const RANDOM_BYTES = 32

const EXTENSION_SERVER_NAME = 0
const EXTENSION_ALPN = 16
const EXTENSION_SUPPORTED_VERSIONS = 43
const NAME_TYPE_HOST_NAME = 0

const TLS_1_0 = 0x0301
const TLS_1_3 = 0x0304

/** Reads the first `length` bytes of a connection. Extra bytes behind the hello are left alone. */
export function parseClientHello(bytes: Uint8Array, length: number): ClientHelloResult {
  const message = joinRecords(bytes.subarray(0, length))
  if (!(message instanceof Uint8Array)) return message
  const hello = parseBody(new Reader(message))
  return hello === undefined ? faulty("malformed") : { type: "complete", hello }
}

/** The message's body, taken out of its records. */
function joinRecords(bytes: Uint8Array): Uint8Array | ClientHelloResult {
  const joined = new Uint8Array(bytes.length)
  let joinedBytes = 0
  let at = 0
  for (;;) {
    const fault = recordFault(bytes, at)
    if (fault !== undefined) return faulty(fault)
    const start = at + RECORD_HEADER_BYTES
    if (bytes.length < start) return waitFor(start, bytes)
    const end = start + uint16(bytes, at + 3)
    // An empty fragment of a handshake message is not allowed (RFC 8446 §5.1).
    if (end === start) return faulty("malformed")
    const fragment = bytes.subarray(start, end)
    joined.set(fragment, joinedBytes)
    joinedBytes += fragment.length
    if (joinedBytes > 0 && joined[0] !== HANDSHAKE_TYPE_CLIENT_HELLO) {
      return faulty("not_client_hello")
    }
    if (joinedBytes >= HANDSHAKE_HEADER_BYTES) {
      const wanted = HANDSHAKE_HEADER_BYTES + ((joined[1] ?? 0) << 16) + uint16(joined, 2)
      if (wanted > CLIENT_HELLO_BYTES_MAX) return faulty("too_large")
      if (joinedBytes >= wanted) return joined.subarray(HANDSHAKE_HEADER_BYTES, wanted)
    }
    if (bytes.length < end) return waitFor(end, bytes)
    at = end
  }
}

/** What can be said of a record by as much of its header as is there. */
function recordFault(bytes: Uint8Array, at: number): ClientHelloFault | undefined {
  const isFirst = at === 0
  if (at < bytes.length && bytes[at] !== CONTENT_TYPE_HANDSHAKE) {
    return isFirst ? "not_tls" : "malformed"
  }
  if (at + 1 < bytes.length && bytes[at + 1] !== VERSION_MAJOR) return "unsupported_version"
  return undefined
}

function waitFor(bytesMin: number, bytes: Uint8Array): ClientHelloResult {
  if (bytes.length >= CLIENT_HELLO_BYTES_MAX) return faulty("too_large")
  return { type: "incomplete", bytesMin: Math.min(bytesMin, CLIENT_HELLO_BYTES_MAX) }
}

function faulty(fault: ClientHelloFault): ClientHelloResult {
  return { type: "fault", fault }
}

/** Undefined: malformed. */
function parseBody(body: Reader): ClientHello | undefined {
  let versionMax = body.uint16()
  body.skip(RANDOM_BYTES)
  body.vector(1) // session id
  body.vector(2) // cipher suites
  body.vector(1) // compression methods
  let serverName = ""
  let alpn: readonly string[] = []
  // Before TLS 1.3 a hello may end here.
  const extensions = body.isEmpty ? body : body.vector(2)
  while (!extensions.isEmpty) {
    const type = extensions.uint16()
    const data = extensions.vector(2)
    if (type === EXTENSION_SERVER_NAME) serverName = parseServerName(data)
    else if (type === EXTENSION_ALPN) alpn = parseAlpn(data)
    else if (type === EXTENSION_SUPPORTED_VERSIONS) versionMax = parseVersions(data)
  }
  return body.isSound ? { serverName, alpn, versionMax } : undefined
}

/** RFC 6066 §3: a list of names, of which there is one kind, and one of a kind at the most. */
function parseServerName(data: Reader): string {
  const list = data.vector(2)
  let name = ""
  while (!list.isEmpty) {
    const type = list.uint8()
    const text = list.vector(2).text()
    if (type === NAME_TYPE_HOST_NAME) name = text.toLowerCase()
  }
  if (!HOST_NAME.test(name)) return "" // an address with colons, say, though none is allowed here
  return name.endsWith(".") ? name.slice(0, -1) : name
}

function parseAlpn(data: Reader): string[] {
  const names: string[] = []
  const list = data.vector(2)
  while (!list.isEmpty) names.push(list.vector(1).text())
  return names
}

/** RFC 8446 §4.2.1. Values of no known version are GREASE (RFC 8701) or of the future. */
function parseVersions(data: Reader): number {
  const list = data.vector(1)
  let highest = 0
  while (!list.isEmpty) {
    const version = list.uint16()
    if (version >= TLS_1_0 && version <= TLS_1_3) highest = Math.max(highest, version)
  }
  return highest
}

/** Takes bytes off the front. Past the end it gives zeros, and the whole is not sound. */
class Reader {
  readonly #bytes: Uint8Array
  #at = 0
  /** Whom `vector` took this out of. */
  readonly #outer: Reader | undefined
  #isSound = true

  constructor(bytes: Uint8Array, outer?: Reader) {
    this.#bytes = bytes
    this.#outer = outer
  }

  get isSound(): boolean {
    return this.#isSound
  }

  get isEmpty(): boolean {
    return this.#at >= this.#bytes.length
  }

  uint8(): number {
    return this.#bytes[this.#advance(1)] ?? 0
  }

  uint16(): number {
    return uint16(this.#bytes, this.#advance(2))
  }

  skip(count: number): void {
    this.#advance(count)
  }

  /** What a length of `lengthBytes` announces, as a reader of its own. */
  vector(lengthBytes: 1 | 2): Reader {
    const length = lengthBytes === 1 ? this.uint8() : this.uint16()
    const start = this.#advance(length)
    return new Reader(this.#bytes.subarray(start, this.#at), this)
  }

  text(): string {
    return Buffer.from(this.#bytes.subarray(this.#at)).toString("latin1")
  }

  #advance(count: number): number {
    const start = this.#at
    this.#at = Math.min(start + count, this.#bytes.length)
    if (this.#at - start < count) this.#breakDown()
    return start
  }

  #breakDown(): void {
    this.#isSound = false
    if (this.#outer !== undefined) this.#outer.#breakDown()
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)
}

/** Letters, digits, and what occurs in deployed names; RFC 1035 §2.3.4 limits the length. */
const HOST_NAME = /^[a-z0-9_.-]{1,255}$/
