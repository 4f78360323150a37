import { afterEach, beforeEach, expect, spyOn, test } from "bun:test"
import { leakedFds, traceFds } from "./fd.ts"
import { libc } from "./libc.ts"
import { encodeLinkByIndex, RTM_GETLINK } from "./link-message.ts"
import { NetlinkSocket } from "./netlink-socket.ts"

// Listing interfaces needs no privilege, and every host has a loopback interface.
const LIST_LINKS = { type: RTM_GETLINK, flags: 0, body: encodeLinkByIndex(0) }
const ONE_LINK = { type: RTM_GETLINK, flags: 0, body: encodeLinkByIndex(1) }

beforeEach(() => traceFds(true))

afterEach(() => {
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

function withSocket(action: (socket: NetlinkSocket) => void): void {
  const socket = new NetlinkSocket()
  try {
    action(socket)
  } finally {
    socket.close()
  }
}

test("dump() returns the objects, request() those that came before the acknowledgement", () => {
  withSocket((socket) => {
    expect(socket.dump(LIST_LINKS, "list").length).toBeGreaterThan(0)
    expect(socket.request(ONE_LINK, "look up")).toHaveLength(1)
  })
})

test("request() fails with errno and text when the kernel refuses", () => {
  withSocket((socket) => {
    const nonsense = { ...ONE_LINK, body: new Uint8Array(3) }
    expect(() => socket.request(nonsense, "make sense")).toThrow("Cannot make sense: EINVAL")
    expect(socket.request(ONE_LINK, "look up")).toHaveLength(1)
  })
})

/** Runs `action` with one function of the C library replaced. */
function withFake(
  name: "send" | "recvfrom" | "bind",
  fake: () => number,
  action: () => void,
): void {
  const spy = spyOn(libc, name).mockImplementation(fake as never)
  try {
    action()
  } finally {
    spy.mockRestore()
  }
}

test("request() gives up after a second when there is no answer", () => {
  withSocket((socket) => {
    const startedAt = performance.now()
    const request = () => socket.request(ONE_LINK, "look up")
    withFake(
      "send",
      () => 0,
      () => expect(request).toThrow("Cannot look up: ETIMEDOUT"),
    )
    expect(performance.now() - startedAt).toBeWithin(950, 2000)
  })
})

test("request() skips the late answer of an earlier request", () => {
  withSocket((socket) => {
    const interrupt = () => {
      throw new Error("interrupted")
    }
    const dump = () => socket.dump(LIST_LINKS, "list")
    withFake("recvfrom", interrupt, () => expect(dump).toThrow("interrupted"))
    expect(socket.request(ONE_LINK, "look up")).toHaveLength(1)
  })
})

test("NetlinkSocket() leaves no descriptor behind when it cannot be set up", () => {
  const open = () => new NetlinkSocket()
  withFake(
    "bind",
    () => -1,
    () => expect(open).toThrow("Cannot bind netlink socket"),
  )
})
