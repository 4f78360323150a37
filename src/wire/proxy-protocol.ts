/**
 * The PROXY protocol (haproxy.org, doc/proxy-protocol.txt): what a proxy sends before anything else
 * on a connection, so that the next one learns between whom the connection really is.
 *
 * Version 1 is a line, at most 107 bytes with its end:
 *
 *     PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n
 *
 * Version 2 is binary:
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +---------------------------------------------------------------+
 *     |          Signature: 0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A       |
 *     +-------+-------+-------+-------+-------------------------------+
 *     |Version|Command|Family |Transp.|       Length of the rest      |
 *     +-------+-------+-------+-------+-------------------------------+
 *     |     Source address, destination address, source port,         |
 *     |     destination port, then fields of type, length and value   |
 *     +---------------------------------------------------------------+
 *
 * The header decides whom we believe a client to be, so it is read strictly: who may send it is
 * configured, and one who sends something else is cut off.
 */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  type Endpoint,
  type Family,
  familyOf,
  parseAddress,
} from "../net/address.ts"
import { crc32c } from "./crc32c.ts"

/** Between whom the connection is. */
export interface ProxiedEndpoints {
  readonly source: Endpoint
  readonly destination: Endpoint
}

/**
 * signature: neither version begins so; line: version 1 in any other form; address, port: not what
 * its first word promises; version, command, family: values that version 2 does not have; length:
 * too short for its addresses, or longer than we read; field: the fields do not fill the header
 * exactly; checksum: PP2_TYPE_CRC32C does not match.
 */
export type ProxyHeaderFault =
  | "signature"
  | "line"
  | "address"
  | "port"
  | "version"
  | "command"
  | "family"
  | "length"
  | "field"
  | "checksum"

export type ProxyHeaderResult =
  | {
      readonly type: "complete"
      /** Undefined: the sender speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC). */
      readonly endpoints: ProxiedEndpoints | undefined
      /** What follows is the connection's own. */
      readonly headerBytes: number
    }
  | { readonly type: "incomplete" }
  | { readonly type: "fault"; readonly reason: ProxyHeaderFault }

/** What follows the fixed part of version 2; the text expects senders to stay within 536 bytes. */
const REST_BYTES_MAX = 4096
const FIXED_BYTES = 16
/** A reader that holds so many bytes has the whole header. */
export const PROXY_HEADER_BYTES_MAX: number = FIXED_BYTES + REST_BYTES_MAX

/** §2.1: with both addresses of IPv6 at their longest, and CR LF. */
const LINE_BYTES_MAX = 107
const LINE_START = Buffer.from("PROXY ", "latin1")
const CR = 0x0d
const LF = 0x0a

const SIGNATURE = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1")
const LENGTH_OFFSET = 14
const VERSION_2 = 2
const COMMAND_LOCAL = 0
const COMMAND_PROXY = 1
const FAMILY_MAX = 3
const TRANSPORT_MAX = 2
const TCP_OVER_IPV4 = 0x11
const TCP_OVER_IPV6 = 0x21

const FIELD_HEAD_BYTES = 3
const FIELD_CRC32C = 0x03
const CRC32C_BYTES = 4

const INCOMPLETE: ProxyHeaderResult = { type: "incomplete" }

/** Reads the header that `bytes[0…length)` begins with. */
export function parseProxyHeader(bytes: Uint8Array, length: number): ProxyHeaderResult {
  const received = Buffer.from(bytes.buffer, bytes.byteOffset, length)
  if (beginsLike(received, SIGNATURE)) return parseV2(received)
  if (beginsLike(received, LINE_START)) return parseV1(received)
  return fault("signature")
}

/** As far as it has come: of too few bytes nothing can be said. */
function beginsLike(received: Buffer, start: Buffer): boolean {
  const length = Math.min(received.length, start.length)
  return received.compare(start, 0, length, 0, length) === 0
}

