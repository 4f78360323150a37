/**
 * IP addresses, prefixes and endpoints as values.
 *
 * An `Address` is its canonical text (RFC 5952 for IPv6), so two addresses are equal when `===`
 * says so, and a value survives `postMessage`, JSON and a `Map` key unchanged. Code on a hot path
 * converts once with `addressBytes` and keeps the bytes.
 */
import ipaddr from "ipaddr.js"

declare const addressBrand: unique symbol
/** Canonical text of an IPv4 or IPv6 address, such as `192.0.2.1` or `2001:db8::1`. */
export type Address = string & { readonly [addressBrand]: true }

export type Family = 4 | 6

/** An address with a prefix length; host bits may be set (an interface address has them). */
export interface Prefix {
  readonly address: Address
  readonly length: number
}

/** A transport address. Port 0 means "any". */
export interface Endpoint {
  readonly address: Address
  readonly port: number
}

export const ANY_IPV4 = "0.0.0.0" as Address
export const ANY_IPV6 = "::" as Address

/** Parses strictly: four decimal parts without leading zeros, or IPv6 without a zone. */
export function parseAddress(text: string): Address | undefined {
  if (text.includes(":")) return parseIpv6(text)
  if (!ipaddr.IPv4.isValidFourPartDecimal(text)) return undefined
  if (/(^|\.)0\d/.test(text)) return undefined // inet_aton would read "010" as octal 8
  return text as Address
}

function parseIpv6(text: string): Address | undefined {
  const hexadecimal = text.includes(".") ? withoutDottedPart(text) : text
  if (hexadecimal === undefined || hexadecimal.includes("%")) return undefined
  if (!ipaddr.IPv6.isValid(hexadecimal)) return undefined
  return ipaddr.IPv6.parse(hexadecimal).toRFC5952String() as Address
}

/**
 * `::ffff:192.0.2.1` → `::ffff:c000:201` (RFC 4291 §2.2.3). Done here, because the library takes
 * leading zeros in it and reads `::192.0.2.1` as if it were the mapped address.
 */
function withoutDottedPart(text: string): string | undefined {
  const start = text.lastIndexOf(":") + 1
  const dotted = parseAddress(text.slice(start))
  if (dotted === undefined) return undefined
  const [a = 0, b = 0, c = 0, d = 0] = addressBytes(dotted)
  return `${text.slice(0, start)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
}

export function familyOf(address: Address): Family {
  return address.includes(":") ? 6 : 4
}

/** 4 or 16 bytes in network order. */
export function addressBytes(address: Address): Uint8Array {
  return Uint8Array.from(ipaddr.parse(address).toByteArray())
}

/** From 4 or 16 bytes in network order. */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length === 4) return bytes.join(".") as Address
  if (bytes.length !== 16) throw new RangeError(`Cannot read an address of ${bytes.length} bytes`)
  return new ipaddr.IPv6([...bytes]).toRFC5952String() as Address
}

/** `192.0.2.0/24`, or a bare address, which stands for itself alone (/32 or /128). */
export function parsePrefix(text: string): Prefix | undefined {
  const [addressText = "", lengthText, ...rest] = text.split("/")
  const address = parseAddress(addressText)
  if (address === undefined || rest.length > 0) return undefined
  const bits = familyOf(address) === 4 ? 32 : 128
  if (lengthText === undefined) return { address, length: bits }
  if (!/^(0|[1-9]\d{0,2})$/.test(lengthText) || Number(lengthText) > bits) return undefined
  return { address, length: Number(lengthText) }
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address}/${prefix.length}`
}

/** Whether `address` lies in `prefix`; families never match each other. */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (familyOf(prefix.address) !== familyOf(address)) return false
  return ipaddr.parse(address).match(ipaddr.parse(prefix.address), prefix.length)
}

/** `192.0.2.1:80` or `[2001:db8::1]:80`. The port is required, 1–65535. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([1-9]\d{0,4})$/.exec(text)
  if (match === null) return undefined
  const address = parseAddress(match[1] ?? match[2] ?? "")
  const port = Number(match[3])
  if (address === undefined || port > 65535) return undefined
  if ((match[1] !== undefined) !== (familyOf(address) === 6)) return undefined
  return { address, port }
}

export function formatEndpoint(endpoint: Endpoint): string {
  return familyOf(endpoint.address) === 6
    ? `[${endpoint.address}]:${endpoint.port}`
    : `${endpoint.address}:${endpoint.port}`
}

/** Total order of addresses of one family as unsigned integers (RFC 9568 §6.4.3 compares so). */
export function compareAddresses(left: Address, right: Address): number {
  const a = addressBytes(left)
  const b = addressBytes(right)
  return a.length - b.length || Buffer.compare(a, b)
}
