/**
 * The timed cases of the HTTP part. Each loads one program at a time and divides the CPU time it
 * took by what the load got done; the paced case also gives the latencies the client saw.
 */
import type { Arena } from "./arena.ts"
import type { Contender } from "./contender.ts"
import { HTTP_TUNED_LABELS, type HttpService, httpEndpointOf } from "./http-configurations.ts"
import { HTTP_BODY_BYTES, HTTP_BODY_PATH, HTTP_HOST, HTTP_SMALL_PATH } from "./http-origin.ts"
import { handshakes, type LoadResult, paced, wrk } from "./load.ts"
import { newRow } from "./report.ts"
import { type Case, type Entrant, withCpu } from "./rounds.ts"
import type { Settings } from "./settings.ts"
import { median } from "./statistics.ts"

export interface HttpCases {
  readonly cases: readonly Case[]
  /** Requests per second of the paced case, once it has run. */
  pacedRate(): number
}

export function httpCases(
  arena: Arena,
  contenders: readonly Contender[],
  settings: Settings,
): HttpCases {
  const plain = httpEntrantsOf(contenders, "plain")
  const tls = httpEntrantsOf(contenders, "tls")
  const load = httpLoads(arena, settings)
  const small = smallCase(plain, load.keepAlive)
  const pace = pacedCase(arena, plain, settings, () => PACED_SHARE * small.throughput())
  const cases = [
    small,
    cpuCase(plain, { ...CONNECTION, load: load.connections }),
    cpuCase(tls, { ...TLS_REQUEST, load: load.tlsKeepAlive }),
    cpuCase(tls, { ...TLS_HANDSHAKE, load: load.handshakes }),
    bodyCase([...plain, ...httpEntrantsOf(contenders, "tuned")], load.bodies),
    pace,
  ]
  return { cases, pacedRate: pace.rate }
}

/** The programs that offer a service; for "tuned" that is the peers. */
export function httpEntrantsOf(contenders: readonly Contender[], service: HttpService): Entrant[] {
  return contenders.flatMap((contender) => {
    const { column } = contender
    const label = service === "tuned" ? HTTP_TUNED_LABELS[column] : ""
    if (label === undefined) return []
    return [{ contender, target: httpEndpointOf(column, service), label }]
  })
}

type Load = (entrant: Entrant) => Promise<LoadResult>

/** The closed loops, also for counting system calls. */
export function httpLoads(
  { client }: Arena,
  { loadSeconds: seconds, handshakes: connections }: Settings,
): Readonly<Record<"keepAlive" | "connections" | "tlsKeepAlive" | "handshakes" | "bodies", Load>> {
  const small = { seconds, connections: 50, host: HTTP_HOST, path: HTTP_SMALL_PATH }
  const bodies = { ...small, connections: 4, path: HTTP_BODY_PATH }
  return {
    keepAlive: ({ target }) => wrk(client, target, small),
    connections: ({ target }) => wrk(client, target, { ...small, close: true }),
    tlsKeepAlive: ({ target }) => wrk(client, target, { ...small, scheme: "https" }),
    handshakes: ({ target }) => {
      const options = { target, serverName: HTTP_HOST, connections, concurrency: 16 }
      return handshakes(client, { ...options, request: requestText("Connection: close\r\n") })
    },
    bodies: ({ target }) => wrk(client, target, bodies),
  }
}

/** A small request over a connection that stays open, or with further fields. */
export function requestText(fields = ""): string {
  return `GET ${HTTP_SMALL_PATH} HTTP/1.1\r\nHost: ${HTTP_HOST}\r\n${fields}\r\n`
}

const SMALL = { id: "http.small.cpu", title: "CPU per request", unit: "µs", ratioMax: 0.95 }
const CONNECTION = {
  ...{ id: "http.connection.cpu", unit: "µs", ratioMax: 1.05 },
  title: "CPU per connection with one request",
}
const TLS_REQUEST = {
  ...{ id: "http.tls.cpu", unit: "µs", ratioMax: 1.05 },
  title: "CPU per request over TLS",
}
const TLS_HANDSHAKE = {
  ...{ id: "http.handshake.cpu", unit: "µs", ratioMax: 1.05 },
  title: "CPU per full TLS handshake, one request",
}

function cpuCase(
  entrants: readonly Entrant[],
  { load, ...spec }: Omit<Parameters<typeof newRow>[1], never> & { readonly load: Load },
): Case {
  return {
    entrants,
    rows: [newRow(entrants, spec)],
    measure: async (entrant) => {
      const { result, cpuNs } = await withCpu(entrant, () => load(entrant))
      return [cpuNs / 1e3 / result.requests]
    },
  }
}

function smallCase(
  entrants: readonly Entrant[],
  load: Load,
): Case & { readonly throughput: () => number } {
  const throughputs: number[] = []
  const counted = async (entrant: Entrant) => {
    const result = await load(entrant)
    throughputs.push(result.requests / result.seconds)
    return result
  }
  return {
    ...cpuCase(entrants, { ...SMALL, load: counted }),
    throughput: () => median(throughputs),
  }
}

function bodyCase(entrants: readonly Entrant[], load: Load): Case {
  const spec = { id: "http.body.cpu", title: "CPU per GB in bodies of 1 MiB", unit: "ms" }
  return {
    entrants,
    rows: [newRow(entrants, { ...spec, ratioMax: 0.65 })],
    measure: async (entrant) => {
      const { result, cpuNs } = await withCpu(entrant, () => load(entrant))
      return [cpuNs / 1e6 / ((result.requests * HTTP_BODY_BYTES) / 1e9)]
    },
  }
}

/** Open loop at one rate for all, a third of what they manage in a closed loop. */
function pacedCase(
  { client }: Arena,
  entrants: readonly Entrant[],
  { pacedSeconds }: Settings,
  chooseRate: () => number,
): Case & { rate(): number } {
  const specs = [
    { id: "http.paced.p99", title: "latency at a fixed rate, p99", unit: "µs", ratioMax: 1.05 },
    { id: "http.paced.p50", title: "latency at a fixed rate, p50", unit: "µs" },
    { id: "http.paced.cpu", title: "CPU per request at that rate", unit: "µs" },
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
      request: requestText(),
      seed: 1 + Math.abs(round),
    }
    const { result, cpuNs } = await withCpu(entrant, () => paced(client, options))
    return [result.p99, result.p50, cpuNs / 1e3 / (requests + options.warmUpRequests)]
  }
  return { entrants, rows: specs.map((spec) => newRow(entrants, spec)), measure, rate: () => rate }
}

/** Moderate: latency is not yet about queues. */
const PACED_SHARE = 0.35
