import { describe, expect, test } from "bun:test"
import { constants, generateKeyPairSync, privateDecrypt } from "node:crypto"
import fc from "fast-check"
import { DATABASE, LOGIN, SWITCH_TO_ED25519 } from "./fixtures/mysql.ts"
import {
  authResponse,
  encodeHandshakeResponse,
  encodePacket,
  encodeQuery,
  encryptPassword,
  type MysqlPacket,
  MysqlPacketReader,
  parseAuthSwitch,
  parseError,
  parseGreeting,
} from "./mysql-protocol.ts"

const hex = (text: string): Buffer => Buffer.from(text, "hex")
const payloadOf = (packet: string): Buffer => hex(packet).subarray(4)

describe("packets", () => {
  function packets(reader: MysqlPacketReader): MysqlPacket[] {
    const found: MysqlPacket[] = []
    for (let next = reader.next(); next?.ok; next = reader.next()) found.push(next.value)
    return found
  }

  test("next() gives the same packets when the bytes come one by one", () => {
    const whole = new MysqlPacketReader()
    whole.push(hex(LOGIN.result))
    const expected = packets(whole)
    expect(expected.map(({ sequence, payload }) => [sequence, payload.length])).toEqual([
      [1, 1],
      [2, 23],
      [3, 5],
      [4, 2],
      [5, 5],
    ])
    const bytewise = new MysqlPacketReader()
    const seen = [...hex(LOGIN.result)].flatMap((byte) => {
      bytewise.push(Buffer.of(byte))
      return packets(bytewise)
    })
    expect(seen).toEqual(expected)
  })

  test("next() takes a packet of 64 KiB and refuses one byte more", () => {
    const largest = new MysqlPacketReader()
    largest.push(hex("00000100"))
    expect(largest.next()).toBeUndefined()
    const larger = new MysqlPacketReader()
    larger.push(hex("01000100"))
    expect(larger.next()).toEqual({ ok: false, reason: "not MySQL" })
  })

  test("next() refuses at the first bytes when the server speaks another protocol", () => {
    const reader = new MysqlPacketReader()
    reader.push(Buffer.from("HTTP/1.1 400"))
    expect(reader.next()).toEqual({ ok: false, reason: "not MySQL" })
  })

  test("encodePacket() writes length and sequence before the payload", () => {
    expect(encodePacket(0, encodeQuery("SELECT 1")).toString("hex")).toBe(LOGIN.query)
    expect(encodePacket(256, Buffer.alloc(0)).toString("hex")).toBe("00000000")
  })
})

describe("greeting", () => {
  test("parseGreeting() reads version, scramble and plugin", () => {
    expect(parseGreeting(payloadOf(LOGIN.greeting))).toEqual({
      ok: true,
      value: {
        serverVersion: "5.5.5-10.11.19-MariaDB-0+deb12u1-log",
        scramble: hex(LOGIN.scramble),
        authPlugin: "mysql_native_password",
      },
    })
  })

  test("parseGreeting() says truncated when any part is missing", () => {
    const payload = payloadOf(LOGIN.greeting)
    const scrambleEnd = payload.length - "mysql_native_password\0".length
    for (let length = 1; length < scrambleEnd; length++) {
      const parsed = parseGreeting(payload.subarray(0, length))
      expect(parsed.ok).toBe(false)
    }
  })

  const rejects: [string, string][] = [
    ["protocol 9", "09352e3500"],
    ["text", Buffer.from("SSH-2.0-OpenSSH_9").toString("hex")],
  ]
  test.each(rejects)("parseGreeting() refuses %s", (_, payload) => {
    const parsed = parseGreeting(hex(payload))
    expect(parsed.ok ? "" : parsed.reason).toStartWith("not MySQL, or protocol version")
  })
})

