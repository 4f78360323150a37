import { heapStats } from "bun:jsc"
import { afterEach, beforeEach, describe, expect, test } from "bun:test"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import type { AccessRecord, DataPoolSpec, DataStreamSpec } from "../dataplane/messages.ts"
import type { Address, Endpoint } from "../net/address.ts"
import { DataThreads, type DataThreadsOptions, type ListenerTemplate } from "./data-threads.ts"
import { Client, EchoServer, eventually, freeEndpoint, uniqueAddress } from "./fixtures/echo.ts"

const CLIENTS = 24
const ROW = 3

let threads: DataThreads
let server: EchoServer
let address: Address
let endpoint: Endpoint
let hopeless: string[]
let logged: string[]
let records: AccessRecord[]
let clients: Client[]
let fdsBefore: Set<string>

beforeEach(async () => {
  address = uniqueAddress()
  server = new EchoServer(address)
  fdsBefore = openDescriptors()
  endpoint = freeEndpoint(address)
  hopeless = []
  logged = []
  records = []
  clients = []
  await start()
})

afterEach(async () => {
  for (const client of clients) client.close()
  await threads.stop()
  server.stop()
})

async function start(options: Partial<DataThreadsOptions> = {}): Promise<void> {
  threads = new DataThreads({
    count: 2,
    sessionsMax: 100,
    faultInjection: true,
    nice: 0,
    onLog: ({ message }) => logged.push(message),
    onAccess: (some) => records.push(...some),
    onHopeless: (reason) => hopeless.push(reason),
    ...options,
  })
  await threads.start()
  await serve([template()])
}

function template(overrides: Partial<DataStreamSpec & { id: string }> = {}): ListenerTemplate {
  return {
    kind: "stream",
    id: "s",
    stream: "s",
    row: ROW,
    endpoint,
    pool: "p",
    idleTimeoutMs: 60_000,
    maxConnections: 1000,
    acceptProxyProtocol: [],
    allow: [],
    deny: [],
    ...overrides,
  }
}

function pool(overrides: Partial<DataPoolSpec> = {}): DataPoolSpec {
  threads.board.reset(0, 1, "up")
  return {
    name: "p",
    balance: "round_robin",
    slowStartMs: 0,
    servers: [{ name: "a", endpoint: server.endpoint, slot: 0, backup: false, maxConnections: 0 }],
    connectTimeoutMs: 1000,
    connectRetries: 1,
    maxFails: 0,
    failTimeoutMs: 10_000,
    closeOnDown: false,
    proxyProtocol: undefined,
    source: [],
    tls: undefined,
    ...overrides,
  }
}

async function serve(templates: readonly ListenerTemplate[], spec = pool()): Promise<void> {
  threads.openSockets(templates.filter(({ id }) => !threads.hasListener(id)))
  await threads.configure({
    pools: { set: [spec], remove: [] },
    services: { set: [], remove: [] },
    listeners: { set: templates, remove: [] },
    accessLog: true,
    debugLog: true,
  })
}

async function connect(at = endpoint): Promise<Client> {
  const client = await Client.connect(at)
  clients.push(client)
  return client
}

/** Clients that have been served, on both threads. */
async function connectMany(): Promise<Client[]> {
  const many = await Promise.all(Array.from({ length: CLIENTS }, () => connect()))
  expect(await Promise.all(many.map((client) => client.echo("hello")))).not.toContain(false)
  expect(openOn(0) + openOn(1)).toBe(CLIENTS)
  expect(Math.min(openOn(0), openOn(1))).toBeGreaterThan(0)
  return many
}

function openOn(thread: number): number {
  return threads.listenerCounters[thread]?.get(ROW, "connections") ?? Number.NaN
}

/** Connections as each of the books has them. */
function books(): number[] {
  const servers = threads.serverCounters.map((table) => table.get(0, "connections"))
  return [openOn(0) + openOn(1), (servers[0] ?? 0) + (servers[1] ?? 0), threads.budget.open]
}

async function untilAllClosed(): Promise<void> {
  for (const client of clients) client.close()
  await eventually("all to be over", () => books().every((count) => count === 0))
}

function openDescriptors(): Set<string> {
  const links = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return ""
    }
  })
  return new Set(links.filter((link) => /^(socket|pipe):/.test(link)))
}

function newDescriptors(): string[] {
  return [...openDescriptors()].filter((link) => !fdsBefore.has(link))
}

/** Threads of this process that block in a loop of ours. */
async function untilWorkersAreGone(): Promise<void> {
  await eventually("the Workers of earlier tests to end", () => workers() === 2)
}

function workers(): number {
  return readdirSync("/proc/self/task").filter((task) => nameOf(task).startsWith("Worker")).length
}

