/**
 * The commands as an operator types them: the compiled executable, in a folder of its own, against
 * a running edge where the command needs one.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs"
import { dirname, join, resolve } from "node:path"
import packageJson from "../../package.json" with { type: "json" }
import { defaultBinary, Edge, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { type CommandOptions, runCommand } from "../lab/process.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import { fullStatus } from "./stage.ts"

const REPOSITORY = resolve(import.meta.dir, "../..")
const [BINARY = ""] = defaultBinary()

let lab: Lab
let lan: Lan
let host: Host
let edge: Edge

beforeAll(async () => {
  lab = await createLab("commands")
  lan = await lab.lan("lan")
  host = await lab.host("edge")
  await lan.join(host, { addresses: ["10.0.0.1/24"] })
  await startTcpServer(host, { port: 4000 })
  edge = await startEdge(host, CONFIG)
  expect(await edge.reload(config())).toMatchObject({ exitCode: 0, stderr: "" })
  await edge.waitHealth("db", "a", "up")
}, 30_000)

afterAll(() => lab?.close())

function causeway(words: string, options: CommandOptions = {}) {
  return host.run([BINARY, ...words.split(" ").filter((word) => word !== "")], options)
}

/** That of the edge all share, which listens on TCP too. */
function config(): string {
  return `${CONFIG}\n[admin]\nlisten = ["unix:${edge.socketPath}", "127.0.0.1:9180"]\n`
}

/** A folder of its own under the lab's. */
function folder(name: string): string {
  const path = join(lab.directory, `${name}-${Math.random().toString(36).slice(2)}`)
  mkdirSync(path)
  return path
}

