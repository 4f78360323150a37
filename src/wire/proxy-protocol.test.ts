import { describe, expect, test } from "bun:test"
import fc from "fast-check"
import { type Endpoint, formatEndpoint, parseEndpoint } from "../net/address.ts"
import { HAPROXY } from "./fixtures/haproxy.ts"
import {
  encodeProxyV1,
  encodeProxyV2,
  PROXY_HEADER_BYTES_MAX,
  type ProxiedEndpoints,
  parseProxyHeader,
} from "./proxy-protocol.ts"

const SIGNATURE = "0d0a0d0a000d0a515549540a"
const TCP4 = "c0000201 c6336401 9c40 01bb"
const ENDPOINTS = endpoints("192.0.2.1:40000", "198.51.100.1:443")
const IPV6_ENDPOINTS = endpoints("[2001:db8::1]:40000", "[2001:db8::2]:443")

describe("HAProxy's headers", () => {
  const connections = Object.entries(HAPROXY).filter(([, { source }]) => source !== "")
  test.each(connections)("%s", (_name, { hex, source, destination }) => {
    const header = Buffer.from(hex, "hex")
    expect(parse(header)).toEqual({
      type: "complete",
      endpoints: endpoints(source, destination),
      headerBytes: header.length,
    })
  })

  test("of its health checks: version 1 with its own endpoints, version 2 without", () => {
    expect(parse(Buffer.from(HAPROXY.v1Check.hex, "hex"))).toMatchObject({
      type: "complete",
      endpoints: { source: { address: "127.0.0.1" }, destination: { address: "127.0.0.1" } },
    })
    expect(parse(Buffer.from(HAPROXY.v2Check.hex, "hex"))).toEqual({
      type: "complete",
      endpoints: undefined,
      headerBytes: 16,
    })
  })

  test.each([
    ["v1Ipv4", encodeProxyV1],
    ["v1Ipv6", encodeProxyV1],
    ["v2Ipv4", encodeProxyV2],
    ["v2Ipv6", encodeProxyV2],
  ] as const)("are what is written: %s", (name, encode) => {
    const { hex, source, destination } = HAPROXY[name]
    expect(Buffer.from(encode(endpoints(source, destination))).toString("hex")).toBe(hex)
  })

  test("with a wrong checksum are refused", () => {
    const header = Buffer.from(HAPROXY.v2Fields.hex, "hex")
    for (const at of [16, header.length - 1]) {
      const broken = Buffer.from(header)
      broken[at] = (broken[at] ?? 0) ^ 1
      expect(parse(broken)).toEqual({ type: "fault", reason: "checksum" })
    }
  })
})

