/**
 * MySQL checks against a real MariaDB that looks up the names of its clients, as it does by
 * default: it must never come to block this edge, and must be told dead from alive.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { MysqlCheckConfig, TcpCheckConfig } from "../../src/config/config.ts"
import type { Host } from "../lab/host.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import { ACCOUNTS, type MariaDb, startMariaDb } from "../lab/mariadb.ts"
import { eventually } from "../lab/wait.ts"
import { checkTarget, compileRunner, probeIn, type RunnerResult, watchIn } from "./health-runner.ts"

const SERVER = "10.77.0.2:3306"
const ANONYMOUS = { type: "mysql", user: "", passwordFile: "", database: "" } as const

let lab: Lab
let edge: Host
let server: MariaDb
let runner: string
let passwordFile: string
let namesDirectory: string

beforeAll(async () => {
  lab = await createLab("health-mysql")
  edge = await lab.host("edge")
  const db = await lab.host("db")
  const lan = await lab.lan("lan")
  await lan.join(edge, { addresses: ["10.77.0.1/24"] })
  await lan.join(db, { addresses: ["10.77.0.2/24"] })
  // `ip netns exec` puts these over /etc, so that the reverse lookup of the edge has an answer.
  namesDirectory = join("/etc/netns", db.namespace)
  mkdirSync(namesDirectory, { recursive: true })
  writeFileSync(join(namesDirectory, "hosts"), "127.0.0.1 localhost\n10.77.0.1 edge.lab\n")
  passwordFile = join(lab.directory, "password")
  writeFileSync(passwordFile, `${ACCOUNTS.check.password}\n`)
  const starting = startMariaDb({
    host: db,
    address: "10.77.0.2",
    reverseLookup: true,
    performanceSchema: true,
    settings: { "plugin-load-add": "auth_ed25519", "back-log": 300 },
  })
  ;[server, runner] = await Promise.all([starting, compileRunner(lab.directory)])
  await server.query(`CREATE USER ${asModern("modern@'%'")}`)
}, 60_000)

afterAll(async () => {
  await server?.stop()
  await lab?.close()
  if (namesDirectory !== undefined) rmSync(namesDirectory, { recursive: true, force: true })
})

beforeEach(() => server.query("FLUSH HOSTS"))

function check(
  overrides: Partial<MysqlCheckConfig> = {},
  count = 1,
  abortAfterMs?: number,
): Promise<RunnerResult[]> {
  const target = checkTarget<MysqlCheckConfig>(SERVER, { ...ANONYMOUS, ...overrides })
  const order = abortAfterMs === undefined ? { target, count } : { target, count, abortAfterMs }
  return probeIn(edge, runner, order)
}

async function reasons(results: Promise<RunnerResult[]>): Promise<[boolean, string][]> {
  return (await results).map(({ ok, reason }) => [ok, reason])
}

/** What the server holds against the edge: name, errors that count, times blocked, handshakes. */
async function heldAgainstEdge(): Promise<string[] | undefined> {
  const rows = await server.query(
    `SELECT host, sum_connect_errors, count_host_blocked_errors, count_handshake_errors
     FROM performance_schema.host_cache WHERE ip = '10.77.0.1'`,
  )
  return rows[0]
}

async function edgeCanLogIn(): Promise<boolean> {
  const { user, password } = ACCOUNTS.app
  const { exitCode } = await edge.run([
    "mariadb",
    "--no-defaults",
    "--host=10.77.0.2",
    `--user=${user}`,
    `--password=${password}`,
    "--execute=SELECT 1",
  ])
  return exitCode === 0
}

const COUNT_REFUSED = `SELECT count_authentication_errors FROM performance_schema.host_cache
  WHERE ip = '10.77.0.1'`

function asModern(account: string): string {
  return `${account} IDENTIFIED VIA ed25519 USING PASSWORD('check-password')`
}