describe("words and exit codes", () => {
  test("version names version, commit and runtime", async () => {
    const { exitCode, stdout, stderr } = await causeway("version")
    const commit = /\(commit ([0-9a-f]{12}(?:-dirty)?|unknown), /.exec(stdout)?.[1]
    expect(stdout).toBe(
      `causeway ${packageJson.version} (commit ${commit}, Bun ${packageJson.devDependencies.bun}, ` +
        `${process.arch})\n`,
    )
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  })

  test.each([
    ["help", 0, "stdout", "usage: causeway COMMAND"],
    ["--help", 0, "stdout", "usage: causeway COMMAND"],
    ["help reload", 0, "stdout", "usage: causeway reload [-c FILE] [--admin ADDRESS]"],
    ["reload --help", 0, "stdout", "usage: causeway reload"],
    ["", 2, "stderr", "usage: causeway COMMAND"],
    ["relaod", 2, "stderr", 'there is no command "relaod": did you mean "reload"?'],
    ["help relaod", 2, "stderr", 'did you mean "reload"?'],
    ["status --jsno", 2, "stderr", "causeway status: Unknown option '--jsno'\nusage: causeway"],
    ["status -c", 2, "stderr", "usage: causeway status"],
    ["drain", 2, "stderr", "causeway drain: POOL/SERVER is missing"],
    ["version now", 2, "stderr", 'causeway version: "now" is too much'],
    ["drain db", 1, "stderr", "Write POOL/SERVER, such as mysql/192.0.2.11:3306"],
  ] as const)("causeway %s ends with %d", async (words, code, stream, text) => {
    const result = await causeway(words)
    expect(result[stream]).toContain(text)
    expect(result[stream === "stdout" ? "stderr" : "stdout"]).toBe("")
    expect(result.exitCode).toBe(code)
  })

  test("a command whose reader has gone ends quietly", async () => {
    const script = `"$0" status -c "$1" --json | head -c 10; echo " \${PIPESTATUS[0]}"`
    const { stdout, stderr } = await host.run(["bash", "-c", script, BINARY, edge.configPath])
    expect({ stdout, stderr }).toEqual({ stdout: '{\n  "node" 0\n', stderr: "" })
  })
})

describe("the executable", () => {
  test("runs where its source does not exist", async () => {
    const directory = folder("alone")
    const copy = join(directory, "causeway")
    copyFileSync(BINARY, copy)
    const other = await lab.host("alone")
    const alone = await startEdge(other, CONFIG, {
      binary: [copy],
      // The repository is covered by an empty file system that only this process sees.
      wrapper: ["unshare", "--mount", "sh", "-c", HIDE, REPOSITORY],
    })
    expect((await alone.status()).streams.map(({ name }) => name)).toEqual(["db"])
    expect(readFileSync(`/proc/${alone.pid}/mountinfo`, "utf8")).toContain(` ${REPOSITORY} rw`)
    expect(await alone.stop()).toBe(0)
  })

  test("reads no bunfig.toml and no .env of its working directory", async () => {
    const other = await lab.host("trap")
    const trapped = await startEdge(other, CONFIG, { ready: false })
    await trapped.stop({ signal: "SIGKILL" })
    const marker = join(trapped.directory, "preloaded")
    writeFileSync(join(trapped.directory, "bunfig.toml"), 'preload = ["./trap.ts"]\n')
    const trap = `require("node:fs").writeFileSync(${JSON.stringify(marker)}, "")\n`
    writeFileSync(join(trapped.directory, "trap.ts"), trap)
    writeFileSync(join(trapped.directory, ".env"), "CAUSEWAY_FAULT_INJECTION=1\n")
    trapped.start()
    await trapped.waitReady()
    const fault = await trapped.request("/v1/debug/threads/0/throw", { method: "POST" })
    expect(fault.status).toBe(403)
    expect(existsSync(marker)).toBe(false)
    await trapped.stop()
  })

  test("survives SIGHUP from its first moment on, and obeys it", async () => {
    const other = await lab.host("hangup")
    const early = new Edge(other, 0)
    early.writeConfig(CONFIG)
    const text = readFileSync(early.configPath, "utf8")
    // A pipe for a configuration holds the program up before it has done anything.
    rmSync(early.configPath)
    await other.exec(["mkfifo", early.configPath])
    const feed = () => other.exec(["tee", early.configPath], { stdin: text })
    early.start()
    const catchesHangUp = () => /^SigCgt:\s.*[13579bdf]$/m.test(statusOf(early.pid))
    await eventually(catchesHangUp, { intervalMs: 1, what: "a handler for SIGHUP" })
    expect(existsSync(early.socketPath)).toBe(false)
    early.process.signal("SIGHUP")
    await feed()
    await feed()
    await early.waitStatus(({ config: { generation } }) => generation === 2, { what: "a reload" })
    expect(await early.stop()).toBe(0)
  })
})

describe("causeway check", () => {
  test("prints the plan, and warns of what this host lacks", async () => {
    const directory = folder("check")
    const path = join(directory, "causeway.toml")
    writeFileSync(path, `${CONFIG.replace("4001", "4000")}${VRRP_ELSEWHERE}`)
    const { exitCode, stdout, stderr } = await causeway(`check -c ${path}`)
    expect(stderr).toBe(
      'warning: vrrp "there": there is no interface eth9: fault until there is\n' +
        `warning: stream "db": 10.0.0.1:4000 is taken by ${await listenerName()}\n\n`,
    )
    expect(stdout).toContain("stream db: 10.0.0.1:4000 → pool db\n")
    expect(stdout).toEndWith(`\n${path}: no errors, 2 warnings\n`)
    expect(exitCode).toBe(0)
  })

  test("does not mind the ports of the edge that runs", async () => {
    const { exitCode, stdout, stderr } = await causeway(`check -c ${edge.configPath}`)
    expect(stdout).toEndWith(": no errors\n")
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
  })

  test("shows all errors with their places, and ends with 1", async () => {
    const directory = folder("check")
    const path = join(directory, "causeway.toml")
    writeFileSync(
      path,
      CONFIG.replace('balance = "first"', 'balnce = "first"').replace("4000", "0"),
    )
    const { exitCode, stdout, stderr } = await causeway(`check -c ${path}`)
    expect(stderr).toContain(`${path}:4:1: error: `)
    expect(stderr).toContain('hint: Did you mean "balance"?')
    expect(stderr).toContain(`${path}:5:`)
    expect(stderr).toEndWith("\n2 errors\n")
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" })
    const json = JSON.parse((await causeway(`check --json -c ${path}`)).stdout)
    expect(json.ok).toBe(false)
    expect(json.diagnostics).toHaveLength(2)
    expect(json.diagnostics[0]).toMatchObject({ severity: "error", file: path, line: 4, column: 1 })
  })

  test("has a machine's form", async () => {
    const { exitCode, stdout } = await causeway(`check --json -c ${edge.configPath}`)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: true,
      files: [edge.configPath],
      diagnostics: [],
      host: [],
      plan: { streams: [{ name: "db", bind: ["10.0.0.1:4001"] }] },
    })
    expect(exitCode).toBe(0)
  })
})

