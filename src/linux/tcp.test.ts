import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { type Address, ANY_IPV6, type Endpoint } from "../net/address.ts"
import { NativeBytes } from "./bytes.ts"
import { EPOLLHUP, EPOLLOUT, Epoll } from "./epoll.ts"
import { EAGAIN, ECONNREFUSED, ECONNRESET, EPIPE } from "./errno.ts"
import { type Fd, leakedFds, traceFds } from "./fd.ts"
import { closeAll, LOOPBACK, receiveText, sendText, tcpPair, until } from "./fixtures/tcp.ts"
import { decodeSockaddr, encodeSockaddr } from "./sockaddr.ts"
import {
  accept,
  boundPort,
  closeFd,
  disableNagle,
  disconnect,
  enableKeepAlive,
  isEndpointTaken,
  listenSilently,
  listenTcp,
  localEndpoint,
  peerSockaddr,
  pendingError,
  resetFd,
  send,
  shutdownListening,
  shutdownWrite,
  startConnect,
} from "./tcp.ts"

let open: number[]

beforeEach(() => {
  traceFds(true)
  open = []
})

afterEach(() => {
  closeAll(open)
  expect(leakedFds()).toEqual([])
  traceFds(false)
})

function pair() {
  const both = tcpPair()
  open.push(both.client, both.server)
  return both
}

/** Connects; the result of the connect is waited for in an epoll set. */
function connect(endpoint: Endpoint, source?: NativeBytes): { fd: number; error: number } {
  const fd = startConnect(encodeSockaddr(endpoint), source)
  if (fd < 0) return { fd, error: -fd }
  open.push(fd)
  const epoll = new Epoll(1)
  epoll.add(fd, EPOLLOUT)
  expect(epoll.wait(2000)).toBe(1)
  expect(epoll.events(0) & (EPOLLOUT | EPOLLHUP)).toBeGreaterThan(0)
  epoll.close()
  return { fd, error: pendingError(fd) }
}

function acceptFrom(listener: Fd): number {
  const fd = until(
    () => accept(listener.number),
    (result) => result !== -EAGAIN,
  )
  open.push(fd)
  return fd
}

function next(fd: number): string | number {
  return until(
    () => receiveText(fd),
    (text) => text !== -EAGAIN,
  )
}

function endpointOf(listener: Fd, address: Address = LOOPBACK): Endpoint {
  return { address, port: boundPort(listener) }
}

function anyPort(address: Address): Endpoint {
  return { address, port: 0 }
}

describe("listenTcp()", () => {
  test("accepts, and tells the client's address", () => {
    using listener = listenTcp(anyPort(LOOPBACK), { reusePort: false })
    expect(accept(listener.number)).toBe(-EAGAIN)
    const { fd } = connect(endpointOf(listener))
    const server = acceptFrom(listener)
    const client = decodeSockaddr(peerSockaddr)
    expect(localEndpoint(fd)).toEqual(client)
    expect(localEndpoint(server)).toEqual(endpointOf(listener))
  })

  test("on :: accepts IPv4 too, and tells it as IPv4", () => {
    using listener = listenTcp(anyPort(ANY_IPV6), { reusePort: false })
    connect(endpointOf(listener))
    const server = acceptFrom(listener)
    expect<string>(decodeSockaddr(peerSockaddr).address).toBe("127.0.0.1")
    expect<string | undefined>(localEndpoint(server)?.address).toBe("127.0.0.1")
    connect(endpointOf(listener, "::1" as Address))
    acceptFrom(listener)
    expect<string>(decodeSockaddr(peerSockaddr).address).toBe("::1")
  })

  test("on an IPv6 address leaves the IPv4 port alone", () => {
    using six = listenTcp(anyPort("::1" as Address), { reusePort: false })
    using four = listenTcp(endpointOf(six), { reusePort: false })
    expect(boundPort(four)).toBe(boundPort(six))
  })

  test("binds an address that the host does not hold (yet)", () => {
    using listener = listenTcp(anyPort("192.0.2.40" as Address), { reusePort: false })
    expect(boundPort(listener)).toBeGreaterThan(0)
    using six = listenTcp(anyPort("2001:db8::40" as Address), { reusePort: false })
    expect(boundPort(six)).toBeGreaterThan(0)
  })

  test("refuses an address that is taken, by its name", () => {
    using listener = listenTcp(anyPort(LOOPBACK), { reusePort: true })
    const { port } = endpointOf(listener)
    expect(() => listenTcp({ address: LOOPBACK, port }, { reusePort: false })).toThrow(
      `Cannot bind 127.0.0.1:${port}: EADDRINUSE`,
    )
  })

  test("with reusePort shares the port, and the kernel spreads the connections", () => {
    using first = listenTcp(anyPort(LOOPBACK), { reusePort: true })
    using second = listenTcp(endpointOf(first), { reusePort: true })
    for (let count = 0; count < 40; count++) connect(endpointOf(first))
    const accepted = [first, second].map((listener) => {
      let count = 0
      for (let fd = accept(listener.number); fd >= 0; fd = accept(listener.number)) {
        open.push(fd)
        count++
      }
      return count
    })
    expect((accepted[0] ?? 0) + (accepted[1] ?? 0)).toBe(40)
    expect(Math.min(...accepted)).toBeGreaterThan(0)
  })
})

