import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { CLIENT_HELLO_BYTES_MAX, type ClientHello, parseClientHello } from "./client-hello.ts"
import { CLIENT_HELLOS } from "./fixtures/client-hellos.ts"

const EXPECTED: Record<keyof typeof CLIENT_HELLOS, ClientHello> = {
  opensslTls13: {
    serverName: "www.example.com",
    alpn: ["h2", "http/1.1"],
    versionMax: 0x0304,
  },
  opensslTls12: { serverName: "www.example.com", alpn: [], versionMax: 0x0303 },
  opensslNoName: { serverName: "", alpn: [], versionMax: 0x0304 },
  opensslFragmented: {
    serverName: "www.example.com",
    alpn: Array.from({ length: 40 }, (_, index) => `made-up-protocol-${index}`),
    versionMax: 0x0304,
  },
  curl: { serverName: "shop.example.com", alpn: ["h2", "http/1.1"], versionMax: 0x0304 },
  chromium: { serverName: "app.example.com", alpn: ["h2", "http/1.1"], versionMax: 0x0304 },
}

const names = Object.keys(CLIENT_HELLOS) as (keyof typeof CLIENT_HELLOS)[]

/** Position of the extensions' length in `opensslTls12`: behind the last of its fixed parts. */
const TLS12_EXTENSIONS_AT = 5 + 4 + 2 + 32 + 1 + 2 + 56 + 2

describe("parseClientHello() of captured hellos", () => {
  test.each(names)("understands %s", (name) => {
    expect(parse(golden(name))).toEqual({ type: "complete", hello: EXPECTED[name] })
  })

  test("the fragmented one has two records", () => {
    const bytes = golden("opensslFragmented")
    expect(bytes[5 + 512]).toBe(22)
  })

  test.each(names)("waits for the rest of %s after any number of bytes", (name) => {
    const bytes = golden(name)
    for (let length = 0; length < bytes.length; length++) {
      const result = parseClientHello(bytes, length)
      if (result.type !== "incomplete") throw new Error(`${length} bytes: ${result.type}`)
      expect(result.bytesMin).toBeGreaterThan(length)
      expect(result.bytesMin).toBeLessThanOrEqual(bytes.length)
    }
  })

  test.each(names)("leaves alone what follows %s", (name) => {
    const bytes = golden(name)
    const longer = new Uint8Array(bytes.length + 100).fill(0xff)
    longer.set(bytes)
    expect(parse(longer)).toEqual({ type: "complete", hello: EXPECTED[name] })
  })

  test.each(names)("does not look behind `length` in %s", (name) => {
    const bytes = golden(name)
    const { length } = bytes
    const longer = new Uint8Array(length + 100).fill(0xff)
    longer.set(bytes)
    expect(parseClientHello(longer, length)).toEqual({ type: "complete", hello: EXPECTED[name] })
  })

  test.each(names)("is the same however %s is cut into records", (name) => {
    const { length } = golden(name)
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: length })), (cuts) => {
        const result = parse(cutIntoRecords(message(golden(name)), cuts))
        expect(result).toEqual({ type: "complete", hello: EXPECTED[name] })
      }),
      { numRuns: 50 },
    )
  })
})

