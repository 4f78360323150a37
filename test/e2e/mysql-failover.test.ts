/**
 * MySQL behind a pair of edges: real servers with real replication, the real client asking through
 * the virtual address, and one after the other dies: a server, a server that only hangs, an edge.
 *
 * File time limit: 300 s
 */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { mkdirSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Edge, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { ACCOUNTS, type MariaDb, startMariaDb } from "../lab/mariadb.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import {
  countFailures,
  longestSilenceMs,
  type MysqlClients,
  type Query,
  queryOnce,
  serversOf,
  startConnectors,
  startSessions,
} from "./mysql-clients.ts"
import { createStage, fullStatus, nth, type Stage } from "./stage.ts"

/** For sessions, which are counted; for single queries, which take turns; for what changes data. */
const SESSIONS = "10.0.0.40:3306"
const QUERIES = "10.0.0.40:3307"
const WRITES = "10.0.0.40:3308"

let stage: Stage
let edgeA: Edge
let edgeB: Edge
let databases: MariaDb[]
let connectors: MysqlClients
let sessions: MysqlClients
let namesDirectory: string

beforeAll(async () => {
  stage = await createStage("mysql", 3)
  const hostB = await stage.lab.host("edge-b")
  await stage.lan.join(hostB, { addresses: ["10.0.0.2/24"] })
  databases = await startDatabases(stage.servers)
  const passwordFile = join(stage.lab.directory, "password")
  writeFileSync(passwordFile, `${ACCOUNTS.check.password}\n`, { mode: 0o600 })
  edgeA = await startEdge(stage.edge, config(100, passwordFile))
  edgeB = await startEdge(hostB, config(90, passwordFile))
  await edgeA.waitState("active")
  await waitAll("s1", "up")
  await waitAll("s2", "up")
  await waitAll("s3", "up")
  connectors = startConnectors(stage.client, QUERIES, 3)
  sessions = startSessions(stage.client, SESSIONS, 9)
  await eventually(() => sessions.queriesByClient.every((queries) => queries.length > 10))
}, 60_000)

afterAll(async () => {
  await stage?.lab.close()
  for (const database of databases ?? []) await database.stop()
  if (namesDirectory !== undefined) rmSync(namesDirectory, { recursive: true, force: true })
})

/** A primary that looks up the names of its clients, as servers do by default, and two replicas. */
async function startDatabases(hosts: readonly Host[]): Promise<MariaDb[]> {
  const at = (index: number) => ({
    host: nth(hosts, index),
    address: `10.0.0.${11 + index}`,
    serverId: index + 1,
  })
  // `ip netns exec` puts these over /etc, so that looking up the edges has an answer.
  namesDirectory = join("/etc/netns", nth(hosts, 0).namespace)
  mkdirSync(namesDirectory, { recursive: true })
  const names = "127.0.0.1 localhost\n10.0.0.1 edge-a.lab\n10.0.0.2 edge-b.lab\n"
  writeFileSync(join(namesDirectory, "hosts"), names)
  const primary = await startMariaDb({ ...at(0), reverseLookup: true, performanceSchema: true })
  const replicas = [1, 2].map((index) => startMariaDb({ ...at(index), replicaOf: primary }))
  return [primary, ...(await Promise.all(replicas))]
}

function config(priority: number, passwordFile: string): string {
  const replicas = (name: string, bind: string, balance: string) => `[[pool]]
name = "${name}"
${balance}
servers = [
  { name = "s1", address = "10.0.0.11:3306" },
  { name = "s2", address = "10.0.0.12:3306" },
  { name = "s3", address = "10.0.0.13:3306" },
]
max_fails = 2
fail_timeout = "2s"
connect_timeout = "1s"
on_down = "close"
[pool.check]
type = "mysql"
interval = "500ms"
timeout = "500ms"
rise = 2
fall = 3
user = "${ACCOUNTS.check.user}"
password_file = "${passwordFile}"
[[stream]]
name = "${name}"
bind = ["${bind}"]
pool = "${name}"`
  return `[node]
threads = 2
[[vrrp]]
name = "mysql"
interface = "eth0"
virtual_router_id = 40
priority = ${priority}
advertisement_interval = "200ms"
addresses = ["10.0.0.40"]
${replicas("sessions", SESSIONS, `balance = "least_conn"`)}
${replicas("queries", QUERIES, `balance = "round_robin"`)}
[[pool]]
name = "write"
servers = [{ name = "s1", address = "10.0.0.11:3306" }]
[pool.check]
type = "mysql"
interval = "25ms"
timeout = "25ms"
fall = 100
[[stream]]
name = "write"
bind = ["${WRITES}"]
pool = "write"
`
}

/** Waits until both pools have the server in this health. */
async function waitAll(server: string, health: "up" | "down"): Promise<void> {
  await edgeA.waitHealth("sessions", server, health, { intervalMs: 5 })
  await edgeA.waitHealth("queries", server, health, { intervalMs: 5 })
}

