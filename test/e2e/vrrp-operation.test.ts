/**
 * An operator at work on a running pair: handing the address over and back, being told of changes
 * by a program, reloading the configuration a hundred times, adding and removing an address.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Edge, startEdge } from "../lab/edge.ts"
import type { Host } from "../lab/host.ts"
import { keepalivedConfig, startKeepalived } from "../lab/keepalived.ts"
import { startProbe } from "../lab/probe.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { readAdverts } from "./adverts.ts"
import { startCrowd } from "./crowd.ts"
import { fullStatus, nth } from "./stage.ts"
import { createPair, edgeToml, type Pair, SERVICE, startPair, VIP } from "./vrrp-pair.ts"

const FAST = { interval: "100ms" } as const
const HANG_UPS = 100
/** So that they meet every phase of the adverts. */
const HANG_UP_SPACING_MS = 27

let pair: Pair

beforeEach(async () => {
  pair = await createPair("operation")
})

afterEach(() => pair.lab.close())

async function transitions(edge: Edge): Promise<number> {
  return nth((await fullStatus(edge)).vrrp, 0).transitions
}

test("release hands the address over until resume", async () => {
  const [first, second] = await startPair(pair, FAST)
  const probe = await startProbe(pair.client, SERVICE, { gapMsMin: 25 })
  await probe.successes(20)
  const released = await first.command("release", "edge")
  expect(released.exitCode).toBe(0)
  await second.waitState("active")
  await Bun.sleep(1_000)
  expect(nth((await fullStatus(first)).vrrp, 0)).toMatchObject({
    state: "backup",
    released: true,
    reason: "released by the operator",
  })
  expect((await first.command("resume", "edge")).exitCode).toBe(0)
  await first.waitState("active")
  await second.waitState("backup")
  await probe.successes(50)
  const { longestGapMs, failed } = await probe.stop()
  report("release and resume, adverts 100 ms", {
    "longest gap ms": longestGapMs,
    failed: JSON.stringify(failed),
  })
  expect(longestGapMs).toBeLessThan(250)
  const unknown = await first.command("release", "nobody")
  expect(unknown.exitCode).toBe(1)
  expect(unknown.stderr).toContain('There is no virtual router "nobody"')
})

describe("the notify program", () => {
  test("is called in order, with the arguments that keepalived gives", async () => {
    const ours = notifyProgram(pair.a)
    const vrrp = `notify = "${ours.path}"`
    const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST, vrrp }))
    await edge.waitState("active")
    await edge.command("release", "edge")
    await edge.waitState("backup")
    await edge.command("resume", "edge")
    await edge.waitState("active")
    await pair.a.linkDown("eth0")
    await edge.waitState("fault")
    await pair.a.linkUp("eth0")
    await edge.waitState("active")
    await edge.stop()
    expect(ours.calls()).toEqual([
      "INSTANCE edge BACKUP 100",
      "INSTANCE edge MASTER 100",
      "INSTANCE edge BACKUP 100",
      "INSTANCE edge MASTER 100",
      "INSTANCE edge FAULT 100",
      "INSTANCE edge BACKUP 100",
      "INSTANCE edge MASTER 100",
      "INSTANCE edge STOP 100",
    ])
    const theirs = notifyProgram(pair.b)
    const keepalived = await startKeepalived(pair.b, keepalivedToml(theirs.path))
    await eventually(() => keepalived.state === "MASTER")
    await pair.b.linkDown("eth0")
    await eventually(() => keepalived.state === "FAULT")
    await pair.b.linkUp("eth0")
    await eventually(() => keepalived.state === "MASTER")
    await keepalived.stop()
    await eventually(() => theirs.calls().some((call) => call.includes("STOP")))
    expect(theirs.calls()).toEqual([
      "INSTANCE edge BACKUP 100",
      "INSTANCE edge MASTER 100",
      "INSTANCE edge FAULT 100",
      "INSTANCE edge BACKUP 100",
      "INSTANCE edge MASTER 100",
      "INSTANCE edge STOP 100",
    ])
  })

  test("that is slow is not overtaken by its next call", async () => {
    const slow = notifyProgram(pair.a, "sleep 0.3")
    const vrrp = `notify = "${slow.path}"`
    const edge = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST, vrrp }))
    await edge.waitState("active")
    await edge.command("release", "edge")
    await edge.waitState("backup")
    await edge.command("resume", "edge")
    await edge.waitState("active")
    await eventually(() => slow.calls().length === 4)
    const states = slow.calls().map((call) => call.split(" ")[2])
    expect(states).toEqual(["BACKUP", "MASTER", "BACKUP", "MASTER"])
  })

  /** A program that writes down its arguments once it has done `work`. */
  function notifyProgram(host: Host, work = ":") {
    const [path, log] = [join(host.directory, "notify"), join(host.directory, "notified")]
    writeFileSync(path, `#!/bin/sh\n${work}\necho "$@" >> ${log}\n`)
    chmodSync(path, 0o755)
    const read = () => (existsSync(log) ? readFileSync(log, "utf8") : "")
    return { path, calls: () => read().trim().split("\n") }
  }

  function keepalivedToml(program: string): string {
    return keepalivedConfig({
      interface: "eth0",
      virtualRouterId: 51,
      priority: 100,
      advertInterval: 0.1,
      addresses: [`${VIP}/32`],
      extra: `notify ${program}`,
    })
  }
})