describe("causeway status", () => {
  test("is a table", async () => {
    const { exitCode, stdout } = await edge.command("status")
    expect(stdout.split("\n")[0]).toMatch(
      /^edge {2}ready {2}causeway \S+, up \d+s, configuration \d+, \d+s old$/,
    )
    expect(stdout).toMatch(/\nPOOL +SERVER +STATE .*\ndb +a +up /)
    expect(stdout).not.toContain("\u{1b}")
    expect(exitCode).toBe(0)
  })

  test("has a machine's form, the same as /v1/status", async () => {
    const { stdout } = await edge.command("status", "--json")
    const { uptime_seconds: _, ...shown } = JSON.parse(stdout)
    const { uptime_seconds: __, ...asked } = await fullStatus(edge)
    expect(Object.keys(shown)).toEqual(Object.keys(asked))
    expect(shown.config).toEqual(asked.config)
  })

  test("is coloured on a terminal, unless NO_COLOR is set", async () => {
    const command = `${BINARY} status -c ${edge.configPath}`
    const onTerminal = ["script", "--quiet", "--return", "--command", command, "/dev/null"]
    const colored = await host.run(onTerminal, { env: { NO_COLOR: "", TERM: "xterm" } })
    expect(colored.stdout).toContain("\u{1b}[32mup\u{1b}[0m")
    const plain = await host.run(onTerminal, { env: { NO_COLOR: "1", TERM: "xterm" } })
    expect(plain.stdout).not.toContain("\u{1b}")
  })

  test("--watch renews the picture, and leaves the terminal as it was", async () => {
    const command = `timeout 1.5 ${BINARY} status --watch -c ${edge.configPath}`
    const argv = ["script", "--quiet", "--command", command, "/dev/null"]
    const { stdout } = await host.run(argv, { env: { TERM: "xterm" } })
    expect(stdout).toStartWith("\u{1b}[?1049h")
    expect(stdout.split("\u{1b}[H")).toHaveLength(3)
    expect(stdout).toEndWith("\u{1b}[?25h\u{1b}[?1049l")
  })

  test("--watch ends with its terminal, and with its reader", async () => {
    const watching = host.spawn([BINARY, "status", "--watch", "-c", edge.configPath])
    await watching.waitFor("POOL")
    watching.signal("SIGHUP")
    expect(await watching.ended()).toBe(129)
    const script = `"$0" status --watch -c "$1" | head -1`
    const read = await host.run(["bash", "-c", script, BINARY, edge.configPath])
    expect(read).toMatchObject({ exitCode: 0, stderr: "" })
  })

  test("works over TCP, never through a proxy", async () => {
    const env = { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9" }
    const over = await causeway("status --admin 127.0.0.1:9180", { env })
    expect(over).toMatchObject({ exitCode: 0, stderr: "" })
    expect(over.stdout).toContain("edge  ready")
  })

  test("says what to do when no edge answers", async () => {
    const { exitCode, stderr } = await causeway("status --admin /run/nobody.sock")
    expect(stderr).toBe(
      "causeway status: Cannot reach the edge at unix:/run/nobody.sock: ENOENT " +
        "(is causeway running? see: systemctl status causeway)\n",
    )
    expect(exitCode).toBe(1)
  })
})

describe("changes", () => {
  test("drain, maintain and ready set the state of a server", async () => {
    for (const [command, state, text] of [
      ["drain", "drain", "db/a: draining, no new connections, 0 open connections\n"],
      ["maintain", "maintenance", "db/a: in maintenance, 0 open connections\n"],
      ["ready", "ready", "db/a: ready, 0 open connections\n"],
    ] as const) {
      expect(await edge.command(command, "db/a")).toMatchObject({ exitCode: 0, stdout: text })
      expect((await edge.status()).pools[0]?.servers[0]?.admin).toBe(state)
    }
  })

  test("of what does not exist say so", async () => {
    expect(await edge.command("drain", "db/z")).toMatchObject({
      exitCode: 1,
      stderr: 'causeway drain: Pool "db" has no server "z"\n',
    })
    expect(await edge.command("release", "z")).toMatchObject({
      exitCode: 1,
      stderr: 'causeway release: There is no virtual router "z"\n',
    })
  })

  test("over TCP without a token are refused", async () => {
    const { exitCode, stderr } = await causeway("reload --admin http://127.0.0.1:9180")
    expect(stderr).toContain("Without admin.token_file, TCP is read-only")
    expect(exitCode).toBe(1)
  })

  test("release hands the addresses over and resume takes part again", async () => {
    const other = await lab.host("router")
    await lan.join(other, { addresses: ["10.0.0.2/24"] })
    const router = await startEdge(other, ROUTER)
    await router.waitState("active")
    const released = await router.command("release")
    expect(released.stdout).toContain("take part again with: causeway resume vip")
    expect(released.exitCode).toBe(0)
    expect(await other.holds("10.0.0.40")).toBe(false)
    expect((await router.command("resume", "vip")).exitCode).toBe(0)
    await router.waitState("active")
    await router.stop()
  })
})

describe("causeway reload", () => {
  test("prints what changed", async () => {
    const more = '\n[[pool]]\nname = "more"\nservers = ["127.0.0.1:5"]\n'
    const { exitCode, stdout } = await edge.reload(config() + more)
    expect(stdout).toMatch(/^pool "more": added\nReloaded: 1 changed, configuration \d+\n$/)
    expect(exitCode).toBe(0)
    const { stdout: back } = await edge.reload(config())
    expect(back).toStartWith('pool "more": removed\n')
  })

  test("prints why not, and nothing is changed", async () => {
    const before = await edge.status()
    const { exitCode, stdout, stderr } = await edge.reload(`${config()}\n[[pool]]\nname = "db"\n`)
    expect(stderr).toContain(`${edge.configPath}:`)
    expect(stderr).toEndWith("Nothing was changed: the configuration from before goes on.\n")
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: "" })
    const after = await edge.status()
    expect(after.config.generation).toBe(before.config.generation)
    expect(after.config.last_error).toContain("error: ")
    expect((await edge.reload(config())).exitCode).toBe(0)
    expect((await edge.status()).config.last_error).toBeNull()
  })

  test("finds the edge by a file with a syntax error in it", async () => {
    edge.writeConfig(`${config()}\nx = \n`)
    const { exitCode, stderr } = await edge.command("reload")
    expect(stderr).toContain("error: The value is missing")
    expect(exitCode).toBe(1)
    expect((await edge.reload(config())).exitCode).toBe(0)
  })
})

