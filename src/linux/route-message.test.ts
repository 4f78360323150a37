import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import type { Address, Prefix } from "../net/address.ts"
import { GOLDEN } from "./fixtures/netlink.ts"
import {
  encodeRoute,
  encodeRouteQuery,
  encodeRouteRemoval,
  parseRoute,
  type RouteSpec,
} from "./route-message.ts"

const NLMSGHDR_HEX = 32
const bodyHex = (message: string) => message.slice(NLMSGHDR_HEX)
const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"))
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
const prefix = (address: string, length: number): Prefix => ({
  address: address as Address,
  length,
})

describe("encodeRoute()", () => {
  test("writes what `ip route replace` writes", () => {
    const spec: RouteSpec = {
      prefix: prefix("198.51.100.0", 24),
      gateway: "192.0.2.1" as Address,
      ifindex: 9,
      source: "192.0.2.2" as Address,
      table: 1234,
      protocol: 99,
      metric: 7,
    }
    expect(hexOf(encodeRoute(spec))).toBe(bodyHex(GOLDEN.routeReplace))
  })

  test("writes what `ip route add` writes for an IPv6 default route", () => {
    const spec: RouteSpec = {
      prefix: prefix("::", 0),
      gateway: "fe80::1" as Address,
      ifindex: 9,
      protocol: 99,
    }
    expect(hexOf(encodeRoute(spec))).toBe(bodyHex(GOLDEN.routeAddIpv6Default))
  })

  test("gives an IPv4 route without gateway link scope, as `ip route add` does", () => {
    const spec: RouteSpec = { prefix: prefix("203.0.113.0", 24), ifindex: 9, protocol: 99 }
    expect(hexOf(encodeRoute(spec))).toBe(bodyHex(GOLDEN.routeAddOnLink))
  })

  test("gives a route without interface its type and universal scope", () => {
    const spec: RouteSpec = { prefix: prefix("203.0.113.0", 24), type: "blackhole" }
    expect(hexOf(encodeRoute(spec))).toBe("02180000fe030006" + "00000000" + "08000100cb007100")
  })
})

describe("encodeRouteRemoval()", () => {
  test("writes what `ip route del` writes", () => {
    const spec: RouteSpec = { prefix: prefix("198.51.100.0", 24), table: 1234, protocol: 99 }
    expect(hexOf(encodeRouteRemoval(spec))).toBe(bodyHex(GOLDEN.routeDelete))
  })
})

describe("encodeRouteQuery()", () => {
  test("filters by table and protocol when they are given", () => {
    expect(hexOf(encodeRouteQuery({ family: 4 }))).toBe("020000000000000000000000")
    expect(hexOf(encodeRouteQuery({ family: 6, table: 1234, protocol: 99 }))).toBe(
      "0a0000000063000000000000" + "08000f00d2040000",
    )
  })
})

describe("parseRoute()", () => {
  test("reads a route through a gateway", () => {
    expect(parseRoute(bytesOf(bodyHex(GOLDEN.routeShow)))).toEqual({
      ok: true,
      value: {
        prefix: prefix("198.51.100.0", 24),
        gateway: "192.0.2.1" as Address,
        ifindex: 9,
        source: "192.0.2.2" as Address,
        table: 1234,
        protocol: 99,
        metric: 7,
        scope: 0,
        type: "unicast",
        nextHops: [],
      },
    })
  })

  test("reads the next hops of a multipath route", () => {
    expect(parseRoute(bytesOf(bodyHex(GOLDEN.routeShowMultipath)))).toMatchObject({
      ok: true,
      value: {
        prefix: prefix("198.18.0.0", 15),
        gateway: undefined,
        ifindex: undefined,
        table: 1235,
        nextHops: [
          { gateway: "192.0.2.1" as Address, ifindex: 9, weight: 1 },
          { gateway: "192.0.2.3" as Address, ifindex: 9, weight: 5 },
        ],
      },
    })
  })

  test("reads a default route, an unknown type, and the table from the header", () => {
    expect(parseRoute(bytesOf("02000000fe0300c800000000"))).toMatchObject({
      ok: true,
      value: { prefix: prefix("0.0.0.0", 0), table: 254, type: 200 },
    })
  })

  test("is undefined for other families and for cached copies", () => {
    const absent = { ok: true, value: undefined } as const
    expect(parseRoute(bytesOf("80000000fe03000100000000"))).toEqual(absent)
    expect(parseRoute(bytesOf("02000000fe03000100020000"))).toEqual(absent)
  })

  const rejects = [
    ["02000000fe030001", "family header cut short"],
    ["02180000fe03000100000000" + "06000100c0000000", "attribute of the wrong size"],
    ["02180000fe03000100000000" + "ff00050001000000", "attribute longer than its message"],
    ["02180000fe03000100000000" + "0c0009000400000009000000", "attribute of the wrong size"],
    ["02180000fe03000100000000" + "0c0009001000000009000000", "attribute longer than its message"],
    [
      "02180000fe03000100000000" + "140009001000000009000000" + "05000500c0000000",
      "attribute of the wrong size",
    ],
  ] as const
  test.each(rejects)("rejects %s when it is malformed: %s", (hex, reason) => {
    expect(parseRoute(bytesOf(hex))).toEqual({ ok: false, reason })
  })

  test("never throws, whatever the bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (body) => void parseRoute(body)))
    const whole = bytesOf(bodyHex(GOLDEN.routeShowMultipath))
    for (let length = 0; length < whole.length; length++) parseRoute(whole.subarray(0, length))
  })
})
