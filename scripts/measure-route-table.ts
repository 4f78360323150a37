/**
 * What choosing a route costs, with one route and with many: nanoseconds per request for parsing
 * the head alone and with the decision, the least of several rounds of CPU time (others may be at
 * work on the machine). Hosts and paths are asked for at random, so that most of a large table is
 * cold. Run it with `bun scripts/measure-route-table.ts`.
 */
import type { HttpConfig } from "../src/config/http-config.ts"
import { parseConfig } from "../src/config/load.ts"
import { RequestHead } from "../src/http/head.ts"
import { RouteTable } from "../src/http/route-table.ts"
import type { Address } from "../src/net/address.ts"
import { instant } from "../src/net/time.ts"

const ROUNDS = 15
const REQUESTS = 200_000
const HEADS = 65_536
/** CPU time of one proxied request, for the comparison (DESIGN.md §1). */
const REQUEST_NS = 13_000
const LIMITS = { headBytesMax: 65_536, fieldsMax: 128 }
const ORIGIN = {
  client: "192.0.2.1" as Address,
  isTls: false,
  port: 80,
  isTrusted: false,
  trusts: () => false,
}

const base = measure(1, 1)
for (const [hosts, paths] of [
  [1, 10],
  [1000, 10],
  [10_000, 10],
] as const) {
  const many = measure(hosts, paths)
  const extra = many.decideNs - base.decideNs
  print(
    `${hosts * paths} routes: ${many.decideNs.toFixed(0)} ns, ${extra.toFixed(0)} ns more than one ` +
      `route = ${((100 * extra) / REQUEST_NS).toFixed(1)} % of a request (built in ` +
      `${many.buildMs.toFixed(0)} ms)`,
  )
}

function measure(hosts: number, paths: number) {
  const http = configOf(hosts, paths)
  const startMs = performance.now()
  const table = RouteTable.compile({ http, rows: [] })
  const buildMs = performance.now() - startMs
  const heads = Array.from({ length: HEADS }, (_, index) => headOf(index, { hosts, paths }))
  const parseNs = least((head) => head.fieldCount, heads)
  const wholeNs = least((head) => {
    const decision = table.decide(head, ORIGIN, instant(0))
    if (decision.type !== "forward") throw new Error(`No route for ${head.host}`)
    return decision.stickySlot
  }, heads)
  const decideNs = wholeNs - parseNs
  if (hosts * paths === 1) {
    print(`1 route: parse ${parseNs.toFixed(0)} ns, decide ${decideNs.toFixed(0)} ns`)
  }
  return { decideNs, buildMs }
}

function configOf(hosts: number, paths: number): HttpConfig {
  const text =
    '[[pool]]\nname = "p"\nservers = ["192.0.2.1:80"]\n[[http]]\nname = "h"\nbind = [":80"]\n' +
    '[[http.route]]\npool = "p"\npath = "/service-0/v1"\nhost = "host-0.example.com"\n'
  const files = {
    read: () => ({ ok: false, reason: "" }) as const,
    find: () => ({ ok: false, reason: "" }) as const,
    mode: () => ({ ok: false, reason: "" }) as const,
  }
  const result = parseConfig([{ path: "routes.toml", text }], { files, hostName: "edge" })
  if (!result.ok) throw new Error(JSON.stringify(result.diagnostics))
  const [http] = result.config.http
  const [route] = http?.routes ?? []
  if (http === undefined || route === undefined) throw new Error("No route")
  const routes = Array.from({ length: hosts * paths }, (_, index) => {
    const host = `host-${Math.floor(index / paths)}.example.com`
    return { ...route, name: `route-${index}`, host, path: `/service-${index % paths}/v1` }
  })
  return { ...http, routes }
}

function headOf(index: number, { hosts, paths }: { hosts: number; paths: number }): Buffer {
  // Any sequence without a pattern, the same in every run.
  const random = Math.imul(index + 1, 0x9e3779b1) >>> 0
  const host = random % hosts
  const path = (random >>> 16) % paths
  return Buffer.from(
    `GET /service-${path}/v1/users/42?page=7 HTTP/1.1\r\nHost: host-${host}.example.com\r\n` +
      "User-Agent: measure\r\nAccept: */*\r\n\r\n",
  )
}

/** Nanoseconds to parse a head and do `work` with it. */
function least(work: (head: RequestHead) => number, heads: readonly Buffer[]): number {
  const head = new RequestHead()
  let sum = 0
  const rounds = Array.from({ length: ROUNDS }, () => {
    const start = process.cpuUsage()
    for (let count = 0; count < REQUESTS; count++) {
      const bytes = heads[count % HEADS] as Buffer
      head.parse(bytes, 0, bytes.length, LIMITS)
      sum += work(head)
    }
    const { user, system } = process.cpuUsage(start)
    return ((user + system) * 1000) / REQUESTS
  })
  if (Number.isNaN(sum)) throw new Error("Nothing was measured")
  return Math.min(...rounds)
}

function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