describe("parseClientHello() of something else", () => {
  test.each([
    ["not_tls", "474554202f20485454502f312e310d0a"], // GET / HTTP/1.1
    ["not_tls", "15030100020228"], // an alert
    ["not_tls", "802e0100020015000000"], // SSL 2
    ["unsupported_version", "16020000"],
    ["not_client_hello", "160303000402000000"], // ServerHello
    ["malformed", "1603010000"], // empty record
    ["malformed", "160301000301000014"], // second record is no handshake
    ["too_large", "160301000401004000"], // announces 16 384 bytes of body
    ["malformed", "1603010004010000000000"], // empty body
  ])("says %s of %s", (fault, hex) => {
    expect(parse(bytesOf(hex))).toEqual({ type: "fault", fault: fault as never })
  })

  test("says not_tls of the first byte alone", () => {
    expect(parse(bytesOf("47"))).toEqual({ type: "fault", fault: "not_tls" })
  })

  test("waits when there is nothing", () => {
    expect(parse(bytesOf(""))).toEqual({ type: "incomplete", bytesMin: 5 })
  })

  test("gives up one that does not end within the limit", () => {
    const record = bytesOf("160301000101") // one byte of the message each
    const endless = new Uint8Array(CLIENT_HELLO_BYTES_MAX)
    for (let at = 0; at < endless.length; at++) endless[at] = record[at % record.length] ?? 0
    endless.set(bytesOf("160301000401002000"), 0) // first its header: 8 KiB to come
    for (let at = 9; at < endless.length; at++) endless[at] = record[(at - 9) % record.length] ?? 0
    expect(parseClientHello(endless, CLIENT_HELLO_BYTES_MAX - 1).type).toBe("incomplete")
    expect(parse(endless)).toEqual({ type: "fault", fault: "too_large" })
  })

  test("accepts a message of exactly the limit", () => {
    const body = bodyWithPadding(CLIENT_HELLO_BYTES_MAX - 4)
    const whole = cutIntoRecords(
      Uint8Array.of(1, 0, body.length >> 8, body.length & 0xff, ...body),
      [8192],
    )
    expect(parse(whole).type).toBe("complete")
  })

  test("says malformed where an extension is longer than the list of them", () => {
    const bytes = golden("opensslTls12")
    bytes[TLS12_EXTENSIONS_AT + 2 + 3] = 200
    expect(parse(bytes)).toEqual({ type: "fault", fault: "malformed" })
  })

  test("never throws, and reads nothing behind the end", () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), damage(), (name, changes) => {
        const bytes = golden(name)
        for (const { at, value } of changes) bytes[at % bytes.length] = value
        const alone = parse(bytes)
        const followed = new Uint8Array(bytes.length + 64).fill(0x41)
        followed.set(bytes)
        expect(parseClientHello(followed, bytes.length)).toEqual(alone)
      }),
    )
  })
})

describe("server_name", () => {
  test.each([
    ["Www.EXAMPLE.com", "www.example.com"],
    ["www.example.com.", "www.example.com"],
    ["::1", ""],
    ["a\0b.example", ""],
    ["", ""],
    ["under_score.example", "under_score.example"],
    ["x".repeat(256), ""],
  ])("%j is understood as %j", (sent, understood) => {
    const result = parse(helloFor(sent))
    expect(result.type === "complete" && result.hello.serverName).toBe(understood)
  })
})

function parse(bytes: Uint8Array) {
  return parseClientHello(bytes, bytes.length)
}

function golden(name: keyof typeof CLIENT_HELLOS): Uint8Array {
  return bytesOf(CLIENT_HELLOS[name])
}

function bytesOf(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex, "hex"))
}

function damage() {
  return fc.array(fc.record({ at: fc.nat(4096), value: fc.integer({ min: 0, max: 255 }) }), {
    minLength: 1,
    maxLength: 8,
  })
}

/** The handshake message without the headers of its records. */
function message(bytes: Uint8Array): Uint8Array {
  const fragments: number[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = ((bytes[at + 3] ?? 0) << 8) | (bytes[at + 4] ?? 0)
    fragments.push(...bytes.subarray(at + 5, at + 5 + length))
    at += 5 + length
  }
  return Uint8Array.from(fragments)
}

function cutIntoRecords(whole: Uint8Array, cuts: readonly number[]): Uint8Array {
  const inside = cuts.filter((cut) => cut < whole.length)
  const ends = [...new Set([...inside, whole.length])].sort((a, b) => a - b)
  const records = ends.flatMap((end, index) => {
    const fragment = whole.subarray(ends[index - 1] ?? 0, end)
    return [22, 3, 1, fragment.length >> 8, fragment.length & 0xff, ...fragment]
  })
  return Uint8Array.from(records)
}

/** A body with one extension of the unknown type 0x1234 that fills it to `length` bytes. */
function bodyWithPadding(length: number): Uint8Array {
  const head = [3, 3, ...new Array(32).fill(7), 0, 0, 2, 0x13, 0x01, 1, 0]
  const extensions = length - head.length - 2
  const data = extensions - 4
  const lengths = [extensions >> 8, extensions & 0xff, 0x12, 0x34, data >> 8, data & 0xff]
  return Uint8Array.from([...head, ...lengths, ...new Array(data).fill(0)])
}

function helloFor(serverName: string): Uint8Array {
  const name = [...Buffer.from(serverName, "latin1")]
  const entry = [0, name.length >> 8, name.length & 0xff, ...name]
  const list = [entry.length >> 8, entry.length & 0xff, ...entry]
  const extension = [0, 0, list.length >> 8, list.length & 0xff, ...list]
  const head = [3, 3, ...new Array(32).fill(7), 0, 0, 2, 0x13, 0x01, 1, 0]
  const body = [...head, extension.length >> 8, extension.length & 0xff, ...extension]
  return cutIntoRecords(Uint8Array.of(1, 0, body.length >> 8, body.length & 0xff, ...body), [])
}
