import { afterEach, expect, test } from "bun:test"
import { openSync } from "node:fs"
import { errnoName, SystemError } from "./errno.ts"
import { check, Fd, leakedFds, ownFd, traceFds } from "./fd.ts"
import { libc } from "./libc.ts"

afterEach(() => traceFds(false))

function openNull(): Fd {
  return new Fd(openSync("/dev/null", "r"), "null device")
}

function isOpen(number: number): boolean {
  const F_GETFD = 1
  return libc.fcntl(number, F_GETFD, 0) >= 0
}

test("Fd closes its descriptor once", () => {
  const fd = openNull()
  const { number } = fd
  expect([isOpen(number), fd.closed]).toEqual([true, false])
  fd.close()
  expect([isOpen(number), fd.closed]).toEqual([false, true])
  // The number may be somebody else's by now: a second close must not touch it.
  using other = openNull()
  expect(other.number).toBe(number)
  fd.close()
  expect(isOpen(number)).toBe(true)
})

test("Fd refuses to be used after it is closed", () => {
  const fd = openNull()
  fd.close()
  expect(() => fd.number).toThrow("Use of closed null device")
})

test("Fd closes at the end of its scope", () => {
  let number = -1
  {
    using fd = openNull()
    number = fd.number
  }
  expect(isOpen(number)).toBe(false)
})

test("leakedFds() names where an open descriptor was made", () => {
  traceFds(true)
  const [leaked, closed] = [openNull(), openNull()]
  closed.close()
  expect(leakedFds()).toHaveLength(1)
  expect(leakedFds()[0]).toContain("fd.test.ts")
  leaked.close()
  expect(leakedFds()).toEqual([])
})

test("check() and ownFd() throw what failed and why", () => {
  const failing = () => check(libc.close(-1), "close nothing", "it is not open")
  expect(failing).toThrow("Cannot close nothing: EBADF (it is not open)")
  expect(() => ownFd(libc.socket(-1, 0, 0), "open socket")).toThrow("EAFNOSUPPORT")
  expect(check(7, "count")).toBe(7)
})

test("SystemError says the operation, the error by name and the hint", () => {
  const error = new SystemError("bind 192.0.2.10:443", 98)
  expect(error.message).toBe("Cannot bind 192.0.2.10:443: EADDRINUSE")
  expect([error.code, error.errno, error.operation]).toEqual([
    "EADDRINUSE",
    98,
    "bind 192.0.2.10:443",
  ])
  expect(errnoName(133)).toBe("errno 133")
})
