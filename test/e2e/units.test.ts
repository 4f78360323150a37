/**
 * The systemd units: as systemd itself judges them, without a running systemd. What they forbid is
 * tried on a running edge in `hardening.test.ts`.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { loadConfig } from "../../src/config/load.ts"
import { runCommand } from "../lab/process.ts"

const CONFIG = resolve(import.meta.dir, "../../config")
const UNITS = ["causeway.service", "causeway@.service"] as const

let root = ""

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "causeway-units-"))
  const folder = join(root, "etc/systemd/system")
  mkdirSync(folder, { recursive: true })
  for (const unit of UNITS) copyFileSync(join(CONFIG, unit), join(folder, unit))
  // What the units refer to, so that only the units themselves are judged.
  for (const name of ["sysinit.target", "basic.target", "network.target", "shutdown.target"]) {
    writeFileSync(join(folder, name), "[Unit]\nDescription=stand-in\n")
  }
  const program = join(root, "usr/local/bin/causeway")
  mkdirSync(resolve(program, ".."), { recursive: true })
  writeFileSync(program, "#!/bin/sh\n", { mode: 0o755 })
})

afterAll(() => rmSync(root, { recursive: true, force: true }))

function analyze(...words: readonly string[]) {
  return runCommand(["systemd-analyze", `--root=${root}`, ...words])
}

describe.each(UNITS)("%s", (unit) => {
  const instance = unit.replace("@", "@mysql")

  test("is correct to systemd", async () => {
    const { exitCode, stdout, stderr } = await analyze("verify", "--man=no", instance)
    expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: "", stderr: "" })
  })

  test("is judged to be exposed by at most 2.5", async () => {
    const { stdout } = await analyze("security", "--offline=yes", "--no-pager", unit)
    const [, exposure = "none"] = /Overall exposure level .*: ([\d.]+) /.exec(stdout) ?? []
    expect(Number(exposure)).toBeLessThanOrEqual(2.5)
  })

  test("grants three capabilities and no others", () => {
    const wanted = ["CAP_NET_ADMIN CAP_NET_RAW CAP_NET_BIND_SERVICE"]
    expect(settings(unit, "AmbientCapabilities")).toEqual(wanted)
    expect(settings(unit, "CapabilityBoundingSet")).toEqual(wanted)
  })

  test("clears what steers the runtime", () => {
    const unset = settings(unit, "UnsetEnvironment").flatMap((value) => value.split(" "))
    expect(unset).toEqual(
      expect.arrayContaining(["BUN_BE_BUN", "BUN_OPTIONS", "BUN_INSPECT", "HTTP_PROXY"]),
    )
  })

  test("waits longer for the end than the default drain_timeout", () => {
    const loaded = loadConfig(join(CONFIG, "causeway.toml"))
    const drainMs = loaded.ok ? loaded.config.node.drainTimeoutMs : Number.NaN
    const [timeout = ""] = settings(unit, "TimeoutStopSec")
    expect(Number.parseInt(timeout, 10) * 1000).toBeGreaterThan(drainMs + 10_000)
  })
})

describe("an instance", () => {
  test("differs from the one service only in its names", () => {
    const [one = "", instance = ""] = UNITS.map((unit) => withoutComments(unit))
    const renamed = instance
      .replace("Environment=CAUSEWAY_INSTANCE=%i\n", "")
      .replace(" (%i)", "")
      .replaceAll("/etc/causeway/%i.toml", "/etc/causeway/causeway.toml")
      .replaceAll("causeway-%i", "causeway")
    expect(renamed).toBe(one)
  })
})

test("the sysusers file makes the user that the units name", async () => {
  copyFileSync(join(CONFIG, "causeway.sysusers"), join(root, "causeway.conf"))
  const made = await runCommand(["systemd-sysusers", `--root=${root}`, join(root, "causeway.conf")])
  expect(made.exitCode).toBe(0)
  expect(readFileSync(join(root, "etc/passwd"), "utf8")).toMatch(
    /^causeway:\S+:Causeway edge:\/var\/lib\/causeway:/m,
  )
  for (const unit of UNITS) expect(settings(unit, "User")).toEqual(["causeway"])
})

test("the kernel knows every setting of the sysctl file", async () => {
  const lines = readFileSync(join(CONFIG, "60-causeway.conf"), "utf8").split("\n")
  const names = lines.flatMap((line) => /^([a-z][\w.]+) = \S/.exec(line)?.[1] ?? [])
  expect(names.length).toBeGreaterThan(3)
  for (const name of names) {
    expect((await runCommand(["sysctl", "-n", name])).exitCode).toBe(0)
  }
})

function settings(unit: (typeof UNITS)[number], name: string): string[] {
  const lines = withoutComments(unit).split("\n")
  return lines.flatMap((line) => (line.startsWith(`${name}=`) ? line.slice(name.length + 1) : []))
}

function withoutComments(unit: (typeof UNITS)[number]): string {
  return readFileSync(join(CONFIG, unit), "utf8").replace(/^#.*\n/gm, "")
}
