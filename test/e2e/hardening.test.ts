/**
 * What the systemd units forbid, tried on a running edge: it must not notice.
 *
 * Under a real systemd the units are what they are. Where none can run, the same restrictions put
 * together by hand still show that the edge lives with them.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, chownSync, copyFileSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { defaultBinary, startEdge } from "../lab/edge.ts"
import { startProbe } from "../lab/probe.ts"
import { startTcpServer } from "../lab/servers.ts"
import { canRunSystemd, type Systemd, startSystemd } from "../lab/systemd.ts"
import { eventually } from "../lab/wait.ts"
import { createStage, nth, type Stage } from "./stage.ts"

const UNITS = ["causeway.service", "causeway@.service"].map((name) =>
  resolve(import.meta.dir, "../../config", name),
)
const [BINARY = ""] = defaultBinary()
const VIP = "10.0.0.40"

let stage: Stage

beforeAll(async () => {
  stage = await createStage("hardening", 1)
  await startTcpServer(nth(stage.servers, 0), { port: 4000 })
}, 30_000)

afterAll(() => stage?.lab.close())

/** The client gets answers through the virtual address. */
async function expectService(port = 80): Promise<void> {
  const probe = await startProbe(stage.client, `${VIP}:${port}`)
  await eventually(() => probe.progress.successes > 20, { what: "20 answers" })
  const { servers } = await probe.stop()
  expect(Object.keys(servers)).toEqual(["s1"])
}

function privilegesOf(pid: number): Record<string, string> {
  const status = readFileSync(`/proc/${pid}/status`, "utf8")
  const wanted = /^(Uid|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):\s+(\S+)/gm
  return Object.fromEntries(
    status.matchAll(wanted).map(([, name = "", value = ""]) => [name, value]),
  )
}

describe.skipIf(!canRunSystemd())("under systemd", () => {
  const unit = "causeway.service"
  let systemd: Systemd

  beforeAll(async () => {
    systemd = await startSystemd(stage.edge, {
      units: UNITS,
      serviceLines: ["WatchdogSec=2s"],
      user: "causeway",
      programs: [BINARY],
      config: {
        "causeway.toml": config(51, 80),
        "one.toml": `${config(52, 81).replaceAll(VIP, "10.0.0.41")}${adminOf("one")}`,
        "two.toml": `${config(53, 82).replaceAll(VIP, "10.0.0.42")}${adminOf("two")}`,
      },
    })
  }, 30_000)

  afterAll(() => systemd?.stop())

  const status = async () =>
    JSON.parse((await systemd.run(["/usr/local/bin/causeway", "status", "--json"])).stdout)

  const waitActive = () =>
    eventually(async () => (await status()).vrrp[0].state === "active", { what: "state active" })

  test("starts, holds the address and serves", async () => {
    const { exitCode, stderr } = await systemd.systemctl("start", unit)
    expect({ exitCode, stderr, log: exitCode === 0 ? "" : await systemd.log() }).toEqual({
      exitCode: 0,
      stderr: "",
      log: "",
    })
    expect(await systemd.property(unit, "ActiveState")).toBe("active")
    await waitActive()
    expect(await stage.edge.holds(VIP)).toBe(true)
    await expectService()
  }, 20_000)

  test("has three capabilities, no way to more, and a filter of system calls", async () => {
    expect(privilegesOf(await systemd.mainPid(unit))).toEqual({
      Uid: "64777",
      CapPrm: NET_CAPABILITIES,
      CapEff: NET_CAPABILITIES,
      CapBnd: NET_CAPABILITIES,
      CapAmb: NET_CAPABILITIES,
      NoNewPrivs: "1",
      Seccomp: "2",
    })
  })

  test.each([
    ["the system's files", "touch /usr/x", false],
    ["its configuration", "touch /etc/causeway/x", false],
    ["kernel settings", "echo 1 > /proc/sys/net/ipv4/tcp_tw_reuse", false],
    ["other people's folders", "ls /root/.", false],
    ["its own folders", "touch /run/causeway/x /var/lib/causeway/x /var/log/causeway/x", true],
  ])("may write or read %s: %s", async (_, command, isAllowed) => {
    const pid = String(await systemd.mainPid(unit))
    const user = ["setpriv", "--reuid=64777", "--regid=64777", "--clear-groups"]
    const inside = ["nsenter", "--target", pid, "--mount", ...user, "sh", "-c", command]
    const { exitCode } = await stage.edge.run(inside)
    expect(exitCode === 0).toBe(isAllowed)
  })

  test("reloads by systemctl, which fails when the configuration does", async () => {
    expect((await systemd.systemctl("reload", unit)).exitCode).toBe(0)
    expect((await status()).config.generation).toBe(2)
    await systemd.run(["sh", "-c", "echo 'x = ' >> /etc/causeway/causeway.toml"])
    expect((await systemd.systemctl("reload", unit)).exitCode).toBe(1)
    expect(await systemd.log()).toContain("error: The value is missing")
    await systemd.run(["sed", "-i", "$d", "/etc/causeway/causeway.toml"])
    expect((await systemd.systemctl("reload", unit)).exitCode).toBe(0)
    expect((await status()).config.last_error).toBeNull()
  })

  test("is killed by the watchdog when it hangs, and comes back", async () => {
    const pid = await systemd.mainPid(unit)
    process.kill(pid, "SIGSTOP")
    await eventually(async () => (await systemd.property(unit, "NRestarts")) === "1", {
      what: "a restart by the watchdog",
    })
    await eventually(async () => (await systemd.mainPid(unit)) !== pid, { what: "a new process" })
    await waitActive()
    await expectService()
  }, 20_000)

  test("runs instances beside it, each with a socket of its own", async () => {
    for (const name of ["one", "two"]) {
      const started = await systemd.systemctl("start", `causeway@${name}.service`)
      expect({ ...started, log: started.exitCode === 0 ? "" : await systemd.log() }).toEqual({
        exitCode: 0,
        stdout: "",
        stderr: "",
        log: "",
      })
      const words = ["status", "--json", "-c", `/etc/causeway/${name}.toml`]
      const { stdout } = await systemd.run(["/usr/local/bin/causeway", ...words])
      expect(JSON.parse(stdout).config.path).toBe(`/etc/causeway/${name}.toml`)
    }
    await eventually(() => stage.edge.holds("10.0.0.42"), { what: "the address of an instance" })
    process.kill(await systemd.mainPid("causeway@one.service"), "SIGKILL")
    expect((await systemd.systemctl("reload", "causeway@two.service")).exitCode).toBe(0)
    await expectService()
    expect(await stage.edge.holds("10.0.0.42")).toBe(true)
  }, 20_000)

  test("install runs to its end on a whole system", async () => {
    const { exitCode, stdout } = await systemd.run(["/usr/local/bin/causeway", "install"])
    expect(stdout).toContain("same     /usr/local/bin/causeway\n")
    expect(stdout).toContain("keep     /etc/causeway/causeway.toml\n")
    expect(stdout).toContain("run      systemctl daemon-reload\n")
    expect(exitCode).toBe(0)
  })

  test("stops in good order", async () => {
    expect((await systemd.systemctl("stop", unit)).exitCode).toBe(0)
    expect(await systemd.property(unit, "Result")).toBe("success")
    expect(await stage.edge.holds(VIP)).toBe(false)
    expect((await systemd.run(["ls", "/run/causeway"])).exitCode).not.toBe(0)
  })
})

