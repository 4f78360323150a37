import { afterEach, describe, expect, test } from "bun:test"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import {
  clientTls,
  closePairs,
  connectedPair,
  openPair,
  readText,
  SERVER_SPEC,
  serverTls,
  shakeHands,
  type TlsPair,
  writeText,
} from "../fixtures/tls-pair.ts"
import { serverContext } from "./server-tls.ts"

const SHOP = "CN=shop.example"
const client1 = {
  chainPem: CERTIFICATES.client,
  keyPem: KEYS.client,
}

afterEach(closePairs)

describe("choice of certificate", () => {
  test.each([
    ["shop.example", SHOP],
    ["a.shop.example", SHOP],
    ["plain.example", "CN=plain.example"],
  ])("for %s it is that of %s", (serverName, subject) => {
    const { client } = connectedPair(serverTls(), clientTls({ serverName }))
    expect(client.peerSubject).toBe(subject)
  })

  test("for a name that nobody has it is the first", () => {
    const { client } = connectedPair(serverTls(), clientTls({ verify: false, serverName: "x.y" }))
    expect(client.peerSubject).toBe(SHOP)
  })

  test("depends on the name where certificates differ", () => {
    expect(serverTls().needsServerName).toBe(true)
    const [ecdsa, rsa] = SERVER_SPEC.certificates
    if (ecdsa === undefined || rsa === undefined) throw new Error("no certificates")
    expect(serverTls({ certificates: [ecdsa, rsa] }).needsServerName).toBe(false)
  })
})

describe("resumption", () => {
  test("another thread's tickets are good, and its sessions keep the version", () => {
    const client = clientTls()
    useOnce(connectedPair(serverTls(), client))
    const again = connectedPair(serverTls(), client)
    expect([again.server.isResumed, again.client.isResumed]).toEqual([true, true])
    expect(again.server.tlsVersion).toBe("TLSv1.3")
    useOnce(again)
    expect(connectedPair(serverTls(), client).server.isResumed).toBe(true)
  })

  test.each([
    ["other ticket keys", { ticketKeys: new Uint8Array(80).fill(9) }],
    ["another listener", { sessionContext: new Uint8Array(32).fill(2) }],
  ])("%s mean a full handshake", (_what, change) => {
    const client = clientTls()
    useOnce(connectedPair(serverTls(), client))
    const { server } = connectedPair(serverTls(change), client)
    expect(server.isResumed).toBe(false)
    expect(server.tlsVersion).toBe("TLSv1.3")
  })

  test("the ticket of a client with a certificate still names it", () => {
    const required = {
      clientCertificates: "required",
      clientCaPem: CERTIFICATES.authority,
    } as const
    const client = clientTls({ certificate: client1 })
    useOnce(connectedPair(serverTls(required), client))
    const { server } = connectedPair(serverTls(required), client)
    expect(server.isResumed).toBe(true)
    expect(server.peerSubject).toContain("CN=client 1")
  })
})

describe("client certificates", () => {
  const ask = (clientCertificates: "optional" | "required") =>
    serverTls({ clientCertificates, clientCaPem: CERTIFICATES.authority })

  test("the subject comes in ASCII, RFC 2253, most specific first", () => {
    const { server } = connectedPair(ask("required"), clientTls({ certificate: client1 }))
    expect(server.peerSubject).toBe(
      String.raw`CN=client 1,OU=P\C3\A4th\, \"quoted\",O=Causeway tests`,
    )
  })

  test("optional lets in who has none", () => {
    const { server } = connectedPair(ask("optional"), clientTls())
    expect(server.peerSubject).toBe("")
  })

  test("required turns away who has none", () => {
    const pair = openPair(ask("required"), clientTls())
    expect(shakeHands(pair).server).toBeLessThan(0)
    expect(pair.server.failure).toBe("peer did not return a certificate")
  })

  test.each(["optional", "required"] as const)("%s turns away a stranger's", (how) => {
    const certificate = { chainPem: CERTIFICATES.stranger, keyPem: KEYS.stranger }
    const pair = openPair(ask(how), clientTls({ certificate }))
    expect(shakeHands(pair).server).toBeLessThan(0)
    expect(pair.server.failure).toBe("self-signed certificate")
  })

  test("one that nobody asked for is not sent", () => {
    const { server } = connectedPair(serverTls(), clientTls({ certificate: client1 }))
    expect(server.peerSubject).toBe("")
  })
})

describe("close()", () => {
  test("leaves connections alone, in the middle of their handshake and before it", () => {
    const tls = serverTls()
    const done = connectedPair(tls, clientTls())
    const half = openPair(tls, clientTls())
    half.client.handshake()
    tls.close()
    expect(shakeHands(half)).toEqual({ client: 0, server: 0 })
    expect(shakeHands(openPair(tls, clientTls()))).toEqual({ client: 0, server: 0 })
    writeText(done.client, "hello")
    expect(readText(done.server)).toBe("hello")
  })
})

test("serverContext() says which certificate OpenSSL refuses", () => {
  const [first] = SERVER_SPEC.certificates
  if (first === undefined) throw new Error("no certificate")
  const certificates = [{ ...first, keyPem: KEYS.plain }]
  expect(() => serverContext({ ...SERVER_SPEC, certificates }, [0])).toThrow(
    "Certificate of shop.example: refused: ",
  )
})

/** The client gets its ticket with the first bytes it reads. */
function useOnce({ client, server }: TlsPair): void {
  writeText(server, "x")
  expect(readText(client)).toBe("x")
}
