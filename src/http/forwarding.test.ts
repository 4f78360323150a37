import { describe, expect, test } from "bun:test"
import type { Address } from "../net/address.ts"
import { bytes, LIMITS } from "./fixtures/heads.ts"
import { type ForwardingOrigin, writeForwardingFields } from "./forwarding.ts"
import { RequestHead } from "./head.ts"
import { HeadWriter } from "./parts.ts"

function origin(more: Partial<ForwardingOrigin> = {}): ForwardingOrigin {
  return {
    address: "192.0.2.9" as Address,
    isTrusted: false,
    isTls: false,
    port: 80,
    peerSubject: "",
    forwardingText: undefined,
    ...more,
  }
}

/** The lines written for a request with these fields; the last one without its changing id. */
function written(start: string, from: ForwardingOrigin): string[] {
  const head = new RequestHead()
  const text = bytes(`${start}\r\n\r\n`)
  expect(head.parse(text, 0, text.length, LIMITS)).toBe("complete")
  const writer = new HeadWriter(Buffer.alloc(4096), 0, 4096)
  writeForwardingFields(writer, head, from)
  const lines = writer.bytes.toString("latin1", 0, writer.at).split("\r\n")
  expect(lines.pop()).toBe("")
  return lines
}

const ID = expect.stringMatching(/^X-Request-ID: [0-9a-f]{32}$/)
/** What a client may claim of itself. */
const CLAIMS =
  "X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 198.51.100.2\r\nX-Forwarded-Proto: https\r\n" +
  "X-Forwarded-Host: claimed\r\nX-Forwarded-Port: 8443\r\nX-Real-IP: 198.51.100.3\r\n" +
  "X-Request-ID: mine\r\nForwarded: for=198.51.100.1\r\nX-SSL-Client-S-DN: CN=me"

describe("writeForwardingFields()", () => {
  const own = (host: string, quoted = host) => [
    "X-Forwarded-For: 192.0.2.9",
    "X-Forwarded-Proto: http",
    "X-Forwarded-Port: 80",
    "X-Real-IP: 192.0.2.9",
    `X-Forwarded-Host: ${host}`,
    `Forwarded: for=192.0.2.9;proto=http;host=${quoted}`,
    ID,
  ]

  test("says what is so, whatever the client claims", () => {
    expect(written(`GET / HTTP/1.1\r\nHost: a.b\r\n${CLAIMS}`, origin())).toEqual(own("a.b"))
  })

  test("quotes a host that is no token (RFC 7239 §4)", () => {
    expect(written("GET / HTTP/1.1\r\nHost: a:81", origin())).toEqual(own("a:81", '"a:81"'))
    expect(written("GET / HTTP/1.1\r\nHost: [::1]", origin())).toEqual(own("[::1]", '"[::1]"'))
  })

  test("tells the requests of one connection apart, and their hosts", () => {
    const one = origin()
    const ids = ["a", "a", "b", "a"].map((host) => {
      const lines = written(`GET / HTTP/1.1\r\nHost: ${host}`, one)
      expect(lines).toEqual(own(host))
      return lines.at(-1)
    })
    expect(new Set(ids).size).toBe(4)
  })

  test("brackets an IPv6 client where RFC 7239 §6 wants it", () => {
    const from = origin({ address: "2001:db8::9" as Address, isTls: true, port: 443 })
    expect(written("GET / HTTP/1.1\r\nHost: a", from)).toEqual([
      "X-Forwarded-For: 2001:db8::9",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Port: 443",
      "X-Real-IP: 2001:db8::9",
      "X-Forwarded-Host: a",
      'Forwarded: for="[2001:db8::9]";proto=https;host=a',
      ID,
    ])
  })

  test("adds to what a trusted proxy says", () => {
    const from = origin({ isTrusted: true })
    expect(written(`GET / HTTP/1.1\r\nHost: a\r\n${CLAIMS}`, from)).toEqual([
      "X-Forwarded-For: 198.51.100.1, 198.51.100.2, 192.0.2.9",
      "X-Forwarded-Proto: https",
      "X-Forwarded-Port: 8443",
      "X-Real-IP: 198.51.100.3",
      "X-Forwarded-Host: claimed",
      "Forwarded: for=198.51.100.1, for=192.0.2.9;proto=http",
      "X-Request-ID: mine",
    ])
  })

  test("speaks for itself where the trusted proxy is silent, and of no host where there is none", () => {
    expect(written("GET / HTTP/1.0", origin({ isTrusted: true }))).toEqual([
      "X-Forwarded-For: 192.0.2.9",
      "X-Forwarded-Proto: http",
      "X-Forwarded-Port: 80",
      "X-Real-IP: 192.0.2.9",
      "Forwarded: for=192.0.2.9;proto=http",
      ID,
    ])
  })

  test("passes the subject of a verified certificate on, as harmless text", () => {
    const from = origin({ peerSubject: "CN=a,O=\r\nX-Admin: 1\xe9" })
    const lines = written("GET / HTTP/1.1\r\nHost: a", from)
    expect(lines[4]).toBe("X-SSL-Client-S-DN: CN=a,O=??X-Admin: 1?")
  })
})
