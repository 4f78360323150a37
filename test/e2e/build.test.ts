/**
 * The executable by itself: it needs nothing of the place it was built in, and takes nothing from
 * the place it is started in.
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { startEdge } from "../lab/edge.ts"
import { createLab } from "../lab/lab.ts"
import { startProbe } from "../lab/probe.ts"
import { execCommand, runCommand } from "../lab/process.ts"
import { startTcpServer } from "../lab/servers.ts"

const ROOT = resolve(import.meta.dir, "../..")
const BINARY = join(ROOT, "dist/causeway")

let directory: string

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "causeway-build-test-"))
})

afterAll(() => rmSync(directory, { recursive: true, force: true }))

test("version names release, commit and Bun", async () => {
  const text = await execCommand([BINARY, "version"])
  expect(text).toStartWith(`causeway ${packageJson.version} `)
  expect(text).toMatch(/commit ([0-9a-f]{12}(-dirty)?|unknown)\b/)
  expect(text).toContain(`Bun ${Bun.version}`)
})

test("all threads run where the source does not exist", async () => {
  await using lab = await createLab("binary")
  const lan = await lab.lan("lan")
  const host = await lab.host("edge")
  await lan.join(host, { addresses: ["192.0.2.1/24"] })
  await startTcpServer(host, { port: 7001, address: "127.0.0.1" })
  const hideSource = `mount -t tmpfs tmpfs ${ROOT}/src && exec "$@"`
  const edge = await startEdge(host, CONFIG, { wrapper: ["sh", "-c", hideSource, "sh"] })
  await edge.waitState("active")
  const probe = await startProbe(host, "127.0.0.1:7000")
  await probe.successes(10)
  expect((await probe.stop()).failed).toEqual({})
}, 20_000)

test("no path of the building machine is inside", () => {
  expect(readFileSync(BINARY).includes(`${ROOT}/src/`)).toBe(false)
})

test("bunfig.toml and .env of the working directory are not even opened", async () => {
  writeFileSync(join(directory, "bunfig.toml"), 'preload = ["./preload.ts"]\n')
  writeFileSync(join(directory, "preload.ts"), 'process.stdout.write("preloaded\\n")\n')
  writeFileSync(join(directory, ".env"), "CAUSEWAY=env\n")
  const plainBun = await openedFiles([process.execPath, "-e", "0"])
  expect(plainBun.filter((path) => LOADED_BY_BUN.test(path))).not.toBeEmpty()
  const ours = await openedFiles([BINARY, "version"])
  expect(ours.filter((path) => LOADED_BY_BUN.test(path))).toEqual([])
})

async function openedFiles(argv: readonly string[]): Promise<string[]> {
  const trace = ["strace", "-f", "-qq", "-e", "trace=open,openat,openat2"]
  const { stderr } = await runCommand([...trace, ...argv], { cwd: directory })
  return [...stderr.matchAll(/open\w*\([^"]*"([^"]+)"/g)].map(([, path = ""]) => path)
}

const LOADED_BY_BUN = /bunfig\.toml$|\.env(\.\w+)?$|preload\.ts$/

const CONFIG = `
[[vrrp]]
name = "alone"
interface = "eth0"
virtual_router_id = 7
addresses = ["192.0.2.7"]
advertisement_interval = "100ms"

[[stream]]
name = "echo"
bind = ["127.0.0.1:7000"]
pool = "echo"

[[pool]]
name = "echo"
servers = ["127.0.0.1:7001"]
`