function nameOf(task: string): string {
  try {
    return readFileSync(`/proc/self/task/${task}/comm`, "utf8")
  } catch {
    return ""
  }
}

function epollSets(): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes("eventpoll")
    } catch {
      return false
    }
  }).length
}

test("start() brings up threads that share the connections of a listener", async () => {
  await connectMany()
  expect(books()).toEqual([CLIENTS, CLIENTS, CLIENTS])
  expect([threads.count, threads.restarts, threads.isBeating]).toEqual([2, 0, true])
  await untilAllClosed()
  await eventually("the access lines", () => records.length === CLIENTS)
})

test("stop() resets what is open and leaves no descriptor", async () => {
  const many = await connectMany()
  await threads.stop()
  await eventually("the clients to hear", () => many.every(({ isClosed }) => isClosed))
  expect(books()).toEqual([0, 0, 0])
  for (const client of many) client.close()
  server.stop()
  await eventually("the descriptors to go", () => newDescriptors().length === 0)
  await eventually("the Workers to end", () => workers() === 0)
})

describe.each(["throw", "hang"] as const)("a thread that does %s", (fault) => {
  test("is replaced within a second, and nobody else notices", async () => {
    const many = await connectMany()
    const [lost, kept] = [openOn(0), openOn(1)]
    const injectedAt = performance.now()
    expect(threads.inject(0, fault)).toBe(true)
    await eventually("the replacement", () => threads.restarts === 1)
    expect(performance.now() - injectedAt).toBeLessThan(1000)
    await eventually("the lost to hear", () => many.filter((each) => each.isClosed).length === lost)
    const rest = many.filter(({ isClosed }) => !isClosed)
    expect(rest).toHaveLength(kept)
    expect(await Promise.all(rest.map((client) => client.echo("still here")))).not.toContain(false)
    expect(books()).toEqual([kept, kept, kept])
    expect(hopeless).toEqual([])
  })

  test("hands its share of new connections to its replacement", async () => {
    threads.inject(0, fault)
    await eventually("the replacement", () => threads.restarts === 1)
    await connectMany()
    expect(books()).toEqual([CLIENTS, CLIENTS, CLIENTS])
    await untilAllClosed()
  })

  test("leaves no descriptor behind", async () => {
    await connectMany()
    await untilWorkersAreGone()
    const sets = epollSets()
    const open = newDescriptors().length - 2 * CLIENTS - 2 * CLIENTS
    threads.inject(0, fault)
    await eventually("the replacement", () => threads.restarts === 1)
    await untilAllClosed()
    await eventually("its descriptors to go", () => newDescriptors().length <= open)
    await eventually("its epoll set to go", () => epollSets() === sets)
  })

  test("is replaced with what it was to serve by then, were it reloaded meanwhile", async () => {
    const other = freeEndpoint(address)
    const added = template({ id: "t", endpoint: other })
    threads.inject(0, fault)
    threads.openSockets([added])
    await threads.configure({
      pools: { set: [pool({ connectRetries: 2 })], remove: [] },
      services: { set: [], remove: [] },
      listeners: { set: [added], remove: ["s"] },
      accessLog: false,
      debugLog: true,
    })
    await eventually("the replacement", () => threads.restarts === 1)
    expect(threads.listenerIds()).toEqual(["t"])
    await expect(connect(endpoint)).rejects.toThrow()
    const many = await Promise.all(Array.from({ length: CLIENTS }, () => connect(other)))
    expect(await Promise.all(many.map((client) => client.echo("hello")))).not.toContain(false)
    expect(Math.min(openOn(0), openOn(1))).toBeGreaterThan(0)
    await untilAllClosed()
    // Neither thread remembers the old sockets: both serve the listener when it comes back.
    await serve([template()])
    await connectMany()
    expect(threads.restarts).toBe(1)
  })
})

test("both threads may go at once", async () => {
  const many = await connectMany()
  threads.inject(0, "hang")
  threads.inject(1, "throw")
  await eventually("the replacements", () => threads.restarts === 2)
  await eventually("the clients to hear", () => many.every(({ isClosed }) => isClosed))
  expect(books()).toEqual([0, 0, 0])
  await connectMany()
})

test("threads that keep dying are hopeless, said once", async () => {
  for (let deaths = 1; deaths <= 5; deaths++) {
    threads.inject(0, "throw")
    await eventually(`replacement ${deaths}`, () => threads.restarts === deaths)
  }
  threads.inject(0, "throw")
  await eventually("the verdict", () => hopeless.length > 0)
  // It is silent now; two looks at its heart later nobody has tried to replace it.
  await eventually("its silence", () => !threads.isBeating)
  await Bun.sleep(250)
  expect(hopeless).toEqual(["data threads ended 5 times within a minute"])
  expect(threads.restarts).toBe(5)
}, 10_000)

