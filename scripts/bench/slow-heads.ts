/**
 * Slow heads (slowloris): what other clients notice of thousands who begin a request and never come
 * to the end of it. The slow ones are on the load's core and go last there (SCHED_IDLE), so that it
 * is the proxy and not the measuring that is made slow. What is measured is that they are there,
 * not that they come or are cut, which with this many at once is a load of another kind: they are
 * given time, and the listener's `head_timeout` is longer than a round.
 *
 * Latencies are taken over windows of a quarter of a second, and the median window counts: what
 * the machine itself does to a window now and then is not the slow heads'.
 */
import { join } from "node:path"
import { startEdge } from "../../test/lab/edge.ts"
import { type Arena, arenaPids, ON_LOAD_CORE, ON_PROXY_CORE } from "./arena.ts"
import type { Configurations } from "./contender.ts"
import { Disturbance } from "./disturbance.ts"
import { requestText } from "./http-cases.ts"
import { httpEndpointOf } from "./http-configurations.ts"
import { LastingLoad, LEAST } from "./load.ts"
import type { PacedResult } from "./paced-client.ts"
import { type Figure, newFigure } from "./report.ts"
import type { Settings } from "./settings.ts"
import type { SlowHeadsOptions } from "./slow-heads-client.ts"
import { median } from "./statistics.ts"

export async function measureSlowHeads(
  arena: Arena,
  settings: Settings,
  { causeway }: Configurations,
): Promise<Figure[]> {
  const figures = newFigures(settings.slowHeads)
  const patient = causeway.replace("idle_timeout", 'head_timeout = "10m"\nidle_timeout')
  const toml = `[node]\nname = "slow"\nthreads = 1\n${patient}`
  const edge = await startEdge(arena.edge, toml, { wrapper: ON_PROXY_CORE })
  const target = httpEndpointOf("causeway", "plain")
  const load = await LastingLoad.start(arena.client, {
    target,
    connections: 64,
    requestsPerSecond: REQUESTS_PER_SECOND,
    requests: Math.round(REQUESTS_PER_SECOND * WINDOW_SECONDS),
    warmUpRequests: Math.round(REQUESTS_PER_SECOND * SETTLE_SECONDS),
    request: requestText(),
    seed: 1,
    sleeps: true,
  })
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  const sample = async () => {
    const results: PacedResult[] = []
    while (results.length < settings.slowHeadsWindows) {
      results.push(await disturbance.undisturbed(() => load.next(() => {})))
    }
    const middle = (pick: (result: PacedResult) => number) => median(results.map(pick))
    return { p50: middle(({ p50 }) => p50), p99: middle(({ p99 }) => p99) }
  }
  for (let round = -settings.warmUpRounds; round < settings.rounds; round += 1) {
    const alone = await sample()
    const crowd = await startCrowd(arena, target, settings.slowHeads)
    await Bun.sleep(settings.restMs)
    const besieged = await sample()
    const [{ connections = 0 } = {}] = (await edge.status()).http
    await crowd.stop()
    await Bun.sleep(settings.restMs)
    if (connections < settings.slowHeads) throw new Error(`Only ${connections} slow heads`)
    if (round < 0) continue
    figures.alone.samples.push(alone.p99)
    figures.besieged.samples.push(besieged.p99)
    figures.ratio.samples.push(besieged.p99 / alone.p99)
    figures.ratioP50.samples.push(besieged.p50 / alone.p50)
  }
  await load.stop()
  await edge.stop()
  return Object.values(figures)
}

async function startCrowd({ client }: Arena, target: string, connections: number) {
  const options: SlowHeadsOptions = { target, connections, byteMs: BYTE_MS }
  const program = join(import.meta.dir, "slow-heads-client.ts")
  const argv = [...ON_LOAD_CORE, ...LEAST, process.execPath, program, JSON.stringify(options)]
  const crowd = client.spawn(argv, { name: "slow-heads" })
  await crowd.waitFor(`slow ${connections}\n`, { timeoutMs: 60_000 })
  return crowd
}

function newFigures(slowHeads: number) {
  const id = "http.slow-heads"
  const ratio = { title: "with slow heads to without", unit: "ratio" }
  const besieged = `the same with ${slowHeads} slow heads`
  return {
    alone: newFigure({ id: `${id}.alone.p99`, title: "latency at a fixed rate, p99", unit: "µs" }),
    besieged: newFigure({ id: `${id}.besieged.p99`, title: besieged, unit: "µs" }),
    ratio: newFigure({ ...ratio, id: `${id}.ratio.p99`, title: `${ratio.title}, p99`, max: 1.2 }),
    ratioP50: newFigure({ ...ratio, id: `${id}.ratio.p50`, title: `${ratio.title}, p50` }),
  }
}

const REQUESTS_PER_SECOND = 2_000
/** Between two bytes of one slow client. */
const BYTE_MS = 2_000
const WINDOW_SECONDS = 0.25
/** Between two windows. */
const SETTLE_SECONDS = 0.05