test("by hand: another user, three capabilities, read-only files, and everything works", async () => {
  const host = stage.edge
  // The repository may be where only root can look.
  const binary = join(host.directory, "causeway")
  copyFileSync(BINARY, binary)
  const edge = await startEdge(host, config(54, 84), {
    binary: [binary],
    ready: false,
    wrapper: restricted(),
  })
  await edge.stop({ signal: "SIGKILL" })
  // The lab's folder is root's: the edge's own becomes its user's, those above can be passed.
  for (const path of [stage.lab.directory, host.directory]) chmodSync(path, 0o711)
  for (const path of [edge.directory, edge.configPath, join(edge.directory, "state")]) {
    chownSync(path, 65_534, 65_534)
  }
  edge.start()
  await edge.waitState("active")
  expect(privilegesOf(edge.pid)).toMatchObject({
    Uid: "65534",
    CapEff: NET_CAPABILITIES,
    CapBnd: NET_CAPABILITIES,
    CapAmb: NET_CAPABILITIES,
    NoNewPrivs: "1",
  })
  await expectService(84)
  expect(await edge.command("reload")).toMatchObject({ exitCode: 0 })
  expect(await edge.stop()).toBe(0)
  expect(await host.holds(VIP)).toBe(false)
}, 20_000)

/** What the unit forbids, as far as util-linux can: files by mounts, the rest by setpriv. */
function restricted(): string[] {
  const capabilities = "-all,+net_admin,+net_raw,+net_bind_service"
  return [
    "unshare",
    "--mount",
    "sh",
    "-c",
    READ_ONLY_FILES,
    stage.edge.directory,
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    `--inh-caps=${capabilities}`,
    `--ambient-caps=${capabilities}`,
    `--bounding-set=${capabilities}`,
    "--no-new-privs",
    "env",
    "--unset=HOME",
  ]
}

/** Everything but `$0`, as ProtectSystem=strict and ProtectKernelTunables= have it. */
const READ_ONLY_FILES = `
set -eu
mount --bind "$0" "$0"
mount -o remount,bind,ro /
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
exec "$@"
`

function config(routerId: number, port: number): string {
  return `
[[vrrp]]
name = "r${routerId}"
interface = "eth0"
virtual_router_id = ${routerId}
advertisement_interval = "100ms"
addresses = ["${VIP}"]

[[pool]]
name = "db"
servers = ["10.0.0.11:4000"]
[pool.check]
type = "tcp"
interval = "200ms"
timeout = "200ms"

[[stream]]
name = "db"
bind = ["${VIP}:${port}"]
pool = "db"
`
}

function adminOf(instance: string): string {
  return `\n[admin]\nlisten = ["unix:/run/causeway-${instance}/admin.sock"]\n`
}

/** Bits 10 (NET_BIND_SERVICE), 12 (NET_ADMIN) and 13 (NET_RAW) of linux/capability.h. */
const NET_CAPABILITIES = "0000000000003400"