/** What went wrong since a moment, and that a session lost at most one query by it. */
async function reportSince(what: string, brokenAt: number, noticedAt: number): Promise<Query[]> {
  await expectSessionsGoOn()
  const since = ({ endedAtMs }: Query) => endedAtMs > brokenAt
  const fresh = connectors.queries.filter(({ startedAtMs }) => startedAtMs > brokenAt)
  const after = fresh.filter(({ startedAtMs }) => startedAtMs > noticedAt)
  const bySession = sessions.queriesByClient.map((queries) => queries.filter(since))
  const lost = bySession.map((queries) => queries.filter(isLostQuery).length)
  report(what, {
    "noticed after ms": noticedAt - brokenAt,
    "new connections before": fresh.length - after.length,
    "failed before": JSON.stringify(countFailures(fresh.filter((query) => !after.includes(query)))),
    "new connections after": after.length,
    "failed after": JSON.stringify(countFailures(after)),
    "queries in sessions": bySession.flat().length,
    "failed in sessions": JSON.stringify(countFailures(bySession.flat())),
    "at most per session": Math.max(...lost),
    "longest silence of a session ms": longestSilenceMs(bySession),
  })
  expect(Math.max(...lost)).toBeLessThanOrEqual(1)
  return after
}

/** Not a connection that was being opened, which is no session yet. */
function isLostQuery({ ok, answer }: Query): boolean {
  return !ok && !answer.includes("'handshake:")
}

/** Every session gets an answer to a query from now on. */
async function expectSessionsGoOn(): Promise<void> {
  const now = epochMs()
  const goesOn = (queries: readonly Query[]) => queries.some((query) => isAnsweredSince(query, now))
  await eventually(() => sessions.queriesByClient.every(goesOn), { what: "all sessions to go on" })
}

function isAnsweredSince({ ok, endedAtMs }: Query, sinceMs: number): boolean {
  return ok && endedAtMs > sinceMs
}

/** These servers and no other answer new connections from now on. */
async function expectServed(by: readonly string[]): Promise<void> {
  const now = epochMs()
  const servers = () => serversOf(connectors.queries, now)
  await eventually(() => Bun.deepEquals(servers(), by), { what: `answers from ${by}` })
}

function failed(queries: readonly Query[]): Query[] {
  return queries.filter(({ ok }) => !ok)
}

test("all servers are used, and what the primary writes is read from each", async () => {
  await expectServed(["1", "2", "3"])
  expect(serversOf(sessions.queries)).toEqual(["1", "2", "3"])
  const create = "CREATE TABLE t (id INT PRIMARY KEY); INSERT INTO t VALUES (42)"
  expect(await queryOnce(stage.client, WRITES, create)).toBe("")
  for (const replica of databases.slice(1)) await replica.catchUp(nth(databases, 0))
  const seen = new Set<string>()
  const read = "SELECT CONCAT(@@server_id, ':', id) FROM t"
  await eventually(async () => {
    seen.add(await queryOnce(stage.client, QUERIES, read))
    return seen.size === 3
  })
  expect([...seen].toSorted()).toEqual(["1:42", "2:42", "3:42"])
  // Sessions are long, and counted: they are spread evenly.
  const [pool] = (await fullStatus(edgeA)).pools
  const connections = pool?.servers.map((server) => server.connections) ?? []
  expect(Math.max(...connections) - Math.min(...connections)).toBeLessThanOrEqual(3)
  expect(failed([...connectors.queries, ...sessions.queries])).toEqual([])
})

test("a server that is killed costs an open session one query, and a new connection none", async () => {
  const victim = nth(databases, 1)
  const killedAt = epochMs()
  await victim.kill()
  await waitAll("s2", "down")
  const noticedAt = epochMs()
  await expectServed(["1", "3"])
  await Bun.sleep(1_000)
  expect(failed(await reportSince("a server is killed", killedAt, noticedAt))).toEqual([])
  await victim.start()
  await waitAll("s2", "up")
  await expectServed(["1", "2", "3"])
})

test("a server that hangs is left alone once that is noticed", async () => {
  const victim = nth(databases, 2)
  const hungAt = epochMs()
  await victim.kill("SIGSTOP")
  await waitAll("s3", "down")
  const noticedAt = epochMs()
  await expectServed(["1", "2"])
  await Bun.sleep(1_000)
  expect(failed(await reportSince("a server hangs", hungAt, noticedAt))).toEqual([])
  await victim.kill("SIGCONT")
  await waitAll("s3", "up")
  await expectServed(["1", "2", "3"])
})

test("hundreds of checks without a login do not make the server block the edge", async () => {
  const checks = async () => (await fullStatus(edgeA)).pools[2]?.servers[0]?.checks_total ?? 0
  await eventually(async () => (await checks()) > 250, { what: "250 checks" })
  const held = `SELECT ip, host, sum_connect_errors, count_host_blocked_errors
    FROM performance_schema.host_cache WHERE ip = '10.0.0.1'`
  const rows = await nth(databases, 0).query(held)
  report("checks without a login", { checks: await checks(), "held against us": String(rows[0]) })
  expect(rows).toEqual([["10.0.0.1", "edge-a.lab", "0", "0"]])
  expect(await queryOnce(stage.client, WRITES, "SELECT 1")).toBe("1")
  const servers = (await fullStatus(edgeA)).pools.flatMap((pool) => pool.servers)
  expect(servers.map(({ health, reason }) => `${health}: ${reason.split(",")[0]}`)).toEqual([
    ...Array<string>(6).fill("up: SELECT 1 answered"),
    "up: alive",
  ])
})

test("an edge that is killed costs an open session one query", async () => {
  const killedAt = epochMs()
  await edgeA.kill()
  await edgeB.waitState("active", { intervalMs: 2 })
  const activeAt = epochMs()
  await expectServed(["1", "2", "3"])
  await Bun.sleep(1_000)
  const after = await reportSince("an edge is killed", killedAt, activeAt)
  expect(failed(after)).toEqual([])
  await connectors.stop()
  await sessions.stop()
})
