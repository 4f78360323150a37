import { describe, expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import type { InterfaceAddress } from "./address-message.ts"
import { primaryAddress } from "./interfaces.ts"

const GLOBAL = 0
const LINK = 253
const HOST = 254

function held(address: string, rest: Partial<InterfaceAddress> = {}): InterfaceAddress {
  return {
    ifindex: 2,
    prefix: { address: address as Address, length: 24 },
    peer: undefined,
    scope: GLOBAL,
    label: undefined,
    validLifetimeS: Number.POSITIVE_INFINITY,
    preferredLifetimeS: Number.POSITIVE_INFINITY,
    protocol: 0,
    secondary: false,
    deprecated: false,
    tentative: false,
    dadFailed: false,
    permanent: true,
    noPrefixRoute: false,
    noDad: false,
    ...rest,
  }
}

describe("primaryAddress()", () => {
  const eth = { ifindex: 2, family: 4 } as const

  test("is the first global address of the interface and family", () => {
    const addresses = [
      held("10.0.0.9", { ifindex: 3 }),
      held("fe80::1", { scope: LINK }),
      held("10.0.0.7", { secondary: true }),
      held("10.0.0.1"),
      held("10.0.1.1"),
    ]
    expect(primaryAddress(addresses, eth)).toBe("10.0.0.1" as Address)
  })

  test("falls back to link scope, but never to host scope", () => {
    const addresses = [held("10.0.0.8", { scope: HOST }), held("169.254.0.1", { scope: LINK })]
    expect(primaryAddress(addresses, eth)).toBe("169.254.0.1" as Address)
    expect(primaryAddress(addresses.slice(0, 1), eth)).toBeUndefined()
  })

  test("leaves out what the caller excludes", () => {
    const addresses = [held("10.0.0.40", { protocol: 0xc0 }), held("10.0.0.1")]
    const exclude = ({ protocol }: InterfaceAddress) => protocol === 0xc0
    expect(primaryAddress(addresses, { ...eth, exclude })).toBe("10.0.0.1" as Address)
  })

  test("is the link-local address for IPv6, once it is known to be unique", () => {
    const addresses = [
      held("2001:db8::1"),
      held("fe80::1", { scope: LINK, tentative: true }),
      held("fe80::2", { scope: LINK, dadFailed: true }),
      held("fe80::3", { scope: LINK }),
    ]
    expect(primaryAddress(addresses, { ifindex: 2, family: 6 })).toBe("fe80::3" as Address)
    expect(primaryAddress(addresses.slice(0, 3), { ifindex: 2, family: 6 })).toBeUndefined()
  })
})
