/**
 * `struct sockaddr_in` (16 bytes) and `sockaddr_in6` (28 bytes): family in host order, port and
 * address in network order. The same on every machine we build for.
 */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  type Endpoint,
  familyOf,
} from "../net/address.ts"
import { NativeBytes } from "./bytes.ts"

export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const SOCKADDR_BYTES_MAX = 28

export const SOCKADDR_IN_BYTES = 16
const SOCKADDR_IN6_BYTES = 28
const V4_MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]

export function encodeSockaddr(endpoint: Endpoint): NativeBytes {
  const bytes = addressBytes(endpoint.address)
  const isIpv6 = familyOf(endpoint.address) === 6
  const result = new NativeBytes(isIpv6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES)
  result.view.setUint16(0, isIpv6 ? AF_INET6 : AF_INET, true)
  result.view.setUint16(2, endpoint.port)
  result.bytes.set(bytes, isIpv6 ? 8 : 4)
  return result
}

/** Reads what the kernel wrote. An IPv4 client of an IPv6 socket comes out as IPv4. */
export function decodeSockaddr(source: NativeBytes): Endpoint {
  return { address: sockaddrAddress(source), port: source.view.getUint16(2) }
}

function sockaddrAddress(source: NativeBytes): Address {
  if (source.view.getUint16(0, true) === AF_INET) {
    return addressFromBytes(source.bytes.subarray(4, 8))
  }
  const bytes = source.bytes.subarray(8, 24)
  const isMapped = V4_MAPPED_PREFIX.every((byte, index) => bytes[index] === byte)
  return addressFromBytes(isMapped ? bytes.subarray(12) : bytes)
}
