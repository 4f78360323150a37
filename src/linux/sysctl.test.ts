import { expect, test } from "bun:test"
import { readSysctl, writeSysctl } from "./sysctl.ts"

test("readSysctl() gives the value without its newline", () => {
  expect(readSysctl("kernel/ostype")).toBe("Linux")
})

test("readSysctl() is undefined when the kernel has no such setting", () => {
  expect(readSysctl("net/ipv4/conf/no-such-interface/arp_ignore")).toBeUndefined()
})

test("writeSysctl() says what it tried when the setting does not exist or is read-only", () => {
  expect(() => writeSysctl("net/ipv4/no_such_setting", "1")).toThrow(
    "Cannot set sysctl net/ipv4/no_such_setting to 1: ENOENT",
  )
  // Even root may not: the file has no write permission and its handler no setter.
  expect(() => writeSysctl("kernel/ostype", "x")).toThrow("Cannot set sysctl kernel/ostype to x: E")
})

test.each(["../etc/passwd", "net//ipv4", "", "net/./ipv4", "net/ipv4/"])(
  "readSysctl() refuses the name %p, which would leave /proc/sys",
  (name) => {
    expect(() => readSysctl(name)).toThrow("as the name of a sysctl")
  },
)
