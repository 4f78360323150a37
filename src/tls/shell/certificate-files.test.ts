import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { TlsConfig } from "../../config/http-config.ts"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import { loadServerTls } from "./certificate-files.ts"

const OPTIONS = { listener: "web", ticketKeys: new Uint8Array(80).fill(5) }

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-tls-"))
  for (const name of ["shop", "plain", "shortKey", "shopRsa"] as const) {
    write(`${name}.pem`, CERTIFICATES[name])
    write(`${name}.key`, KEYS[name])
  }
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe("loadServerTls()", () => {
  test("reads what a listener needs", () => {
    write("ca.pem", CERTIFICATES.authority)
    write("tickets", new Uint8Array(80).fill(6))
    const load = loaded({
      certificates: [pair("shop"), pair("shopRsa")],
      clientCertificates: "required",
      clientCaFile: at("ca.pem"),
      sessionTicketKeyFile: at("tickets"),
    })
    const { spec } = load
    expect(spec.certificates.map(({ keyType }) => keyType)).toEqual(["ec", "rsa"])
    expect(spec.clientCaPem).toBe(CERTIFICATES.authority)
    expect(spec.ticketKeys).toEqual(new Uint8Array(80).fill(6))
    expect(spec.sessionContext.length).toBe(32)
    expect(spec.alpn).toEqual(["http/1.1", "http/1.0"])
    expect(load.warnings).toEqual([])
    expect(load.files.map(({ path }) => path)).toEqual(
      ["shop.pem", "shop.key", "shopRsa.pem", "shopRsa.key", "ca.pem", "tickets"].map(at),
    )
  })

  test("tells of its certificates without their keys", () => {
    const { certificates } = loaded({ certificates: [pair("plain")] })
    expect(certificates).toEqual([
      {
        file: at("plain.pem"),
        names: ["plain.example"],
        keyType: "ec",
        notBefore: expect.any(Number),
        notAfter: expect.any(Number),
      },
    ])
  })

  test("takes the process's ticket keys where there is no file", () => {
    expect(loaded({}).spec.ticketKeys).toEqual(new Uint8Array(80).fill(5))
  })

  test("has an id that changes with a key, and with nothing else", () => {
    const { id } = loaded({}).spec
    expect(loaded({}).spec.id).toBe(id)
    write("shop.pem", CERTIFICATES.plain)
    write("shop.key", KEYS.plain)
    expect(loaded({}).spec.id).not.toBe(id)
  })

  test("has a session context that both edges agree on, and no listener shares", () => {
    const [one, two] = [loaded({}).spec.sessionContext, loaded({}).spec.sessionContext]
    expect(one).toEqual(two)
    expect(loaded({}, "other").spec.sessionContext).not.toEqual(one)
  })

  test("names every file that is wrong, and why", () => {
    write("empty.pem", "")
    write("tickets", new Uint8Array(48))
    const { problems } = refused({
      certificates: [
        { cert: at("shop.pem"), key: at("plain.key") },
        { cert: at("missing.pem"), key: at("plain.key") },
        pair("shortKey"),
      ],
      clientCaFile: at("empty.pem"),
      sessionTicketKeyFile: at("tickets"),
    })
    const hint = `make it with: openssl rand -out ${at("tickets")} 80`
    expect(problems).toEqual([
      { file: at("plain.key"), reason: "is not the key of the certificate" },
      { file: at("missing.pem"), reason: "cannot be read: ENOENT" },
      { file: at("empty.pem"), reason: "has no certificate in it" },
      { file: at("tickets"), reason: `has 48 bytes, not 80 (${hint})` },
      {
        file: at("shortKey.pem"),
        reason: "is not accepted by OpenSSL: refused: ee key too small",
      },
    ])
  })

  test("warns of a key that everybody can read, and of a chain in disorder", () => {
    chmodSync(at("shop.key"), 0o644)
    write("shop.pem", `${CERTIFICATES.shop}${CERTIFICATES.authority}`)
    expect(loaded({}).warnings).toEqual([
      { file: at("shop.key"), reason: "can be read by every user of this host" },
      {
        file: at("shop.pem"),
        reason: "certificate 2 of the file did not certify number 1",
      },
    ])
  })

  test("lets nothing of a key out when it is damaged", () => {
    write("shop.key", KEYS.shop.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA"))
    expect(refused({}).problems).toEqual([
      { file: at("shop.key"), reason: "has a private key that cannot be read" },
    ])
  })
})

function load(change: Partial<TlsConfig>, listener = "web") {
  const config: TlsConfig = {
    certificates: [pair("shop")],
    minVersion: "1.2",
    redirect: false,
    clientCertificates: "off",
    clientCaFile: "",
    sessionTicketKeyFile: "",
    ...change,
  }
  return loadServerTls(config, { ...OPTIONS, listener })
}

function loaded(change: Partial<TlsConfig>, listener = "web") {
  const result = load(change, listener)
  if (!result.ok) throw new Error(JSON.stringify(result.problems))
  return result
}

function refused(change: Partial<TlsConfig>) {
  const result = load(change)
  if (result.ok) throw new Error("accepted")
  return result
}

function pair(name: string) {
  return { cert: at(`${name}.pem`), key: at(`${name}.key`) }
}

function at(file: string): string {
  return join(directory, file)
}

function write(file: string, content: string | Uint8Array): void {
  writeFileSync(at(file), content, { mode: 0o600 })
}
