import { afterEach, describe, expect, test } from "bun:test"
import { NativeBytes } from "../../linux/bytes.ts"
import { EKEYREJECTED, EPROTO } from "../../linux/errno.ts"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import { sendText, until } from "../../linux/fixtures/tcp.ts"
import { peek } from "../../linux/tcp.ts"
import { parseClientHello } from "../../wire/client-hello.ts"
import {
  CLIENT_SPEC,
  clientTls,
  closePairs,
  connectedPair,
  openPair,
  readText,
  serverTls,
  shakeHands,
  writeText,
} from "../fixtures/tls-pair.ts"
import { ClientTls } from "./client-tls.ts"

afterEach(closePairs)

/** With 127.0.0.1 among its names. */
const plain = {
  chainPem: CERTIFICATES.plain,
  keyPem: KEYS.plain,
  names: ["plain.example"],
  keyType: "ec" as const,
}

describe("verification", () => {
  test.each([
    ["a name of the certificate", { serverName: "plain.example" }],
    ["a name under a wildcard", { serverName: "a.shop.example" }],
    ["no verification", { verify: false, serverName: "x.y" }],
    ["no verification and an unknown authority", { verify: false, caPem: "" }],
  ])("passes with %s", (_what, change) => {
    expect(shakeHands(openPair(serverTls(), clientTls(change)))).toEqual({ client: 0, server: 0 })
  })

  test("passes with the server's address in the certificate", () => {
    const server = serverTls({ certificates: [plain] })
    expect(shakeHands(openPair(server, clientTls({ serverName: "" }))).client).toBe(0)
  })

  test("fails with a wildcard in the middle of a label", () => {
    const certificate = {
      chainPem: CERTIFICATES.oddNames, // f*.odd.example
      keyPem: KEYS.oddNames,
      names: ["good.example"],
      keyType: "ec" as const,
    }
    const client = clientTls({ caPem: CERTIFICATES.oddNames, serverName: "foo.odd.example" })
    const pair = openPair(serverTls({ certificates: [certificate] }), client)
    expect(shakeHands(pair).client).toBe(-EKEYREJECTED)
    expect(pair.client.failure).toBe("hostname mismatch")
  })

  test.each([
    ["shop.example", "shop.example"],
    ["", ""], // an address is never a server name (RFC 6066 §3)
  ])("with the name %p asks for %p", (serverName, asked) => {
    const { client, server } = openPair(serverTls(), clientTls({ serverName }))
    client.handshake()
    const hello = new NativeBytes(2000)
    const count = until(
      () => peek(server.fd, hello, 2000),
      (result) => result > 0,
    )
    const result = parseClientHello(hello.bytes, count)
    expect(result.type === "complete" && result.hello.serverName).toBe(asked)
  })

  test.each([
    ["another name", { serverName: "other.example" }, "hostname mismatch"],
    ["two labels under a wildcard", { serverName: "a.b.shop.example" }, "hostname mismatch"],
    ["an address that is not in it", { serverName: "" }, "IP address mismatch"],
    [
      "an unknown authority",
      { caPem: CERTIFICATES.stranger },
      "unable to get local issuer certificate",
    ],
    ["the host's authorities", { caPem: "" }, "unable to get local issuer certificate"],
  ])("fails with %s", (_what, change, failure) => {
    const pair = openPair(serverTls(), clientTls(change))
    expect(shakeHands(pair).client).toBe(-EKEYREJECTED)
    expect(pair.client.failure).toBe(failure)
  })

  test("lays no blame on a certificate that nobody verifies", () => {
    const { client, server } = connectedPair(serverTls(), clientTls({ verify: false, caPem: "" }))
    sendText(server.fd, "HTTP/1.1 400 Bad Request\r\n\r\n")
    expect(readText(client)).toBe(-EPROTO)
    expect(client.failure).toBe("wrong version number")
  })

  test("throws where no server can have the name", () => {
    const serverName = `${"a".repeat(300)}.example`
    expect(() => openPair(serverTls(), clientTls({ serverName }))).toThrow("Cannot ask for")
  })

  test("throws where the bundle of authorities is empty", () => {
    expect(() => new ClientTls({ ...CLIENT_SPEC, caPem: "none" })).toThrow(
      "No certificate authority in ca_file",
    )
  })

  test("throws where key and certificate differ", () => {
    const certificate = { chainPem: CERTIFICATES.client, keyPem: KEYS.plain }
    expect(() => new ClientTls({ ...CLIENT_SPEC, certificate })).toThrow("Client certificate: ")
  })
})

describe("sessions", () => {
  test("are kept per server", () => {
    const [server, client] = [serverTls(), clientTls()]
    const first = connectedPair(server, client)
    writeText(first.server, "x")
    readText(first.client)
    expect(connectedPair(server, client).client.isResumed).toBe(true)
  })

  test("outlive neither close() nor a connection that reads afterwards", () => {
    const [server, client] = [serverTls(), clientTls()]
    const pair = connectedPair(server, client)
    client.close()
    writeText(pair.server, "late")
    expect(readText(pair.client)).toBe("late")
  })
})
