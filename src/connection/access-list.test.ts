import { expect, test } from "bun:test"
import { type Address, addressBytes, parsePrefix } from "../net/address.ts"
import { AccessList } from "./access-list.ts"

function list(allow: string, deny: string): AccessList {
  const prefixes = (text: string) => text.split(" ").flatMap((each) => parsePrefix(each) ?? [])
  return new AccessList({ allow: prefixes(allow), deny: prefixes(deny) })
}

test.each([
  ["", "", "192.0.2.1", true],
  ["192.0.2.0/24", "", "192.0.2.1", true],
  ["192.0.2.0/24", "", "198.51.100.1", false],
  ["192.0.2.0/24", "", "2001:db8::1", false],
  ["", "192.0.2.0/24", "192.0.2.1", false],
  ["", "192.0.2.0/24", "198.51.100.1", true],
  ["192.0.2.0/24", "192.0.2.1", "192.0.2.1", false],
  ["192.0.2.0/24", "192.0.2.1", "192.0.2.2", true],
  ["192.0.2.1", "192.0.2.0/24", "192.0.2.1", false], // deny counts, however exact the other is
  ["192.0.2.0/24 2001:db8::/32", "", "2001:db8::1", true],
])("AccessList allow %j deny %j: %s %p", (allow, deny, client, expected) => {
  const bytes = addressBytes(client as Address)
  expect(list(allow, deny).permits(bytes, 0, bytes.length)).toBe(expected)
})

test("isOpen says that nothing needs to be looked up", () => {
  expect([list("", "").isOpen, list("::/0", "").isOpen, list("", "::/0").isOpen]).toEqual([
    true,
    false,
    false,
  ])
})
