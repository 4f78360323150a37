import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { NativeBytes } from "../linux/bytes.ts"
import { EAGAIN, ECONNRESET } from "../linux/errno.ts"
import { closeAll, receiveText, sendText, tcpPair } from "../linux/fixtures/tcp.ts"
import { Reactor } from "../linux/reactor.ts"
import { disableNagle, resetFd, send, shutdownWrite } from "../linux/tcp.ts"
import type { Address } from "../net/address.ts"
import { encodeProxyV1, encodeProxyV2, type ProxiedEndpoints } from "../wire/proxy-protocol.ts"
import { ProxyHeader } from "./proxy-header.ts"

const ENDPOINTS: ProxiedEndpoints = {
  source: { address: "192.0.2.1" as Address, port: 40_000 },
  destination: { address: "198.51.100.1" as Address, port: 443 },
}

let reactor: Reactor
let heard: (string | ProxiedEndpoints | undefined)[]
let fds: number[]

beforeEach(() => {
  reactor = new Reactor()
  heard = []
  fds = []
})

afterEach(() => {
  expect(reactor.timers.armed).toBe(0)
  expect(reactor.handlers().size).toBe(0)
  closeAll(fds)
  reactor.close()
})

describe("ProxyHeader", () => {
  test.each([
    ["version 1", encodeProxyV1],
    ["version 2", encodeProxyV2],
  ])("takes the header and no byte more: %s", (_what, encode) => {
    const { client, server } = accept()
    sendBytes(client, Buffer.concat([encode(ENDPOINTS), Buffer.from("hello")]))
    passUntilHeard()
    fds.push(server)
    expect(heard).toEqual([ENDPOINTS])
    expect(receiveText(server)).toBe("hello")
  })

  test.each([
    ["version 1", encodeProxyV1],
    ["version 2", encodeProxyV2],
  ])("takes one that comes byte by byte: %s", (_what, encode) => {
    const { client, server } = accept()
    for (const byte of encode(ENDPOINTS)) {
      reactor.pass(0)
      expect(heard).toEqual([])
      sendBytes(client, Uint8Array.of(byte))
      reactor.pass(20)
    }
    passUntilHeard()
    fds.push(server)
    expect(heard).toEqual([ENDPOINTS])
    expect(receiveText(server)).toBe(-EAGAIN)
  })

  test("takes the last word of a proxy that has closed", () => {
    const { client, server } = accept()
    sendBytes(client, Buffer.concat([encodeProxyV2(undefined), Buffer.from("bye")]))
    shutdownWrite(client)
    passUntilHeard()
    fds.push(server)
    expect(heard).toStrictEqual([undefined])
    expect([receiveText(server), receiveText(server)]).toEqual(["bye", ""])
  })

  test("resets who sends something else, at its first byte", () => {
    const { client } = accept()
    sendText(client, "G")
    passUntilHeard()
    expect(heard).toEqual(["signature"])
    expect(receiveText(client)).toBe(-ECONNRESET)
  })

  test.each([
    ["before a byte", ""],
    ["within the header", "PROXY TCP4 "],
  ])("ends one that leaves %s", (_what, text) => {
    const { client } = accept()
    sendBytes(client, Buffer.from(text))
    reactor.pass(20)
    shutdownWrite(client)
    passUntilHeard()
    expect(heard).toEqual(["client_left"])
  })

  test("ends one that resets", () => {
    const { client } = accept({ keepsClient: false })
    resetFd(client)
    passUntilHeard()
    expect(heard).toEqual(["client_left"])
  })

  test.each(["", "PROXY TCP4 "])("resets one that stops after %j when its time is up", (text) => {
    const { client } = accept({ timeoutMs: 30 })
    sendBytes(client, Buffer.from(text))
    passUntilHeard()
    expect(heard).toEqual(["timeout"])
    expect(receiveText(client)).toBe(-ECONNRESET)
  })

  test("end() resets it, once", () => {
    const { client, connection } = accept()
    expect(connection.localAddress()).toBe("127.0.0.1" as Address)
    connection.end("address_released")
    connection.end("stopped")
    expect(heard).toEqual(["address_released"])
    expect(receiveText(client)).toBe(-ECONNRESET)
  })

  test("fail() tells the fault and ends it", () => {
    const { client, connection } = accept()
    connection.fail(new Error("ours"))
    expect(heard).toEqual(["fault: ours", "internal_error"])
    expect(receiveText(client)).toBe(-ECONNRESET)
  })
})

function accept({ timeoutMs = 5_000, keepsClient = true } = {}) {
  const { client, server } = tcpPair()
  disableNagle(client)
  if (keepsClient) fds.push(client)
  const connection = new ProxyHeader(reactor, {
    fd: server,
    timeoutMs,
    user: {
      received: (endpoints) => heard.push(endpoints),
      failed: (failure) => heard.push(failure),
      fault: (error) => heard.push(`fault: ${error instanceof Error ? error.message : error}`),
    },
  })
  return { client, server, connection }
}

function sendBytes(fd: number, source: Uint8Array): void {
  if (source.length === 0) return
  const bytes = NativeBytes.of(source)
  expect(send(fd, bytes, 0, source.length)).toBe(source.length)
}

function passUntilHeard(): void {
  for (let passes = 0; passes < 1000 && heard.length === 0; passes++) reactor.pass(10)
  expect(heard.length).toBe(1)
}
