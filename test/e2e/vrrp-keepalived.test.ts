/**
 * keepalived as the other edge, in version 2 with PASS and in version 3: each backs the other up,
 * through every kind of handover, and a capture of at least a minute shows that they were never
 * Active together for longer than one advert. Both versions run at the same time, in labs of their
 * own.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test"
import { type Edge, startEdge } from "../lab/edge.ts"
import type { AddressEvent } from "../lab/host.ts"
import { type Keepalived, keepalivedConfig, startKeepalived } from "../lab/keepalived.ts"
import { type Probe, startProbe } from "../lab/probe.ts"
import { report } from "../lab/report.ts"
import { startTcpServer } from "../lab/servers.ts"
import { StallWatch } from "../lab/stall-watch.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import {
  type Advert,
  type Overlap,
  overlaps,
  readAdverts,
  type Tenure,
  tenures,
  transitions,
} from "./adverts.ts"
import { fullStatus, nth } from "./stage.ts"
import { createPair, edgeToml, type Pair, SERVICE, VIP } from "./vrrp-pair.ts"

const CAPTURE_MS_MIN = 60_000
/** How long each is left Active: long enough for the analysis to tell its terms apart. */
const TERM_INTERVALS = 2.2
const TERM_MS_MIN = 1_500

const OURS = "10.0.0.1"
const HARMLESS = ["lower-priority", "not-running"]

const VERSIONS = [
  { name: "version 2 with PASS", version: 2, intervalMs: 1_000, password: "42" },
  { name: "version 3, adverts every 100 ms", version: 3, intervalMs: 100, password: undefined },
] as const

type Version = (typeof VERSIONS)[number]

interface Outcome {
  readonly capturedMs: number
  readonly transitions: number
  readonly overlaps: readonly Overlap[]
  /** The longest time for which both hosts held the address. */
  readonly bothHeldMs: number
  /** How long a client had no answer, by what happened. */
  readonly gapsMs: Readonly<Record<string, number>>
  /** From SIGTERM to our advert of priority 0. */
  readonly farewellMs: number
  /** From the last advert of a router that was cut off to our first. */
  readonly takeoverMs: number
  /** For how long the machine itself stood still, at most. */
  readonly stallMs: number
  /** Why we ignored packets of theirs, but for preempting them or not having started. */
  readonly dropped: readonly string[]
  readonly complaints: readonly string[]
  readonly answered: Readonly<Record<string, number>>
}

const runs = new Map<Version, Promise<Outcome>>()
const pairs: Pair[] = []

beforeAll(() => {
  for (const version of VERSIONS) {
    const run = handOverAndBack(version)
    // Awaited by its test, which may come later.
    run.catch(() => {})
    runs.set(version, run)
  }
})

afterAll(async () => {
  await Promise.allSettled(runs.values())
  await Promise.all(pairs.map(({ lab }) => lab.close()))
})

