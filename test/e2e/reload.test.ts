/**
 * Reload under load: what the new file does not touch notices nothing, what it changes changes, and
 * a file with an error changes nothing at all and says why wherever somebody looks.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from "node:fs"
import { join } from "node:path"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startProbe } from "../lab/probe.ts"
import { median, report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import { startCrowd } from "./crowd.ts"
import { createStage, fullStatus, nth, type Stage } from "./stage.ts"

let stage: Stage
let edge: Edge
let accessLog: string

beforeAll(async () => {
  stage = await createStage("reload", 2)
  for (const server of stage.servers) await startTcpServer(server, { port: 4000 })
  accessLog = join(stage.lab.directory, "access.log")
  edge = await startEdge(stage.edge, config())
  await edge.waitHealth("steady", "s1", "up")
  await edge.waitHealth("steady", "s2", "up")
}, 30_000)

afterAll(() => stage?.lab.close())

function config(more = "", servers = ["s1", "s2"]): string {
  const addresses: Record<string, string> = { s1: "10.0.0.11:4000", s2: "10.0.0.12:4000" }
  const list = servers.map((name) => `{ name = "${name}", address = "${addresses[name]}" }`)
  return `
[node]
threads = 2
[log]
access = "${accessLog}"
[[pool]]
name = "steady"
servers = [${list.join(", ")}]
[pool.check]
type = "tcp"
interval = "200ms"
timeout = "200ms"
[[stream]]
name = "steady"
bind = ["10.0.0.1:5000"]
pool = "steady"
${more}`
}

function extra(name: string, port: number): string {
  return `
[[pool]]
name = "${name}"
servers = ["10.0.0.11:4000"]
[[stream]]
name = "${name}"
bind = ["10.0.0.1:${port}"]
pool = "${name}"
`
}

/** Sends SIGHUP and waits for the outcome; how long that took, in milliseconds. */
async function hangUp(toml: string): Promise<number> {
  const { generation } = (await edge.status()).config
  const startedAt = performance.now()
  edge.hangUp(toml)
  await edge.waitStatus((status) => status.config.generation > generation, { intervalMs: 1 })
  return performance.now() - startedAt
}

/** Once no reload has ended for half a second: none of a volley is still to come. */
async function settled(): Promise<void> {
  let last = -1
  for (;;) {
    const { generation } = (await edge.status()).config
    if (generation === last) return
    last = generation
    await Bun.sleep(500)
  }
}

async function steadyServers() {
  const { pools } = await fullStatus(edge)
  return nth(
    pools.filter(({ name }) => name === "steady"),
    0,
  ).servers
}

function openFds(): number {
  return readdirSync(`/proc/${edge.pid}/fd`).length
}

/** What a fresh connection gets: a server's name, or how it failed. */
async function ask(port: number): Promise<string> {
  const script = `exec 3<>/dev/tcp/10.0.0.1/${port} && head -n 1 <&3`
  const { stdout, stderr } = await stage.client.run(["timeout", "2", "bash", "-c", script])
  return stdout.trim() || (/Connection \w+/.exec(stderr)?.[0] ?? stderr)
}

test("100 reloads under load: nobody on the unchanged listener notices", async () => {
  const before = await fullStatus(edge)
  const fdsBefore = openFds()
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", { connections: 10, intervalMs: 5 })
  const probe = await startProbe(stage.client, "10.0.0.1:5000", { intervalMs: 3, timeoutMs: 1_500 })
  const visitor = await startProbe(stage.client, "10.0.0.1:5001")
  await probe.successes(50)
  const tookMs: number[] = []
  for (let round = 1; round <= 100; round += 1) {
    tookMs.push(await hangUp(config(round % 2 === 1 ? extra("guest", 5001) : "")))
    const health = (await steadyServers()).map((server) => server.health)
    expect(health).toEqual(["up", "up"])
    await Bun.sleep(10)
  }
  await probe.successes(50)
  const probed = await probe.stop()
  const visited = await visitor.stop()
  const talked = await crowd.stop()
  report("100 reloads", {
    "median ms": median(tookMs),
    "slowest ms": Math.max(...tookMs),
    "new connections": probed.attempts,
    failed: JSON.stringify(probed.failed),
    "slowest connect ms": probed.latencyMsMax,
    "open through all": talked.open,
    echoes: talked.echoes,
    "longest echo ms": talked.longestEchoMs,
    "served by the guest": visited.successes,
    "guest gone": JSON.stringify(visited.failed),
  })
  expect(probed.failed).toEqual({})
  expect(talked).toMatchObject({ open: 10, ended: 0 })
  // The pool and the listener that come and go do both.
  expect(visited.servers).toEqual({ s1: visited.successes })
  expect(visited.successes).toBeGreaterThan(10)
  const { ECONNREFUSED: refused = 0 } = visited.failed
  expect(refused).toBeGreaterThan(10)
  await expectContinued(before, probed.attempts + 10)
  await eventually(() => openFds() <= fdsBefore, { what: "no more descriptors than before" })
}, 60_000)

