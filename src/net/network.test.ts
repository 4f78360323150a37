import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type Address, addressFromBytes, parsePrefix, prefixContains } from "./address.ts"
import { compareNetworks, covers, hostNetwork, type Network, networkOf } from "./network.ts"

function network(text: string): Network {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new Error(text)
  return networkOf(prefix)
}

test.each([
  ["10.244.1.5/24", "10.244.1.0/24"],
  ["10.244.1.255/26", "10.244.1.192/26"],
  ["10.244.1.5/32", "10.244.1.5/32"],
  ["255.255.255.255/1", "128.0.0.0/1"],
  ["10.1.2.3/0", "0.0.0.0/0"],
  ["2001:db8:ffff::1/33", "2001:db8:8000::/33"],
  ["fd00:10:244:1::5/64", "fd00:10:244:1::/64"],
  ["::1/128", "::1/128"],
  ["ff02::1/0", "::/0"],
])("networkOf() clears the host bits of %s", (text, expected) => {
  expect(network(text).text).toBe(expected)
})

test("hostNetwork() is the address alone", () => {
  expect(hostNetwork("10.0.0.1" as Address)).toEqual(network("10.0.0.1/32"))
  expect(hostNetwork("fd00::1" as Address)).toEqual(network("fd00::1/128"))
})

describe("covers()", () => {
  test.each([
    ["10.244.0.0/16", "10.244.1.0/24", true],
    ["10.244.1.0/24", "10.244.1.0/24", true],
    ["10.244.1.0/24", "10.244.0.0/16", false],
    ["10.244.1.0/26", "10.244.1.64/26", false],
    ["10.244.1.0/25", "10.244.1.64/26", true],
    ["0.0.0.0/0", "10.0.0.0/8", true],
    ["0.0.0.0/0", "fd00::/8", false],
    ["fd00::/8", "fd00::1/128", true],
  ])("%s, %s: %p", (outer, inner, expected) => {
    expect(covers(network(outer), network(inner))).toBe(expected)
  })

  test("agrees with prefixContains()", () => {
    const bytes = fc.uint8Array({ minLength: 4, maxLength: 4 })
    fc.assert(
      fc.property(bytes, bytes, fc.nat(32), (left, right, length) => {
        const prefix = { address: addressFromBytes(left), length }
        const address = addressFromBytes(right)
        const expected = prefixContains(prefix, address)
        expect(covers(networkOf(prefix), hostNetwork(address))).toBe(expected)
      }),
    )
  })
})

test("compareNetworks() puts a network right before those inside it", () => {
  const texts = ["fd00::/8", "10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/24", "9.0.0.0/8", "10.2.0.0/16"]
  expect(
    texts
      .map(network)
      .sort(compareNetworks)
      .map(({ text }) => text),
  ).toEqual(["9.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/24", "10.2.0.0/16", "fd00::/8"])
})
