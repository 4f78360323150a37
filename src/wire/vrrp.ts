/**
 * VRRP advertisements: version 3 for IPv4 (RFC 9568 §5.2) and version 2 (RFC 3768 §5.1, with the
 * authentication of RFC 2338 §5.3.6 that keepalived still sends).
 *
 *      0                   1                   2                   3
 *      0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *     +-------+-------+---------------+---------------+---------------+
 *     |Version| Type  |      VRID     |    Priority   | Address Count |
 *     +-------+-------+---------------+---------------+---------------+
 * v3  |Reserve| Max Advertise Interval|            Checksum           |
 *     +-------+-------+---------------+-------------------------------+
 * v2  |   Auth Type   |   Adver Int   |            Checksum           |
 *     +---------------+---------------+-------------------------------+
 *     |                         Address (1…n)                         |
 *     +---------------------------------------------------------------+
 * v2  |                   Authentication Data, 8 bytes                |
 *     +---------------------------------------------------------------+
 *
 * The version 3 checksum over IPv4 has two forms in the field: RFC 5798 put a pseudo-header under
 * it, RFC 9568 §5.2.8 covers the message alone. keepalived (2.2.7 captured, 2.4 read) sends the
 * first and rejects the second, so the first is what a router sends unless it has learnt better;
 * both are accepted, and the parser says which it saw.
 */
import { type Address, addressBytes, addressFromBytes } from "../net/address.ts"
import { internetChecksum } from "./checksum.ts"
import { IP_PROTOCOL_VRRP } from "./ipv4.ts"

/** 224.0.0.18, RFC 9568 §5.1.1.2. */
export const VRRP_MULTICAST_IPV4 = "224.0.0.18" as Address
/** RFC 9568 §5.1.1.3: a packet with another TTL did not come from this link. */
export const VRRP_TIME_TO_LIVE = 255
/** The count is one byte; addresses beyond it are held but not advertised. */
export const ADVERTISED_ADDRESSES_MAX = 255
/** RFC 9568 §5.2.7: 12 bits of centiseconds. */
export const MAX_ADVERTISE_INTERVAL_CS_MAX = 4095

const TYPE_ADVERTISEMENT = 1
const HEADER_BYTES = 8
const ADDRESS_BYTES = 4
const AUTHENTICATION_BYTES = 8
const AUTHENTICATION_NONE = 0
const AUTHENTICATION_PASS = 1
const CHECKSUM_OFFSET = 6

export type Advertisement = AdvertisementV2 | AdvertisementV3

export interface AdvertisementV2 {
  readonly version: 2
  readonly virtualRouterId: number
  readonly priority: number
  readonly advertisementIntervalS: number
  readonly addresses: readonly Address[]
  readonly authentication: Authentication
}

export interface AdvertisementV3 {
  readonly version: 3
  readonly virtualRouterId: number
  readonly priority: number
  readonly maxAdvertiseIntervalCs: number
  readonly addresses: readonly Address[]
}

/** `password` is the 8 bytes of RFC 2338 §5.3.6 as latin1 text without the zeros at its end. */
export type Authentication =
  | { readonly type: "none" }
  | { readonly type: "pass"; readonly password: string }

/** `message` is what RFC 9568 §5.2.8 says; `pseudo-header` what RFC 5798 §5.2.8 said. */
export type ChecksumForm = "message" | "pseudo-header"

/** Where the message travels; the pseudo-header is made of it. */
export interface VrrpEnvelope {
  readonly source: Address
  readonly destination: Address
}

export type VrrpDropReason = "length" | "version" | "type" | "checksum" | "authentication-type"

export type VrrpResult =
  | { readonly ok: true; readonly value: Advertisement; readonly checksum: ChecksumForm }
  | { readonly ok: false; readonly reason: VrrpDropReason }

/** RFC 9568 §7.1, the checks that need no configuration. */
export function parseVrrp(message: Uint8Array, envelope: VrrpEnvelope): VrrpResult {
  if (message.length < HEADER_BYTES) return { ok: false, reason: "length" }
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength)
  const version = view.getUint8(0) >> 4
  if (version !== 2 && version !== 3) return { ok: false, reason: "version" }
  if ((view.getUint8(0) & 0x0f) !== TYPE_ADVERTISEMENT) return { ok: false, reason: "type" }
  if (message.length !== messageBytes(version, view.getUint8(3)))
    return { ok: false, reason: "length" }
  const checksum = checksumFormOf(message, version, envelope)
  if (checksum === undefined) return { ok: false, reason: "checksum" }
  const value = version === 2 ? readV2(message, view) : readV3(message, view)
  if (value === undefined) return { ok: false, reason: "authentication-type" }
  return { ok: true, value, checksum }
}

