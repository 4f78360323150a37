import { expect, test } from "bun:test"
import { BROADCAST_MAC, macBytes, macFromBytes, virtualRouterMac } from "./mac.ts"

test("virtualRouterMac() is 00-00-5E-00-01-{VRID} for IPv4, -02- for IPv6 (RFC 9568 §7.3)", () => {
  expect<string>(virtualRouterMac(51, 4)).toBe("00:00:5e:00:01:33")
  expect<string>(virtualRouterMac(255, 6)).toBe("00:00:5e:00:02:ff")
  expect<string>(virtualRouterMac(1, 4)).toBe("00:00:5e:00:01:01")
})

test("macBytes() and macFromBytes() are inverse", () => {
  expect([...macBytes(BROADCAST_MAC)]).toEqual([255, 255, 255, 255, 255, 255])
  expect<string>(macFromBytes(Uint8Array.of(0, 0x5e, 1, 0xab, 9, 0xff))).toBe("00:5e:01:ab:09:ff")
})