for (const version of VERSIONS) {
  describe(version.name, () => {
    test("each backs the other up, never both for longer than one advert", async () => {
      const outcome = await runs.get(version)
      if (outcome === undefined) throw new Error("did not run")
      const overlapsMs = outcome.overlaps.map(({ ms }) => ms)
      report(`keepalived, ${version.name}`, {
        "captured s": outcome.capturedMs / 1_000,
        transitions: outcome.transitions,
        "both Active, longest ms": Math.max(0, ...overlapsMs),
        "both held the address, longest ms": outcome.bothHeldMs,
        "farewell after SIGTERM ms": outcome.farewellMs,
        "our takeover after their last advert ms": outcome.takeoverMs,
        "the machine stood still for ms": outcome.stallMs,
        answers: JSON.stringify(outcome.answered),
      })
      report("  client without an answer, ms", outcome.gapsMs)
      expect(outcome.capturedMs).toBeGreaterThanOrEqual(CAPTURE_MS_MIN)
      expect(outcome.transitions).toBe(12)
      expect(Math.max(0, ...overlapsMs)).toBeLessThanOrEqual(version.intervalMs)
      expect(outcome.bothHeldMs).toBeLessThanOrEqual(version.intervalMs + outcome.stallMs)
      expect(Object.keys(outcome.answered).toSorted()).toEqual(["edge-b", "server"])
      expect(outcome.dropped).toEqual([])
      expect(outcome.complaints).toEqual([])
      // How soon keepalived acts is its own affair; this is ours.
      expect(outcome.farewellMs).toBeLessThanOrEqual(100 + outcome.stallMs)
      const skewMs = (106 / 256) * (version.version === 2 ? 1_000 : version.intervalMs)
      const downMs = 3 * version.intervalMs + skewMs
      expect(outcome.takeoverMs).toBeGreaterThanOrEqual(downMs)
      expect(outcome.takeoverMs).toBeLessThanOrEqual(downMs + 50 + outcome.stallMs)
    }, 150_000)
  })
}

/** The play: twelve handovers, six of each kind of direction. */
class Play {
  readonly #pair: Pair
  readonly #probe: Probe
  readonly #termMs: number
  readonly gapsMs: Record<string, number> = {}
  readonly startedAtMs: Record<string, number> = {}

  constructor(pair: Pair, probe: Probe, intervalMs: number) {
    this.#pair = pair
    this.#probe = probe
    this.#termMs = Math.max(TERM_MS_MIN, TERM_INTERVALS * intervalMs)
  }

