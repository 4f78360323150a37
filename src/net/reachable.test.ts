/** What of a bind others can reach. */
import { expect, test } from "bun:test"
import { type Address, type Endpoint, formatEndpoint } from "./address.ts"
import { isReachable, reachableEndpoints } from "./reachable.ts"

const VIRTUAL = ["192.0.2.1", "192.0.2.2", "fd00::1"] as Address[]

test.each([
  [["192.0.2.9"], ["192.0.2.9:80"]],
  [["::"], ["192.0.2.1:80", "192.0.2.2:80", "[fd00::1]:80"]],
  [["0.0.0.0"], ["192.0.2.1:80", "192.0.2.2:80"]],
  [
    ["192.0.2.2", "0.0.0.0"],
    ["192.0.2.2:80", "192.0.2.1:80"],
  ],
  [["127.0.0.1", "fe80::1", "192.0.2.9"], ["192.0.2.9:80"]],
  [[], []],
])("reachableEndpoints() of %p", (addresses, expected) => {
  const bind = addresses.map((address): Endpoint => ({ address: address as Address, port: 80 }))
  expect(reachableEndpoints(bind, VIRTUAL).map(formatEndpoint)).toEqual(expected)
})

test.each([
  ["192.0.2.1", true],
  ["fd00::1", true],
  ["0.0.0.0", false],
  ["::", false],
  ["127.8.8.8", false],
  ["169.254.1.1", false],
  ["224.0.0.18", false],
  ["ff02::12", false],
])("isReachable() of %s is %p", (address, expected) => {
  expect(isReachable(address as Address)).toBe(expected)
})