test("inject() is refused where it was not asked for", async () => {
  await threads.stop()
  await start({ faultInjection: false })
  expect(threads.inject(0, "throw")).toBe(false)
  await connectMany()
  expect(threads.restarts).toBe(0)
})

describe("openSockets()", () => {
  test("changes nothing when one of them cannot be opened", () => {
    const before = newDescriptors().length
    const good = template({ id: "good", endpoint: freeEndpoint(address) })
    const taken = template({ id: "taken", endpoint: server.endpoint })
    expect(() => threads.openSockets([good, taken])).toThrow("EADDRINUSE")
    expect(threads.listenerIds()).toEqual(["s"])
    expect(newDescriptors()).toHaveLength(before)
  })
})

describe("configure()", () => {
  test("leaves the connections and sockets of what it does not name alone", async () => {
    const many = await connectMany()
    const other = template({ id: "t", endpoint: freeEndpoint(address) })
    for (let round = 0; round < 20; round++) {
      await serve([other])
      await threads.configure({
        pools: { set: [], remove: [] },
        services: { set: [], remove: [] },
        listeners: { set: [], remove: ["t"] },
        accessLog: true,
        debugLog: true,
      })
      expect(await (await connect()).echo("new")).toBe(true)
    }
    expect(await Promise.all(many.map((client) => client.echo("still here")))).not.toContain(false)
    expect(threads.listenerIds()).toEqual(["s"])
  })

  test("gives new connections the new settings", async () => {
    const [client] = await connectMany()
    await serve([template({ deny: [{ address: "127.0.0.0" as Address, length: 8 }] })])
    const denied = await connect()
    expect(await denied.echo("x")).toBe(false)
    expect(await client?.echo("still here")).toBe(true)
    expect(threads.isListening(template())).toBe(false)
    await serve([template()])
    expect(threads.isListening(template())).toBe(true)
    expect(await (await connect()).echo("x")).toBe(true)
  })

  test("limits connections over all threads, and lets the next in when there is room", async () => {
    await serve([template({ maxConnections: 1 })])
    const first = await connect()
    expect(await first.echo("x")).toBe(true)
    const waiting = await Promise.all([connect(), connect(), connect(), connect()])
    const served = waiting.map((client) => client.echo("patient"))
    for (const next of [first, ...waiting]) {
      // One that was closed while it waited is accepted, too, and ends at once.
      await eventually("one", () => openOn(0) + openOn(1) === 1)
      next.close()
      await eventually("the next", () => books()[2] === (next === waiting[3] ? 0 : 1))
    }
    expect(served).toHaveLength(4)
  })

  test("gives new connections the new servers of a pool", async () => {
    const [client] = await connectMany()
    expect(threads.hasPool(pool())).toBe(true)
    await serve([template()], pool({ servers: [] }))
    expect(threads.hasPool(pool())).toBe(false)
    expect(await (await connect()).echo("x")).toBe(false)
    expect(await client?.echo("still here")).toBe(true)
  })
})

test("reset() ends the connections through an address, and no others", async () => {
  const elsewhere = freeEndpoint(uniqueAddress())
  await serve([template(), template({ id: "t", endpoint: elsewhere })])
  const [through, beside] = [await connect(elsewhere), await connect()]
  expect([await through.echo("a"), await beside.echo("b")]).toEqual([true, true])
  await threads.reset([elsewhere.address])
  await eventually("the reset", () => through.isClosed)
  expect(await beside.echo("still here")).toBe(true)
  expect(books()).toEqual([1, 1, 1])
})

test("serversDown() ends the connections of pools that ask for it", async () => {
  const kept = await connect()
  expect(await kept.echo("x")).toBe(true)
  threads.serversDown([0])
  expect(await kept.echo("still here")).toBe(true)
  await serve([template()], pool({ closeOnDown: true }))
  const closed = await connect()
  expect(await closed.echo("x")).toBe(true)
  threads.serversDown([1])
  expect(await closed.echo("another server")).toBe(true)
  threads.serversDown([0])
  await eventually("the end", () => closed.isClosed)
  expect(await kept.echo("still here")).toBe(true)
})

test("closeListeners() refuses new connections and keeps the open ones", async () => {
  const many = await connectMany()
  await threads.closeListeners()
  await expect(connect()).rejects.toThrow()
  expect(await Promise.all(many.map((client) => client.echo("still here")))).not.toContain(false)
})

test("configure() leaves nothing behind, however often it is called", async () => {
  const change = { ...template(), idleTimeoutMs: 1 }
  const promises = () => {
    Bun.gc(true)
    return heapStats().objectTypeCounts["Promise"] ?? 0
  }
  await serve([change])
  const before = promises()
  for (let count = 0; count < 300; count++) await serve([change])
  expect(promises() - before).toBeLessThan(100)
})
