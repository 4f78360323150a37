import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { NativeBytes } from "../../linux/bytes.ts"
import { EAGAIN, ECONNRESET, EPROTO } from "../../linux/errno.ts"
import { receiveText, sendText, until } from "../../linux/fixtures/tcp.ts"
import { receive, shutdownWrite } from "../../linux/tcp.ts"
import {
  clientTls,
  closePairs,
  connectedPair,
  openPair,
  readText,
  serverTls,
  type TlsPair,
  writeText,
} from "../fixtures/tls-pair.ts"

let pair: TlsPair

beforeEach(() => {
  pair = connectedPair(serverTls(), clientTls())
})

afterEach(closePairs)

describe("handshake()", () => {
  test("settles version, cipher and protocol", () => {
    const { server } = pair
    expect(server.tlsVersion).toBe("TLSv1.3")
    expect(server.cipher).toBe("TLS_AES_128_GCM_SHA256")
    expect(server.isResumed).toBe(false)
    expect(server.failure).toBe("")
    expect(pair.client.tlsVersion).toBe("TLSv1.3")
  })

  test("waits for the peer", () => {
    const { server } = openPair(serverTls(), clientTls())
    expect(server.handshake()).toBe(-EAGAIN)
    expect(server.handshake()).toBe(-EAGAIN)
    expect(server.wantsWrite).toBe(false)
    expect(server.tlsVersion).toBe("")
  })

  test("fails, and leaves other connections alone, when a client speaks plain text", () => {
    const { server, client } = openPair(serverTls(), clientTls())
    sendText(client.fd, "GET / HTTP/1.1\r\n\r\n")
    expect(settled(server)).toBe(-EPROTO)
    expect(server.failure).toBe("http request")
    // SSL_get_error would have found the other's error in the queue here.
    expect(pair.server.read(new NativeBytes(10), 0, 10)).toBe(-EAGAIN)
    writeText(pair.client, "still here")
    expect(readText(pair.server)).toBe("still here")
  })

  test("fails with the end of the connection", () => {
    const { server, client } = openPair(serverTls(), clientTls())
    client.close("finish")
    expect(settled(server)).toBe(-ECONNRESET)
  })
})

describe("read()", () => {
  test("gives what the peer wrote, and then waits", () => {
    writeText(pair.client, "hello")
    expect(readText(pair.server)).toBe("hello")
    expect(pair.server.isDrainedByShortRead).toBe(true)
    expect(pair.server.read(new NativeBytes(10), 0, 10)).toBe(-EAGAIN)
    expect(pair.server.wantsWrite).toBe(false)
  })

  test("joins several records in one call", () => {
    for (const part of ["one ", "two ", "three"]) writeText(pair.client, part)
    expect(readText(pair.server)).toBe("one two three")
  })

  test("goes on where the buffer was too small", () => {
    writeText(pair.client, "abcdefghij")
    expect(readText(pair.server, 4)).toBe("abcd")
    expect(readText(pair.server, 4)).toBe("efgh")
    expect(readText(pair.server, 4)).toBe("ij")
  })

  test("does not take the rest of a full buffer for the end of the socket", () => {
    // OpenSSL 3.0 reads 16 709 bytes at once: these two records, with 22 bytes of frame each.
    writeText(pair.client, "a".repeat(16_384))
    writeText(pair.client, "b".repeat(281))
    writeText(pair.client, "third")
    expect(readText(pair.server, 16_655)).toHaveLength(16_655)
    expect(readText(pair.server)).toBe("bbbbbbbbbbthird")
  })

  test("writes to the given place only", () => {
    const into = NativeBytes.of(Buffer.from("----------"))
    writeText(pair.client, "abc")
    expect(waitFor(() => pair.server.read(into, 3, 5))).toBe(3)
    expect(Buffer.from(into.bytes).toString()).toBe("---abc----")
  })

  test("gives the end after close_notify, what came before it first", () => {
    writeText(pair.client, "last words")
    pair.client.finishWriting()
    expect(readText(pair.server)).toBe("last words")
    // Whoever stops at a short read must be told that there is more to hear.
    expect(pair.server.isDrainedByShortRead).toBe(false)
    expect(readText(pair.server)).toBe("")
  })

  test("at a server's end, takes FIN without close_notify for the end", () => {
    shutdownWrite(pair.client.fd)
    expect(readText(pair.server)).toBe("")
  })

  test("at a client's end, takes FIN without close_notify for a cut", () => {
    writeText(pair.server, "half of")
    shutdownWrite(pair.server.fd)
    expect(readText(pair.client)).toBe("half of")
    expect(readText(pair.client)).toBe(-ECONNRESET)
    expect(pair.client.failure).toBe("unexpected eof while reading")
  })

  test("says ECONNRESET after a reset, again and again", () => {
    pair.client.close("reset")
    expect(readText(pair.server)).toBe(-ECONNRESET)
    expect(readText(pair.server)).toBe(-ECONNRESET)
  })

  test("says EPROTO of damaged records", () => {
    sendText(pair.client.fd, "GET / HTTP/1.1\r\n\r\n")
    expect(readText(pair.server)).toBe(-EPROTO)
    expect(pair.server.failure).toBe("wrong version number")
  })

  test("answers a call after close() without touching what is gone", () => {
    pair.server.close("finish")
    expect(readText(pair.server)).toBe(-ECONNRESET)
    expect(writeText(pair.server, "x")).toBe(-ECONNRESET)
    expect(pair.server.handshake()).toBe(-ECONNRESET)
    expect([pair.server.alpn, pair.server.cipher, pair.server.peerSubject]).toEqual(["", "", ""])
    expect(pair.server.tlsVersion).toBe("TLSv1.3")
    pair.server.finishWriting()
    pair.server.close("reset")
  })
})

