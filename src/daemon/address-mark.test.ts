import { expect, test } from "bun:test"
import { addressMark } from "./address-mark.ts"

test("addressMark() does not change: a restart must know what the run before has placed", () => {
  expect(addressMark("/etc/causeway/causeway.toml")).toBe(59)
  expect(addressMark("/etc/causeway/mysql.toml")).toBe(167)
  expect(addressMark("/etc/causeway/web.toml")).toBe(61)
})

test("addressMark() is the same for another spelling of the path", () => {
  const mark = addressMark("/etc/causeway/mysql.toml")
  expect(addressMark("/etc/causeway/../causeway//mysql.toml")).toBe(mark)
  expect(addressMark(`${"../".repeat(20)}etc/causeway/mysql.toml`)).toBe(mark)
})

test("addressMark() never is one of the kernel's", () => {
  const marks = Array.from({ length: 5_000 }, (_, at) => addressMark(`/etc/causeway/${at}.toml`))
  expect(Math.min(...marks)).toBe(4)
  expect(Math.max(...marks)).toBe(255)
})
