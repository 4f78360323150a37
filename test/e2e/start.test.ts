/**
 * Starting: how long until an edge is ready, and what it says when it cannot start. A message names
 * the thing, the reason and the way out; the exit code is 1; nothing is left behind.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test"
import { chmodSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Edge, startEdge } from "../lab/edge.ts"
import type { CommandResult } from "../lab/process.ts"
import { median, report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { ServiceManager } from "./service-manager.ts"
import { createStage, fullStatus, nth, type Stage } from "./stage.ts"

let stage: Stage
let folder: string

beforeAll(async () => {
  stage = await createStage("start", 1)
  folder = stage.edge.directory
  await startTcpServer(nth(stage.servers, 0), { port: 4000 })
}, 30_000)

afterAll(() => stage?.lab.close())

describe("ready", () => {
  test("within 150 ms with 100 listeners", async () => {
    const times: { notifiedMs: number; servedMs: number }[] = []
    for (let round = 0; round < 7; round += 1) times.push(await startOnce())
    const notifiedMs = times.map((each) => each.notifiedMs)
    report("start to ready, 100 listeners, 2 data threads", {
      "median ms": median(notifiedMs),
      "fastest ms": Math.min(...notifiedMs),
      "slowest ms": Math.max(...notifiedMs),
      "of it the lab's wrapper ms": median(await wrapperTimes()),
      "/readyz median ms": median(times.map(({ servedMs }) => servedMs)),
    })
    // The goal is 150 ms; what fails is something else than a busy machine.
    expect(median(notifiedMs)).toBeLessThan(1_000)
  })

  /** From the start of the program to READY=1 and to a good answer of /readyz. */
  async function startOnce(): Promise<{ notifiedMs: number; servedMs: number }> {
    using manager = new ServiceManager()
    const startedAt = epochMs()
    const edge = await startEdge(stage.edge, manyListeners(100), {
      env: { NOTIFY_SOCKET: manager.path },
    })
    const servedMs = epochMs() - startedAt
    const notice = await manager.waitFor("READY=1")
    expect((await edge.status()).streams).toHaveLength(100)
    expect(await edge.stop()).toBe(0)
    return { notifiedMs: notice.atMs - startedAt, servedMs }
  }

  /** What `ip netns exec` and the like cost before the program itself begins. */
  async function wrapperTimes(): Promise<number[]> {
    const times: number[] = []
    for (let round = 0; round < 7; round += 1) {
      const startedAt = performance.now()
      await stage.edge.exec(["true"])
      times.push(performance.now() - startedAt)
    }
    return times
  }

  function manyListeners(count: number): string {
    const streams = Array.from(
      { length: count },
      (_, at) => `
[[stream]]
name = "s${at}"
bind = ["10.0.0.1:${5000 + at}"]
pool = "p"`,
    )
    return `[node]\nthreads = 2\n${POOL}${streams.join("\n")}\n`
  }

  test("also when the service manager's socket is gone", async () => {
    const edge = await startEdge(stage.edge, POOL, {
      env: { NOTIFY_SOCKET: join(folder, "nobody"), WATCHDOG_USEC: "100000" },
    })
    await edge.process.waitFor(/The service manager was not told.*WATCHDOG=1.*ENOENT/)
    expect((await edge.request("/healthz")).status).toBe(200)
    expect(await edge.stop()).toBe(0)
  })
})