/** §2.1. */
function parseV1(received: Buffer): ProxyHeaderResult {
  const end = received.indexOf(LF)
  if (end < 0 && received.length < LINE_BYTES_MAX) return INCOMPLETE
  if (end < 0 || end >= LINE_BYTES_MAX || received[end - 1] !== CR) return fault("line")
  const headerBytes = end + 1
  const words = received.toString("latin1", LINE_START.length, end - 1).split(" ")
  const [protocol = ""] = words
  // §2.1: whatever follows UNKNOWN is to be ignored.
  if (protocol === "UNKNOWN") return { type: "complete", endpoints: undefined, headerBytes }
  const family = protocol === "TCP4" ? 4 : protocol === "TCP6" ? 6 : undefined
  if (family === undefined || words.length !== 5) return fault("line")
  const [, source, destination, sourcePort, destinationPort] = words
  const addresses = [source, destination].map((text) => addressOf(text, family))
  const ports = [sourcePort, destinationPort].map(portOf)
  return completeV1(addresses, ports, headerBytes)
}

function completeV1(
  [source, destination]: readonly (Address | undefined)[],
  [sourcePort, destinationPort]: readonly (number | undefined)[],
  headerBytes: number,
): ProxyHeaderResult {
  if (source === undefined || destination === undefined) return fault("address")
  if (sourcePort === undefined || destinationPort === undefined) return fault("port")
  const endpoints = {
    source: { address: source, port: sourcePort },
    destination: { address: destination, port: destinationPort },
  }
  return { type: "complete", endpoints, headerBytes }
}

function addressOf(text = "", family: Family): Address | undefined {
  const address = parseAddress(text)
  if (address === undefined || familyOf(address) !== family) return undefined
  return family === 4 ? address : unmapped(addressBytes(address))
}

/** Decimal without leading zeros, as §2.1 has it. */
function portOf(text = ""): number | undefined {
  const port = /^(0|[1-9]\d{0,4})$/.test(text) ? Number(text) : 65_536
  return port > 65_535 ? undefined : port
}

/** §2.2. */
function parseV2(received: Buffer): ProxyHeaderResult {
  if (received.length < FIXED_BYTES) return INCOMPLETE
  const versionAndCommand = received.readUInt8(12)
  const protocol = received.readUInt8(13)
  const headerBytes = FIXED_BYTES + received.readUInt16BE(LENGTH_OFFSET)
  const command = versionAndCommand & 0x0f
  if (versionAndCommand >> 4 !== VERSION_2) return fault("version")
  if (command !== COMMAND_LOCAL && command !== COMMAND_PROXY) return fault("command")
  if (headerBytes > PROXY_HEADER_BYTES_MAX) return fault("length")
  // Of LOCAL all that follows is discarded, "including the family which is ignored".
  if (command === COMMAND_PROXY && !isProtocol(protocol)) return fault("family")
  if (received.length < headerBytes) return INCOMPLETE
  const isTcp = protocol === TCP_OVER_IPV4 || protocol === TCP_OVER_IPV6
  if (command === COMMAND_LOCAL || !isTcp) {
    return { type: "complete", endpoints: undefined, headerBytes }
  }
  return readV2(received.subarray(0, headerBytes), protocol === TCP_OVER_IPV4 ? 4 : 16)
}

/** Unix sockets and datagrams are ones too, though they say nothing that is of use here. */
function isProtocol(protocol: number): boolean {
  return protocol >> 4 <= FAMILY_MAX && (protocol & 0x0f) <= TRANSPORT_MAX
}

function readV2(header: Buffer, addressLength: 4 | 16): ProxyHeaderResult {
  const portsAt = FIXED_BYTES + 2 * addressLength
  const fieldsAt = portsAt + 4
  if (header.length < fieldsAt) return fault("length")
  const problem = fieldProblem(header, fieldsAt)
  if (problem !== undefined) return fault(problem)
  const addressAt = (at: number) => unmapped(header.subarray(at, at + addressLength))
  const source = { address: addressAt(FIXED_BYTES), port: header.readUInt16BE(portsAt) }
  const destination = {
    address: addressAt(FIXED_BYTES + addressLength),
    port: header.readUInt16BE(portsAt + 2),
  }
  return { type: "complete", endpoints: { source, destination }, headerBytes: header.length }
}