function messageBytes(version: 2 | 3, count: number): number {
  return HEADER_BYTES + count * ADDRESS_BYTES + (version === 2 ? AUTHENTICATION_BYTES : 0)
}

function checksumFormOf(
  message: Uint8Array,
  version: 2 | 3,
  envelope: VrrpEnvelope,
): ChecksumForm | undefined {
  if (internetChecksum(message) === 0) return "message"
  if (version === 2) return undefined
  const sum = internetChecksum(pseudoHeader(envelope, message.length), message)
  return sum === 0 ? "pseudo-header" : undefined
}

/** As UDP's (RFC 768): source, destination, zero, protocol, length. */
function pseudoHeader(envelope: VrrpEnvelope, length: number): Uint8Array {
  const bytes = new Uint8Array(12)
  bytes.set(addressBytes(envelope.source), 0)
  bytes.set(addressBytes(envelope.destination), 4)
  bytes[9] = IP_PROTOCOL_VRRP
  new DataView(bytes.buffer).setUint16(10, length)
  return bytes
}

function readV3(message: Uint8Array, view: DataView): AdvertisementV3 {
  return {
    version: 3,
    virtualRouterId: view.getUint8(1),
    priority: view.getUint8(2),
    // RFC 9568 §5.2.6: the reserved bits are ignored on reception.
    maxAdvertiseIntervalCs: view.getUint16(4) & 0x0fff,
    addresses: readAddresses(message, view.getUint8(3)),
  }
}

function readV2(message: Uint8Array, view: DataView): AdvertisementV2 | undefined {
  const authentication = readAuthentication(
    view.getUint8(4),
    message.subarray(message.length - AUTHENTICATION_BYTES),
  )
  if (authentication === undefined) return undefined
  return {
    version: 2,
    virtualRouterId: view.getUint8(1),
    priority: view.getUint8(2),
    advertisementIntervalS: view.getUint8(5),
    addresses: readAddresses(message, view.getUint8(3)),
    authentication,
  }
}

function readAddresses(message: Uint8Array, count: number): Address[] {
  return Array.from({ length: count }, (_, index) => {
    const at = HEADER_BYTES + index * ADDRESS_BYTES
    return addressFromBytes(message.subarray(at, at + ADDRESS_BYTES))
  })
}

function readAuthentication(type: number, data: Uint8Array): Authentication | undefined {
  if (type === AUTHENTICATION_NONE) return { type: "none" }
  if (type !== AUTHENTICATION_PASS) return undefined
  return { type: "pass", password: Buffer.from(data).toString("latin1").replace(/\0+$/, "") }
}

export interface EncodeOptions extends VrrpEnvelope {
  /** Version 2 has only `message`. */
  readonly checksum: ChecksumForm
}

/** Addresses beyond `ADVERTISED_ADDRESSES_MAX` and password bytes beyond 8 are left out. */
export function encodeVrrp(advertisement: Advertisement, options: EncodeOptions): Uint8Array {
  const addresses = advertisement.addresses.slice(0, ADVERTISED_ADDRESSES_MAX)
  const message = new Uint8Array(messageBytes(advertisement.version, addresses.length))
  const view = new DataView(message.buffer)
  view.setUint8(0, (advertisement.version << 4) | TYPE_ADVERTISEMENT)
  view.setUint8(1, advertisement.virtualRouterId)
  view.setUint8(2, advertisement.priority)
  view.setUint8(3, addresses.length)
  for (const [index, address] of addresses.entries())
    message.set(addressBytes(address), HEADER_BYTES + index * ADDRESS_BYTES)
  if (advertisement.version === 3) view.setUint16(4, advertisement.maxAdvertiseIntervalCs)
  else writeV2(advertisement, message, view)
  view.setUint16(CHECKSUM_OFFSET, checksumOf(message, advertisement.version, options))
  return message
}

function writeV2(advertisement: AdvertisementV2, message: Uint8Array, view: DataView): void {
  view.setUint8(5, advertisement.advertisementIntervalS)
  if (advertisement.authentication.type === "none") return
  view.setUint8(4, AUTHENTICATION_PASS)
  const password = Buffer.from(advertisement.authentication.password, "latin1")
  message.set(password.subarray(0, AUTHENTICATION_BYTES), message.length - AUTHENTICATION_BYTES)
}

function checksumOf(message: Uint8Array, version: 2 | 3, options: EncodeOptions): number {
  if (version === 2 || options.checksum === "message") return internetChecksum(message)
  return internetChecksum(pseudoHeader(options, message.length), message)
}