describe("causeway run", () => {
  test("refuses the socket of an edge that runs", async () => {
    const { exitCode, stderr } = await edge.command("run")
    expect(stderr).toContain(
      `Cannot bind unix:${edge.socketPath}: EADDRINUSE (another causeway is running)`,
    )
    expect(exitCode).toBe(1)
    expect((await edge.request("/healthz")).status).toBe(200)
  })

  test("says what is wrong with its configuration", async () => {
    const { exitCode, stderr } = await causeway("run -c /nowhere/causeway.toml")
    expect(stderr).toContain("/nowhere/causeway.toml: error: Cannot read the configuration")
    expect(exitCode).toBe(1)
  })
})

describe("causeway install", () => {
  const paths = (root: string) => ({
    program: join(root, "usr/local/bin/causeway"),
    config: join(root, "etc/causeway/causeway.toml"),
    unit: join(root, "etc/systemd/system/causeway.service"),
  })

  test("puts everything in its place", async () => {
    const root = folder("root")
    const { exitCode, stdout, stderr } = await causeway(`install --root ${root}`)
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" })
    for (const [path, source] of INSTALLED) {
      expect(stdout).toContain(`install  ${root}${path}\n`)
      expect(readFileSync(`${root}${path}`, "utf8")).toBe(
        readFileSync(join(REPOSITORY, "config", source), "utf8"),
      )
    }
    const { program, config, unit } = paths(root)
    expect(modeOf(program)).toBe("755")
    expect(modeOf(config)).toBe("640")
    expect(modeOf(unit)).toBe("644")
    expect((await host.run([program, "version"])).stdout).toStartWith("causeway ")
    expect(await host.run([program, "check", "-c", config])).toMatchObject({
      exitCode: 0,
      stderr: "",
    })
  })

  test("is an update the second time, and keeps the configuration", async () => {
    const root = folder("root")
    const { program, config, unit } = paths(root)
    mkdirSync(dirname(config), { recursive: true })
    writeFileSync(config, "# mine\n")
    mkdirSync(dirname(unit), { recursive: true })
    writeFileSync(unit, "# old\n")
    const { stdout } = await causeway(`install --root ${root}`)
    expect(stdout).toContain(`keep     ${config}\n`)
    expect(stdout).toContain(`update   ${unit}\n`)
    expect(readFileSync(config, "utf8")).toBe("# mine\n")
    expect(readFileSync(unit, "utf8")).toContain("[Service]")
    const again = await causeway(`install --root ${root}`)
    expect(again.stdout).toContain(`same     ${program}\n`)
    expect(again.stdout).not.toMatch(/^(install|update) /m)
  })

  test("--dry-run changes nothing", async () => {
    const root = folder("root")
    const { exitCode, stdout } = await causeway(`install --dry-run --root ${root}`)
    expect(stdout).toContain(`install  ${paths(root).program}\n`)
    expect(existsSync(join(root, "usr"))).toBe(false)
    expect(existsSync(join(root, "etc"))).toBe(false)
    expect(exitCode).toBe(0)
  })

  test("says what it may not write", async () => {
    const root = folder("root")
    const argv = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=-all", BINARY]
    const { exitCode, stderr } = await runCommand([...argv, "install", "--root", root])
    expect(stderr).toContain(`Cannot write ${paths(root).program}: EACCES (run it as root)`)
    expect(exitCode).toBe(1)
  })
})

