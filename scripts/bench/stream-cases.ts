/**
 * The timed cases of the stream part. Each loads one program at a time and divides the CPU time it
 * took by what the load got done; the paced case also gives the latencies the client saw.
 */
import { join } from "node:path"
import { type Arena, BULK_PATH } from "./arena.ts"
import type { Contender } from "./contender.ts"
import { download, paced, SMALL_REQUEST, upload, wrk } from "./load.ts"
import { newRow } from "./report.ts"
import { type Case, type Entrant, withCpu } from "./rounds.ts"
import type { Settings } from "./settings.ts"
import { median } from "./statistics.ts"
import { endpointOf, type Service, TUNED_LABELS } from "./stream-configurations.ts"

export interface StreamCases {
  readonly cases: readonly Case[]
  /** Requests per second of the paced case, once it has run. */
  pacedRate(): number
}

export function streamCases(
  arena: Arena,
  contenders: readonly Contender[],
  settings: Settings,
): StreamCases {
  const plain = entrantsOf(contenders, "web")
  const all = [...plain, ...entrantsOf(contenders, "web-tuned")]
  const small = smallCase(arena, plain, settings)
  const pace = pacedCase(arena, plain, settings, () => PACED_SHARE * small.throughput())
  const cases = [
    small,
    connectionCase(arena, plain, settings),
    downloadCase(arena, all, settings),
    uploadCase(arena, entrantsOf(contenders, "sink"), settings),
    pace,
  ]
  return { cases, pacedRate: pace.rate }
}

/** The programs that offer a service; for "web-tuned" that is the peers. */
export function entrantsOf(contenders: readonly Contender[], service: Service): Entrant[] {
  return contenders.flatMap((contender) => {
    const { column } = contender
    const label = service === "web-tuned" ? TUNED_LABELS[column] : ""
    return label === undefined ? [] : [{ contender, target: endpointOf(column, service), label }]
  })
}

/** Small requests over connections that stay open. */
function smallCase(
  { client }: Arena,
  entrants: readonly Entrant[],
  { loadSeconds }: Settings,
): Case & { throughput(): number } {
  const spec = { id: "stream.small.cpu", title: "CPU per small request", unit: "µs" }
  const throughputs: number[] = []
  return {
    entrants,
    rows: [newRow(entrants, { ...spec, ratioMax: 1.05 })],
    throughput: () => median(throughputs),
    measure: async (entrant) => {
      const load = () => wrk(client, entrant.target, { seconds: loadSeconds, connections: 50 })
      const { result, cpuNs } = await withCpu(entrant, load)
      throughputs.push(result.requests / result.seconds)
      return [cpuNs / 1e3 / result.requests]
    },
  }
}

/** A connection for each request: accept, connect, one exchange, close on both sides. */
function connectionCase(
  { client }: Arena,
  entrants: readonly Entrant[],
  { loadSeconds }: Settings,
): Case {
  const title = "CPU per connection with one request"
  const spec = { id: "stream.connection.cpu", title, unit: "µs", ratioMax: 1.1 }
  const options = { seconds: loadSeconds, connections: 50, close: true }
  return {
    entrants,
    rows: [newRow(entrants, spec)],
    measure: async (entrant) => {
      const { result, cpuNs } = await withCpu(entrant, () => wrk(client, entrant.target, options))
      return [cpuNs / 1e3 / result.requests]
    },
  }
}

function downloadCase({ client }: Arena, entrants: readonly Entrant[], settings: Settings): Case {
  const spec = { id: "stream.download.cpu", title: "CPU per GB downloaded", unit: "ms" }
  return {
    entrants,
    rows: [newRow(entrants, { ...spec, ratioMax: 0.5 })],
    measure: (entrant) =>
      cpuPerGigabyte(entrant, settings, () => download(client, entrant.target, settings.bulkFiles)),
  }
}

function uploadCase(arena: Arena, entrants: readonly Entrant[], settings: Settings): Case {
  const spec = { id: "stream.upload.cpu", title: "CPU per GB uploaded", unit: "ms" }
  const file = join(arena.origin.directory, BULK_PATH)
  const load = ({ target }: Entrant) => upload(arena.client, target, file, settings.bulkFiles)
  return {
    entrants,
    rows: [newRow(entrants, spec)],
    measure: (entrant) => cpuPerGigabyte(entrant, settings, () => load(entrant)),
  }
}

/** `load` returns the bytes that arrived. */
async function cpuPerGigabyte(
  entrant: Entrant,
  { bulkFileMib, bulkFiles }: Settings,
  load: () => Promise<number>,
): Promise<number[]> {
  const expected = bulkFileMib * 1024 * 1024 * bulkFiles
  const { result, cpuNs } = await withCpu(entrant, load)
  if (result !== expected) throw new Error(`${result} bytes arrived instead of ${expected}`)
  return [cpuNs / 1e6 / (expected / 1e9)]
}

/** Open loop at one rate for all, a third of what they manage in a closed loop. */
function pacedCase(
  { client }: Arena,
  entrants: readonly Entrant[],
  { pacedSeconds }: Settings,
  chooseRate: () => number,
): Case & { rate(): number } {
  const latency = { title: "latency at a fixed rate", unit: "µs" }
  const specs = [
    { id: "stream.paced.p99", ...latency, title: `${latency.title}, p99`, ratioMax: 1.1 },
    { id: "stream.paced.p50", ...latency, title: `${latency.title}, p50` },
    { id: "stream.paced.p999", ...latency, title: `${latency.title}, p99.9` },
    { id: "stream.paced.cpu", title: "CPU per request at that rate", unit: "µs" },
  ]
  let rate = 0
  const measure = async (entrant: Entrant, round: number) => {
    if (rate === 0) rate = Math.round(chooseRate() / 100) * 100
    const requests = Math.round(rate * pacedSeconds)
    const options = {
      target: entrant.target,
      connections: 64,
      requestsPerSecond: rate,
      requests,
      warmUpRequests: Math.round(rate / 4),
      request: SMALL_REQUEST,
      seed: 1 + Math.abs(round),
    }
    const { result, cpuNs } = await withCpu(entrant, () => paced(client, options))
    const cpu = cpuNs / 1e3 / (requests + options.warmUpRequests)
    return [result.p99, result.p50, result.p999, cpu]
  }
  return { entrants, rows: specs.map((spec) => newRow(entrants, spec)), measure, rate: () => rate }
}

/** Moderate: latency is not yet about queues. */
const PACED_SHARE = 0.35