describe("answers", () => {
  // Both computed by Python's hashlib from the formulas in the server's documentation; the first
  // is also the answer that MariaDB accepted.
  const answers: [string, string][] = [
    ["mysql_native_password", "1ba31b7337ed185bddd7caf5b27ffc8029cf6dfd"],
    ["caching_sha2_password", "92445e9d23cdff0afbad16221624ab616757f777a3a950bce1d28836e2f76e51"],
  ]
  test.each(answers)(
    "authResponse() answers the scramble when the plugin is %s",
    (plugin, answer) => {
      const response = authResponse(plugin, "check-password", hex(LOGIN.scramble))
      expect(response?.toString("hex")).toBe(answer)
    },
  )

  test("authResponse() is empty when the password is", () => {
    expect(authResponse("caching_sha2_password", "", hex(LOGIN.scramble))).toEqual(Buffer.alloc(0))
  })

  test("authResponse() is undefined when the plugin is not known", () => {
    expect(authResponse("client_ed25519", "", hex(LOGIN.scramble))).toBeUndefined()
  })

  test("encodeHandshakeResponse() names the database only when there is one", () => {
    const proof = hex("1ba31b7337ed185bddd7caf5b27ffc8029cf6dfd")
    const login = { user: "check", authPlugin: "mysql_native_password", authResponse: proof }
    const without = encodeHandshakeResponse({ ...login, database: "" })
    expect(encodePacket(1, without).toString("hex")).toBe(LOGIN.response)
    const otherProof = hex("c05f0116f1d61273bbd273a4709a76893674459d")
    const within = encodeHandshakeResponse({
      ...login,
      authResponse: otherProof,
      database: "lab",
    })
    expect(encodePacket(1, within).toString("hex")).toBe(DATABASE.response)
  })

  test("encryptPassword() masks with the scramble under the server's key", () => {
    const keys = generateKeyPairSync("rsa", { modulusLength: 2048 })
    const pem = keys.publicKey.export({ type: "spki", format: "pem" }).toString()
    const encrypted = encryptPassword("ab", hex("010203"), pem) ?? Buffer.alloc(0)
    const padding = constants.RSA_PKCS1_OAEP_PADDING
    const masked = privateDecrypt({ key: keys.privateKey, padding }, encrypted)
    // "ab\0" = 61 62 00, XOR 01 02 03
    expect(Buffer.from(masked).toString("hex")).toBe("606003")
  })

  test("encryptPassword() is undefined when the key is none", () => {
    expect(encryptPassword("ab", hex("010203"), "garbage")).toBeUndefined()
  })
})

describe("server messages", () => {
  test("parseError() reads code and text", () => {
    expect(parseError(payloadOf(DATABASE.denied))).toEqual({
      code: 1044,
      message: "Access denied for user 'check'@'%' to database 'lab'",
    })
  })

  test("parseError() needs no SQL state when the error comes before the handshake", () => {
    expect(parseError(hex("ff1004546f6f206d616e7920636f6e6e656374696f6e73"))).toEqual({
      code: 1040,
      message: "Too many connections",
    })
  })

  test("parseAuthSwitch() reads plugin and scramble", () => {
    const { plugin, scramble } = parseAuthSwitch(payloadOf(SWITCH_TO_ED25519))
    expect([plugin, scramble.toString("hex")]).toEqual([
      "client_ed25519",
      "245d596a6816733346b0403c7f29bb3922feacc9",
    ])
  })

  test("no parser throws when it is given garbage", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const payload = Buffer.from(bytes)
        expect(typeof parseGreeting(payload).ok).toBe("boolean")
        expect(typeof parseGreeting(Buffer.concat([hex("0a"), payload])).ok).toBe("boolean")
        expect(parseError(payload).code).toBeLessThanOrEqual(0xffff)
        expect(parseAuthSwitch(payload).scramble.length).toBeLessThanOrEqual(20)
        const reader = new MysqlPacketReader()
        reader.push(payload)
        expect(() => reader.next()).not.toThrow()
      }),
    )
  })
})
