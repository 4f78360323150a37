/**
 * The virtual address moves to the other edge: after a crash, while the active one hangs, at a
 * graceful stop; as seen by a client that starts a fresh connection every 10 ms.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import type { Edge } from "../lab/edge.ts"
import { type Probe, startProbe } from "../lab/probe.ts"
import type { ManagedProcess } from "../lab/process.ts"
import { median, report } from "../lab/report.ts"
import { StallWatch, withinLimits } from "../lab/stall-watch.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { startCrowd } from "./crowd.ts"
import {
  addressEvent,
  createPair,
  neighbour,
  type Pair,
  SERVICE,
  startPair,
  VIP,
} from "./vrrp-pair.ts"

let pair: Pair
/** tcpdump, whose every line is an advert. */
let ear: ManagedProcess

beforeEach(async () => {
  pair = await createPair("takeover")
  const argv = ["tcpdump", "-l", "-n", "--immediate-mode", "-i", "br0", "ip", "proto", "112"]
  ear = pair.lan.bridge.spawn(argv, { name: "ear" })
  await ear.waitFor("listening on")
})

afterEach(() => pair.lab.close())

type Takeover = {
  /** From the blow until a connection through the virtual address is answered by the peer. */
  readonly answersMs: number
  /** From the blow until the kernel has removed the address from the edge that was active. */
  readonly goneMs: number
}

/** Strikes `delayMs` after an advert of `victim`: right after one is the longest takeover. */
async function takeover(
  victim: Edge,
  heir: Edge,
  { signal, delayMs = 0 }: { readonly signal: NodeJS.Signals; readonly delayMs?: number },
): Promise<Takeover> {
  const probe = await startProbe(pair.client, SERVICE, { gapMsMin: 25 })
  await probe.successes(20)
  const watch = await victim.host.watchAddresses()
  await ear.waitFor(/IP 10\.0\.0\.1 > /, { from: ear.mark() })
  if (delayMs > 0) await Bun.sleep(delayMs)
  const struckAtMs = epochMs()
  victim.process.signal(signal)
  await heir.waitState("active")
  const gone = await addressEvent(watch, "removed", struckAtMs)
  const answersMs = await answeredAfter(probe, struckAtMs)
  expect(await neighbour(pair.client)).toBe(await heir.host.mac("eth0"))
  await probe.stop()
  await watch.stop()
  return { answersMs, goneMs: gone.atMs - struckAtMs }
}

/** The end of the interruption, which may have begun just before the blow. */
async function answeredAfter(probe: Probe, struckAtMs: number): Promise<number> {
  await probe.successes(20)
  const gaps = probe.gaps.filter(({ toMs }) => toMs > struckAtMs)
  const longest = gaps.toSorted((left, right) => right.ms - left.ms)[0]
  if (longest === undefined) throw new Error("The takeover left no gap")
  return longest.toMs - struckAtMs
}

interface Blow {
  readonly signal: "SIGKILL" | "SIGTERM"
  readonly delayMs: number
  readonly limits: Takeover
}

/** A takeover within its limits, after which all is as before. */
async function strike([victim, heir]: readonly [Edge, Edge], blow: Blow): Promise<Takeover> {
  const result = await withinLimits(blow.signal, blow.limits, async () => {
    const figures = await takeover(victim, heir, blow)
    expect(await victim.process.ended()).toBe(blow.signal === "SIGTERM" ? 0 : 137)
    victim.start()
    await victim.waitReady()
    await victim.waitState("active")
    await heir.waitState("backup")
    return figures
  })
  expect(result.answersMs).toBeLessThanOrEqual(blow.limits.answersMs)
  expect(result.goneMs).toBeLessThanOrEqual(blow.limits.goneMs)
  return result
}

describe("adverts every second, priorities 100 and 90", () => {
  test("kill -9: gone within 50 ms, answered by the peer within 3.8 s", async () => {
    const [first, second] = await startPair(pair)
    for (const delayMs of [0, 500]) {
      const { answersMs, goneMs } = await strike([first, second], {
        signal: "SIGKILL",
        delayMs,
        limits: { answersMs: 3_800, goneMs: 50 },
      })
      report(`kill -9, ${delayMs} ms after an advert, adverts 1 s`, {
        "VIP answers on the peer after ms": answersMs,
        "address gone after ms": goneMs,
      })
    }
  })

  test("SIGSTOP: gone with the lease; SIGCONT: steps back, then takes over in peace", async () => {
    const [first, second] = await startPair(pair)
    const capture = await pair.lan.capture({ filter: "ip proto 112 and src host 10.0.0.1" })
    using stalls = new StallWatch()
    const { answersMs, goneMs } = await takeover(first, second, { signal: "SIGSTOP" })
    const stallMs = stalls.longestMs
    await Bun.sleep(1_000)
    const probe = await startProbe(pair.client, SERVICE)
    await probe.successes(20)
    const here = await pair.a.watchAddresses()
    const wokenAtMs = epochMs()
    first.process.signal("SIGCONT")
    await eventually(() => first.process.output.includes("did not run for"), {
      what: "the edge to step back",
    })
    const steppedBackMs = epochMs() - wokenAtMs
    const { vrrp } = await first.waitState("backup")
    expect(vrrp[0]?.state).toBe("backup")
    const back = await addressEvent(here, "added", wokenAtMs)
    await first.waitState("active")
    await second.waitState("backup")
    await probe.successes(50)
    const { failed, longestGapMs } = await probe.stop()
    const adverts = (await capture.stop().then(() => capture.fields(["frame.time_epoch"]))).map(
      ([at]) => Number(at) * 1_000,
    )
    const firstAdvertMs = (adverts.find((at) => at > wokenAtMs) ?? 0) - wokenAtMs
    report("SIGSTOP, SIGCONT, adverts 1 s", {
      "address gone after ms": goneMs,
      "VIP answers on the peer after ms": answersMs,
      "the machine stood still for ms": stallMs,
      "stepped back after ms": steppedBackMs,
      "first advert after waking ms": firstAdvertMs,
      "failed connects at waking": JSON.stringify(failed),
      "longest gap ms": longestGapMs,
    })
    expect(goneMs).toBeGreaterThan(1_000)
    expect(goneMs).toBeLessThanOrEqual(2_500 + stallMs)
    expect(answersMs).toBeLessThanOrEqual(3_800 + stallMs)
    // Active_Down_Interval of priority 100: 3 s + 156/256 s in silence.
    expect(firstAdvertMs).toBeGreaterThan(3_600)
    expect(back.atMs - wokenAtMs).toBeGreaterThan(3_600)
    expect(longestGapMs).toBeLessThan(500)
  })
})

