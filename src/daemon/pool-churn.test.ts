/**
 * A pool whose servers come and go 200 times a second, as those of a Service in a rolling update
 * do, under requests and new connections: nobody notices, and who has left gets nothing more.
 */
import { afterEach, beforeEach, expect, test } from "bun:test"
import type { DataPoolSpec } from "../dataplane/messages.ts"
import { httpConfig, route } from "../http/fixtures/routing.ts"
import type { Address, Endpoint } from "../net/address.ts"
import { DataThreads, type ListenerTemplate } from "./data-threads.ts"
import { eventually, freeEndpoint, uniqueAddress } from "./fixtures/echo.ts"

const SERVERS = 20
const MEMBERS = 10
const CHANGES = 300
const CHANGE_MS = 5
const CLIENTS = 8

/** For what is under way to a server when it leaves. */
const LAST_REQUEST_MS = 200

interface Member {
  readonly endpoint: Endpoint
  readonly server: { stop(force?: boolean): void }
  served: number
}

let threads: DataThreads
let members: Member[]
let address: Address

beforeEach(async () => {
  address = uniqueAddress()
  members = Array.from({ length: SERVERS }, () => startMember())
  threads = new DataThreads({
    count: 2,
    sessionsMax: 1000,
    faultInjection: false,
    nice: 0,
    onLog: () => {},
    onAccess: () => {},
    onHopeless: () => {},
  })
  await threads.start()
  for (let slot = 0; slot < SERVERS; slot++) threads.board.reset(slot, 1, "unchecked")
})

afterEach(async () => {
  await threads.stop()
  for (const { server } of members) server.stop(true)
})

function startMember(): Member {
  const server = Bun.serve({
    hostname: address,
    port: 0,
    fetch: () => {
      member.served++
      return new Response("ok")
    },
  })
  const endpoint = { address, port: server.port ?? 0 }
  const member: Member = { endpoint, server, served: 0 }
  return member
}

/** Ten of the twenty; with each round the one that is longest in it goes, and another comes. */
function poolAt(round: number): DataPoolSpec {
  const slots = Array.from({ length: MEMBERS }, (_, at) => (round + at) % SERVERS)
  return {
    name: "a",
    balance: "round_robin",
    slowStartMs: 0,
    servers: slots.map((slot) => ({
      name: `s${slot}`,
      endpoint: (members[slot] as Member).endpoint,
      slot,
      backup: false,
      maxConnections: 0,
    })),
    connectTimeoutMs: 1000,
    connectRetries: 0,
    maxFails: 0,
    failTimeoutMs: 10_000,
    closeOnDown: false,
    proxyProtocol: undefined,
    source: [],
    tls: undefined,
  }
}

async function change(round: number, listeners: readonly ListenerTemplate[] = []): Promise<void> {
  const http = httpConfig(route("a"))
  const service = { config: http, row: 0, routeRows: [1], tls: undefined }
  await threads.configure({
    pools: { set: [poolAt(round)], remove: [] },
    services: { set: listeners.length === 0 ? [] : [service], remove: [] },
    listeners: { set: listeners, remove: [] },
    accessLog: false,
    debugLog: false,
  })
}

/** Asks until told to stop; how often it was answered, and how often not. */
async function ask(
  { port }: Endpoint,
  { keepalive, until }: { readonly keepalive: boolean; readonly until: () => boolean },
): Promise<{ readonly answered: number; readonly failed: number }> {
  let answered = 0
  let failed = 0
  while (!until()) {
    const response = await fetch(`http://${address}:${port}/`, { keepalive }).catch(() => undefined)
    if (response?.ok === true && (await response.text()) === "ok") answered++
    else failed++
  }
  return { answered, failed }
}

test("200 changes a second of a pool's servers fail nobody", async () => {
  const [web, stream] = [freeEndpoint(address), freeEndpoint(address)]
  const listeners: ListenerTemplate[] = [
    { kind: "http", id: "h", service: "web", endpoint: web, isTls: false },
    {
      kind: "stream",
      id: "s",
      stream: "s",
      row: 3,
      endpoint: stream,
      pool: "a",
      idleTimeoutMs: 60_000,
      maxConnections: 1000,
      acceptProxyProtocol: [],
      allow: [],
      deny: [],
    },
  ]
  threads.openSockets(listeners)
  await change(0, listeners)
  let isOver = false
  const until = () => isOver
  const clients = Array.from({ length: CLIENTS }, (_, index) => [
    ask(web, { keepalive: index % 2 === 0, until }),
    ask(stream, { keepalive: false, until }),
  ]).flat()
  const startedAt = performance.now()
  for (let round = 1; round <= CHANGES; round++) {
    await change(round)
    const waitMs = startedAt + round * CHANGE_MS - performance.now()
    if (waitMs > 0) await Bun.sleep(waitMs)
  }
  await Bun.sleep(LAST_REQUEST_MS)
  const last = new Set(poolAt(CHANGES).servers.map(({ slot }) => slot))
  const gone = members.filter((_, slot) => !last.has(slot))
  const servedBefore = gone.map(({ served }) => served)
  await Bun.sleep(LAST_REQUEST_MS)
  isOver = true
  const results = await Promise.all(clients)
  expect(results.map(({ failed }) => failed)).toEqual(results.map(() => 0))
  // All had work while they were in the pool, and those who have left have none.
  expect(members.filter(({ served }) => served === 0)).toEqual([])
  expect(gone.map(({ served }) => served)).toEqual(servedBefore)
  const total = results.reduce((sum, { answered }) => sum + answered, 0)
  expect(total).toBeGreaterThan(CHANGES)
  await eventually("the books to balance", () =>
    threads.serverCounters.every((table) => table.sumOf("connections") === 0),
  )
}, 30_000)