describe("200 checks", () => {
  const alive = expect.stringMatching(/^alive, 10\.11\.\d+-MariaDB/)
  const answered = expect.stringMatching(/^SELECT 1 answered, 10\.11\.\d+-MariaDB/)

  test("leave nothing against the edge when they have no login", async () => {
    const results = await reasons(check({}, 200))
    expect(results).toEqual(Array.from({ length: 200 }, () => [true, alive]))
    expect(await heldAgainstEdge()).toEqual(["edge.lab", "0", "0", "0"])
    expect(await edgeCanLogIn()).toBe(true)
  })

  test("leave nothing against the edge, and no aborted client, when they log in", async () => {
    const { user } = ACCOUNTS.check
    const aborted = () => server.query("SHOW GLOBAL STATUS LIKE 'Aborted%'")
    const before = await aborted()
    const results = await reasons(check({ user, passwordFile }, 200))
    expect(results).toEqual(Array.from({ length: 200 }, () => [true, answered]))
    expect(await heldAgainstEdge()).toEqual(["edge.lab", "0", "0", "0"])
    expect(await aborted()).toEqual(before)
  })

  test("leave nothing against the edge when the user's plugin is not spoken", async () => {
    const results = await reasons(check({ user: "modern", passwordFile }, 200))
    const reason =
      "the server wants plugin client_ed25519 for this user, which a check does not speak"
    expect(results).toEqual(Array.from({ length: 200 }, () => [false, reason]))
    expect(await heldAgainstEdge()).toEqual(["edge.lab", "0", "0", "0"])
  })

  test("leave nothing against the edge when the server's users have other plugins", async () => {
    // MariaDB treats a user that does not exist like one that does, so as not to give it away.
    const names = Array.from({ length: 100 }, (_, index) => `modern${index}@'%'`)
    await server.query(`CREATE USER ${names.map(asModern).join(", ")}`)
    const results = await reasons(check({}, 200))
    expect(results).toEqual(Array.from({ length: 200 }, () => [true, alive]))
    expect(await heldAgainstEdge()).toEqual(["edge.lab", "0", "0", "0"])
    await server.query(`DROP USER ${names.join(", ")}`)
  })

  test("leave nothing against the edge when the server hangs and all are given up", async () => {
    await check() // so that the name is known
    const refused = async () => Number((await server.query(COUNT_REFUSED))[0]?.[0])
    const before = await refused()
    await server.kill("SIGSTOP")
    const results = await check({}, 120, 5)
    expect(results.filter(({ ok }) => ok)).toEqual([])
    expect(results[0]).toMatchObject({ phase: "waiting for the greeting" })
    await server.kill("SIGCONT")
    await eventually(async () => (await refused()) >= before + 120, { what: "120 refusals" })
    expect(await heldAgainstEdge()).toEqual(["edge.lab", "0", "0", "0"])
    expect(await edgeCanLogIn()).toBe(true)
  })
})

describe("what a check tells", () => {
  test("the server has blocked this host, after a hundred checks of type tcp", async () => {
    await check()
    const target = checkTarget<TcpCheckConfig>(SERVER, { type: "tcp" })
    await probeIn(edge, runner, { target, count: 110 })
    await eventually(async () => Number((await heldAgainstEdge())?.[1]) >= 100, {
      what: "the server to count 100 errors",
    })
    expect(await reasons(check())).toEqual([
      [
        false,
        "Host '10.77.0.1' is blocked because of many connection errors; unblock with " +
          "'mariadb-admin flush-hosts' (error 1129)",
      ],
    ])
    expect(await edgeCanLogIn()).toBe(false)
  })

  test("too many connections", async () => {
    const { user, password } = ACCOUNTS.app
    const login = ["mariadb", "--no-defaults", "--host=10.77.0.2", `--user=${user}`]
    const sleepers = Array.from({ length: 10 }, () =>
      edge.spawn([...login, `--password=${password}`, "--execute=SELECT SLEEP(60)"]),
    )
    const connected = () => server.value("SELECT COUNT(*) FROM information_schema.processlist")
    try {
      // Root takes the one more that is kept for it.
      await eventually(async () => (await connected()) === "11", { what: "11 connections" })
      await server.query("SET GLOBAL max_connections = 10")
      expect(await reasons(check({ user: ACCOUNTS.check.user, passwordFile }))).toEqual([
        [false, "Too many connections (error 1040)"],
      ])
    } finally {
      await server.query(`KILL USER ${user}`)
      await Promise.all(sleepers.map((each) => each.exited))
      await eventually(async () => (await connected()) === "1", { what: "1 connection" })
      await server.query("SET GLOBAL max_connections = 300")
    }
  })

  test("a wrong password, a missing file, a database without rights", async () => {
    const { user } = ACCOUNTS.check
    expect(await reasons(check({ user }))).toEqual([
      [false, "Access denied for user 'check'@'edge.lab' (using password: NO) (error 1045)"],
    ])
    expect(await reasons(check({ user, passwordFile: "/nonexistent" }))).toEqual([
      [false, "ENOENT: no such file or directory, open '/nonexistent'"],
    ])
    expect(await reasons(check({ user, passwordFile, database: "lab" }))).toEqual([
      [false, "Access denied for user 'check'@'%' to database 'lab' (error 1044)"],
    ])
  })

  test("alive, when the server takes no login without TLS", async () => {
    await server.query("SET GLOBAL require_secure_transport = ON")
    expect((await check())[0]?.ok).toBe(true)
    await server.query("SET GLOBAL require_secure_transport = OFF")
  })

  test("down within interval × fall + timeout when it hangs, up when it goes on", async () => {
    const target = checkTarget<MysqlCheckConfig>(SERVER, { ...ANONYMOUS, timeoutMs: 300 })
    const watch = watchIn(edge, runner, [target])
    await watch.waitFor(/"state":"up".*alive/)
    const hungAt = performance.now()
    await server.kill("SIGSTOP")
    await watch.waitFor('"reason":"no answer within 300 ms, waiting for the greeting"')
    // 3 × 200 ms, the last timeout of 300 ms, and something for a busy machine.
    expect(performance.now() - hungAt).toBeLessThan(600 + 300 + 400)
    const from = watch.mark()
    await server.kill("SIGCONT")
    await watch.waitFor(/"state":"up"/, { from })
    await watch.stop()
  })

  test("connection refused, when it was killed", async () => {
    await server.kill()
    expect(await reasons(check())).toEqual([[false, "connection refused, connecting"]])
    await server.start()
    expect((await check())[0]?.ok).toBe(true)
  })
})
