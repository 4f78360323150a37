import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { NativeBytes } from "../../linux/bytes.ts"
import { EPOLLIN, EPOLLOUT } from "../../linux/epoll.ts"
import { EAGAIN, ECONNRESET } from "../../linux/errno.ts"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import { receiveText, sendText, tcpPair } from "../../linux/fixtures/tcp.ts"
import { libc } from "../../linux/libc.ts"
import { Reactor } from "../../linux/reactor.ts"
import { SO_RCVBUF, SOL_SOCKET } from "../../linux/socket-option.ts"
import { closeFd, disableNagle, resetFd, send, shutdownWrite } from "../../linux/tcp.ts"
import type { Address } from "../../net/address.ts"
import { CLIENT_HELLOS } from "../../wire/fixtures/client-hellos.ts"
import { clientTls, closePairs, readText, serverTls, writeText } from "../fixtures/tls-pair.ts"
import { TlsHandshake } from "./handshake.ts"
import type { ServerTls } from "./server-tls.ts"
import type { TlsTransport } from "./transport.ts"

let reactor: Reactor
let secured: TlsTransport | undefined
let refusal: Error | undefined
let heard: string[]
/** Clients' ends that no transport owns. */
let fds: number[]

beforeEach(() => {
  reactor = new Reactor()
  secured = undefined
  refusal = undefined
  heard = []
  fds = []
})

afterEach(() => {
  secured?.close("reset")
  closePairs()
  for (const fd of fds) closeFd(fd)
  reactor.close()
})

describe("TlsHandshake", () => {
  test.each([
    ["with a choice of certificates", {}],
    ["with one certificate", { certificates: [certificate("shop", "shop.example")] }],
  ])("hands over a connection %s, with what came early", (_what, change) => {
    const client = clientTls().open(accept(serverTls(change)).client, { address: "", port: 0 })
    let wrote = 0
    passUntil(() => {
      if (wrote === 0 && client.handshake() === 0) wrote = writeText(client, "early")
      return secured !== undefined
    })
    if (secured === undefined) throw new Error("not secured")
    expect(readText(secured)).toBe("early")
    expect(client.peerSubject).toBe("CN=shop.example")
    expect(reactor.timers.armed).toBe(0)
    expect(heard).toEqual([])
    client.close("reset")
  })

  test("waits for room when the chain is longer than the sockets hold", () => {
    const plain = certificate("plain", "plain.example")
    // 90 KB; OpenSSL's clients take up to 100.
    const chainPem = plain.chainPem + CERTIFICATES.authority.repeat(180)
    const { client: fd, server } = accept(serverTls({ certificates: [{ ...plain, chainPem }] }))
    setBufferBytes(server, SO_SNDBUF, 4_096)
    setBufferBytes(fd, SO_RCVBUF, 4_096)
    const masks: number[] = []
    const modify = reactor.modify.bind(reactor)
    reactor.modify = (each, events) => {
      masks.push(events)
      modify(each, events)
    }
    const client = clientTls({ serverName: "plain.example" }).open(fd, { address: "", port: 0 })
    client.handshake()
    // The client looks away until the server has to wait.
    passUntil(() => masks.length > 0)
    passUntil(() => {
      client.handshake()
      return secured !== undefined
    })
    expect(client.peerSubject).toBe("CN=plain.example")
    expect(masks.map((mask) => mask & EPOLLOUT)).toEqual([EPOLLOUT, 0])
    client.close("reset")
  })

  test("closes a connection that nobody could take over", () => {
    refusal = new Error("no room")
    const client = clientTls().open(accept(serverTls()).client, { address: "", port: 0 })
    passUntil(() => {
      client.handshake()
      return heard.length > 1
    })
    expect(heard).toEqual(["fault: no room", "internal_error: "])
    expect(readText(client)).toBe(-ECONNRESET)
    client.close("reset")
  })

  test("understands a hello that comes byte by byte", () => {
    const tls = serverTls({
      certificates: [certificate("shop", "shop.example"), certificate("plain", "www.example.com")],
    })
    const { client } = accept(tls)
    fds.push(client)
    const hello = Buffer.from(CLIENT_HELLOS.opensslTls12, "hex").toString("latin1")
    for (const byte of hello) {
      expect(receiveText(client)).toBe(-EAGAIN)
      sendBytes(client, byte)
      reactor.pass(20)
    }
    let answer: string | number = -EAGAIN
    passUntil(() => {
      answer = receiveText(client)
      return answer !== -EAGAIN
    })
    // Up to TLS 1.2 the certificate is sent in clear text.
    expect(`${answer}`).toContain("plain.example")
  })

  test.each([
    ["a choice of certificates", {}],
    ["one certificate", { certificates: [certificate("shop", "shop.example")] }],
  ])("ends a client of plain text with an alert, with %s", (_what, change) => {
    const { client } = accept(serverTls(change))
    fds.push(client)
    sendText(client, "GET / HTTP/1.1\r\n\r\n")
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["not_tls: http request"])
  })

  test("ends one that leaves in the middle of its hello", () => {
    const { client } = accept(serverTls())
    fds.push(client)
    sendBytes(client, Buffer.from(CLIENT_HELLOS.curl, "hex").toString("latin1").slice(0, 100))
    reactor.pass(20)
    shutdownWrite(client)
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["client_left: "])
  })

  test("ends one that leaves before its hello", () => {
    const { client } = accept(serverTls())
    resetFd(client)
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["client_left: "])
  })

  test("ends one that says nothing when its time is up", () => {
    const { client } = accept(serverTls(), 30)
    fds.push(client)
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["timeout: "])
    expect(receiveText(client)).toBe("")
    expect(reactor.timers.armed).toBe(0)
  })

  test("ends one that stops half way when its time is up", () => {
    const { client: fd } = accept(serverTls(), 30)
    const client = clientTls().open(fd, { address: "", port: 0 })
    client.handshake()
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["timeout: "])
    client.close("reset")
  })

  test("gives an alert to one with whom nothing is in common", () => {
    const { client } = accept(serverTls({ minVersion: "1.3" }))
    fds.push(client)
    sendBytes(client, Buffer.from(CLIENT_HELLOS.opensslTls12, "hex").toString("latin1"))
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["old_version: unsupported protocol"])
    expect(receiveText(client)).toBe("\x15\x03\x03\x00\x02\x02\x46") // fatal, protocol_version
  })

  test.each([
    ["a name that no certificate is for", [certificate("plain", "plain.example")]],
    ["any name while there is no certificate", []],
  ])("turns away a client that asks for %s", (_what, certificates) => {
    const { client } = accept(serverTls({ certificates, hasDefault: false }))
    fds.push(client)
    sendBytes(client, Buffer.from(CLIENT_HELLOS.opensslTls12, "hex").toString("latin1"))
    passUntil(() => heard.length > 0)
    expect(heard).toEqual(["unrecognized_name: "])
    expect(receiveText(client)).toBe("\x15\x03\x03\x00\x02\x02\x70") // fatal
    expect(receiveText(client)).toBe("")
  })

  test("a fault of ours ends that client, and says so", () => {
    const broken = { ...certificate("shop", "shop.example"), keyPem: KEYS.plain }
    const { client } = accept(serverTls({ certificates: [broken] }))
    fds.push(client)
    sendText(client, "x")
    passUntil(() => heard.length > 1)
    expect(heard[0]).toStartWith("fault: Certificate of shop.example: refused")
    expect(heard[1]).toBe("internal_error: ")
    expect(receiveText(client)).not.toBe(-EAGAIN)
  })

  test("end() ends it once, with RST", () => {
    const { client, handshake } = accept(serverTls())
    fds.push(client)
    expect(handshake.localAddress()).toBe("127.0.0.1" as Address)
    handshake.end("address_released")
    handshake.end("stopped")
    expect(heard).toEqual(["address_released: "])
    expect(receiveText(client)).toBe(-ECONNRESET)
  })
})

