import { expect, test } from "bun:test"
import fc from "fast-check"
import { KEEPALIVED } from "./fixtures/keepalived.ts"
import { type Ipv4DropReason, parseIpv4 } from "./ipv4.ts"

/** 20 bytes of header and 12 of VRRP; vrrp.test.ts decodes and encodes it. */
const GOLDEN = KEEPALIVED.v3.slice(28)

const REJECTED: readonly [hex: string, reason: Ipv4DropReason, why: string][] = [
  [GOLDEN.slice(0, 38), "length", "19 bytes"],
  [GOLDEN.slice(0, -2), "length", "one byte less than Total Length"],
  [GOLDEN.replace(/^45/, "44"), "length", "IHL is below 5"],
  [GOLDEN.replace(/^45/, "4f"), "length", "IHL is beyond Total Length"],
  [GOLDEN.replace(/^45/, "65"), "version", "version 6"],
  [GOLDEN.replace("ff70", "fe70"), "header-checksum", "the TTL changed"],
]

for (const [hex, reason, why] of REJECTED) {
  test(`parseIpv4() answers ${reason} when ${why}`, () => {
    expect(parseIpv4(Uint8Array.fromHex(hex))).toEqual({ ok: false, reason })
  })
}

test("parseIpv4() skips options", () => {
  // IHL 6 and Total Length 28: one word of no-operation options (RFC 791 §3.1) before the payload.
  // 46c0 + 001c + 0001 + 0000 + ff70 + 0000 + c000 + 0201 + e000 + 0012 + 0101 + 0101 = 2ea62,
  // folded ea64, complement 159b.
  const result = parseIpv4(
    Uint8Array.fromHex("46c0001c00010000ff70159bc0000201e00000120101010131336401"),
  )
  expect(result.ok && result.value.payload.toHex()).toBe("31336401")
})

test("parseIpv4() cuts off link-layer padding", () => {
  const result = parseIpv4(Uint8Array.fromHex(`${GOLDEN}0000000000000000000000000000`))
  expect(result.ok && result.value.payload.length).toBe(12)
})

test("parseIpv4() never throws", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(typeof parseIpv4(bytes).ok).toBe("boolean")
    }),
  )
})
