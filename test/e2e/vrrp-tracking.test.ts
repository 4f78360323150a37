/**
 * What the right to be Active depends on: interfaces, pools and checks, with and without a weight,
 * and the patience at start while one of them is not known yet.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { startEdge } from "../lab/edge.ts"
import { report } from "../lab/report.ts"
import { epochMs, eventually } from "../lab/wait.ts"
import { readAdverts } from "./adverts.ts"
import { fullStatus, nth } from "./stage.ts"
import { createPair, edgeToml, type Pair, startPair } from "./vrrp-pair.ts"

const FAST = { interval: "100ms" } as const

let pair: Pair

beforeEach(async () => {
  pair = await createPair("tracking")
})

afterEach(() => pair.lab.close())

describe("without a weight, being down is a fault:", () => {
  test("a tracked interface", async () => {
    const spare = await pair.lab.lan("spare")
    await spare.join(pair.a)
    await spare.join(pair.b)
    const vrrp = 'track = [{ interface = "eth1" }]'
    const [first, second] = await startPair(pair, { ...FAST, vrrp })
    const unpluggedAtMs = epochMs()
    await spare.unplug(pair.a)
    await second.waitState("active")
    const takenOverMs = epochMs() - unpluggedAtMs
    const { vrrp: routers } = await fullStatus(first)
    expect(routers[0]).toMatchObject({ state: "fault", reason: "interface eth1 is down" })
    await spare.plug(pair.a)
    await first.waitState("active")
    await second.waitState("backup")
    report("a tracked interface goes down, adverts 100 ms", { "peer active after ms": takenOverMs })
  })

  test("a tracked pool without a usable server", async () => {
    const tables = `[pool.check]
type = "tcp"
interval = "200ms"
timeout = "100ms"
rise = 2
fall = 2
`
    const vrrp = 'track = [{ pool = "db" }]'
    const toml = (priority: number) =>
      edgeToml({ priority, ...FAST, vrrp }).replace("[[stream]]", `${tables}[[stream]]`)
    const first = await startEdge(pair.a, toml(100))
    await first.waitState("active")
    const second = await startEdge(pair.b, toml(90))
    await second.waitState("backup")
    const droppedAtMs = epochMs()
    const hole = await pair.lan.drop({ from: pair.a, to: pair.server })
    await second.waitState("active")
    const takenOverMs = epochMs() - droppedAtMs
    const { vrrp: routers } = await fullStatus(first)
    expect(routers[0]).toMatchObject({ state: "fault", reason: "pool db has no usable server" })
    await hole.heal()
    await first.waitState("active")
    report("a tracked pool goes down (2 checks every 200 ms), adverts 100 ms", {
      "peer active after ms": takenOverMs,
    })
  })
})

describe("start-up: an edge that does not know yet", () => {
  test("never preempts a healthy one, then does once its check has passed", async () => {
    const active = await startEdge(pair.b, edgeToml({ priority: 90, ...FAST }))
    await active.waitState("active")
    const capture = await pair.lan.capture({ filter: "ip proto 112" })
    const startedAtMs = epochMs()
    const newcomer = await startEdge(pair.a, slowlyChecked("sleep 2"))
    await Bun.sleep(1_500)
    const waiting = nth((await fullStatus(newcomer)).vrrp, 0)
    expect(waiting).toMatchObject({ state: "initialize", adverts_sent: 0, transitions: 0 })
    expect(nth((await fullStatus(active)).vrrp, 0).transitions).toBe(2)
    await newcomer.waitState("active")
    const preemptedMs = epochMs() - startedAtMs
    await active.waitState("backup")
    const spoke = async () => {
      const adverts = await readAdverts(capture)
      return adverts.find(({ source }) => source === "10.0.0.1")
    }
    const firstAdvert = await eventually(spoke, { what: "an advert of the newcomer" })
    report("start with a check that takes 2 s", {
      "first advert after ms": firstAdvert.atMs - startedAtMs,
      "active after ms": preemptedMs,
    })
    expect(firstAdvert.atMs - startedAtMs).toBeGreaterThan(2_000)
  })

  test("stays away when its check then fails", async () => {
    const active = await startEdge(pair.b, edgeToml({ priority: 90, ...FAST }))
    await active.waitState("active")
    const newcomer = await startEdge(pair.a, slowlyChecked("sleep 1; exit 1"))
    await newcomer.waitState("fault")
    const seen = nth((await fullStatus(newcomer)).vrrp, 0)
    expect(seen).toMatchObject({ reason: "check slow is down", adverts_sent: 0 })
    expect(nth((await fullStatus(active)).vrrp, 0)).toMatchObject({
      state: "active",
      transitions: 2,
    })
  })

  function slowlyChecked(script: string): string {
    return edgeToml({
      priority: 200,
      ...FAST,
      vrrp: 'track = [{ check = "slow" }]',
      tables: `
[[check]]
name = "slow"
type = "command"
command = ["/bin/sh", "-c", "${script}"]
interval = "5s"
timeout = "4s"
`,
    })
  }
})

test("a weight that can never change the winner is warned about", async () => {
  const active = await startEdge(pair.a, edgeToml({ priority: 100, ...FAST }))
  await active.waitState("active")
  const toml = (weight: number) =>
    edgeToml({ priority: 50, ...FAST, vrrp: `track = [{ interface = "lo", weight = ${weight} }]` })
  const weak = await startEdge(pair.b, toml(-5))
  const warning = "tracked weights never change the winner: ours is 45 to 50, peers have 100"
  await eventually(async () => nth((await fullStatus(weak)).vrrp, 0).warnings.includes(warning), {
    what: warning,
  })
  expect((await weak.reload(toml(60))).exitCode).toBe(0)
  await eventually(async () => nth((await fullStatus(weak)).vrrp, 0).warnings.length === 0)
  await weak.waitState("active")
})