  term(): Promise<void> {
    return Bun.sleep(this.#termMs)
  }

  /** Does something after which `heir` must hold the address alone. */
  async act(what: string, heir: "we" | "they", action: () => unknown): Promise<void> {
    const startedAtMs = epochMs()
    this.startedAtMs[what] = startedAtMs
    await action()
    const { a, b } = this.#pair
    const [holder, other] = heir === "we" ? [a, b] : [b, a]
    await eventually(async () => (await holder.holds(VIP)) && !(await other.holds(VIP)), {
      what: `${holder.name} alone to hold ${VIP} after: ${what}`,
      timeoutMs: 15_000,
    })
    await this.#probe.successes(1)
    await this.term()
    const gaps = this.#probe.gaps.filter(({ toMs }) => toMs > startedAtMs)
    this.gapsMs[what] = Math.max(0, ...gaps.map(({ ms }) => ms))
  }
}

async function handOverAndBack(version: Version): Promise<Outcome> {
  const pair = await createPair(`keepalived-${version.version}`)
  pairs.push(pair)
  // What keepalived's address leads to, so that the client gets an answer there, too.
  await startTcpServer(pair.b, { port: 3306 })
  const watches = [await pair.a.watchAddresses(), await pair.b.watchAddresses()] as const
  const capture = await pair.lan.capture({ filter: "ip proto 112" })
  using stalls = new StallWatch()
  const startedAtMs = epochMs()
  const edge = await startEdge(pair.a, oursToml(version))
  await edge.waitState("active")
  const probe = await startProbe(pair.client, SERVICE, { intervalMs: 20, gapMsMin: 45 })
  await probe.successes(5)
  const play = new Play(pair, probe, version.intervalMs)
  const complaints = await perform(play, { pair, edge, version })
  await Bun.sleep(Math.max(0, startedAtMs + CAPTURE_MS_MIN + 100 - epochMs()))
  const capturedMs = epochMs() - startedAtMs
  await capture.stop()
  const { vrrp } = await fullStatus(edge)
  const adverts = await readAdverts(capture)
  const found = tenures(adverts, version.intervalMs)
  return {
    capturedMs,
    transitions: transitions(found),
    overlaps: overlaps(found),
    bothHeldMs: longestCommonMs(watches.map((watch) => watch.events(VIP))),
    gapsMs: play.gapsMs,
    farewellMs: farewellMs(adverts, play.startedAtMs["we stop"] ?? 0),
    takeoverMs: takeoverMs(found, play.startedAtMs["their cable is cut"] ?? 0),
    stallMs: stalls.longestMs,
    dropped: Object.keys(nth(vrrp, 0).dropped).filter((reason) => !HARMLESS.includes(reason)),
    complaints,
    answered: (await probe.stop()).servers,
  }
}

/** Returns what keepalived complained about. */
async function perform(
  play: Play,
  { pair, edge, version }: { pair: Pair; edge: Edge; version: Version },
): Promise<string[]> {
  const weak = await startKeepalived(pair.b, theirsConfig(version, 100))
  await eventually(() => weak.state === "BACKUP", { what: "keepalived to be BACKUP" })
  await play.term()
  await play.act("we crash", "they", () => edge.kill())
  await play.act("we return", "we", () => edge.start())
  await play.act("we stop", "they", () => edge.stop())
  await play.act("we start", "we", () => edge.start())
  await play.act("we release", "they", () => edge.command("release", "edge"))
  await play.act("we resume", "we", () => edge.command("resume", "edge"))
  await play.act("they rise", "they", () => weak.reload(theirsConfig(version, 200)))
  await play.act("they stop", "we", () => weak.stop())
  const strong = await startKeepalived(pair.b, theirsConfig(version, 200))
  await play.act("they start", "they", () => {})
  await play.act("their cable is cut", "we", () => pair.b.linkDown("eth0"))
  await play.act("their cable is mended", "they", () => pair.b.linkUp("eth0"))
  await play.act("they stop again", "we", () => strong.stop())
  return [weak, strong].flatMap(complaintsOf)
}

function complaintsOf({ process }: Keepalived): string[] {
  return process.output.split("\n").filter((line) => /invalid|mismatch|wrong|expected/i.test(line))
}

function farewellMs(adverts: readonly Advert[], sinceMs: number): number {
  const isFarewell = ({ atMs, source, priority }: Advert) =>
    atMs >= sinceMs && source === OURS && priority === 0
  return (adverts.find(isFarewell)?.atMs ?? Number.NaN) - sinceMs
}

/** From the end of the tenure before to the beginning of our first one since then. */
function takeoverMs(all: readonly Tenure[], sinceMs: number): number {
  const at = all.findIndex(({ source, fromMs }) => source === OURS && fromMs >= sinceMs)
  return nth(all, at).fromMs - nth(all, at - 1).toMs
}

/** How long two hosts held the address at the same time, at most. */
function longestCommonMs(histories: readonly (readonly AddressEvent[])[]): number {
  const marked = histories.flatMap((events, host) => events.map((event) => ({ ...event, host })))
  const holders = new Set<number>()
  let longestMs = 0
  let sinceMs = 0
  for (const { atMs, type, host } of marked.toSorted((a, b) => a.atMs - b.atMs)) {
    const wereTwo = holders.size === 2
    if (type === "added") holders.add(host)
    else holders.delete(host)
    if (!wereTwo && holders.size === 2) sinceMs = atMs
    if (wereTwo && holders.size < 2) longestMs = Math.max(longestMs, atMs - sinceMs)
  }
  return longestMs
}

function oursToml({ version, intervalMs, password }: Version): string {
  const authentication =
    password === undefined ? "" : `authentication = { type = "pass", password = "${password}" }`
  return edgeToml({
    priority: 150,
    interval: `${intervalMs}ms`,
    vrrp: `version = ${version}\n${authentication}`,
  })
}

function theirsConfig({ version, intervalMs, password }: Version, priority: number): string {
  return keepalivedConfig({
    interface: "eth0",
    virtualRouterId: 51,
    version,
    priority,
    advertInterval: intervalMs / 1_000,
    addresses: [`${VIP}/32`],
    ...(password === undefined ? {} : { password }),
  })
}