test(`${HANG_UPS} SIGHUPs cost no transition and no advert`, async () => {
  const [first, second] = await startPair(pair, FAST)
  const before = [await transitions(first), await transitions(second)]
  const watch = await pair.a.watchAddresses()
  const crowd = await startCrowd(pair.client, SERVICE, { connections: 5, intervalMs: 20 })
  const capture = await pair.lan.capture({ filter: "ip proto 112" })
  await Bun.sleep(200)
  const startedAtMs = epochMs()
  const toml = edgeToml({ priority: 100, ...FAST })
  for (let count = 1; count <= HANG_UPS; count += 1) {
    first.hangUp(count % 2 === 1 ? `${toml}${SPARE_POOL}` : toml)
    const isApplied = async () => (await first.status()).config.generation === 1 + count
    await eventually(isApplied, { what: `reload ${count}`, intervalMs: 1 })
    await Bun.sleep(HANG_UP_SPACING_MS)
  }
  const tookMs = epochMs() - startedAtMs
  await Bun.sleep(200)
  await capture.stop()
  const adverts = await readAdverts(capture)
  const gaps = adverts.slice(1).map(({ atMs }, at) => atMs - nth(adverts, at).atMs)
  const { open, ends, longestEchoMs } = await crowd.stop()
  report(`${HANG_UPS} SIGHUPs, adverts 100 ms`, {
    "took ms": tookMs,
    adverts: adverts.length,
    "longest between adverts ms": Math.max(...gaps),
    "longest echo ms": longestEchoMs,
  })
  expect(new Set(adverts.map(({ source, priority }) => `${source} ${priority}`))).toEqual(
    new Set(["10.0.0.1 100"]),
  )
  expect(Math.max(...gaps)).toBeLessThan(150)
  expect([await transitions(first), await transitions(second)]).toEqual(before)
  expect(watch.events(VIP).filter(({ type }) => type === "removed")).toEqual([])
  expect([open, ends.length]).toEqual([5, 0])
})

test("an address added or removed at a reload changes just that", async () => {
  const [first, second] = await startPair(pair, FAST)
  const before = [await transitions(first), await transitions(second)]
  const both = edgeToml({
    priority: 100,
    ...FAST,
    vrrp: `addresses = ["${VIP}", "10.0.0.41"]`,
  }).replace(`"${SERVICE}"`, `"${SERVICE}", "10.0.0.41:3306"`)
  const staying = await startCrowd(pair.client, SERVICE, { connections: 5 })
  const watch = await pair.a.watchAddresses()
  const added = await first.reload(both)
  expect(added.exitCode).toBe(0)
  await eventually(() => pair.a.holds("10.0.0.41"))
  const leaving = await startCrowd(pair.client, "10.0.0.41:3306", { connections: 5 })
  expect(leaving.assembled).toBe(5)
  const reloadedAtMs = epochMs()
  expect((await first.reload(edgeToml({ priority: 100, ...FAST }))).exitCode).toBe(0)
  const ends = await leaving.waitEnds(5)
  await eventually(async () => !(await pair.a.holds("10.0.0.41")))
  report("an address is removed at a reload", {
    "its sessions ended after ms": Math.max(...ends.map(({ atMs }) => atMs)) - reloadedAtMs,
    how: [...new Set(ends.map(({ how }) => how))].join(" "),
  })
  expect(new Set(ends.map(({ how }) => how))).toEqual(new Set(["ECONNRESET"]))
  expect(await staying.ask()).toEqual({ open: 5, answered: 5 })
  expect(watch.events(VIP).filter(({ type }) => type === "removed")).toEqual([])
  expect([await transitions(first), await transitions(second)]).toEqual(before)
})

const SPARE_POOL = `
[[pool]]
name = "spare"
servers = ["10.0.0.11:4000"]
`
