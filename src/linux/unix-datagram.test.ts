import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { NativeBytes } from "./bytes.ts"
import { check, type Fd, leakedFds, traceFds } from "./fd.ts"
import { libc } from "./libc.ts"
import { openSocket, SOCK_DGRAM, SOCK_NONBLOCK } from "./socket-option.ts"
import { sdNotify, watchdogIntervalMs } from "./unix-datagram.ts"

/** A manager's socket: a bound datagram socket that keeps what it is sent. */
function openManager(name: string): Fd {
  const path = Buffer.from(name.replace(/^@/, "\0"))
  const address = NativeBytes.of(Buffer.concat([Uint8Array.of(1, 0), path]))
  const kind = { family: 1, type: SOCK_DGRAM | SOCK_NONBLOCK, protocol: 0 }
  return openSocket(kind, "open manager", (socket) => {
    check(libc.bind(socket.number, address.address, address.bytes.length), `bind ${name}`)
  })
}

function received(manager: Fd): string {
  const buffer = new NativeBytes(4096)
  const length = check(libc.recv(manager.number, buffer.address, 4096, 0), "receive")
  return Buffer.from(buffer.bytes.subarray(0, length)).toString("utf8")
}

describe("sdNotify()", () => {
  let directory: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "causeway-notify-"))
    traceFds(true)
  })

  afterEach(() => {
    expect(leakedFds()).toEqual([])
    traceFds(false)
    rmSync(directory, { recursive: true })
  })

  test("sends one datagram when the socket is a path", () => {
    const path = join(directory, "notify")
    using manager = openManager(path)
    expect(sdNotify("READY=1\nSTATUS=ok", { NOTIFY_SOCKET: path })).toBe("sent")
    expect(received(manager)).toBe("READY=1\nSTATUS=ok")
  })

  test("sends one datagram when the socket is in the abstract namespace", () => {
    const name = `@${directory}/abstract`
    using manager = openManager(name)
    expect(sdNotify("WATCHDOG=1", { NOTIFY_SOCKET: name })).toBe("sent")
    expect(received(manager)).toBe("WATCHDOG=1")
  })

  test("does nothing when no service manager listens", () => {
    expect(sdNotify("READY=1", {})).toBe("no-manager")
    expect(sdNotify("READY=1", { NOTIFY_SOCKET: "" })).toBe("no-manager")
  })

  test("fails with the path when it is not a socket", () => {
    const path = join(directory, "missing")
    expect(() => sdNotify("READY=1", { NOTIFY_SOCKET: path })).toThrow(
      `Cannot notify the service manager at ${path}: ENOENT`,
    )
  })

  test("fails when the address is of another kind or too long", () => {
    const send = (socket: string) => () => sdNotify("READY=1", { NOTIFY_SOCKET: socket })
    expect(send("vsock:2:1234")).toThrow("EAFNOSUPPORT (expected an absolute path or @name)")
    expect(send(`/${"x".repeat(106)}`)).toThrow("ENOENT")
    expect(send(`/${"x".repeat(107)}`)).toThrow("EAFNOSUPPORT (the path is too long)")
  })
})

describe("watchdogIntervalMs()", () => {
  test("is half of what the manager waits", () => {
    expect(watchdogIntervalMs({ WATCHDOG_USEC: "3000000" }, 7)).toBe(1500)
    expect(watchdogIntervalMs({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "7" }, 7)).toBe(1500)
  })

  test("is undefined when no watchdog watches this process", () => {
    expect(watchdogIntervalMs({}, 7)).toBeUndefined()
    expect(watchdogIntervalMs({ WATCHDOG_USEC: "3000000", WATCHDOG_PID: "8" }, 7)).toBeUndefined()
    expect(watchdogIntervalMs({ WATCHDOG_USEC: "0" }, 7)).toBeUndefined()
    expect(watchdogIntervalMs({ WATCHDOG_USEC: "soon" }, 7)).toBeUndefined()
  })
})