type FullStatus = Awaited<ReturnType<typeof fullStatus>>

/** Health and counters are those from before, and have gone on. */
async function expectContinued(before: FullStatus, connections: number): Promise<void> {
  const after = await fullStatus(edge)
  const [old, now] = [before, after].map(({ pools }) => nth(pools, 0).servers)
  expect(now?.map(({ since, health }) => [since, health])).toEqual(
    old?.map(({ since, health }) => [since, health]),
  )
  for (const [at, server] of (now ?? []).entries()) {
    expect(server.checks_total).toBeGreaterThan(nth(old ?? [], at).checks_total)
  }
  expect(nth(after.streams, 0).total).toBe(nth(before.streams, 0).total + connections)
  const served = (status: FullStatus) =>
    nth(status.pools, 0).servers.reduce((sum, server) => sum + server.connections_total, 0)
  expect(served(after)).toBe(served(before) + connections)
}

test("a volley of SIGHUPs ends with the last file in force", async () => {
  const probe = await startProbe(stage.client, "10.0.0.1:5000", { intervalMs: 3, timeoutMs: 1_500 })
  for (let round = 1; round <= 50; round += 1) edge.hangUp(config(extra("guest", 5000 + round)))
  await edge.waitStatus(({ streams }) => streams.at(-1)?.bind[0] === "10.0.0.1:5050")
  expect(await ask(5050)).toBe("s1")
  expect(await ask(5049)).toBe("Connection refused")
  // A file may be read before its own signal comes: that signal then reads it once more.
  edge.hangUp(config())
  await edge.waitStatus(({ streams }) => streams.length === 1)
  await settled()
  expect((await probe.stop()).failed).toEqual({})
})

test("servers that leave and come back: the others and live sessions do not care", async () => {
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", { connections: 10 })
  const [s1] = await steadyServers()
  await hangUp(config("", ["s1"]))
  const alone = await startProbe(stage.client, "10.0.0.1:5000")
  await alone.successes(20)
  expect(Object.keys((await alone.stop()).servers)).toEqual(["s1"])
  const [kept] = await steadyServers()
  expect(kept).toMatchObject({ name: "s1", health: "up", since: s1?.since ?? "" })
  await hangUp(config())
  await edge.waitHealth("steady", "s2", "up")
  const both = await startProbe(stage.client, "10.0.0.1:5000")
  await both.successes(20)
  expect(Object.keys((await both.stop()).servers).toSorted()).toEqual(["s1", "s2"])
  expect(await crowd.ask()).toEqual({ open: 10, answered: 10 })
  expect(await crowd.stop()).toMatchObject({ open: 10, ended: 0 })
})

test("a stream that moves to another pool takes new connections there, live ones stay", async () => {
  const moved = config(extra("other", 5001)).replace('pool = "steady"', 'pool = "other"')
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", { connections: 10 })
  const connections = async () => (await steadyServers()).map((server) => server.connections)
  const before = await connections()
  await hangUp(moved)
  const probe = await startProbe(stage.client, "10.0.0.1:5000")
  await probe.successes(20)
  expect(Object.keys((await probe.stop()).servers)).toEqual(["s1"])
  expect(await connections()).toEqual(before)
  await hangUp(config())
  expect(await crowd.stop()).toMatchObject({ open: 10, ended: 0 })
})

