/** The programs the lab runs beside ours: each starts, serves, and several fit on one machine. */
import { afterAll, beforeAll, expect, test } from "bun:test"
import { startHaproxy } from "../lab/haproxy.ts"
import type { Host } from "../lab/host.ts"
import { keepalivedConfig, startKeepalived } from "../lab/keepalived.ts"
import { createLab, type Lab } from "../lab/lab.ts"
import type { Lan } from "../lab/lan.ts"
import { startNginx } from "../lab/nginx.ts"
import { httpProbe, startProbe } from "../lab/probe.ts"
import { startHttpServer, startTcpServer } from "../lab/servers.ts"
import { eventually } from "../lab/wait.ts"

let lab: Lab
let lan: Lan
let a: Host
let b: Host
let client: Host

beforeAll(async () => {
  lab = await createLab("peers")
  lan = await lab.lan("lan")
  a = await lab.host("a")
  b = await lab.host("b")
  client = await lab.host("client")
  await lan.join(a, { addresses: ["10.0.0.1/24"] })
  await lan.join(b, { addresses: ["10.0.0.2/24"] })
  await lan.join(client, { addresses: ["10.0.0.9/24"] })
  await startTcpServer(a, { port: 4000 })
  await startTcpServer(b, { port: 4000 })
})

afterAll(() => lab.close())

test("startTcpServer() greets, echoes, and ends after the client's end", async () => {
  const { stdout } = await client.run(["bash", "-c", TALK])
  expect(stdout).toBe("a\nhello\n")
})

test("startHttpServer() says its name and sends bulk", async () => {
  await startHttpServer(a, { port: 8000 })
  expect(await client.exec(["curl", "-s", "http://10.0.0.1:8000/any"])).toBe("a\n")
  expect(await client.exec(["curl", "-s", "http://10.0.0.1:8000/health"])).toBe("ok\n")
  const argv = ["curl", "-s", "-o", "/dev/null", "-w", "%{size_download} %header{x-client}"]
  expect(await client.exec([...argv, "http://10.0.0.1:8000/mib/16"])).toBe("16777216 10.0.0.9")
})

test("startNginx() and startHaproxy() balance", async () => {
  const upstream = "upstream both { server 10.0.0.1:4000; server 10.0.0.2:4000; }"
  await startNginx(a, { stream: `${upstream} server { listen 5000; proxy_pass both; }` })
  await startHaproxy(
    a,
    `defaults
  mode tcp
  timeout connect 1s
  timeout client 10s
  timeout server 10s
listen both
  bind :5001
  server a 10.0.0.1:4000
  server b 10.0.0.2:4000
`,
  )
  for (const port of [5000, 5001]) {
    const probe = await startProbe(client, `10.0.0.1:${port}`, { intervalMs: 5 })
    await probe.successes(50)
    const report = await probe.stop()
    expect(report.failed).toEqual({})
    expect(Object.keys(report.servers).toSorted()).toEqual(["a", "b"])
  }
})

test("startProbe() measures an interruption and names the failures", async () => {
  const probe = await startProbe(client, "10.0.0.1:8000", httpProbe)
  await probe.successes(20)
  const cut = await lan.partition(client, a)
  await Bun.sleep(600)
  await cut.heal()
  await probe.successes(20)
  const report = await probe.stop()
  expect(report.servers).toEqual({ a: report.successes })
  expect(Object.keys(report.failed)).toEqual(["timeout"])
  expect(report.longestGapMs).toBeGreaterThan(590)
  expect(report.longestGapMs).toBeLessThan(900)
  expect(report.gaps).toHaveLength(1)
})

test("startProbe() counts refused connections", async () => {
  const probe = await startProbe(client, "10.0.0.1:1", { intervalMs: 5 })
  await eventually(() => probe.progress.attempts > 20)
  const report = await probe.stop()
  expect(report.failed).toEqual({ ECONNREFUSED: report.attempts })
})

test("startKeepalived() runs twice at once and one backs up the other", async () => {
  const instance = { interface: "eth0", virtualRouterId: 51, advertInterval: 0.1 }
  const addresses = ["10.0.0.40/32"]
  const config = (priority: number) => keepalivedConfig({ ...instance, addresses, priority })
  const active = await startKeepalived(a, config(100))
  await eventually(() => active.state === "MASTER")
  const backup = await startKeepalived(b, config(90))
  expect(await a.holds("10.0.0.40")).toBe(true)
  await active.stop()
  await eventually(() => backup.state === "MASTER", { what: "takeover" })
  await eventually(async () => (await b.holds("10.0.0.40")) && !(await a.holds("10.0.0.40")))
  await backup.stop()
})

const TALK = "exec 3<>/dev/tcp/10.0.0.1/4000; echo hello >&3; head -n 2 <&3"