describe("version 1", () => {
  test.each([
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", ENDPOINTS],
    ["PROXY TCP6 2001:db8::1 2001:DB8:0::2 40000 443\r\n", IPV6_ENDPOINTS],
    // An IPv4 client, however it is written.
    ["PROXY TCP6 ::ffff:192.0.2.1 ::ffff:c633:6401 40000 443\r\n", ENDPOINTS],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 0 65535\r\n", endpointsOf(0, 65_535)],
    ["PROXY UNKNOWN\r\n", undefined],
    ["PROXY UNKNOWN whatever follows is ignored\r\n", undefined],
  ])("%j", (line, expected) => {
    expect(parse(`${line}GET / HTTP/1.1\r\n`)).toEqual({
      type: "complete",
      endpoints: expected,
      headerBytes: line.length,
    })
  })

  test.each([
    ["GET / HTTP/1.1\r\n", "signature"],
    ["proxy TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", "signature"],
    ["PROXY\tTCP4 192.0.2.1 198.51.100.1 40000 443\r\n", "signature"],
    ["\r\nPROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", "signature"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\n", "line"],
    ["PROXY \n", "line"],
    ["PROXY \r\n", "line"],
    ["PROXY TCP4\r\n", "line"],
    ["PROXY TCP5 192.0.2.1 198.51.100.1 40000 443\r\n", "line"],
    ["PROXY UDP4 192.0.2.1 198.51.100.1 40000 443\r\n", "line"],
    ["PROXY UNKNOWNS\r\n", "line"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000\r\n", "line"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000 443 \r\n", "line"],
    ["PROXY  TCP4 192.0.2.1 198.51.100.1 40000 443\r\n", "line"],
    ["PROXY TCP4 192.0.2.1  198.51.100.1 40000 443\r\n", "line"],
    ["PROXY TCP4 192.0.2.1\t198.51.100.1 40000 443\r\n", "line"],
    [`PROXY UNKNOWN ${"x".repeat(92)}\r\n`, "line"], // 108 bytes
    ["PROXY TCP4 2001:db8::1 2001:db8::2 40000 443\r\n", "address"],
    ["PROXY TCP6 192.0.2.1 198.51.100.1 40000 443\r\n", "address"],
    ["PROXY TCP4 192.0.2.01 198.51.100.1 40000 443\r\n", "address"],
    ["PROXY TCP4 192.0.2.1 198.51.100 40000 443\r\n", "address"],
    ["PROXY TCP4 192.0.2.1\0 198.51.100.1 40000 443\r\n", "address"],
    ["PROXY TCP6 fe80::1%eth0 2001:db8::2 40000 443\r\n", "address"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n", "port"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000 -1\r\n", "port"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 040000 443\r\n", "port"],
    ["PROXY TCP4 192.0.2.1 198.51.100.1 40000 443\r\r\n", "port"],
  ] as const)("refuses %j: %s", (line, reason) => {
    expect(parse(line)).toEqual({ type: "fault", reason })
  })

  test("takes the longest line there is, and gives up one byte later", () => {
    const longest = `PROXY UNKNOWN ${"x".repeat(91)}\r\n`
    expect(longest.length).toBe(107)
    expect(parse(longest)).toEqual({ type: "complete", endpoints: undefined, headerBytes: 107 })
    expect(parse("PROXY ".padEnd(106, "x"))).toEqual({ type: "incomplete" })
    expect(parse("PROXY ".padEnd(107, "x"))).toEqual({ type: "fault", reason: "line" })
  })
})

describe("version 2", () => {
  const ipv6 = "20010db8000000000000000000000001 20010db8000000000000000000000002 9c40 01bb"
  const mapped = "00000000000000000000ffffc0000201 00000000000000000000ffffc6336401 9c40 01bb"
  test.each([
    ["TCP over IPv4", `21 11 000c ${TCP4}`, ENDPOINTS],
    ["TCP over IPv6", `21 21 0024 ${ipv6}`, IPV6_ENDPOINTS],
    ["IPv4 written as IPv6", `21 21 0024 ${mapped}`, ENDPOINTS],
    ["unknown fields", `21 11 0015 ${TCP4} ee0003414243 040000`, ENDPOINTS],
    ["LOCAL", "20 00 0000", undefined],
    ["LOCAL with what is to be discarded", "20 ff 0003 ffffff", undefined],
    ["UNSPEC", "21 00 0002 ffff", undefined],
    ["a datagram", `21 12 000c ${TCP4}`, undefined],
    ["a Unix socket", `21 31 00d8 ${"2f".repeat(216)}`, undefined],
  ])("%s", (_what, rest, expected) => {
    const header = v2(rest)
    expect(parse(Buffer.concat([header, Buffer.from("GET /")]))).toEqual({
      type: "complete",
      endpoints: expected,
      headerBytes: header.length,
    })
  })

  test.each([
    ["version 1", `11 11 000c ${TCP4}`, "version"],
    ["version 3", `31 11 000c ${TCP4}`, "version"],
    ["an unknown command", `22 11 000c ${TCP4}`, "command"],
    ["an unknown family", `21 41 000c ${TCP4}`, "family"],
    ["an unknown transport", `21 13 000c ${TCP4}`, "family"],
    ["no room for the addresses", "21 11 000b c0000201 c6336401 9c40 01", "length"],
    ["no room for those of IPv6", `21 21 000c ${TCP4}`, "length"],
    ["more than is read, before it has come", "21 11 1001", "length"],
    ["a field without its length", `21 11 000d ${TCP4} ee`, "field"],
    ["a field beyond the end", `21 11 0010 ${TCP4} ee000241`, "field"],
    ["a checksum of three bytes", `21 11 0012 ${TCP4} 030003 000000`, "field"],
    ["a wrong checksum", `21 11 0013 ${TCP4} 030004 00000000`, "checksum"],
  ] as const)("refuses %s", (_what, rest, reason) => {
    expect(parse(v2(rest))).toEqual({ type: "fault", reason })
  })

  test("is read up to its limit", () => {
    const fields = Buffer.alloc(4096 - 12)
    fields.writeUInt8(0xee, 0)
    fields.writeUInt16BE(fields.length - 3, 1)
    const header = Buffer.concat([v2(`21 11 1000 ${TCP4}`), fields])
    expect(header.length).toBe(PROXY_HEADER_BYTES_MAX)
    expect(parse(header)).toMatchObject({ type: "complete", headerBytes: 4112 })
    expect(parse(header.subarray(0, -1))).toEqual({ type: "incomplete" })
  })
})

describe("encodeProxyV1(), encodeProxyV2()", () => {
  test("say nothing of a connection of our own", () => {
    expect(Buffer.from(encodeProxyV1(undefined)).toString()).toBe("PROXY UNKNOWN\r\n")
    expect(Buffer.from(encodeProxyV2(undefined)).toString("hex")).toBe(`${SIGNATURE}20000000`)
  })

  test("write both addresses as IPv6 when one is", () => {
    const mixed = endpoints("192.0.2.1:40000", "[2001:db8::2]:443")
    expect(Buffer.from(encodeProxyV1(mixed)).toString()).toBe(
      "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 40000 443\r\n",
    )
    expect(parse(encodeProxyV2(mixed))).toMatchObject({ endpoints: mixed, headerBytes: 52 })
  })
})

describe("every header", () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6())
  const endpoint = fc
    .tuple(address, fc.integer({ min: 1, max: 65_535 }))
    .map(([text, port]) =>
      parseEndpoint(text.includes(":") ? `[${text}]:${port}` : `${text}:${port}`),
    )
    .filter((value) => value !== undefined)
    .filter((value) => !value.address.startsWith("::ffff:"))

  test("comes back as it was written, and not before its last byte", () => {
    fc.assert(
      fc.property(endpoint, endpoint, fc.boolean(), (source, destination, isV1) => {
        const header = (isV1 ? encodeProxyV1 : encodeProxyV2)({ source, destination })
        for (let length = 0; length < header.length; length++) {
          expect(parseProxyHeader(header, length)).toEqual({ type: "incomplete" })
        }
        expect(parse(header)).toEqual({
          type: "complete",
          endpoints: { source, destination },
          headerBytes: header.length,
        })
      }),
    )
  })

  test("is judged by its own bytes alone, and never longer than what came", () => {
    const start = fc.constantFrom(
      "",
      "PROXY ",
      "PROXY TCP4 1.2.3.4 ",
      `\r\n\r\n\0\r\nQUIT\n!\x11\0`,
    )
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), (text, random) => {
        const bytes = Buffer.concat([Buffer.from(text, "latin1"), random])
        const result = parse(bytes)
        expect(
          parseProxyHeader(Buffer.concat([bytes, Buffer.alloc(64, 0x0a)]), bytes.length),
        ).toEqual(result)
        if (result.type === "complete") expect(result.headerBytes).toBeLessThanOrEqual(bytes.length)
        if (result.type === "incomplete") return
        // What is decided stays so, whatever follows.
        expect(parse(Buffer.concat([bytes, random]))).toEqual(result)
      }),
    )
  })
})

function parse(source: string | Uint8Array) {
  const bytes = typeof source === "string" ? Buffer.from(source, "latin1") : source
  return parseProxyHeader(bytes, bytes.length)
}

function v2(rest: string): Buffer {
  return Buffer.from(SIGNATURE + rest.replaceAll(" ", ""), "hex")
}

function endpoints(source: string, destination: string): ProxiedEndpoints {
  return { source: endpointOf(source), destination: endpointOf(destination) }
}

function endpointsOf(sourcePort: number, destinationPort: number): ProxiedEndpoints {
  const { source, destination } = ENDPOINTS
  return {
    source: { ...source, port: sourcePort },
    destination: { ...destination, port: destinationPort },
  }
}

function endpointOf(text: string): Endpoint {
  const endpoint = parseEndpoint(text)
  if (endpoint === undefined) throw new Error(`Not an endpoint: ${text}`)
  expect(formatEndpoint(endpoint)).toBe(text)
  return endpoint
}