describe("a file with an error changes nothing", () => {
  const broken = () => config(extra("guest", 5001)).replace('name = "steady"', 'nmae = "steady"')

  beforeAll(() => hangUp(config()))

  test("`causeway reload` says where and why, with exit code 1", async () => {
    const before = await edge.status()
    const { exitCode, stdout, stderr } = await edge.reload(broken())
    expect(exitCode).toBe(1)
    expect(stdout).toBe("")
    expect(stderr).toMatch(/causeway\.toml:7:1: error: .*nmae/)
    expect(stderr).toContain('nmae = "steady"\n    ^')
    expect(stderr).toContain("Nothing was changed")
    const after = await edge.status()
    expect(after.config.last_error).toContain("causeway.toml:7:1: error:")
    expect(after.config.generation).toBe(before.config.generation)
    expect(after.config.loaded_at).toBe(before.config.loaded_at)
    expect(after.streams.map(({ name }) => name)).toEqual(["steady"])
    expect(await ask(5000)).toMatch(/^s[12]$/)
    expect(await ask(5001)).toBe("Connection refused")
  })

  test("SIGHUP says it in the log and in /v1/status", async () => {
    const from = edge.process.mark()
    edge.hangUp(broken())
    await edge.process.waitFor(/error config: Configuration refused.*nmae/s, { from })
    expect((await edge.status()).config.last_error).toContain("nmae")
    expect(await ask(5000)).toMatch(/^s[12]$/)
  })

  test("an address that another program holds", async () => {
    const rival = await startTcpServer(stage.edge, { port: 5009 })
    const both = config(`${extra("guest", 5008)}${extra("rival", 5009)}`)
    const { exitCode, stderr } = await edge.reload(both)
    expect(exitCode).toBe(1)
    expect(stderr).toContain("Cannot bind 10.0.0.1:5009: EADDRINUSE")
    expect(await ask(5008)).toBe("Connection refused")
    expect(await ask(5009)).toBe("edge")
    await rival.stop()
    expect((await edge.reload(both)).exitCode).toBe(0)
    expect(await ask(5009)).toBe("s1")
  })

  test("a file that is gone", async () => {
    renameSync(edge.configPath, `${edge.configPath}.away`)
    const { exitCode, stderr } = await edge.command("reload", "--admin", edge.socketPath)
    expect(exitCode).toBe(1)
    expect(stderr).toContain("no such file (ENOENT)")
    renameSync(`${edge.configPath}.away`, edge.configPath)
  })

  test("a good file takes the error back", async () => {
    const { exitCode, stdout, stderr } = await edge.reload(config())
    expect([exitCode, stderr]).toEqual([0, ""])
    expect(stdout).toMatch(/^Reloaded: /m)
    expect((await edge.status()).config.last_error).toBeNull()
  })
})

test("files that are included come, change and go", async () => {
  const folder = join(edge.directory, "conf.d")
  const file = join(folder, "guest.toml")
  mkdirSync(folder)
  writeFileSync(file, extra("guest", 5001))
  const including = `include = ["conf.d/*.toml"]\n${config()}`
  expect(await edge.reload(including)).toMatchObject({ exitCode: 0 })
  expect(await ask(5001)).toBe("s1")
  writeFileSync(file, extra("guest", 5002))
  expect(await edge.reload()).toMatchObject({ exitCode: 0 })
  expect([await ask(5001), await ask(5002)]).toEqual(["Connection refused", "s1"])
  writeFileSync(file, "[[stream]\n")
  const refused = await edge.reload()
  expect(refused.exitCode).toBe(1)
  expect(refused.stderr).toContain(`${file}:1:`)
  expect(await ask(5002)).toBe("s1")
  renameSync(file, `${file}.off`)
  expect(await edge.reload()).toMatchObject({ exitCode: 0 })
  expect(await ask(5002)).toBe("Connection refused")
})

test("logrotate: the access log is opened anew and no line is lost", async () => {
  const rotated = `${accessLog}.1`
  const lines = () =>
    [rotated, accessLog].flatMap((path) =>
      existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [],
    )
  const ended = async () => {
    const { streams } = await fullStatus(edge)
    const [steady] = streams.filter(({ name }) => name === "steady")
    return Object.values(steady?.ended ?? {}).reduce((sum, count) => sum + count, 0)
  }
  const of = (all: readonly string[]) => all.filter((line) => line.includes(" steady "))
  const probe = await startProbe(stage.client, "10.0.0.1:5000", { intervalMs: 3, timeoutMs: 1_500 })
  await probe.successes(50)
  renameSync(accessLog, rotated)
  await probe.successes(20)
  expect(existsSync(accessLog)).toBe(false)
  edge.hangUp()
  await eventually(() => existsSync(accessLog), { what: "the new access log" })
  await probe.successes(50)
  expect((await probe.stop()).failed).toEqual({})
  await eventually(async () => of(lines()).length === (await ended()), { what: "every line" })
  report("access log", { lines: of(lines()).length, connections: await ended() })
  expect(nth(of(lines()), -1)).toMatch(
    /^\S+Z steady 10\.0\.0\.9:\d+ 10\.0\.0\.1:5000 steady\/s[12] [\d.]+\/[\d.]+ 0\/3 0 finished$/,
  )
})
