import { expect, test } from "bun:test"
import fc from "fast-check"
import { type Address, addressFromBytes } from "../net/address.ts"
import { NativeBytes } from "./bytes.ts"
import { decodeSockaddr, encodeSockaddr, SOCKADDR_BYTES_MAX } from "./sockaddr.ts"

const address = (text: string) => text as Address

/** As the kernel hands it over: in a buffer of the largest size. */
function received(hex: string): NativeBytes {
  const buffer = new NativeBytes(SOCKADDR_BYTES_MAX)
  buffer.bytes.set(Buffer.from(hex.replaceAll(" ", ""), "hex"))
  return buffer
}

// netinet/in.h: family (host order), port, address; flow information before an IPv6 address.
test.each([
  ["192.0.2.10", 3306, "0200 0cea c000020a 0000000000000000"],
  ["0.0.0.0", 0, "0200 0000 00000000 0000000000000000"],
  ["2001:db8::1", 443, "0a00 01bb 00000000 20010db8000000000000000000000001 00000000"],
])("encodeSockaddr() of %s port %d", (text, port, hex) => {
  const encoded = encodeSockaddr({ address: address(text), port })
  expect(Buffer.from(encoded.bytes).toString("hex")).toBe(hex.replaceAll(" ", ""))
  expect(decodeSockaddr(received(hex))).toEqual({ address: address(text), port })
})

test("decodeSockaddr() reads an IPv4 client of an IPv6 socket as IPv4", () => {
  const mapped = "0a00 1f90 00000000 00000000000000000000ffffc0000207 00000000"
  expect(decodeSockaddr(received(mapped))).toEqual({ address: address("192.0.2.7"), port: 8080 })
})

test("decodeSockaddr() undoes encodeSockaddr() for any endpoint", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 4, maxLength: 4 }),
    fc.uint8Array({ minLength: 16, maxLength: 16 }),
  )
  fc.assert(
    fc.property(bytes, fc.nat(65_535), (addressBytes, port) => {
      const endpoint = { address: addressFromBytes(addressBytes), port }
      expect(decodeSockaddr(encodeSockaddr(endpoint))).toEqual(endpoint)
    }),
  )
})