describe("version 3, adverts every 100 ms", () => {
  test("kill -9: answered by the peer within 0.45 s", async () => {
    const [first, second] = await startPair(pair, { interval: "100ms" })
    const results: Takeover[] = []
    for (const delayMs of [0, 0, 0, 30, 60]) {
      const limits = { answersMs: 450, goneMs: 50 }
      results.push(await strike([first, second], { signal: "SIGKILL", delayMs, limits }))
    }
    reportAll("kill -9, adverts 100 ms", results)
  })

  test("SIGTERM: answered by the peer within 0.15 s", async () => {
    const [first, second] = await startPair(pair, { interval: "100ms" })
    const results: Takeover[] = []
    for (const delayMs of [0, 0, 0, 30, 60]) {
      const limits = { answersMs: 150, goneMs: 150 }
      results.push(await strike([first, second], { signal: "SIGTERM", delayMs, limits }))
    }
    reportAll("SIGTERM, adverts 100 ms", results)
  })

  test("SIGTERM: sessions through the VIP are reset, those on its own address drain", async () => {
    const program = `${import.meta.dir}/programs/odd-server.ts`
    const silent = [process.execPath, program, "silent", "0.0.0.0", "4001"]
    await pair.server.spawn(silent, { name: "silent" }).waitFor("listening")
    const [first] = await startPair(pair, { interval: "100ms", tables: DRAIN_TABLES })
    const resets = await pair.lan.capture({
      filter: "src host 10.0.0.1 and dst host 10.0.0.11 and tcp[tcpflags] & tcp-rst != 0",
    })
    const talking = await startCrowd(pair.client, SERVICE, { connections: 20 })
    const waiting = await startCrowd(pair.client, `${VIP}:3307`, {
      connections: 20,
      behaviour: "idle",
    })
    const own = await startCrowd(pair.client, "10.0.0.1:5000", { connections: 10, intervalMs: 10 })
    expect([talking.assembled, waiting.assembled, own.assembled]).toEqual([20, 20, 10])
    const stoppedAtMs = epochMs()
    first.process.signal("SIGTERM")
    const ends = [...(await talking.waitEnds(20)), ...(await waiting.waitEnds(20))]
    await Bun.sleep(1_000)
    expect(first.process.running).toBe(true)
    await resets.stop()
    expect(resets.lost).toBe(0)
    const { open, ended, longestEchoMs } = await own.stop()
    const code = await first.process.ended()
    const exitedMs = epochMs() - stoppedAtMs
    const atServer = await resets.fields(["frame.time_epoch", "tcp.stream"])
    const lastResetMs = Math.max(...atServer.map(([at]) => Number(at) * 1_000)) - stoppedAtMs
    const lastLearntMs = Math.max(...ends.map(({ atMs }) => atMs)) - stoppedAtMs
    report("SIGTERM with sessions", {
      "reset at clients": ends.length,
      "last client learnt after ms": lastLearntMs,
      "reset at the server": new Set(atServer.map(([, stream]) => stream)).size,
      "last after ms": lastResetMs,
      "own address: open a second later": open,
      "their longest echo ms": longestEchoMs,
      "exited after ms": exitedMs,
    })
    expect(new Set(ends.map(({ how }) => how))).toEqual(new Set(["ECONNRESET"]))
    expect(lastLearntMs).toBeLessThanOrEqual(100)
    expect(new Set(atServer.map(([, stream]) => stream)).size).toBe(40)
    expect(lastResetMs).toBeLessThanOrEqual(100)
    expect([open, ended, code]).toEqual([10, 0, 0])
    expect(longestEchoMs).toBeLessThan(500)
  })
})

function reportAll(what: string, results: readonly Takeover[]): void {
  const answers = results.map(({ answersMs }) => answersMs)
  report(what, {
    rounds: results.length,
    "VIP answers on the peer, median ms": median(answers),
    "max ms": Math.max(...answers),
    "address gone, max ms": Math.max(...results.map(({ goneMs }) => goneMs)),
  })
}

const DRAIN_TABLES = `
[[pool]]
name = "silent"
servers = ["10.0.0.11:4001"]
[[stream]]
name = "silent"
bind = ["${VIP}:3307"]
pool = "silent"
[[stream]]
name = "own"
bind = ["10.0.0.1:5000"]
pool = "db"
`