function modeOf(path: string): string {
  return (statSync(path).mode & 0o7777).toString(8)
}

function statusOf(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, "utf8")
}

/** Who listens on port 4000, as `causeway check` names it. */
async function listenerName(): Promise<string> {
  const listeners = await host.exec(["ss", "-Hltnp", "sport = :4000"])
  const [, name, pid] = /\(\("([^"]+)",pid=(\d+)/.exec(listeners) ?? []
  return `${name} (pid ${pid})`
}

const CONFIG = `
[[pool]]
name = "db"
balance = "first"
servers = [{ address = "127.0.0.1:4000", name = "a" }]
[pool.check]
type = "tcp"
interval = "100ms"
timeout = "100ms"

[[stream]]
name = "db"
bind = ["10.0.0.1:4001"]
pool = "db"
`

const VRRP_ELSEWHERE = `
[[vrrp]]
name = "there"
interface = "eth9"
virtual_router_id = 9
addresses = ["10.0.0.90"]
`

const ROUTER = `
[[vrrp]]
name = "vip"
interface = "eth0"
virtual_router_id = 7
advertisement_interval = "100ms"
addresses = ["10.0.0.40"]
`

/** \`$0\` is the folder to hide, the rest the program. */
const HIDE = 'mount -t tmpfs none "$0" && exec "$@"'

const INSTALLED = [
  ["/etc/systemd/system/causeway.service", "causeway.service"],
  ["/etc/systemd/system/causeway@.service", "causeway@.service"],
  ["/etc/sysctl.d/60-causeway.conf", "60-causeway.conf"],
  ["/etc/modules-load.d/causeway.conf", "causeway.modules"],
  ["/etc/sysusers.d/causeway.conf", "causeway.sysusers"],
  ["/etc/causeway/reference.toml", "reference.toml"],
  ...readdirSync(join(REPOSITORY, "config/examples")).map(
    (name) => [`/etc/causeway/examples/${name}`, `examples/${name}`] as const,
  ),
  ...readdirSync(join(REPOSITORY, "config/kubernetes")).map(
    (name) => [`/etc/causeway/kubernetes/${name}`, `kubernetes/${name}`] as const,
  ),
  ["/etc/causeway/causeway.toml", "causeway.toml"],
] as const
