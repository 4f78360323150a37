import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { PoolTlsConfig } from "../../config/config.ts"
import { CERTIFICATES, KEYS } from "../../linux/fixtures/certificates.ts"
import { loadClientTls } from "./client-files.ts"

let directory: string

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-tls-"))
  write("ca.pem", CERTIFICATES.authority)
  write("empty.pem", "")
  for (const name of ["client", "plain", "shortKey"] as const) {
    write(`${name}.pem`, CERTIFICATES[name])
    write(`${name}.key`, KEYS[name])
  }
})

afterEach(() => {
  rmSync(directory, { recursive: true, force: true })
})

describe("loadClientTls()", () => {
  test("reads what a pool needs", () => {
    const result = loadClientTls(config({ caFile: at("ca.pem"), ...pair("client") }))
    expect(result).toEqual({
      ok: true,
      spec: {
        id: expect.stringMatching(/^[0-9a-f]{64}$/),
        verify: true,
        serverName: "shop.example",
        minVersion: "1.2",
        caPem: CERTIFICATES.authority,
        certificate: { chainPem: CERTIFICATES.client, keyPem: KEYS.client },
      },
      warnings: [],
      files: ["ca.pem", "client.pem", "client.key"].map((name) => ({
        path: at(name),
        stamp: expect.objectContaining({ bytes: expect.any(Number) }),
      })),
    })
  })

  test("needs no file at all", () => {
    const result = loadClientTls(config({}))
    expect(result.ok && [result.spec.certificate, result.files]).toEqual([undefined, []])
  })

  test.each([
    ["ca.pem", "cannot be read: ENOENT", { caFile: "no/ca.pem" }],
    ["empty.pem", "has no certificate in it", { caFile: "empty.pem" }],
    ["plain.key", "is not the key of the certificate", { cert: "client.pem", key: "plain.key" }],
    [
      "shortKey.pem",
      "is not accepted by OpenSSL: Client certificate: refused: ee key too small",
      { cert: "shortKey.pem", key: "shortKey.key" },
    ],
  ])("names %s, which %s", (file, reason, files) => {
    const paths = Object.entries(files).map(([key, name]) => [key, at(name)])
    const result = loadClientTls(config(Object.fromEntries(paths)))
    if (result.ok) throw new Error("accepted")
    expect(result.problems).toHaveLength(1)
    expect(result.problems[0]?.file).toEndWith(file)
    expect(result.problems[0]?.reason).toBe(reason)
  })
})

function config(change: Partial<PoolTlsConfig>): PoolTlsConfig {
  return {
    verify: true,
    caFile: "",
    serverName: "shop.example",
    cert: "",
    key: "",
    caPem: "",
    certPem: "",
    keyPem: "",
    minVersion: "1.2",
    ...change,
  }
}

function pair(name: string) {
  return { cert: at(`${name}.pem`), key: at(`${name}.key`) }
}

function at(file: string): string {
  return join(directory, file)
}

function write(file: string, content: string): void {
  writeFileSync(at(file), content, { mode: 0o600 })
}