describe("isEndpointTaken()", () => {
  test("is true while a socket listens there, by whatever address", () => {
    const listener = listenTcp(anyPort(LOOPBACK), { reusePort: true })
    const endpoint = endpointOf(listener)
    expect(isEndpointTaken(endpoint)).toBe(true)
    expect(isEndpointTaken({ ...endpoint, address: "0.0.0.0" as Address })).toBe(true)
    expect(isEndpointTaken({ ...endpoint, address: "127.0.0.2" as Address })).toBe(false)
    listener.close()
    expect(isEndpointTaken(endpoint)).toBe(false)
  })
})

describe("listenSilently()", () => {
  test("answers nothing, not even with a refusal, to who connects once the others are gone", () => {
    const listener = listenTcp(anyPort(LOOPBACK), { reusePort: true })
    const endpoint = endpointOf(listener)
    const silent = listenSilently(endpoint)
    listener.close()
    const fd = startConnect(encodeSockaddr(endpoint), undefined)
    open.push(fd)
    const epoll = new Epoll(1)
    epoll.add(fd, EPOLLOUT)
    // On loopback an answer is there before connect(2) returns.
    expect(epoll.wait(20)).toBe(0)
    epoll.close()
    expect(accept(silent.number)).toBe(-EAGAIN)
    silent.close()
    expect(connect(endpoint).error).toBe(ECONNREFUSED)
  })

  test("throws where another program listens", () => {
    using other = listenTcp(anyPort(LOOPBACK), { reusePort: false })
    expect(() => listenSilently(endpointOf(other))).toThrow("EADDRINUSE")
  })
})

describe("startConnect()", () => {
  test("learns of a refusal", () => {
    const listener = listenTcp(anyPort(LOOPBACK), { reusePort: false })
    const endpoint = endpointOf(listener)
    listener.close()
    expect(connect(endpoint).error).toBe(ECONNREFUSED)
  })

  test("comes from the source address, its port chosen at connect", () => {
    using listener = listenTcp(anyPort(LOOPBACK), { reusePort: false })
    const source = "127.0.0.77" as Address
    expect(connect(endpointOf(listener), encodeSockaddr(anyPort(source))).error).toBe(0)
    acceptFrom(listener)
    expect(decodeSockaddr(peerSockaddr).address).toBe(source)
  })

  test("says when the source address is not there", () => {
    using listener = listenTcp(anyPort(LOOPBACK), { reusePort: false })
    const source = encodeSockaddr(anyPort("192.0.2.77" as Address))
    expect(connect(endpointOf(listener), source).error).toBe(99) // EADDRNOTAVAIL
  })
})

test("receive() and send() give counts, 0 at the end, negated errors", () => {
  const { client, server } = pair()
  expect(receiveText(server)).toBe(-EAGAIN)
  sendText(client, "hello")
  expect(next(server)).toBe("hello")
  shutdownWrite(client)
  expect(next(server)).toBe("")
  sendText(server, "still here")
  expect(next(client)).toBe("still here")
  const bytes = new NativeBytes(1)
  expect(send(client, bytes, 0, 1)).toBe(-EPIPE)
})

test("send() sends the range it is given", () => {
  const { client, server } = pair()
  const bytes = NativeBytes.of(Buffer.from("abcdef"))
  expect(send(client, bytes, 2, 5)).toBe(3)
  expect(next(server)).toBe("cde")
})

test("resetFd() is met as ECONNRESET, after the data that went before it", () => {
  const { client, server } = pair()
  sendText(client, "last words")
  resetFd(client)
  open = [server]
  expect(next(server)).toBe("last words")
  expect(next(server)).toBe(-ECONNRESET)
})

test("closeFd() is met as the end of the stream", () => {
  const { client, server } = pair()
  closeFd(client)
  open = [server]
  expect(next(server)).toBe("")
})

test("localEndpoint() of a socket that was reset is undefined or still the address", () => {
  const { client, server } = pair()
  const before = localEndpoint(server)
  resetFd(client)
  open = [server]
  expect(next(server)).toBe(-ECONNRESET)
  expect(localEndpoint(server)).toEqual(before)
})

test("disconnect() resets the peer and keeps the number", () => {
  const { client, server } = pair()
  disconnect(server)
  expect(next(client)).toBe(-ECONNRESET)
  const { client: other, server: another } = pair()
  expect([other, another]).not.toContain(server)
})

test("shutdownListening() resets whom nobody has accepted, and refuses new ones", () => {
  using listener = listenTcp(anyPort(LOOPBACK), { reusePort: true })
  const endpoint = endpointOf(listener)
  const { fd } = connect(endpoint)
  shutdownListening(listener.number)
  expect(next(fd)).toBe(-ECONNRESET)
  expect(connect(endpoint).error).toBe(ECONNREFUSED)
  // Its port is free for the socket of the thread that takes over.
  using successor = listenTcp(endpoint, { reusePort: true })
  expect(connect(endpoint).error).toBe(0)
  acceptFrom(successor)
})

test("disableNagle() and enableKeepAlive() of a dead descriptor do not throw", () => {
  enableKeepAlive(-1)
  disableNagle(-1)
})