describe("a configuration that cannot be read", () => {
  test("missing file", async () => {
    await expectRefused(join(folder, "no-such.toml"), [
      "no-such.toml: error: Cannot read the configuration: no such file (ENOENT)",
      "-c FILE",
    ])
  })

  test("a folder", async () => {
    await expectRefused(folder, ["Cannot read the configuration: it is a directory"])
  })

  test("a file this user may not read", async () => {
    const path = writeConfig("secret", POOL)
    chmodSync(path, 0o000)
    await expectRefused(path, ["Cannot read the configuration: permission denied (EACCES)"], {
      wrapper: WITHOUT_CAPABILITIES,
    })
  })

  test("an included file that is missing", async () => {
    const path = writeConfig("includes", `include = ["conf.d/web.toml"]\n${POOL}`)
    await expectRefused(path, [
      "includes.toml:1:12: error: Cannot read the included file",
      "conf.d/web.toml: no such file (ENOENT)",
      '    include = ["conf.d/web.toml"]\n               ^',
    ])
  })

  test("an included file this user may not read", async () => {
    const included = writeConfig("included", POOL)
    chmodSync(included, 0o000)
    const path = writeConfig("includes", `include = ["included.toml"]`)
    await expectRefused(path, ["included.toml: permission denied (EACCES)"], {
      wrapper: WITHOUT_CAPABILITIES,
    })
  })

  test("TOML syntax", async () => {
    await expectRefused(writeConfig("syntax", `${POOL}\n[[stream]\nname = "s"\n`), [
      "syntax.toml:5:10: error: ",
      "    [[stream]\n",
    ])
  })

  test("wrong types, all of them at once", async () => {
    const text = `[node]\nthreads = "two"\n${POOL}max_fails = 1.5\nservers = "10.0.0.11:4000"\n`
    await expectRefused(writeConfig("types", text.replace(/^servers = \[.*\n/m, "")), [
      "types.toml:2:11: error: ",
      "types.toml:5:13: error: ",
      "types.toml:6:11: error: ",
      "3 errors",
    ])
  })

  test("a stream whose pool does not exist", async () => {
    await expectRefused(writeConfig("pool", `${POOL}${stream("10.0.0.1:5000", "q")}`), [
      "pool.toml:7:8: error: ",
      '"q"',
    ])
  })
})

describe("a host that does not fit", () => {
  let edge: Edge | undefined

  afterEach(async () => {
    if (edge?.process.running) await edge.stop()
    edge = undefined
  })

  test("an address in use by another program", async () => {
    const rival = await startTcpServer(stage.edge, { port: 5000 })
    const failed = await startFailing(`${POOL}${stream("10.0.0.1:5000")}`)
    expect(failed).toContain("causeway: Cannot bind 10.0.0.1:5000: EADDRINUSE")
    expect(failed).toContain("another program listens on port 5000")
    const checked = await check(`${POOL}${stream("10.0.0.1:5000")}`)
    expect(checked.exitCode).toBe(0)
    expect(checked.stderr).toMatch(/warning: .*10\.0\.0\.1:5000/)
    await rival.stop()
  })

  test("a second edge with the same sockets", async () => {
    const toml = `${POOL}${stream("10.0.0.1:5000")}`
    edge = await startEdge(stage.edge, toml)
    const own = `[admin]\nlisten = ["unix:${join(folder, "second.sock")}"]\n${toml}`
    expect(await startFailing(own)).toContain("Cannot bind 10.0.0.1:5000: EADDRINUSE")
    const admin = `[admin]\nlisten = ["unix:${edge.socketPath}"]\n${POOL}`
    expect(await startFailing(admin)).toContain("EADDRINUSE (another causeway is running)")
    expect((await edge.request("/readyz")).status).toBe(200)
  })

  test("a low port without the capability", async () => {
    const toml = `${POOL}${stream("10.0.0.1:80")}`
    const failed = await startFailing(toml, WITHOUT_CAPABILITIES)
    expect(failed).toContain("Cannot bind 10.0.0.1:80: EACCES")
    expect(failed).toContain("CAP_NET_BIND_SERVICE")
    const checked = await check(toml, WITHOUT_CAPABILITIES)
    expect(checked.stderr).toContain("lacks CAP_NET_BIND_SERVICE")
  })

  test("a virtual router without the capabilities", async () => {
    edge = await startEdge(stage.edge, router("eth0"), { wrapper: WITHOUT_CAPABILITIES })
    await edge.waitState("fault")
    expect(await routerReason(edge)).toMatch(/EPERM.*needs CAP_NET_(RAW|ADMIN)/)
    expect((await check(router("eth0"), WITHOUT_CAPABILITIES)).stderr).toContain(
      "lacks CAP_NET_ADMIN, CAP_NET_RAW",
    )
  })

  test("an interface that does not exist is a fault until it does", async () => {
    const checked = await check(router("eth7"))
    expect(checked.exitCode).toBe(0)
    expect(checked.stderr).toContain('vrrp "v": there is no interface eth7')
    edge = await startEdge(stage.edge, router("eth7"))
    await edge.waitState("fault")
    expect(await routerReason(edge)).toBe("interface eth7 does not exist")
    await stage.lan.join(stage.edge, { interface: "eth7" })
    const running = edge
    await eventually(async () => (await routerReason(running)).includes("IPv4"), {
      what: "the lack of an address to be noticed",
    })
    await stage.edge.ip("address add 10.0.0.7/24 dev eth7")
    await edge.waitState("active")
    expect(await stage.edge.holds("10.0.0.40")).toBe(true)
  })
})

async function routerReason(edge: Edge): Promise<string> {
  return nth((await fullStatus(edge)).vrrp, 0).reason
}

/** `run` and `check` both refuse the file in these words, with exit code 1. */
async function expectRefused(
  path: string,
  words: readonly string[],
  { wrapper = [] }: { readonly wrapper?: readonly string[] } = {},
): Promise<void> {
  for (const command of ["run", "check"]) {
    const { exitCode, stderr, stdout } = await causeway([command, "-c", path], wrapper)
    expect({ command, exitCode, stdout }).toEqual({ command, exitCode: 1, stdout: "" })
    for (const word of words) {
      // Only `check` counts.
      if (command === "check" || !/^\d errors$/.test(word)) expect(stderr).toContain(word)
    }
  }
}

/** What an edge says before it ends with code 1. */
async function startFailing(toml: string, wrapper: readonly string[] = []): Promise<string> {
  const edge = new Edge(stage.edge, stage.edge.processes.length, { wrapper })
  edge.writeConfig(toml)
  edge.start()
  expect(await edge.process.ended()).toBe(1)
  return edge.process.output
}

function check(toml: string, wrapper: readonly string[] = []): Promise<CommandResult> {
  return causeway(["check", "-c", writeConfig("check", toml)], wrapper)
}

function causeway(
  words: readonly string[],
  wrapper: readonly string[] = [],
): Promise<CommandResult> {
  const { binary } = new Edge(stage.edge, stage.edge.processes.length)
  return stage.edge.run([...wrapper, ...binary, ...words], { timeoutMs: 10_000 })
}

function writeConfig(name: string, toml: string): string {
  const path = join(folder, `${name}.toml`)
  writeFileSync(path, toml)
  return path
}

const POOL = `[[pool]]
name = "p"
servers = ["10.0.0.11:4000"]
`

function stream(bind: string, pool = "p"): string {
  return `[[stream]]
name = "s"
bind = ["${bind}"]
pool = "${pool}"
`
}

function router(interfaceName: string): string {
  return `[[vrrp]]
name = "v"
interface = "${interfaceName}"
virtual_router_id = 51
advertisement_interval = "100ms"
addresses = ["10.0.0.40"]
`
}

/** Root in name: it owns the files, and may do nothing else. */
const WITHOUT_CAPABILITIES = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
