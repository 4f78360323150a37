import { beforeEach, describe, expect, test } from "bun:test"
import type { StreamConfig } from "../config/config.ts"
import { boundPort, listenTcp } from "../linux/tcp.ts"
import { type Address, ANY_IPV4, type Endpoint } from "../net/address.ts"
import {
  allocateListenerCounters,
  LISTENER_ROWS_MAX,
  type ListenerColumn,
  type ListenerCounters,
  listenerCounters,
} from "../stream/listener-counters.ts"
import { CounterRows, listenerTemplates, refuseTakenEndpoints } from "./listeners.ts"

const LOOPBACK = "127.0.0.1" as Address

function stream(name: string, bind: readonly Endpoint[] = []): StreamConfig {
  return {
    name,
    bind,
    pool: "p",
    idleTimeoutMs: 600_000,
    maxConnections: 16_384,
    acceptProxyProtocol: [],
    allow: [],
    deny: [{ address: "192.0.2.0" as Address, length: 24 }],
  }
}

describe("CounterRows", () => {
  let counters: ListenerCounters
  let rows: CounterRows<ListenerColumn>

  beforeEach(() => {
    counters = listenerCounters(allocateListenerCounters())
    rows = new CounterRows([counters], { rowsMax: LISTENER_ROWS_MAX, gauge: "connections" })
  })

  test("rowOr() leaves an eighth of the rows to who must have one", () => {
    const few = new CounterRows([counters], { rowsMax: 16, gauge: "connections" })
    const spare = few.row("spare")
    const taken = Array.from({ length: 20 }, (_, index) => few.rowOr(`route ${index}`, spare))
    expect(new Set(taken).size).toBe(14)
    expect(taken.slice(13)).toEqual(Array.from({ length: 7 }, () => spare))
    expect(few.rowOr("route 0", spare)).toBe(taken[0] as number)
    expect(few.row("a listener")).not.toBe(spare)
  })

  test("gives a stream one row for as long as it is configured", () => {
    const [a, b] = [rows.row("a"), rows.row("b")]
    expect(a).not.toBe(b)
    counters.add(a, "connectionsTotal", 5)
    rows.keepOnly(new Set(["a"]))
    expect([rows.row("a"), counters.get(a, "connectionsTotal")]).toEqual([a, 5])
  })

  test("gives a stream that comes back a row that counts from 0", () => {
    const row = rows.row("a")
    counters.add(row, "connectionsTotal", 5)
    rows.keepOnly(new Set())
    expect(counters.get(rows.row("a"), "connectionsTotal")).toBe(0)
  })

  test("lasts for more streams, one after another, than there are rows", () => {
    for (let round = 0; round < 20_000; round++) {
      rows.row(`stream ${round}`)
      rows.keepOnly(new Set())
    }
    expect(rows.row("last")).toBeLessThan(16_384)
  })

  test("never gives a row with open connections to another stream", () => {
    const draining = rows.row("draining")
    counters.add(draining, "connections", 1)
    rows.keepOnly(new Set())
    for (let round = 0; round < 16_384; round++) {
      expect(rows.row(`stream ${round}`)).not.toBe(draining)
      rows.keepOnly(new Set())
    }
  })
})

test("listenerTemplates() makes one listener of each endpoint, on the stream's row", () => {
  const binds = [
    { address: LOOPBACK, port: 80 },
    { address: "::1" as Address, port: 80 },
  ]
  const templates = listenerTemplates(stream("web", binds), 7)
  expect(templates.map(({ id }) => id)).toEqual(["web 127.0.0.1:80", "web [::1]:80"])
  expect(templates[1]).toEqual({
    kind: "stream",
    id: "web [::1]:80",
    stream: "web",
    row: 7,
    endpoint: { address: "::1" as Address, port: 80 },
    pool: "p",
    idleTimeoutMs: 600_000,
    maxConnections: 16_384,
    acceptProxyProtocol: [],
    allow: [],
    deny: [{ address: "192.0.2.0" as Address, length: 24 }],
  })
})

describe("refuseTakenEndpoints()", () => {
  test("names the endpoint, and how to find who has it", () => {
    using other = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: true })
    const endpoint = { address: LOOPBACK, port: boundPort(other) }
    expect(() => refuseTakenEndpoints([endpoint], () => [])).toThrow(
      `Cannot bind 127.0.0.1:${endpoint.port}: EADDRINUSE (another program listens on port ` +
        `${endpoint.port}; find it with: ss -ltnp sport = :${endpoint.port})`,
    )
  })

  test("cannot tell who has an endpoint that is our own, too", () => {
    using own = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: true })
    const endpoint = { address: LOOPBACK, port: boundPort(own) }
    refuseTakenEndpoints([endpoint], () => [endpoint])
    refuseTakenEndpoints([endpoint], () => [{ ...endpoint, address: ANY_IPV4 }])
  })

  test("tells it where our own listen on the port of another address", () => {
    using other = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: true })
    const endpoint = { address: LOOPBACK, port: boundPort(other) }
    const own = { ...endpoint, address: "127.0.0.2" as Address }
    expect(() => refuseTakenEndpoints([endpoint], () => [own])).toThrow("another program listens")
  })

  test("lets a free endpoint pass", () => {
    const socket = listenTcp({ address: LOOPBACK, port: 0 }, { reusePort: true })
    const port = boundPort(socket)
    socket.close()
    refuseTakenEndpoints([{ address: LOOPBACK, port }], () => [])
  })
})
