/**
 * Many new connections a second to one server: the local ports that the edge connects from are used
 * up, unless those in TIME_WAIT are used again (`net.ipv4.tcp_tw_reuse`) or there are more
 * addresses to connect from (`source`).
 *
 * The client closes first, as MySQL's do, so that it is the edge that keeps TIME_WAIT. The range of
 * ports is so narrow that the normal, short run would use it up several times over; with
 * CAUSEWAY_LONG=1 the run takes 60 s over the kernel's own range.
 */
import { afterEach, beforeEach, expect, test } from "bun:test"
import { type Edge, startEdge } from "../lab/edge.ts"
import { httpProbe, startProbe } from "../lab/probe.ts"
import type { ProberReport } from "../lab/prober.ts"
import { report } from "../lab/report.ts"
import { startHttpServer } from "../lab/servers.ts"
import { createStage, fullStatus, nth, type Stage } from "./stage.ts"

const RATE = 2_000
const { CAUSEWAY_LONG } = process.env
const IS_LONG = CAUSEWAY_LONG === "1"
const SECONDS = IS_LONG ? 60 : 8
/** A busy machine may be slow: a lack of ports does not pass by waiting. */
const PATIENCE_MS = 20_000
const PORTS = IS_LONG ? "32768 60999" : "20000 25999"

let stage: Stage
let edge: Edge

beforeEach(async () => {
  stage = await createStage("ports", 1)
  await startHttpServer(nth(stage.servers, 0), { port: 4000 })
  await stage.edge.sysctl({ "net.ipv4.ip_local_port_range": PORTS })
  // The client has one address, and must not be the one who runs out.
  await stage.client.sysctl({
    "net.ipv4.ip_local_port_range": "1024 65535",
    "net.ipv4.tcp_tw_reuse": 1,
  })
}, 30_000)

afterEach(() => stage?.lab.close())

function config(pool = ""): string {
  return `[node]
threads = 2
[[pool]]
name = "web"
servers = ["10.0.0.11:4000"]
max_fails = 0
connect_timeout = "20s"
${pool}
[[stream]]
name = "web"
bind = ["10.0.0.1:5000"]
pool = "web"
`
}

/** New connections at `RATE` for some seconds, each with one request. */
async function load(seconds: number): Promise<ProberReport> {
  const probe = await startProbe(stage.client, "10.0.0.1:5000", {
    ...httpProbe,
    send: httpProbe.send?.replace("connection: close\r\n", "") ?? "",
    intervalMs: 1000 / RATE,
    timeoutMs: PATIENCE_MS,
  })
  await stage.client.sysctl({ "net.ipv4.tcp_syn_retries": 5 })
  await Bun.sleep(seconds * 1000)
  return probe.stop()
}

async function expectNoFailure(what: string, { attempts, failed, ...rest }: ProberReport) {
  const [server] = nth((await fullStatus(edge)).pools, 0).servers
  const ss = await stage.edge.exec(["ss", "-Htn", "state", "time-wait", "dport = :4000"])
  report(what, {
    attempts,
    "a second": attempts / SECONDS,
    failed: JSON.stringify(failed),
    "median ms": rest.latencyMsMedian,
    "slowest ms": rest.latencyMsMax,
    "ports in TIME_WAIT": ss.split("\n").length - 1,
  })
  expect(failed).toEqual({})
  expect(server).toMatchObject({ connections_total: attempts, connect_failures: 0 })
}

test("ports in TIME_WAIT are used again", async () => {
  edge = await startEdge(stage.edge, config())
  expect(await stage.edge.exec(["sysctl", "-n", "net.ipv4.tcp_tw_reuse"])).toBe("1\n")
  await expectNoFailure(`${RATE}/s for ${SECONDS} s to one server`, await load(SECONDS))
}, 120_000)

test("without that, more source addresses help", async () => {
  // 6 000 ports each (28 000 in the long run), and none is used twice.
  const addresses = Array.from({ length: IS_LONG ? 6 : 3 }, (_, at) => `10.0.0.${101 + at}`)
  for (const address of addresses) await stage.edge.ip(`address add ${address}/24 dev eth0`)
  edge = await startEdge(stage.edge, config(`source = ${JSON.stringify(addresses)}`))
  await stage.edge.sysctl({ "net.ipv4.tcp_tw_reuse": 0 })
  await expectNoFailure(`${addresses.length} source addresses`, await load(SECONDS))
}, 120_000)

test("with neither they run out, and the edge says so", async () => {
  edge = await startEdge(stage.edge, config())
  await stage.edge.sysctl({
    "net.ipv4.tcp_tw_reuse": 0,
    "net.ipv4.ip_local_port_range": "20000 21999",
  })
  const { failed } = await load(2)
  report("2 000 ports and no remedy", { failed: JSON.stringify(failed) })
  expect(Object.keys(failed)).toEqual(["ECONNRESET"])
  await edge.process.waitFor(/cause=EADDRNOTAVAIL advice=.*pool\.source.*tcp_tw_reuse/)
})
