import { afterAll, describe, expect, test } from "bun:test"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { adminAddresses, formatAdminAddress, parseAdminAddress } from "./admin-address.ts"

const folder = mkdtempSync(join(tmpdir(), "causeway-address-"))
afterAll(() => rmSync(folder, { recursive: true }))

let files = 0

function addressesFor(toml: string, admin?: string): string[] {
  const configPath = join(folder, `${files++}.toml`)
  writeFileSync(configPath, toml)
  return adminAddresses({ configPath, isConfigGiven: true, admin }).map(formatAdminAddress)
}

describe("adminAddresses()", () => {
  test("puts sockets before TCP, and asks the nearest of all addresses", () => {
    writeFileSync(join(folder, "token"), "s3cret\n", { mode: 0o600 })
    const toml = `[admin]
listen = [":9181", "unix:/run/a.sock", "127.0.0.1:9180"]
token_file = "${folder}/token"`
    expect(addressesFor(toml)).toEqual([
      "unix:/run/a.sock",
      "http://[::1]:9181",
      "http://127.0.0.1:9180",
    ])
  })

  test("are the defaults of an empty file", () => {
    expect(addressesFor("")).toEqual(["unix:/run/causeway/admin.sock", "http://127.0.0.1:9180"])
  })

  test("prefer --admin to the file", () => {
    expect(addressesFor("", "/run/b.sock")).toEqual(["unix:/run/b.sock"])
  })

  test.each([
    ["a syntax error", 'x = \n[admin]\nlisten = ["unix:/run/c.sock"]'],
    ["an unknown key", 'y = 1\n[admin]\nlisten = ["127.0.0.1:1", "unix:/run/c.sock"]'],
    ["a comment with another", "# \"unix:/run/old.sock\"\nlisten = [ 'unix:/run/c.sock' ]\nx = "],
  ])("are still found in a file with %s", (_, toml) => {
    expect(addressesFor(toml)).toEqual(["unix:/run/c.sock"])
  })

  test("are the usual socket where a broken file names none", () => {
    expect(addressesFor("x = ")).toEqual(["unix:/run/causeway/admin.sock"])
  })

  test("need a file that was named", () => {
    const input = { configPath: join(folder, "none.toml"), admin: undefined }
    expect(() => adminAddresses({ ...input, isConfigGiven: true })).toThrow("ENOENT")
    expect(adminAddresses({ ...input, isConfigGiven: false }).map(formatAdminAddress)).toEqual([
      "unix:/run/causeway/admin.sock",
    ])
  })

  test("are none where the file turns the API off", () => {
    expect(() => addressesFor("[admin]\nlisten = []")).toThrow("[admin] is off in ")
  })
})

describe("parseAdminAddress()", () => {
  test.each([
    ["/run/x.sock", "unix:/run/x.sock"],
    ["unix:/run/x.sock", "unix:/run/x.sock"],
    ["127.0.0.1:9180", "http://127.0.0.1:9180"],
    ["http://edge-a:9180/", "http://edge-a:9180"],
    ["[::1]:9180", "http://[::1]:9180"],
  ])("reads %s", (text, address) => {
    expect(formatAdminAddress(parseAdminAddress(text))).toBe(address)
  })

  test.each(["", "edge-a", "https://edge-a:9180", "http://edge-a:9180/v1", "run/x.sock"])(
    "refuses %j",
    (text) => expect(() => parseAdminAddress(text)).toThrow("--admin takes a socket's path"),
  )
})
