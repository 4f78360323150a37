import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { GOLDEN } from "./fixtures/netlink.ts"
import {
  encodeAttributes,
  encodeMessage,
  nested,
  parseAcknowledgement,
  parseAttributes,
  parseBody,
  parseDone,
  parseMessages,
  textOf,
  textValue,
  u8Of,
  u8Value,
  u32Of,
  u32Value,
} from "./netlink.ts"

const bytesOf = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(" ", ""), "hex"))
const hexOf = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")

function onlyMessage(hex: string) {
  const parsed = parseMessages(bytesOf(hex))
  if (!parsed.ok) throw new Error(parsed.reason)
  expect(parsed.value).toHaveLength(1)
  const [message] = parsed.value
  if (message === undefined) throw new Error("no message")
  return message
}

describe("messages", () => {
  test("parseMessages() reads header and body of what ip sends", () => {
    const message = onlyMessage(GOLDEN.linkUp)
    expect({ ...message, body: hexOf(message.body) }).toEqual({
      type: 16,
      flags: 5,
      sequence: 0,
      portId: 0,
      body: "00000000090000000100000001000000",
    })
  })

  test("encodeMessage() writes the same bytes back", () => {
    for (const hex of Object.values(GOLDEN))
      expect(hexOf(encodeMessage(onlyMessage(hex)))).toBe(hex)
  })

  test("encodeMessage() writes sequence and port id", () => {
    const message = { type: 3, flags: 2, sequence: 0x01020304, portId: 5, body: new Uint8Array(0) }
    expect(hexOf(encodeMessage(message))).toBe("10000000030002000403020105000000")
  })

  test("parseMessages() finds the second message after padding when the first is unaligned", () => {
    const first = "13000000 0100 0000 01000000 00000000 aabbcc 00"
    const second = "10000000 0300 0000 02000000 00000000"
    const parsed = parseMessages(bytesOf(first + second))
    if (!parsed.ok) throw new Error(parsed.reason)
    expect(parsed.value.map(({ sequence, body }) => [sequence, hexOf(body)])).toEqual([
      [1, "aabbcc"],
      [2, ""],
    ])
  })

  const rejects = [
    ["10000000 0300 0000 02000000 000000", "message header cut short"],
    ["0f000000 0300 0000 02000000 00000000", "message header cut short"],
    ["00000000 0300 0000 02000000 00000000", "message header cut short"],
    ["14000000 0300 0000 02000000 00000000", "message longer than the datagram"],
    ["ffffffff 0300 0000 02000000 00000000", "message longer than the datagram"],
  ] as const
  test.each(rejects)("parseMessages() rejects %s when it is malformed: %s", (hex, reason) => {
    expect(parseMessages(bytesOf(hex))).toEqual({ ok: false, reason })
  })
})

describe("attributes", () => {
  test("encodeAttributes() pads values to four bytes", () => {
    const encoded = encodeAttributes([
      [11, u8Value(0xc0)],
      [3, textValue("eth9")],
      [8, u32Value(0x200)],
    ])
    expect(hexOf(encoded)).toBe(
      "05000b00c0000000" + "0900030065746839" + "00000000" + "0800080000020000",
    )
  })

  test("nested() marks an attribute that holds attributes", () => {
    expect(hexOf(encodeAttributes([nested(26, [[8, u8Value(1)]])]))).toBe(
      "0c001a800500080001000000",
    )
  })

  test("parseAttributes() ignores the nesting and byte order marks and keeps the last of a kind", () => {
    const parsed = parseAttributes(bytesOf("05001a8001000000 05001a4002000000"))
    if (!parsed.ok) throw new Error(parsed.reason)
    expect([...parsed.value]).toEqual([[26, Uint8Array.of(2)]])
  })

  test("values are undefined when absent or of another size", () => {
    const parsed = parseAttributes(
      encodeAttributes([
        [1, u32Value(7)],
        [2, textValue("lo")],
      ]),
    )
    if (!parsed.ok) throw new Error(parsed.reason)
    expect(u32Of(parsed.value, 1)).toBe(7)
    expect(u8Of(parsed.value, 1)).toBeUndefined()
    expect(u32Of(parsed.value, 3)).toBeUndefined()
    expect(textOf(parsed.value, 2)).toBe("lo")
    expect(textOf(parsed.value, 3)).toBeUndefined()
  })

  const rejects = [
    ["03000100", "attribute of the wrong size"],
    ["00000100", "attribute of the wrong size"],
    ["0900010000000000", "attribute longer than its message"],
  ] as const
  test.each(rejects)("parseAttributes() rejects %s when it is malformed: %s", (hex, reason) => {
    expect(parseAttributes(bytesOf(hex))).toEqual({ ok: false, reason })
  })

  test("parseBody() rejects a body when the family header is cut short", () => {
    expect(parseBody(new Uint8Array(7), 8)).toEqual({
      ok: false,
      reason: "family header cut short",
    })
  })
})

describe("acknowledgements", () => {
  test("parseAcknowledgement() gives errno and the kernel's text when a request failed", () => {
    expect(parseAcknowledgement(onlyMessage(GOLDEN.addressAddAgain))).toEqual({
      ok: true,
      value: { errno: 17, text: "ipv4: Address already assigned" },
    })
    expect(parseAcknowledgement(onlyMessage(GOLDEN.routeAddForeignSource))).toEqual({
      ok: true,
      value: { errno: 22, text: "Invalid prefsrc address" },
    })
  })

  test("parseAcknowledgement() gives errno 0 when a request succeeded", () => {
    expect(parseAcknowledgement(onlyMessage(GOLDEN.addressDeleted))).toEqual({
      ok: true,
      value: { errno: 0, text: "" },
    })
  })

  test("parseAcknowledgement() rejects an echo that is longer than the message", () => {
    const body = bytesOf("efffffff ffff0000 1400 0506 00000000 00000000")
    expect(parseAcknowledgement({ type: 2, flags: 0x200, sequence: 0, portId: 0, body })).toEqual({
      ok: false,
      reason: "attribute longer than its message",
    })
  })

  test("parseDone() gives the error that ended a dump", () => {
    const message = { type: 3, flags: 2, sequence: 0, portId: 0, body: bytesOf("feffffff") }
    expect(parseDone(message)).toEqual({ ok: true, value: { errno: 2, text: "" } })
  })
})

describe("anything", () => {
  test("parsers never throw, whatever the bytes", () => {
    const anyBytes = fc.uint8Array({ maxLength: 200 })
    fc.assert(
      fc.property(anyBytes, fc.nat(0xffff), (body, flags) => {
        const message = { type: 2, flags, sequence: 0, portId: 0, body }
        parseMessages(body)
        parseAttributes(body)
        parseAcknowledgement(message)
        parseDone(message)
      }),
    )
  })

  test("attributes come back as they were written", () => {
    const anyAttribute = fc.tuple(
      fc.integer({ min: 0, max: 0x3fff }),
      fc.uint8Array({ maxLength: 40 }),
    )
    const distinct = fc.uniqueArray(anyAttribute, { selector: ([type]) => type, maxLength: 10 })
    fc.assert(
      fc.property(distinct, (attributes) => {
        const parsed = parseAttributes(encodeAttributes(attributes))
        expect(parsed.ok && [...parsed.value]).toEqual(attributes)
      }),
    )
  })
})
