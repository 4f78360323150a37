/** The lab's handle on a running edge: every question a test may ask it gets an answer. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { type Edge, parseMetrics, startEdge } from "../lab/edge.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import { startTcpServer } from "../lab/servers.ts"

let lab: Lab
let edge: Edge

const config = (port: number) => `
[[stream]]
name = "echo"
bind = ["127.0.0.1:${port}"]
pool = "echo"

[[pool]]
name = "echo"
servers = [{ name = "one", address = "127.0.0.1:7001" }]
[pool.check]
type = "tcp"
interval = "100ms"
rise = 1
`

beforeAll(async () => {
  lab = await createLab("edge")
  const host = await lab.host("edge")
  await startTcpServer(host, { port: 7001 })
  edge = await startEdge(host, config(7000))
})

afterAll(() => lab.close())

test("status() and waitHealth() see the servers", async () => {
  const status = await edge.waitHealth("echo", "one", "up")
  expect(status.node).toBe("edge")
  expect(status.streams[0]?.bind).toEqual(["127.0.0.1:7000"])
})

test("metrics() and metric() read samples", async () => {
  const metrics = await edge.metrics()
  expect(metrics.size).toBeGreaterThan(5)
  const [name = ""] = metrics.keys()
  expect(await edge.metric(name.split("{")[0] ?? "")).toBeNumber()
})

test("command() asks this edge and no other", async () => {
  const { exitCode, stdout } = await edge.command("status", "--json")
  expect(exitCode).toBe(0)
  expect(JSON.parse(stdout).node).toBe("edge")
})

test("reload() brings a new configuration, watchEvents() tells of it", async () => {
  const watch = await edge.watchEvents()
  const { exitCode } = await edge.reload(config(7002))
  expect(exitCode).toBe(0)
  expect((await edge.status()).streams[0]?.bind).toEqual(["127.0.0.1:7002"])
  const { data } = await watch.waitFor("reload")
  expect(data).toMatchObject({ type: "reload" })
  watch.close()
})

test("kill() and start() make it anew", async () => {
  const before = edge.pid
  expect(await edge.kill()).toBe(137)
  edge.start()
  await edge.waitReady()
  expect(edge.pid).not.toBe(before)
  expect(await edge.residentKib()).toBeGreaterThan(1_000)
  expect(await edge.stop()).toBe(0)
})

test("startEdge() fails with the program's own words when it does not start", async () => {
  const host = await lab.host("broken")
  expect(startEdge(host, "[[stream]]\nname = 5\n")).rejects.toThrow("causeway.toml:2")
})

test("parseMetrics() reads names with and without labels", () => {
  const samples = parseMetrics('# HELP a x\na 1\nb{c="d e",f="}"} 2.5\nb_sum{} +Inf\n')
  expect([...samples]).toEqual([
    ["a", 1],
    ['b{c="d e",f="}"}', 2.5],
    ["b_sum{}", Number.POSITIVE_INFINITY],
  ])
})