function accept(tls: ServerTls, timeoutMs = 5_000) {
  const { client, server } = tcpPair()
  disableNagle(client)
  const handshake = new TlsHandshake(reactor, {
    fd: server,
    tls,
    timeoutMs,
    user: {
      secured: (transport) => {
        if (refusal !== undefined) throw refusal
        secured = transport
        reactor.add(transport.fd, EPOLLIN, { handle: () => {}, fail: () => {} }) // is free for it
      },
      handshakeFailed: (fd, failure, detail) => {
        expect(fd).toBe(server)
        heard.push(`${failure}: ${detail}`)
      },
      fault: (error) => heard.push(`fault: ${error instanceof Error ? error.message : error}`),
    },
  })
  return { client, server, handshake }
}

function certificate(name: "shop" | "plain", serverName: string) {
  const chainPem = `${CERTIFICATES[name]}${CERTIFICATES.intermediate}`
  return { chainPem, keyPem: KEYS[name], names: [serverName], keyType: "ec" as const }
}

function sendBytes(fd: number, latin1: string): void {
  const bytes = NativeBytes.of(Buffer.from(latin1, "latin1"))
  expect(send(fd, bytes, 0, bytes.bytes.length)).toBe(latin1.length)
}

const SO_SNDBUF = 7

function setBufferBytes(fd: number, name: number, value: number): void {
  const bytes = NativeBytes.of(new Uint8Array(Int32Array.of(value).buffer))
  expect(libc.setsockopt(fd, SOL_SOCKET, name, bytes.address, 4)).toBe(0)
}

function passUntil(isDone: () => boolean): void {
  for (let passes = 0; passes < 1000; passes++) {
    if (isDone()) return
    reactor.pass(10)
  }
  throw new Error(`waited in vain; heard: ${heard.join()}`)
}