describe("write()", () => {
  test("takes what the socket takes, and goes on with the rest from another place", () => {
    const text = Array.from({ length: LARGE_BYTES }, (_, at) => letter(at)).join("")
    let rest = NativeBytes.of(Buffer.from(text, "latin1"))
    let waits = 0
    let parts = 0
    const read: string[] = []
    for (let bytesRead = 0; bytesRead < LARGE_BYTES; ) {
      let taken = 0
      do {
        // As Outlet does it: what was not taken is copied elsewhere.
        taken = pair.server.write(rest, 0, rest.bytes.length)
        if (taken > 0 && taken < rest.bytes.length) parts++
        if (taken > 0) rest = NativeBytes.of(rest.bytes.subarray(taken))
      } while (taken > 0)
      if (taken === -EAGAIN) waits++
      const part = readText(pair.client)
      if (typeof part === "number") throw new Error(`${part} ${pair.client.failure}`)
      read.push(part)
      bytesRead += part.length
    }
    expect(waits).toBeGreaterThan(0)
    expect(parts).toBeGreaterThan(0)
    expect(read.join("") === text).toBe(true)
    expect(pair.server.wantsWrite).toBe(false)
  })

  test("says that the peer has gone", () => {
    pair.client.close("reset")
    until(
      () => writeText(pair.server, "x"),
      (count) => count < 0,
    )
    expect(pair.server.failure).toBe("connection lost")
  })
})

describe("close()", () => {
  test("finish says close_notify, for whom it matters", () => {
    pair.server.close("finish")
    expect(readText(pair.client)).toBe("")
    expect(pair.client.failure).toBe("")
  })

  test("reset says nothing but RST", () => {
    pair.server.close("reset")
    expect(readText(pair.client)).toBe(-ECONNRESET)
  })

  test("finish sends no close_notify into the middle of a record", () => {
    const text = "x".repeat(100_000)
    while (writeText(pair.server, text) === text.length);
    pair.server.close("finish")
    let last: string | number = ""
    do last = readText(pair.client)
    while (typeof last === "string" && last !== "")
    expect(last).toBe(-ECONNRESET)
  })

  test("finishWriting leaves the other direction open", () => {
    pair.server.finishWriting()
    expect(readText(pair.client)).toBe("")
    writeText(pair.client, "one more thing")
    expect(readText(pair.server)).toBe("one more thing")
  })

  test("nothing is sent after a failure but its alert", () => {
    while (typeof receiveText(pair.client.fd) === "string"); // the session ticket
    sendText(pair.client.fd, "GET / HTTP/1.1\r\n\r\n")
    expect(readText(pair.server)).toBe(-EPROTO)
    pair.server.close("finish")
    const heard = new NativeBytes(100)
    expect(waitFor(() => receive(pair.client.fd, heard, 100))).toBe(ALERT_RECORD_BYTES)
    expect(receive(pair.client.fd, heard, 100)).toBe(0)
  })
})

/** What a handshake comes to once something has arrived. */
function settled(end: TlsPair["server"]): number {
  return waitFor(() => end.handshake())
}

function waitFor(step: () => number): number {
  return until(step, (result) => result !== -EAGAIN)
}

/** Header 5, alert 2, content type 1, tag 16. */
const ALERT_RECORD_BYTES = 24

/** More than two sockets hold. */
const LARGE_BYTES = 16 * 1024 * 1024

/** 89 of them, so that no power of two repeats. */
function letter(at: number): string {
  return String.fromCharCode(33 + (at % 89))
}