/** §2.2.1: who sends a checksum wants it looked at; other fields are skipped. */
function fieldProblem(header: Buffer, start: number): "field" | "checksum" | undefined {
  let at = start
  while (at + FIELD_HEAD_BYTES <= header.length) {
    const valueAt = at + FIELD_HEAD_BYTES
    const valueLength = header.readUInt16BE(at + 1)
    if (valueAt + valueLength > header.length) return "field"
    if (header[at] === FIELD_CRC32C) {
      if (valueLength !== CRC32C_BYTES) return "field"
      if (!matchesChecksum(header, valueAt)) return "checksum"
    }
    at = valueAt + valueLength
  }
  return at === header.length ? undefined : "field"
}

/** §2.2.3: over the whole header, with zeros in the checksum's place. */
function matchesChecksum(header: Buffer, at: number): boolean {
  const zeros = new Uint8Array(CRC32C_BYTES)
  const sum = crc32c(header.subarray(0, at), zeros, header.subarray(at + CRC32C_BYTES))
  return sum === header.readUInt32BE(at)
}

/**
 * An IPv4 client of an IPv6 socket is an IPv4 client, as it is in our own sockets: otherwise it
 * would slip through every rule that names its network.
 */
function unmapped(bytes: Uint8Array): Address {
  const isMapped = bytes.length === 16 && V4_MAPPED.every((byte, index) => bytes[index] === byte)
  return addressFromBytes(isMapped ? bytes.subarray(V4_MAPPED.length) : bytes)
}

const V4_MAPPED: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

function fault(reason: ProxyHeaderFault): ProxyHeaderResult {
  return { type: "fault", reason }
}

export type ProxyVersion = "v1" | "v2"

/** Without endpoints: the sender speaks for itself, as a health check does. */
export function encodeProxyHeader(
  version: ProxyVersion,
  endpoints: ProxiedEndpoints | undefined,
): Uint8Array {
  return version === "v1" ? encodeProxyV1(endpoints) : encodeProxyV2(endpoints)
}

/** Version 1; UNKNOWN without endpoints. Where one of them is IPv6, both are sent as such. */
export function encodeProxyV1(endpoints: ProxiedEndpoints | undefined): Uint8Array {
  if (endpoints === undefined) return Buffer.from("PROXY UNKNOWN\r\n", "latin1")
  const { source, destination } = endpoints
  const isIpv4 = hasIpv4Only(endpoints)
  const text = ({ address }: Endpoint) =>
    isIpv4 || familyOf(address) === 6 ? address : `::ffff:${address}`
  const words = [text(source), text(destination), source.port, destination.port]
  return Buffer.from(`PROXY ${isIpv4 ? "TCP4" : "TCP6"} ${words.join(" ")}\r\n`, "latin1")
}

/** Version 2 without fields; LOCAL without endpoints. */
export function encodeProxyV2(endpoints: ProxiedEndpoints | undefined): Uint8Array {
  if (endpoints === undefined) return fixedPart(COMMAND_LOCAL, 0, 0)
  const { source, destination } = endpoints
  const isIpv4 = hasIpv4Only(endpoints)
  const bytes = ({ address }: Endpoint) => {
    const own = addressBytes(address)
    return isIpv4 || own.length === 16 ? own : Uint8Array.of(...V4_MAPPED, ...own)
  }
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  const rest = Buffer.concat([bytes(source), bytes(destination), ports])
  const protocol = isIpv4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6
  return Buffer.concat([fixedPart(COMMAND_PROXY, protocol, rest.length), rest])
}

function hasIpv4Only({ source, destination }: ProxiedEndpoints): boolean {
  return familyOf(source.address) === 4 && familyOf(destination.address) === 4
}

function fixedPart(command: number, protocol: number, restBytes: number): Buffer {
  const fixed = Buffer.alloc(FIXED_BYTES)
  SIGNATURE.copy(fixed)
  fixed.writeUInt8((VERSION_2 << 4) | command, 12)
  fixed.writeUInt8(protocol, 13)
  fixed.writeUInt16BE(restBytes, LENGTH_OFFSET)
  return fixed
}
