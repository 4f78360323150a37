/**
 * Many open connections: that they work, what each costs in memory beside HAProxy's, and what
 * happens when descriptors run out.
 *
 * Clients, edge and server are programs of their own, each within its own limit of descriptors.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "bun:test"
import { readFileSync } from "node:fs"
import { type Edge, startEdge } from "../lab/edge.ts"
import { startHaproxy } from "../lab/haproxy.ts"
import { report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"
import { startCrowd } from "./crowd.ts"
import { createStage, endReasons, fullStatus, nth, type Stage } from "./stage.ts"

/** Two descriptors each, of the 20 000 that are the hard limit of many machines. */
const CONNECTIONS = 9_500

let stage: Stage
let edge: Edge

beforeAll(async () => {
  stage = await createStage("scale", 1)
  await startTcpServer(nth(stage.servers, 0), { port: 4000 })
}, 30_000)

afterEach(() => edge.stop())
afterAll(() => stage?.lab.close())

function config(): string {
  return `[node]
threads = 2
[[pool]]
name = "echo"
servers = ["10.0.0.11:4000"]
connect_timeout = "20s"
[[stream]]
name = "echo"
bind = ["10.0.0.1:5000"]
pool = "echo"
`
}

const HAPROXY_CONFIG = `global
  nbthread 2
  maxconn ${CONNECTIONS + 100}
defaults
  mode tcp
  timeout connect 20s
  timeout client 10m
  timeout server 10m
listen echo
  bind 10.0.0.1:6000
  server s1 10.0.0.11:4000
`

interface Memory {
  readonly idleKib: number
  readonly talkedKib: number
}

/** How much `residentKib` grows by the connections, and once each has said something. */
async function measure(target: string, residentKib: () => number): Promise<Memory> {
  const before = residentKib()
  const crowd = await startCrowd(stage.client, target, {
    connections: CONNECTIONS,
    behaviour: "idle",
    patienceMs: 30_000,
  })
  expect(crowd.assembled).toBe(CONNECTIONS)
  await Bun.sleep(500)
  const idleKib = residentKib() - before
  expect(await crowd.ask()).toEqual({ open: CONNECTIONS, answered: CONNECTIONS })
  await Bun.sleep(500)
  const talkedKib = residentKib() - before
  expect(await crowd.stop()).toMatchObject({ open: CONNECTIONS, ended: 0 })
  return { idleKib, talkedKib }
}

/** Of a process and its children. */
function residentKib(pid: number): number {
  const own = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ")
  const pids = children.filter((child) => child !== "").map(Number)
  return pids.reduce((sum, child) => sum + residentKib(child), Number(own))
}

test("9 500 idle connections work, and cost little", async () => {
  // A soft limit as a login shell has it: the edge raises it by itself.
  const wrapper = ["prlimit", "--nofile=1024:20000"]
  edge = await startEdge(stage.edge, config(), { wrapper })
  expect(await edge.metric("process_max_fds")).toBe(20_000)
  const ours = await measure("10.0.0.1:5000", () => residentKib(edge.pid))
  await eventually(async () => (await fullStatus(edge)).threads.sessions === 0)
  expect(await endReasons(edge, "echo")).toEqual({ finished: CONNECTIONS })
  await edge.stop()
  const haproxy = await startHaproxy(stage.edge, HAPROXY_CONFIG)
  const theirs = await measure("10.0.0.1:6000", () => residentKib(haproxy.pid))
  await haproxy.stop()
  const each = (kib: number) => kib / CONNECTIONS
  report(`memory per connection, ${CONNECTIONS} connections`, {
    "causeway idle KiB": each(ours.idleKib),
    "causeway after an echo KiB": each(ours.talkedKib),
    "haproxy idle KiB": each(theirs.idleKib),
    "haproxy after an echo KiB": each(theirs.talkedKib),
  })
  expect(each(ours.talkedKib)).toBeLessThan(16)
}, 120_000)

test("running out of descriptors turns clients away politely, and passes", async () => {
  const wrapper = ["prlimit", "--nofile=600:600"]
  edge = await startEdge(stage.edge, config(), { wrapper })
  const { sessions_max: room } = (await fullStatus(edge)).threads
  expect(room).toBeGreaterThan(50)
  const crowd = await startCrowd(stage.client, "10.0.0.1:5000", {
    connections: room + 100,
    behaviour: "idle",
    openingMax: 10,
  })
  const ends = await crowd.waitEnds(100)
  const told = Math.max(...ends.map(({ afterMs }) => afterMs))
  report("a limit of 600 descriptors", { room, "turned away": ends.length, "at most ms": told })
  // An orderly end, at once, for those beyond; the others notice nothing.
  expect(new Set(ends.map(({ how }) => how))).toEqual(new Set(["closed"]))
  expect(await crowd.ask()).toEqual({ open: room, answered: room })
  expect(await endReasons(edge, "echo")).toEqual({ exhausted: 100 })
  expect(edge.process.output).toContain("no descriptors left for its connection stream=echo")
  await expectAnswers(edge)
  await crowd.stop()
  await eventually(async () => (await fullStatus(edge)).threads.sessions === 0)
  const next = await startCrowd(stage.client, "10.0.0.1:5000", { connections: room })
  expect(await next.ask()).toEqual({ open: room, answered: room })
  await next.stop()
  expect(await edge.stop()).toBe(0)
})

/** There are descriptors left for those who look after the edge. */
async function expectAnswers(edge: Edge): Promise<void> {
  const answers = await Promise.all(Array.from({ length: 10 }, () => edge.request("/readyz")))
  expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200))
  expect((await edge.reload()).exitCode).toBe(0)
}
