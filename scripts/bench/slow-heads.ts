/**
 * Slow heads (slowloris): what other clients notice of thousands who begin a request and never come
 * to the end of it. The slow ones are on the load's core and go last there (SCHED_IDLE), so that it
 * is the proxy and not the measuring that is made slow; those who are cut come again.
 */
import { join } from "node:path"
import { startEdge } from "../../test/lab/edge.ts"
import { type Arena, arenaPids, ON_LOAD_CORE, ON_PROXY_CORE } from "./arena.ts"
import type { Configurations } from "./contender.ts"
import { Disturbance } from "./disturbance.ts"
import { requestText } from "./http-cases.ts"
import { httpEndpointOf } from "./http-configurations.ts"
import { LastingLoad, LEAST } from "./load.ts"
import { type Figure, newFigure } from "./report.ts"
import type { Settings } from "./settings.ts"
import type { SlowHeadsOptions } from "./slow-heads-client.ts"

export async function measureSlowHeads(
  arena: Arena,
  settings: Settings,
  { causeway }: Configurations,
): Promise<Figure[]> {
  const figures = newFigures(settings.slowHeads)
  const toml = `[node]\nname = "slow"\nthreads = 1\n${causeway}`
  const edge = await startEdge(arena.edge, toml, { wrapper: ON_PROXY_CORE })
  const target = httpEndpointOf("causeway", "plain")
  const load = await LastingLoad.start(arena.client, {
    target,
    connections: 64,
    requestsPerSecond: REQUESTS_PER_SECOND,
    requests: Math.round(REQUESTS_PER_SECOND * settings.pacedSeconds),
    warmUpRequests: Math.round(REQUESTS_PER_SECOND / 2),
    request: requestText(),
    seed: 1,
    sleeps: true,
  })
  const disturbance = new Disturbance(() => arenaPids(arena), 1000 * settings.patienceSeconds)
  const sample = () => disturbance.undisturbed(() => load.next(() => {}))
  for (let round = -settings.warmUpRounds; round < settings.rounds; round += 1) {
    const alone = await sample()
    const crowd = await startCrowd(arena, target, settings.slowHeads)
    const besieged = await sample()
    const [{ connections = 0 } = {}] = (await edge.status()).http
    await crowd.stop()
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
  const figure = (id: string, title: string, unit: string, max?: number): Figure =>
    newFigure({ id: `http.slow-heads.${id}`, title, unit, ...(max === undefined ? {} : { max }) })
  return {
    alone: figure("alone.p99", "latency at a fixed rate, p99", "µs"),
    besieged: figure("besieged.p99", `the same with ${slowHeads} slow heads`, "µs"),
    ratio: figure("ratio.p99", "with slow heads to without, p99", "ratio", 1.2),
    ratioP50: figure("ratio.p50", "with slow heads to without, p50", "ratio"),
  }
}

const REQUESTS_PER_SECOND = 2_000
/** Between two bytes of one slow client. */
const BYTE_MS = 2_000
